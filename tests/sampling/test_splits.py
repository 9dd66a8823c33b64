"""Splits of cells, by their properties."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight

from sctab import LabelError, SettingError
from sctab.sampling import (
    assign_splits,
    balanced_class_weights,
    split_cells,
    subsample,
)

labels_of_cells = hnp.arrays(np.int64, st.integers(2, 80), elements=st.integers(-1, 4)).filter(lambda labels: (labels >= 0).any())


def split(labels, donors=None, *, train_size=0.9, by="stratified", seed=0):
    return split_cells(
        np.asarray(labels),
        None if donors is None else np.asarray(donors),
        train_size=train_size,
        by=by,
        rng=np.random.default_rng(seed),
    )


class TestEverySplit:
    @given(data=st.data(), labels=labels_of_cells, by=st.sampled_from(["donor", "stratified"]), seed=st.integers(0, 9))
    def test_holds_each_labeled_cell_once(self, data, labels, by, seed):
        donors = data.draw(st.none() | hnp.arrays(np.int64, len(labels), elements=st.integers(0, 5)))
        train_size = data.draw(st.floats(0.3, 1))
        found = split(labels, donors, train_size=train_size, by=by, seed=seed)
        np.testing.assert_array_equal(np.sort(np.concatenate([found.train, found.validation])), np.flatnonzero(labels >= 0))
        assert (found.by == "none") == (found.validation.size == 0)

    @given(labels=labels_of_cells, seed=st.integers(0, 9), train_size=st.floats(0.3, 1))
    def test_leaves_a_cell_of_every_type_to_learn_from(self, labels, seed, train_size):
        donors = np.arange(len(labels)) % 4
        for by in ("donor", "stratified"):
            found = split(labels, donors, train_size=train_size, by=by, seed=seed)
            assert set(labels[found.train]) == set(labels[labels >= 0])

    @given(labels=labels_of_cells, seed=st.integers(0, 9))
    def test_is_decided_by_the_seed(self, labels, seed):
        donors = np.arange(len(labels)) % 4
        for by in ("donor", "stratified"):
            one, other = (split(labels, donors, train_size=0.7, by=by, seed=seed) for _ in range(2))
            np.testing.assert_array_equal(one.validation, other.validation)

    def test_another_seed_is_another_split(self):
        labels = np.zeros(100, dtype=np.int64)
        assert len({tuple(split(labels, train_size=0.8, seed=seed).validation) for seed in range(5)}) == 5

    @pytest.mark.parametrize("by", ["donor", "stratified"])
    def test_with_everything_to_learn_from(self, by):
        found = split([0, 1, -1, 1], [0, 1, 2, 3], train_size=1, by=by)
        assert (found.by, found.train.tolist(), found.validation.tolist()) == ("none", [0, 1, 3], [])

    @pytest.mark.parametrize("by", ["donor", "stratified"])
    def test_without_a_label_there_is_nothing(self, by):
        found = split([-1, -1, -1], [0, 1, 2], by=by)
        assert (found.by, found.train.size, found.validation.size) == ("none", 0, 0)


class TestStratified:
    @pytest.mark.parametrize("train_size", ["0.9", "0.8", "0.75", "0.7", "0.6", "0.5"])
    @pytest.mark.parametrize("n_cells", [1, 2, 5, 9, 10, 20, 99, 100, 1000])
    def test_a_share_of_each_type_rounded_down(self, n_cells, train_size):
        labels = np.repeat([0, 1], [n_cells, 2 * n_cells])
        found = split(labels, train_size=float(train_size))
        share = 1 - Fraction(train_size)
        expected = [n_cells * share // 1, 2 * n_cells * share // 1]
        assert np.bincount(labels[found.validation], minlength=2).tolist() == expected

    def test_a_type_with_one_cell_is_learned(self):
        labels = np.array([0] * 50 + [1])
        found = split(labels, train_size=0.5)
        assert 50 in found.train

    def test_too_few_cells_for_validation(self):
        found = split([0, 1, 2], train_size=0.9)
        assert (found.by, found.train.tolist()) == ("none", [0, 1, 2])

    def test_donors_are_not_looked_at(self):
        found = split(np.zeros(40, dtype=int), np.repeat([0, 1, 2, 3], 10), train_size=0.5, by="stratified")
        assert found.by == "stratified"
        assert found.held_out_donors == ()


class TestByDonor:
    @given(data=st.data(), n_donors=st.integers(3, 8), train_size=st.floats(0.5, 0.95), seed=st.integers(0, 9))
    def test_no_donor_is_on_both_sides(self, data, n_donors, train_size, seed):
        labels = data.draw(hnp.arrays(np.int64, 60, elements=st.integers(-1, 3)).filter(lambda labels: (labels >= 0).any()))
        donors = np.arange(60) % n_donors
        found = split(labels, donors, train_size=train_size, by="donor", seed=seed)
        if found.by == "donor":
            assert set(donors[found.validation]) == set(found.held_out_donors)
            assert not set(donors[found.train]) & set(found.held_out_donors)

    @pytest.mark.parametrize("train_size", [0.9, 0.8, 0.7])
    @pytest.mark.parametrize("n_donors", [10, 20])
    def test_until_enough_cells_are_held_out(self, n_donors, train_size):
        labels, donors = np.tile([0, 1], 5 * n_donors), np.repeat(np.arange(n_donors), 10)
        found = split(labels, donors, train_size=train_size, by="donor")
        needed = round((1 - train_size) * n_donors)
        assert (found.by, len(found.held_out_donors)) == ("donor", needed)
        assert len(found.validation) == 10 * needed

    def test_in_random_order(self):
        labels, donors = np.tile([0, 1], 30), np.repeat(np.arange(6), 10)
        assert len({split(labels, donors, by="donor", seed=seed).held_out_donors for seed in range(20)}) > 3

    def test_a_donor_with_the_only_cells_of_a_type_stays(self):
        labels, donors = np.tile([0, 1], 30), np.repeat(np.arange(6), 10)
        labels[donors == 2] = 5
        for seed in range(20):
            found = split(labels, donors, by="donor", seed=seed)
            assert found.by == "donor"
            assert 2 not in found.held_out_donors

    @pytest.mark.parametrize("donors", [None, [0] * 40, [0, 1] * 20, [0, 0, 0, 0, 1] * 8])
    def test_with_fewer_than_three_it_is_stratified(self, donors):
        found = split([0, 0, 1, 1] * 10, donors, train_size=0.8, by="donor")
        assert (found.by, found.held_out_donors) == ("stratified", ())
        assert len(found.validation) > 0

    def test_where_each_donor_has_a_type_of_its_own_it_is_stratified(self):
        donors = np.repeat(np.arange(4), 10)
        found = split(donors, donors, train_size=0.7, by="donor")
        assert found.by == "stratified"

    def test_one_donor_with_nearly_all_cells_is_not_held_out(self):
        donors = np.array([0] * 90 + [1] * 5 + [2] * 5)
        for seed in range(10):
            found = split(np.arange(100) % 2, donors, train_size=0.9, by="donor", seed=seed)
            assert 0 not in found.held_out_donors

    def test_cells_without_a_label_count_for_no_donor(self):
        labels = np.where(np.arange(60) < 40, np.arange(60) % 2, -1)
        donors = np.repeat(np.arange(6), 10)
        for seed in range(10):
            assert not {4, 5} & set(split(labels, donors, by="donor", seed=seed).held_out_donors)


class TestClassWeights:
    @given(labels=hnp.arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 6)))
    def test_are_those_of_scikit_learn(self, labels):
        classes, dense = np.unique(labels, return_inverse=True)
        expected = compute_class_weight("balanced", classes=np.arange(len(classes)), y=dense)
        found = balanced_class_weights(dense, len(classes))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_cells_without_a_label_do_not_count(self):
        labels = np.array([0, -1, 1, 1, 1, -1])
        np.testing.assert_array_equal(balanced_class_weights(labels, 2), balanced_class_weights(labels[labels >= 0], 2))

    def test_a_class_without_cells_weighs_nothing(self):
        np.testing.assert_allclose(balanced_class_weights(np.array([0, 0, 2]), 4), [3 / 8, 0, 3 / 4, 0])

    def test_without_cells(self):
        assert balanced_class_weights(np.array([-1, -1]), 3).tolist() == [0, 0, 0]


FRACTIONS = (0.7, 0.15, 0.15)


def assign(labels, donors=None, *, fractions=FRACTIONS, by="type", seed=0):
    return assign_splits(
        np.asarray(labels),
        None if donors is None else np.asarray(donors),
        fractions=fractions,
        by=by,
        rng=np.random.default_rng(seed),
    )


def distance_from_fractions(splits, labels, fractions=FRACTIONS):
    """Sum over splits and types of the squared difference between the share that a split has of a type and its size."""
    held = np.array([[np.mean(splits[labels == label] == split) for label in np.unique(labels)] for split in range(len(fractions))])
    return ((held - np.asarray(fractions)[:, None]) ** 2).sum()


class TestAssignedByType:
    @given(labels=labels_of_cells, seed=st.integers(0, 9), first=st.floats(0.3, 0.8))
    def test_each_split_gets_its_share_of_every_type(self, labels, seed, first):
        labels = np.tile(labels, 3)
        fractions = (first, (1 - first) / 2, (1 - first) / 2)
        try:
            splits = assign(labels, fractions=fractions, seed=seed)
        except LabelError:
            assert (labels >= 0).sum() < 30
            return
        assert ((splits >= 0) == (labels >= 0)).all()
        for label in np.unique(labels[labels >= 0]):
            found = np.bincount(splits[labels == label], minlength=3)
            assert found[0] >= 1
            np.testing.assert_array_less(np.abs(found - found.sum() * np.array(fractions)), 1 + 1e-6)

    def test_shares_as_in_scikit_learn(self):
        labels = np.repeat([0, 1, 2], [100, 40, 20])
        splits = assign(labels, fractions=(0.75, 0.25))
        _, expected = train_test_split(labels, test_size=0.25, stratify=labels, random_state=0)
        np.testing.assert_array_equal(np.bincount(labels[splits == 1]), np.bincount(expected))

    def test_the_odd_cell_goes_to_either_of_two_equal_splits(self):
        counts = [np.bincount(assign([0] * 23, seed=seed))[1:].tolist() for seed in range(20)]
        assert {tuple(count) for count in counts} == {(4, 3), (3, 4)}

    def test_the_seed_decides(self):
        labels = np.arange(100) % 3
        np.testing.assert_array_equal(assign(labels, seed=1), assign(labels, seed=1))
        assert (assign(labels, seed=1) != assign(labels, seed=2)).any()

    @pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1], []])
    def test_a_split_without_cells_is_refused(self, labels):
        with pytest.raises(LabelError, match="too few for 3 splits"):
            assign(np.array(labels, dtype=np.int64))


@st.composite
def cells_of_donors(draw):
    """Types and donors of cells in which every donor has every type, some more and some less."""
    n_donors, n_types = draw(st.integers(3, 12)), draw(st.integers(1, 4))
    cells = draw(hnp.arrays(np.int64, (n_donors, n_types), elements=st.integers(1, 12)))
    donors, labels = np.indices(cells.shape).reshape(2, -1)
    return np.repeat(labels, cells.ravel()), np.repeat(donors, cells.ravel())


class TestAssignedByDonor:
    @given(cells=cells_of_donors(), by=st.sampled_from(["donor", "both"]), seed=st.integers(0, 9))
    def test_donors_are_whole(self, cells, by, seed):
        labels, donors = cells
        splits = assign(labels, donors, by=by, seed=seed)
        of_donor = [np.unique(splits[donors == donor]) for donor in np.unique(donors)]
        assert all(len(found) == 1 for found in of_donor)
        n_donors = np.bincount(np.concatenate(of_donor), minlength=3)
        assert (n_donors >= 1).all()
        if len(of_donor) >= 7:  # fewer cannot be near the fractions when each split must have one
            np.testing.assert_array_less(np.abs(n_donors - len(of_donor) * np.array(FRACTIONS)), 1 + 1e-6)
        np.testing.assert_array_equal(splits, assign(labels, donors, by=by, seed=seed))

    @given(cells=cells_of_donors(), seed=st.integers(0, 9))
    def test_by_both_is_at_least_as_near_to_the_sizes(self, cells, seed):
        labels, donors = cells
        random, even = (assign(labels, donors, by=by, seed=seed) for by in ("donor", "both"))
        assert distance_from_fractions(even, labels) <= distance_from_fractions(random, labels) + 1e-9

    @given(cells=cells_of_donors(), seed=st.integers(0, 9))
    def test_by_both_no_exchange_of_two_donors_is_nearer(self, cells, seed):
        labels, donors = cells
        splits = assign(labels, donors, by="both", seed=seed)
        reached = distance_from_fractions(splits, labels)
        for one, other in itertools.combinations(np.unique(donors), 2):
            exchanged = splits.copy()
            exchanged[donors == one] = splits[donors == other][0]
            exchanged[donors == other] = splits[donors == one][0]
            assert distance_from_fractions(exchanged, labels) >= reached - 1e-9

    def test_by_both_finds_the_even_split(self):
        """Of two kinds of donors with opposite types there must be one in each half of each kind."""
        labels = np.tile(np.repeat([0, 1, 1, 0], [9, 1, 9, 1]), 2)
        donors = np.repeat(np.arange(4), 10)
        for seed in range(10):
            splits = assign(labels, donors, fractions=(0.5, 0.5), by="both", seed=seed)
            assert distance_from_fractions(splits, labels, (0.5, 0.5)) == pytest.approx(0)

    def test_by_both_the_first_split_has_every_type(self):
        donors = np.repeat(np.arange(12), 10)
        labels = np.tile([0, 1], 60)
        labels[donors == 4] = 2
        labels[donors == 7] = 3
        for seed in range(20):
            splits = assign(labels, donors, by="both", seed=seed)
            assert set(labels[splits == 0]) == {0, 1, 2, 3}

    def test_cells_without_a_label_are_in_no_split(self):
        donors = np.repeat(np.arange(6), 10)
        labels = np.where(np.arange(60) % 10 == 0, -1, 0)
        for by in ("donor", "both"):
            assert (assign(labels, donors, by=by) == -1).sum() == 6

    def test_too_few_donors(self):
        with pytest.raises(SettingError, match="3 splits need at least 3 donors; there are 2"):
            assign([0, 0, 1, 1], [0, 1, 0, 1], by="donor")

    def test_types_of_too_few_donors(self):
        donors = np.repeat(np.arange(4), 5)
        with pytest.raises(LabelError, match=r"No 2 of 4 donors .*: 2 of 4 types"):
            assign(donors, donors, by="both")

    def test_without_donors(self):
        with pytest.raises(SettingError, match="needs to know the donor"):
            assign([0, 1], by="both")

    @pytest.mark.parametrize("donors", [[0, 1], None])
    def test_an_unknown_rule(self, donors):
        with pytest.raises(SettingError, match="`by='types'` must be `'type'`, `'donor'` or `'both'`"):
            assign([0, 1], donors, by="types")


@pytest.mark.parametrize("fractions", [(1.0,), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0)])
def test_invalid_fractions(fractions):
    with pytest.raises(SettingError, match="positive, and sum to one"):
        assign([0, 1] * 10, fractions=fractions)


def draw(labels, n, how="stratified", seed=0):
    return subsample(np.asarray(labels), n, how=how, rng=np.random.default_rng(seed))
