"""Which cells are learned from: what must hold of every split, and weights as in scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.utils.class_weight import compute_class_weight

from sctab.sampling import balanced_class_weights, split_cells

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
