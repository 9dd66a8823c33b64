"""Figures of an evaluation, against scikit-learn and by what stands on them."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import sctab
from sctab import KeyNotFoundError, SctabWarning, SettingError, pl

TRUTH = ["B cell"] * 6 + ["T cell"] * 4 + ["monocyte"] * 2
CALLED = ["B cell"] * 5 + ["T cell"] + ["T cell"] * 3 + ["monocyte"] + ["monocyte"] * 2


@pytest.fixture
def tables():
    counts = pd.Series(1, index=pd.MultiIndex.from_arrays([TRUTH, CALLED])).groupby(level=[0, 1]).sum()
    confusion = counts.rename_axis(["type", "predicted"]).rename("cells").reset_index().assign(level="as labelled")
    labels = sorted(set(TRUTH))
    precision, recall, f1, cells = precision_recall_fscore_support(TRUTH, CALLED, labels=labels)
    scores = {"type": labels, "cells": cells, "precision": precision, "recall": recall, "f1": f1, "level": "as labelled"}
    return confusion, pd.DataFrame(scores)


def test_confusion_is_that_of_sklearn(tables):
    ax, *_ = pl.confusion(tables[0], level="as labelled").axes
    expected = confusion_matrix(TRUTH, CALLED, normalize="true")
    np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B cell (6)", "T cell (4)", "monocyte (2)"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["B cell", "T cell", "monocyte"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Predicted label", "True label")
    assert sorted(text.get_text() for text in ax.texts) == sorted(f"{value:.2f}" for value in expected[expected > 0])


def test_a_label_that_no_cell_has_comes_last(tables):
    rows = pd.concat(
        [tables[0], pd.DataFrame({"type": ["B cell"], "predicted": ["A cell"], "cells": [2], "level": ["as labelled"]})]
    )
    ax, *_ = pl.confusion(rows, level="as labelled").axes
    assert [label.get_text() for label in ax.get_xticklabels()][-1] == "A cell"
    assert ax.images[0].get_array()[0].tolist() == [5 / 8, 1 / 8, 0, 2 / 8]


def test_scores_have_the_worst_on_top(tables):
    figure = pl.type_scores(tables[1], level="as labelled")
    (ax,) = figure.axes
    ordered = tables[1].sort_values("f1")
    names = [f"{name} ({cells})" for name, cells in zip(ordered["type"], ordered["cells"], strict=True)]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert ax.yaxis_inverted()
    drawn = {
        points.get_label(): points.get_offsets()[:, 0].tolist()
        for points in ax.collections
        if not points.get_label().startswith("_")
    }
    assert drawn == {
        title: ordered[column].tolist() for column, title in (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Precision", "Recall", "F1"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_what_is_drawn_differs_from_the_paper(tables, style):
    with mpl.style.context(style):
        (ax,) = pl.type_scores(tables[1], level="as labelled").axes
        paper = mpl.colors.to_rgb(mpl.rcParams["axes.facecolor"])
    for points in ax.collections[1:]:
        assert np.abs(np.subtract(points.get_facecolor()[0][:3], paper)).max() > 0.4


def test_from_cells_that_were_evaluated():
    adata = AnnData(np.ones((len(TRUTH), 1)), obs=pd.DataFrame({"truth": TRUTH}, index=list(map(str, range(len(TRUTH))))))
    adata.obs["sctab_label"] = pd.Categorical([*CALLED[:-1], None], categories=sorted(set(CALLED)))
    adata.obs["sctab_uncertainty"] = np.linspace(0, 0.5, len(TRUTH))
    adata.uns["sctab"] = {
        "labels": {"names": np.array(sorted(set(CALLED))), "ids": np.array(["CL:0000236", "CL:0000084", "CL:0000576"])},
        "model": {"ontology_version": ""},
    }
    with pytest.warns(SctabWarning, match="no longer exists"):  # probabilities are not needed
        sctab.tl.evaluate(adata, "truth", show=False, n_bootstrap=0)
    table = sctab.get.evaluation(adata, "confusion").query("level == 'as labelled'")
    found = {(row.type, row.predicted): row.cells for row in table.itertuples()}
    called = [*CALLED[:-1], "no label"]
    assert found == dict(pd.Series(list(zip(TRUTH, called, strict=True))).value_counts())
    ax, *_ = pl.confusion(adata).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["B cell", "T cell", "monocyte", "no label"]
    assert len(pl.type_scores(adata).axes[0].get_yticklabels()) == 3


def test_refusals(tables):
    with pytest.raises(SettingError, match="`level='fine'` is not in the evaluation. Available: `as labelled`"):
        pl.confusion(tables[0], level="fine")
    with pytest.raises(KeyNotFoundError, match="tl.evaluate"):
        pl.type_scores(AnnData(np.ones((1, 1))))
