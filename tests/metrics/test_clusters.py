"""Clusters against labels: every matching is tried, as the definition says, and other cases are worked by hand."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from sctab.metrics import accuracy, cluster_accuracy

pairs = st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 4)), min_size=1, max_size=30)
SURPLUS = "no type"


def best_of_all_matchings(truth, clusters):
    """The definition of Tian et al. 2019, one matching after another."""
    found, names = sorted(set(clusters)), sorted(set(truth))
    names += [SURPLUS] * max(len(found) - len(names), 0)
    matchings = (dict(zip(found, each, strict=True)) for each in permutations(names, len(found)))
    return max(
        sum(matching[cluster] == name for name, cluster in zip(truth, clusters, strict=True)) for matching in matchings
    ) / len(truth)


@given(pairs=pairs)
def test_is_the_best_of_all_matchings(pairs):
    truth, clusters = zip(*pairs, strict=True)
    assert cluster_accuracy(truth, clusters) == pytest.approx(best_of_all_matchings(truth, clusters))


@given(pairs=pairs, names=st.permutations(range(5)))
def test_names_of_clusters_do_not_matter(pairs, names):
    truth, clusters = zip(*pairs, strict=True)
    renamed = [f"cluster {names[cluster]}" for cluster in clusters]
    assert cluster_accuracy(truth, renamed) == pytest.approx(cluster_accuracy(truth, clusters))


@given(pairs=pairs)
def test_is_symmetric_where_nothing_is_missing(pairs):
    truth, clusters = zip(*pairs, strict=True)
    assert cluster_accuracy(clusters, truth) == pytest.approx(cluster_accuracy(truth, clusters))


@given(pairs=st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from("ABCD")), min_size=1, max_size=30))
def test_no_less_than_the_accuracy_of_the_names_themselves(pairs):
    truth, named = zip(*pairs, strict=True)
    assert cluster_accuracy(truth, named) >= accuracy(truth, named) - 1e-12


def test_a_type_in_two_clusters_counts_with_the_larger():
    assert cluster_accuracy(["B"] * 5 + ["T"] * 5, [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]) == pytest.approx(0.8)


def test_two_types_in_one_cluster_count_with_the_larger():
    assert cluster_accuracy(["B", "B", "B", "T"], [0, 0, 0, 0]) == pytest.approx(0.75)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_types_do_not_count_and_missing_clusters_are_wrong(missing):
    assert cluster_accuracy(["B", "B", "T", missing], ["0", "0", "1", "1"]) == 1
    assert cluster_accuracy(["B", "B", "T", "T"], ["0", "0", "1", missing]) == pytest.approx(0.75)
    assert cluster_accuracy(["B", "T"], [missing, missing]) == 0
    assert np.isnan(cluster_accuracy([missing, missing], ["0", "1"]))


def test_without_cells_it_is_nan():
    assert np.isnan(cluster_accuracy([], []))


def test_takes_columns_of_a_frame():
    truth = pd.Series(["B", "T", np.nan], dtype="category", index=["x", "y", "z"])
    assert cluster_accuracy(truth, pd.Series(["1", "0", "0"], dtype="category", index=["u", "v", "w"])) == 1


def test_refuses_other_lengths():
    with pytest.raises(ValueError, match=r"`truth` and `clusters` have inconsistent numbers of samples: 2, 1\."):
        cluster_accuracy(["B", "T"], [0])
