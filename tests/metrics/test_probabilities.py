"""Scores of probabilities against scikit-learn, and against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from sctab.metrics import abstention, auroc, brier_score, calibration_error, calibration_error_of, cross_entropy, reliability


@pytest.fixture
def probabilities(rng):
    return pd.DataFrame(rng.dirichlet([1, 1, 1], size=50), columns=["B", "NK", "T"])


def test_scikit_learn_agrees_on_the_cross_entropy(probabilities, rng):
    truth = rng.choice(["B", "NK", "T"], size=50)
    expected = log_loss(truth, probabilities)
    assert cross_entropy(truth, probabilities) == pytest.approx(expected)
    assert cross_entropy(truth, probabilities[["T", "B", "NK"]]) == pytest.approx(expected)


def test_cross_entropy_of_what_is_not_known():
    table = pd.DataFrame({"B": [np.nan, 0.0], "T": [np.nan, 1.0]})
    assert cross_entropy(["B", "B"], table) == pytest.approx((np.log(2) - np.log(1e-7)) / 2)
    assert cross_entropy(["T", "NK"], table) == pytest.approx((np.log(2) - np.log(1e-7)) / 2)


def test_calibration_error_by_hand():
    table = pd.DataFrame({"B": [0.95, 0.97, 0.45, 0.40, 0.55], "T": [0.05, 0.03, 0.55, 0.60, 0.45]})
    predicted = ["B", "B", "T", "T", "B"]
    truth = ["B", "T", "T", "B", "B"]
    # bins of 1/15: 0.95 and 0.97 in the last, 0.55, 0.60 and 0.55 in (8/15, 9/15]
    expected = abs(1 - (0.95 + 0.97)) / 5 + abs(2 - (0.55 + 0.60 + 0.55)) / 5
    assert calibration_error(truth, predicted, table) == pytest.approx(expected)
    assert calibration_error(truth, predicted, table, n_bins=1) == pytest.approx(abs(3 - 3.62) / 5)


@given(cells=st.lists(st.tuples(st.booleans(), st.floats(0.001, 1)), min_size=1, max_size=60), n_bins=st.sampled_from([4, 15]))
def test_scikit_learn_agrees_on_the_reliability(cells, n_bins):
    right, confidence = (np.array(values) for values in zip(*cells, strict=True))
    table = reliability(confidence, right, n_bins)
    assert len(table) == n_bins
    assert table["cells"].sum() == len(cells)
    accuracy, mean = calibration_curve(right, confidence, n_bins=n_bins, pos_label=True)
    some = table[table["cells"] > 0]
    np.testing.assert_allclose(some["accuracy"], accuracy)
    np.testing.assert_allclose(some["confidence"], mean)
    assert table.loc[table["cells"] == 0, ["confidence", "accuracy"]].isna().all(axis=None)
    gaps = some["cells"] * (some["accuracy"] - some["confidence"]).abs()
    assert gaps.sum() / len(cells) == pytest.approx(calibration_error_of(confidence, right, n_bins))


def test_reliability_by_hand():
    table = reliability(np.array([0.2, 0.5, 0.6, 0.75, 1.0]), np.array([False, True, False, True, True]), n_bins=4)
    assert table["low"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["cells"].tolist() == [1, 1, 2, 1]
    assert table["accuracy"].tolist() == [0, 1, 0.5, 1]
    np.testing.assert_allclose(table["confidence"], [0.2, 0.5, 0.675, 1])


def test_certainty_that_is_right_is_calibrated():
    table = pd.DataFrame({"B": [1.0, 0.0], "T": [0.0, 1.0]})
    assert calibration_error(["B", "T"], ["B", "T"], table) == 0
    assert calibration_error(["T", "B"], ["B", "T"], table) == 1
    missing = pd.DataFrame({"B": [np.nan], "T": [np.nan]})
    assert calibration_error(["B"], np.array([np.nan], dtype=object), missing) == 0.5


def test_the_brier_score_is_twice_that_of_one_of_two_types(rng):
    right = rng.uniform(size=40)
    truth = rng.choice(["B", "T"], size=40)
    expected = 2 * brier_score_loss(truth == "B", right)
    assert brier_score(truth, pd.DataFrame({"B": right, "T": 1 - right})) == pytest.approx(expected)


def test_the_brier_score_by_hand():
    table = pd.DataFrame({"B": [0.5, 1, 0, np.nan], "T": [0.3, 0, 1, np.nan], "NK": [0.2, 0, 0, np.nan]})
    assert brier_score(["B"] * 4, table) == pytest.approx((0.38 + 0 + 2 + 2 / 3) / 4)
    assert brier_score(["monocyte"], table[:1]) == pytest.approx(1.38)


def test_cells_without_a_truth_do_not_count():
    table = pd.DataFrame({"B": [0.75, 0.5, 0.1], "T": [0.25, 0.5, 0.9]})
    truth, predicted = np.array(["B", np.nan, "B"], dtype=object), np.array(["B", "B", np.nan], dtype=object)
    for score in (brier_score, cross_entropy):
        assert score(truth, table) == score(["B", "B"], table.iloc[[0, 2]])
    assert calibration_error(truth, predicted, table) == pytest.approx((0.25 + 0.9) / 2)


@given(pairs=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_scikit_learn_agrees_on_the_auroc(pairs):
    wrong, uncertainty = zip(*pairs, strict=True)
    if len(set(wrong)) == 1:
        assert np.isnan(auroc(wrong, uncertainty))
    else:
        assert auroc(wrong, uncertainty) == pytest.approx(roc_auc_score(wrong, uncertainty))


def test_a_cell_without_uncertainty_is_the_least_certain():
    assert auroc([True, False, False], [np.nan, 0.9, 0.1]) == 1
    assert auroc([False, True, True], [np.nan, 0.9, 0.1]) == 0


def test_abstention_by_hand():
    confidence = np.array([0.9, 0.4, 0.7, 0.7, 0.2])
    right = np.array([True, False, False, True, True])
    table = abstention(confidence, right, n_points=5)
    assert table["threshold"].tolist() == [0.9, 0.7, 0.4, 0.2]
    assert table["cells"].tolist() == [1, 3, 4, 5]  # two cells of the same confidence are answered together
    assert table["answered"].tolist() == [0.2, 0.6, 0.8, 1.0]
    assert table["error"].tolist() == [0, 1 / 3, 2 / 4, 2 / 5]


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1, max_size=40), st.integers(1, 60)
)
def test_abstention_is_the_error_above_each_threshold(cells, n_points):
    confidence, right = (np.array(values) for values in zip(*cells, strict=True))
    table = abstention(confidence, right, n_points)
    assert (np.diff(table["threshold"]) < 0).all()
    assert table["cells"].iloc[-1] == len(cells)
    assert table["error"].iloc[-1] == pytest.approx(1 - right.mean())
    for row in table.itertuples():
        answered = confidence >= row.threshold
        assert (row.cells, row.answered) == (answered.sum(), pytest.approx(answered.mean()))
        assert row.error == pytest.approx((~right[answered]).mean())
    for share in np.arange(1, n_points + 1) / n_points:  # no fraction was left out
        assert (table["answered"] >= share - 1e-9).any()
