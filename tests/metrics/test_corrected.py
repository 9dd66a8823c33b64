"""What counts as right along the ontology: the published numbers, and cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from sctab.metrics import (
    accuracy,
    auroc,
    brier_score,
    calibration_error,
    confusion,
    correct_codes,
    correct_predictions,
    correct_probabilities,
    cross_entropy,
    macro_f1,
    macro_f1_of_codes,
    scores_per_group,
    weighted_f1,
)

TYPES = ["cell", "T cell", "CD4 T cell", "CD8 T cell", "B cell"]
BELOW = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]], dtype=bool)
codes = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=30)


def test_the_published_numbers(oracle_path):
    expected = np.load(oracle_path / "expected_training.npz")
    truth, predicted = expected["eval_true"], expected["eval_pred"]
    corrected = correct_codes(truth, predicted, np.load(oracle_path / "child_matrix.npy"))
    np.testing.assert_array_equal(corrected, expected["eval_pred_corrected"])
    assert macro_f1(truth, corrected) == pytest.approx(float(expected["macro_f1_corrected"]), rel=0, abs=1e-9)
    assert weighted_f1(truth, corrected) == pytest.approx(float(expected["weighted_f1_corrected"]), rel=0, abs=1e-9)
    assert macro_f1(truth, predicted) == pytest.approx(float(expected["macro_f1_raw"]), rel=0, abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "predicted", "corrected"),
    [
        ("T cell", "T cell", "T cell"),
        ("T cell", "CD4 T cell", "T cell"),  # a subtype is right
        ("CD4 T cell", "T cell", "T cell"),  # a parent is wrong
        ("CD4 T cell", "CD8 T cell", "CD8 T cell"),
        ("cell", "CD8 T cell", "cell"),  # a subtype of a subtype
        ("B cell", "CD4 T cell", "CD4 T cell"),
        ("T cell", None, None),
        (None, "T cell", "T cell"),
        ("neuron", "T cell", "T cell"),  # a type that is not in the matrix
        ("T cell", "neuron", "neuron"),
        ("neuron", "neuron", "neuron"),
    ],
)
def test_rules(truth, predicted, corrected):
    found = correct_predictions(np.array([truth], dtype=object), np.array([predicted], dtype=object), TYPES, BELOW)
    np.testing.assert_array_equal(found, np.array([corrected], dtype=object))


@given(pairs=codes)
def test_names_and_numbers_agree(pairs):
    truth, predicted = np.array(pairs).T
    names = np.array([*TYPES, None], dtype=object)
    expected = names[correct_codes(truth, predicted, BELOW)]
    np.testing.assert_array_equal(correct_predictions(names[truth], names[predicted], TYPES, BELOW), expected)


@given(pairs=codes)
def test_correction_changes_only_what_it_makes_right(pairs):
    truth, predicted = np.array(pairs).T
    corrected = correct_codes(truth, predicted, BELOW)
    changed = corrected != predicted
    np.testing.assert_array_equal(corrected[changed], truth[changed])
    np.testing.assert_array_equal(correct_codes(truth, corrected, BELOW), corrected)
    np.testing.assert_array_equal(correct_codes(truth, predicted, np.eye(5, dtype=bool)), predicted)
    if (truth >= 0).any():
        named = np.array([*TYPES, None], dtype=object)[truth]
        assert accuracy(named, np.array([*TYPES, "none"])[corrected]) >= accuracy(named, np.array([*TYPES, "none"])[predicted])


@pytest.mark.parametrize(
    "call",
    [
        lambda: correct_codes(np.array([0, 1, 2]), np.array([0, 1]), BELOW),
        lambda: correct_predictions(["T cell"] * 3, ["T cell"] * 2, TYPES, BELOW),
        lambda: correct_probabilities(np.array([0, 1, 2]), np.ones((2, 5)), BELOW),
        lambda: macro_f1_of_codes(np.array([0, 1, 2]), np.array([0, 1])),
        lambda: confusion(["a", "b", "b"], ["a", "b"]),
        lambda: scores_per_group(["a", "b", "b"], ["a", "b", "b"], ["x", "y"]),
        lambda: auroc([True, False, True], [0.1, 0.2]),
        lambda: cross_entropy(["a", "b", "b"], pd.DataFrame({"a": [0.5, 0.5]})),
        lambda: brier_score(["a", "b", "b"], pd.DataFrame({"a": [0.5, 0.5]})),
        lambda: calibration_error(["a", "b", "b"], ["a"] * 3, pd.DataFrame({"a": [0.5, 0.5]})),
        lambda: accuracy(["a", "b", "b"], ["a", "b"]),
    ],
)
def test_arrays_of_different_lengths_are_refused(call):
    with pytest.raises(ValueError, match=r"^`\w+`(, `\w+`)? and `\w+` have inconsistent numbers of samples: 3, (3, )?2(, 3)?\.$"):
        call()


def test_probabilities_of_subtypes_go_to_the_truth():
    values = np.array([[0.1, 0.2, 0.3, 0.1, 0.3]] * 4)
    found = correct_probabilities(np.array([1, 2, 0, -1]), values, BELOW)
    expected = [[0.1, 0.6, 0, 0, 0.3], [0.1, 0.2, 0.3, 0.1, 0.3], [1, 0, 0, 0, 0], [0.1, 0.2, 0.3, 0.1, 0.3]]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(values, 0.1 * np.array([[1, 2, 3, 1, 3]] * 4))
