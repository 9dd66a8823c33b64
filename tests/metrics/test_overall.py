"""All scores at once are the scores one by one, of every sample of the cells."""

import numpy as np
import pandas as pd
import pytest

from sctab.metrics import (
    accuracy,
    auroc,
    bootstrap_interval,
    brier_score,
    calibration_error,
    correct_codes,
    cross_entropy,
    macro_f1,
    overall_scores,
    weighted_f1,
)

BELOW = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
COLUMNS = np.array([1, 2, 3])
"""The model has no label for type 0, and for both of its subtypes."""


@pytest.fixture
def cells():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(3), size=120)
    predicted = COLUMNS[probabilities.argmax(axis=1)]
    probabilities[:4], predicted[:4] = np.nan, -1
    return {
        "truth": rng.integers(4, size=120),
        "predicted": predicted,
        "probabilities": probabilities,
        "uncertainty": 1 - probabilities.max(axis=1),
        "donors": rng.integers(6, size=120).astype(str),
    }


def one_by_one(cells, chosen, *, corrected):
    """The scores of chosen cells, from functions that are tested by themselves."""
    truth, predicted = cells["truth"][chosen], cells["predicted"][chosen]
    values = pd.DataFrame(cells["probabilities"][chosen], columns=COLUMNS.astype(str))
    merged = values.fillna(1 / 3)
    has_label = truth > 0
    if corrected:
        predicted = correct_codes(truth, predicted, BELOW)
        merged = pd.DataFrame({"0": np.where(truth == 0, merged["1"] + merged["2"], 0), **merged})
        merged.loc[truth == 0, ["1", "2"]] = 0
        has_label = truth >= 0
    return {
        "accuracy": accuracy(truth, predicted),
        "macro_f1": macro_f1(truth, predicted),
        "weighted_f1": weighted_f1(truth, predicted),
        "cross_entropy": cross_entropy(truth[has_label], merged[has_label]),
        "brier": brier_score(truth[has_label], merged[has_label]),
        "ece": calibration_error(truth, predicted, values),
        "auroc": auroc(truth != predicted, cells["uncertainty"][chosen]),
    }


def scores(cells, **options):
    return overall_scores(
        cells["truth"],
        cells["predicted"],
        BELOW,
        probabilities=cells["probabilities"],
        columns=COLUMNS,
        uncertainty=cells["uncertainty"],
        rng=np.random.default_rng(0),
        **options,
    )


def test_values(cells):
    table = scores(cells, n_bootstrap=0)
    for corrected, rows in table.groupby("corrected"):
        expected = one_by_one(cells, np.arange(120), corrected=corrected)
        assert rows.set_index("metric")["value"].to_dict() == pytest.approx(expected)
    assert table[["low", "high"]].isna().all(axis=None)
    n_cells = table.set_index(["metric", "corrected"])["cells"]
    assert n_cells["accuracy", False] == n_cells["brier", True] == 120
    assert n_cells["brier", False] == n_cells["cross_entropy", False] == (cells["truth"] > 0).sum()


@pytest.mark.parametrize("by_donor", [True, False])
def test_intervals(cells, by_donor):
    donors = cells["donors"] if by_donor else None
    table = scores(cells, donors=donors, n_bootstrap=25)

    def score(times):
        chosen = np.repeat(np.arange(120), times)
        return [list(one_by_one(cells, chosen, corrected=corrected).values()) for corrected in (False, True)]

    low, high = bootstrap_interval(score, 120, donors=donors, n_bootstrap=25, rng=np.random.default_rng(0))
    np.testing.assert_allclose(table["low"], low.ravel())
    np.testing.assert_allclose(table["high"], high.ravel())


def test_labels_of_one_type_are_one(cells):
    """Two labels of a model may have the same term; their probabilities are added."""
    halves = cells | {"probabilities": np.repeat(cells["probabilities"], 2, axis=1) / 2}
    doubled = overall_scores(
        cells["truth"],
        cells["predicted"],
        BELOW,
        probabilities=halves["probabilities"],
        columns=np.repeat(COLUMNS, 2),
        uncertainty=cells["uncertainty"],
        n_bootstrap=0,
        rng=np.random.default_rng(0),
    )
    same = ~doubled["metric"].eq("ece")  # confidence is that of a label
    np.testing.assert_allclose(doubled["value"][same], scores(cells, n_bootstrap=0)["value"][same])


def test_cells_of_which_no_type_is_a_label(cells):
    cells["truth"][:] = 0
    table = scores(cells, n_bootstrap=3).set_index(["metric", "corrected"])
    assert np.isnan(table.loc[("brier", False), ["value", "low", "high"]].to_numpy(dtype=float)).all()
    assert table.loc[("brier", False), "cells"] == 0
    assert table.loc[("brier", True), "cells"] == 120
