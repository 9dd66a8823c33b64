"""Scores against their definitions, against scikit-learn, and against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

from sctab.metrics import accuracy, confusion, macro_f1, macro_f1_of_codes, scores_per_group, scores_per_type, weighted_f1

names = st.sampled_from(["B cell", "T cell", "monocyte", "a type with a long name"])
pairs = st.lists(st.tuples(names, names), min_size=1, max_size=40)


def test_by_hand():
    truth = ["B", "B", "B", "T", "T", "NK"]
    predicted = ["B", "B", "T", "T", "B", "T"]
    expected = pd.DataFrame(
        {"precision": [2 / 3, 0, 1 / 3], "recall": [2 / 3, 0, 1 / 2], "f1": [2 / 3, 0, 2 / 5], "cells": [3, 1, 2]},
        index=pd.Index(["B", "NK", "T"], name="type"),
    )
    pd.testing.assert_frame_equal(scores_per_type(truth, predicted), expected)
    assert macro_f1(truth, predicted) == pytest.approx((2 / 3 + 0 + 2 / 5) / 3)


@given(pairs=pairs)
def test_definitions(pairs):
    truth, predicted = (np.array(side, dtype=object) for side in zip(*pairs, strict=True))
    scores = scores_per_type(truth, predicted)
    assert scores.index.tolist() == sorted(set(truth))
    for name, row in scores.iterrows():
        tp = np.sum((truth == name) & (predicted == name))
        fp = np.sum((truth != name) & (predicted == name))
        fn = np.sum((truth == name) & (predicted != name))
        assert row["cells"] == tp + fn
        assert row["precision"] == pytest.approx(tp / (tp + fp) if tp + fp else 0)
        assert row["recall"] == pytest.approx(tp / (tp + fn))
        assert row["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))


@given(pairs=pairs)
def test_scikit_learn_agrees(pairs):
    truth, predicted = zip(*pairs, strict=True)
    known = sorted(set(truth))
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, labels=known, average="macro", zero_division=0))
    report = classification_report(truth, predicted, labels=known, output_dict=True, zero_division=0)
    for name, row in scores_per_type(truth, predicted).iterrows():
        assert row["f1"] == pytest.approx(report[name]["f1-score"])


@given(pairs=pairs, data=st.data())
def test_order_of_cells_does_not_matter(pairs, data):
    shuffled = data.draw(st.permutations(pairs))
    assert macro_f1(*zip(*shuffled, strict=True)) == pytest.approx(macro_f1(*zip(*pairs, strict=True)))


def test_agreement_is_one():
    assert macro_f1(["B", "T", "B"], ["B", "T", "B"]) == 1


def test_a_cell_without_a_prediction_is_missed():
    predicted = np.array(["B", np.nan, "T", "T"], dtype=object)
    scores = scores_per_type(["B", "B", "T", "T"], predicted)
    assert scores.loc["B", ["precision", "recall"]].tolist() == [1, 0.5]
    assert scores.loc["T", "f1"] == 1


@pytest.mark.parametrize("kind", [lambda labels: np.array(labels, dtype=object), pd.Series, pd.Categorical])
def test_a_cell_without_a_truth_does_not_count(kind):
    scores = scores_per_type(kind(["B", np.nan, "T"]), kind(["B", "T", "T"]))
    assert scores.index.tolist() == ["B", "T"]
    assert scores["f1"].tolist() == [1, 1]


def test_chosen_types():
    scores = scores_per_type(["B", "T"], ["B", "B"], types=["B", "NK"])
    assert scores["f1"].tolist() == pytest.approx([2 / 3, 0])
    assert scores["cells"].tolist() == [1, 0]
    assert macro_f1(["B", "T"], ["B", "B"], types=["B"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Categorical])
def test_labels_of_every_kind(kind):
    assert macro_f1(kind(["B", "B", "T"]), kind(["B", "T", "T"])) == pytest.approx(2 / 3)


def test_numbers_are_names_too():
    assert macro_f1([0, 0, 1], [0, 1, 1]) == pytest.approx(2 / 3)


def test_as_many_predictions_as_cells():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        macro_f1(["B", "T"], ["B"])


@given(pairs=pairs)
def test_scikit_learn_agrees_on_all_cells(pairs):
    truth, predicted = zip(*pairs, strict=True)
    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert weighted_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="weighted", zero_division=0))
    table = confusion(truth, predicted)
    expected = confusion_matrix(truth, predicted, labels=[*table.columns, "none of them"])[
        :-1, :-1
    ]  # which warns of a single label
    assert table.to_numpy().tolist() == expected[np.isin(table.columns, table.index)].tolist()


def test_a_cell_without_a_prediction_is_not_accurate():
    predicted = np.array(["B", np.nan, "T", "T"], dtype=object)
    assert accuracy(["B", "B", "T", np.nan], predicted) == pytest.approx(2 / 3)
    assert confusion(["B", "B", "T", np.nan], predicted).loc["B"].to_dict() == {"B": 1, "T": 0, "nan": 1}


def test_macro_f1_of_codes_counts_cells_as_often_as_told():
    """Against scikit-learn on the cells written out; a negative prediction is wrong and no type's false positive."""
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(3, size=60), rng.integers(-1, 3, size=60)
    times = rng.integers(0, 4, size=60)
    drawn = np.repeat(np.arange(60), times)
    expected = f1_score(truth[drawn], predicted[drawn], average="macro", labels=[0, 1, 2], zero_division=0)
    assert macro_f1_of_codes(truth, predicted, times) == pytest.approx(expected)


def test_macro_f1_of_codes_is_over_types_that_are_there():
    truth, predicted = np.array([0, 0, 2, 2]), np.array([0, 3, 2, 1])
    assert macro_f1_of_codes(truth, predicted) == pytest.approx(macro_f1(truth, predicted))


def test_a_type_that_is_only_predicted_is_no_type_of_the_mean():
    """It makes the recall of the true type worse, and scikit-learn agrees when it is told the types."""
    truth, predicted = ["B", "B", "T"], ["B", "NK", "T"]
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, labels=["B", "T"], average="macro"))
    assert macro_f1(truth, predicted, types=["B", "NK", "T"]) < macro_f1(truth, predicted)


def test_groups():
    truth = ["B", "T", "B", "T", "B", np.nan, "T"]
    predicted = np.array(["B", "T", "T", "T", np.nan, "T", "T"], dtype=object)
    groups = np.array(["lung", "lung", "liver", "liver", "liver", "liver", np.nan], dtype=object)
    table = scores_per_group(np.array(truth, dtype=object), predicted, groups)
    expected = pd.DataFrame(
        {"accuracy": [1 / 3, 1], "macro_f1": [1 / 3, 1], "weighted_f1": [2 / 9, 1], "cells": [3, 2]},
        index=pd.Index(["liver", "lung"], name="group"),
    )
    pd.testing.assert_frame_equal(table, expected)


@pytest.mark.parametrize("kind", [list, pd.Series, lambda groups: pd.Categorical(groups, categories=[2, 1, 3])])
def test_groups_of_every_kind(kind):
    table = scores_per_group(["B", "B", "T"], ["B", "T", "T"], kind([1, 1, 2]))
    assert table["accuracy"].to_dict() == {"1": 0.5, "2": 1}
    assert table.loc["1", "macro_f1"] == macro_f1(["B", "B"], ["B", "T"])
