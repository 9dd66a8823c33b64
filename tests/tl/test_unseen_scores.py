"""Scores of reports of unseen types: worked by hand, and from a real annotation."""

import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference
from tests.tl.test_term_scores import LABELS, annotated

import sctab
from sctab import KeyNotFoundError, SctabWarning
from sctab.get import read_annotation
from sctab.inference import Terms
from sctab.model import LinearClassifier
from sctab.ontology import CellOntology, LabelSpace
from sctab.tl._comparison import compare_labels
from sctab.tl._unseen_scores import score_unseen

CELLS = [  # known label, p-value, whether it was reported
    ("B cell", 0.5, False),
    ("B cell", 0.01, True),
    ("T cell", 0.9, False),  # above labels
    ("CD4-positive helper T cell", 0.3, False),  # below one
    ("hepatocyte", 0.01, True),
    ("hepatocyte", 0.2, False),
    ("neuron", np.nan, False),  # without a count in the model's genes
]


@pytest.fixture
def adata():
    labels = LabelSpace.from_names(LABELS, CellOntology.embedded())
    adata = annotated(["B cell"] * len(CELLS), labels, Terms.of(labels))
    adata.obs["truth"] = [cell[0] for cell in CELLS]
    adata.obs["sctab_unseen"] = np.array([cell[1] for cell in CELLS], dtype=np.float32)
    adata.obs["sctab_is_unseen"] = [cell[2] for cell in CELLS]
    return adata


def score(adata, cells=None):
    comparison = compare_labels(adata.obs["truth"], adata.obs["sctab_label"], read_annotation(adata, "sctab", None))
    table = score_unseen(adata.obs, comparison, np.ones(len(CELLS), dtype=bool) if cells is None else cells, "sctab")
    return table if table is None else table.set_index(["over", "name"])


def test_by_hand(adata):
    table = score(adata)
    assert table["cells"].to_dict() == {
        ("known types", ""): 4,
        ("unknown types", ""): 3,
        **{("type", name): sum(cell[0] == name for cell in CELLS) for name in {cell[0] for cell in CELLS}},
    }
    assert table["reported"]["known types", ""] == 1 / 4
    assert table["reported"]["unknown types", ""] == 1 / 3
    assert table["reported"]["type", "hepatocyte"] == 1 / 2
    assert table["is_known"].xs("type").to_dict() == {
        "B cell": True,
        "T cell": True,
        "CD4-positive helper T cell": True,
        "hepatocyte": False,
        "neuron": False,
    }
    # eight pairs of a hepatocyte and a cell of a known type: 0.01 is below three and equal to one, 0.2 below three
    assert table["auroc"]["type", "hepatocyte"] == (3 + 0.5 + 3) / 8
    assert table["auroc"]["unknown types", ""] == (3 + 0.5 + 3) / 8
    assert table["auroc"].drop([("unknown types", ""), ("type", "hepatocyte")]).isna().all()
    assert table["median"]["type", "hepatocyte"] == pytest.approx(0.105)
    assert table["lowest"]["type", "hepatocyte"] == pytest.approx(0.01 + 0.05 * 0.19)
    assert np.isnan(table["median"]["type", "neuron"])
    assert table["id"]["type", "B cell"] == "CL:0000236"


def test_only_cells_that_are_scored_count(adata):
    table = score(adata, np.arange(len(CELLS)) < 2)
    assert list(table.index) == [("known types", ""), ("type", "B cell")]


def test_without_reports_there_is_no_table(adata):
    del adata.obs["sctab_unseen"]
    assert score(adata) is None
    with pytest.warns(SctabWarning):
        sctab.tl.evaluate(adata, "truth", show=False, n_bootstrap=0)
    with pytest.raises(KeyNotFoundError, match="not of unseen types. Annotate the cells with an `unseen_fdr`"):
        sctab.get.evaluation(adata, "unseen")


def test_an_annotation_by_a_model():
    reference = make_reference()
    learned = reference[reference.obs["cell_type"] != "B cell"].copy()
    LinearClassifier.setup_anndata(learned, "cell_type", donor_key="donor_id")
    model = LinearClassifier(learned)
    model.train(max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(90, seed=3)
    with pytest.warns(SctabWarning, match="cells fit none of the labels"):
        sctab.tl.annotate(query, model, unseen_fdr=0.2)
    with pytest.warns(SctabWarning):
        sctab.tl.evaluate(query, "cell_type", n_bootstrap=0, show=False)
    table = sctab.get.evaluation(query, "unseen").set_index(["over", "name"])
    is_b = query.obs["cell_type"] == "B cell"
    assert table["reported"]["type", "B cell"] == query.obs["sctab_is_unseen"][is_b].mean()
    assert table["reported"]["known types", ""] == query.obs["sctab_is_unseen"][~is_b].mean()
    expected = pd.Series(-query.obs["sctab_unseen"]).rank()[is_b].to_numpy()
    n_b, n_others = is_b.sum(), (~is_b).sum()
    assert table["auroc"]["unknown types", ""] == pytest.approx((expected.sum() - n_b * (n_b + 1) / 2) / (n_b * n_others))


@pytest.mark.parametrize("key", ["sctab_unseen", "sctab_is_unseen"])
@pytest.mark.parametrize("dtype", ["str", "category", "object"])
def test_columns_of_strings_are_refused(adata, key, dtype):
    adata.obs[key] = adata.obs[key].astype(str).astype(dtype)
    with pytest.raises(
        sctab.InputTypeError, match=rf"`adata\.obs\['{key}'\]` must hold numbers, and holds `.*`. Annotate the cells again"
    ):
        score(adata)


def test_nullable_columns_are_read(adata):
    expected = score(adata)
    adata.obs["sctab_is_unseen"] = adata.obs["sctab_is_unseen"].astype("boolean")
    adata.obs["sctab_unseen"] = adata.obs["sctab_unseen"].astype("Float32")
    pd.testing.assert_frame_equal(score(adata), expected)
