"""Which cells are learned from and kept: what must hold of every choice, weights as in scikit-learn, and cases worked by hand."""

import itertools
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from sctab import InputValueError, MissingDependencyError, SettingError
from sctab.sampling import (
    geometric_sketch,
    herding,
    k_centre,
    nested_subset,
    subsample,
)

labels_of_cells = hnp.arrays(np.int64, st.integers(2, 80), elements=st.integers(-1, 4)).filter(lambda labels: (labels >= 0).any())


def draw(labels, n, how="stratified", seed=0):
    return subsample(np.asarray(labels), n, how=how, rng=np.random.default_rng(seed))


class TestSubsample:
    @given(data=st.data(), labels=labels_of_cells, how=st.sampled_from(["stratified", "balanced"]), seed=st.integers(0, 9))
    def test_gives_as_many_different_labeled_cells_as_asked_for(self, data, labels, how, seed):
        types = np.unique(labels[labels >= 0])
        n = data.draw(st.integers(len(types), int((labels >= 0).sum())))
        found = draw(labels, n, how, seed)
        assert len(found) == len(set(found)) == n
        assert (np.diff(found) > 0).all()
        assert set(labels[found]) == set(types)
        np.testing.assert_array_equal(found, draw(labels, n, how, seed))

    @given(data=st.data(), labels=labels_of_cells)
    def test_balanced_no_type_has_two_more_than_one_that_could_have_more(self, data, labels):
        types, available = np.unique(labels[labels >= 0], return_counts=True)
        found = draw(labels, data.draw(st.integers(len(types), int(available.sum()))), "balanced")
        counts = np.array([(labels[found] == label).sum() for label in types])
        has_room = counts < available
        if has_room.any():
            assert counts.max() <= counts[has_room].min() + 1

    @pytest.mark.parametrize(
        ("n", "how", "expected"),
        [
            (50, "stratified", [40, 8, 2]),
            (10, "stratified", [8, 1, 1]),  # 8, 1.6 and 0.4, each at least one
            (3, "stratified", [1, 1, 1]),
            (100, "stratified", [80, 16, 4]),
            (12, "balanced", [4, 4, 4]),
            (50, "balanced", [30, 16, 4]),
            (14, "balanced", [5, 5, 4]),
            (100, "balanced", [80, 16, 4]),
        ],
    )
    def test_numbers_worked_by_hand(self, n, how, expected):
        labels = np.repeat([0, 1, 2], [80, 16, 4])
        assert np.bincount(labels[draw(labels, n, how)]).tolist() == expected

    def test_the_seed_decides(self):
        labels = np.zeros(100, dtype=np.int64)
        assert len({tuple(draw(labels, 10, seed=seed)) for seed in range(5)}) == 5

    @pytest.mark.parametrize("n", [-1, 0, 1, 5])
    def test_a_number_that_cannot_be(self, n):
        with pytest.raises(SettingError, match=f"`n={n}` cells cannot be chosen: there are 4 with a label, of 2 types"):
            draw([0, 0, 1, 1, -1], n)

    def test_without_a_labeled_cell(self):
        with pytest.raises(SettingError, match="there are 0 with a label"):
            draw([-1, -1], 0)

    def test_an_unknown_way(self):
        with pytest.raises(SettingError, match="`'stratified'` or `'balanced'`"):
            draw([0, 1], 2, "even")


def distances_to_nearest(points, chosen):
    return cdist(points, points[chosen]).min(axis=1)


POINTS = hnp.arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(1, 3)), elements=st.integers(-9, 9).map(float))


class TestNestedShare:
    @given(
        units=hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 12)),
        fractions=st.lists(st.floats(1e-3, 1), min_size=2, max_size=5),
        seed=st.integers(0, 100),
    )
    def test_smaller_shares_lie_in_larger_ones_and_units_stay_whole(self, units, fractions, seed):
        chosen = [nested_subset(units, fraction, rng=np.random.default_rng(seed)) for fraction in sorted(fractions)]
        for smaller, larger in itertools.pairwise(chosen):
            assert set(smaller.tolist()) <= set(larger.tolist())
        for cells in chosen:
            assert cells.tolist() == np.flatnonzero(np.isin(units, units[cells])).tolist()

    @given(n=st.integers(1, 200), percent=st.integers(1, 100))
    def test_it_is_the_next_whole_number_of_units(self, n, percent):
        chosen = nested_subset(np.arange(n), percent / 100, rng=np.random.default_rng(0))
        assert len(chosen) == -(-Fraction(percent, 100) * n // 1)

    def test_donors_are_as_many_as_published(self):
        """Fischer et al. (2023), Methods: 531, 1,061, 1,768, 2,476 and all of 3,536 donors."""
        fractions = (0.15, 0.3, 0.5, 0.7, 1.0)
        shares = [nested_subset(np.arange(3536), fraction, rng=np.random.default_rng(0)) for fraction in fractions]
        assert [len(share) for share in shares] == [531, 1061, 1768, 2476, 3536]

    def test_each_unit_is_chosen_as_often(self):
        units = np.repeat(np.arange(10), np.arange(1, 11))
        shares = [nested_subset(units, 0.3, rng=np.random.default_rng(seed)) for seed in range(1000)]
        often = np.bincount(np.concatenate([np.unique(units[share]) for share in shares]), minlength=10)
        assert often.sum() == 3000
        assert abs(often - 300).max() < 60  # four standard deviations

    @pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
    def test_fractions_that_make_no_sense(self, fraction):
        with pytest.raises(SettingError, match="must be above 0 and at most 1"):
            nested_subset(np.arange(5), fraction, rng=np.random.default_rng(0))


class TestKCentre:
    @given(data=st.data(), points=POINTS)
    def test_gives_as_many_different_cells_as_asked_for(self, data, points):
        n = data.draw(st.integers(1, len(points)))
        found = k_centre(points, np.zeros(len(points), dtype=np.int64), n)
        assert len(set(found)) == n

    @given(data=st.data(), points=POINTS.filter(lambda points: len(points) <= 9))
    def test_covers_within_twice_the_least_radius(self, data, points):
        """Gonzalez 1985, theorem 2.2, against all choices."""
        n = data.draw(st.integers(1, len(points)))
        found = k_centre(points, np.zeros(len(points), dtype=np.int64), n)
        least = min(distances_to_nearest(points, list(chosen)).max() for chosen in itertools.combinations(range(len(points)), n))
        assert distances_to_nearest(points, found).max() <= 2 * least + 1e-9

    def test_worked_by_hand(self):
        points = np.array([[0.0, 0], [4, 0], [5, 0], [6, 0], [9, 0], [5, 7]])  # the mean is (4.83, 1.17)
        chosen = [set(k_centre(points, np.zeros(6, dtype=np.int64), n).tolist()) for n in (1, 2, 3, 4)]
        assert chosen == [{2}, {2, 5}, {2, 5, 0}, {2, 5, 0, 4}]

    def test_types_are_covered_each_on_its_own(self, rng):
        points, labels = rng.normal(size=(60, 3)), np.arange(60) % 3
        labels[7] = -1
        found = k_centre(points, labels, 12)
        assert 7 not in found
        for label in range(3):
            cells = np.flatnonzero(labels == label)
            alone = cells[k_centre(points[cells], np.zeros(len(cells), dtype=np.int64), 4)]
            np.testing.assert_array_equal(found[labels[found] == label], alone)


class TestHerding:
    @given(data=st.data(), points=POINTS)
    def test_gives_as_many_different_cells_as_asked_for(self, data, points):
        n = data.draw(st.integers(1, len(points)))
        assert len(set(herding(points, np.zeros(len(points), dtype=np.int64), n))) == n

    @given(data=st.data(), points=POINTS.map(lambda points: points + np.random.default_rng(0).normal(size=points.shape)))
    def test_each_cell_brings_the_mean_nearest_to_that_of_all(self, data, points):
        """Algorithm 4 of Rebuffi et al. 2017, written as it stands there."""
        labels, mean = np.zeros(len(points), dtype=np.int64), points.mean(axis=0)
        exemplars = []
        for k in range(1, data.draw(st.integers(1, len(points))) + 1):
            rest = [cell for cell in range(len(points)) if cell not in exemplars]
            exemplars.append(min(rest, key=lambda cell: np.linalg.norm(mean - points[[*exemplars, cell]].sum(axis=0) / k)))
        np.testing.assert_array_equal(herding(points, labels, len(exemplars)), sorted(exemplars))

    def test_the_mean_stays_nearer_than_with_random_cells(self, rng):
        points, labels = rng.normal(size=(500, 5)), np.zeros(500, dtype=np.int64)
        off = [np.linalg.norm(points[cells].mean(axis=0)) for cells in (draw(labels, 20, seed=seed) for seed in range(20))]
        assert np.linalg.norm(points[herding(points, labels, 20)].mean(axis=0) - points.mean(axis=0)) < 0.1 * np.median(off)


class TestGeometricSketch:
    @given(data=st.data(), points=POINTS, seed=st.integers(0, 9))
    @settings(max_examples=15)
    def test_gives_as_many_different_cells_as_asked_for(self, data, points, seed):
        n = data.draw(st.integers(1, len(points)))
        one, other = (geometric_sketch(points, n, rng=np.random.default_rng(seed)) for _ in range(2))
        assert len(set(one)) == n
        np.testing.assert_array_equal(one, other)

    def test_keeps_what_is_rare_and_far_away(self, rng):
        points = np.concatenate([rng.normal(size=(990, 2)), rng.normal(size=(10, 2)) + 30])
        found = geometric_sketch(points, 50, rng=rng)
        assert (found >= 990).sum() >= 5  # ten times their share

    def test_leaves_the_global_state_as_it_was(self, rng, capfd):
        before = repr(np.random.get_state())  # noqa: NPY002
        points = np.repeat(np.eye(8), 10, axis=0)  # nine boxes at most, which is not near twenty
        assert len(geometric_sketch(points, 20, rng=rng)) == 20
        assert repr(np.random.get_state()) == before  # noqa: NPY002
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("n", [0, 4])
    def test_a_number_that_cannot_be(self, rng, n):
        with pytest.raises(SettingError, match=f"`n={n}` cells cannot be chosen from 3"):
            geometric_sketch(np.eye(3), n, rng=rng)

    def test_without_geosketch(self, rng, monkeypatch):
        monkeypatch.setitem(sys.modules, "geosketch", None)
        with pytest.raises(MissingDependencyError, match=r"sctab\[sketch\]"):
            geometric_sketch(np.eye(3), 2, rng=rng)


@pytest.mark.parametrize(
    "choose", [k_centre, herding, lambda points, _, n: geometric_sketch(points, n, rng=np.random.default_rng(0))]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_embedding_with_holes(choose, bad):
    points = np.eye(4)
    points[2, 0] = bad
    with pytest.raises(InputValueError, match="NaN or infinite values in 1 of 4 cells"):
        choose(points, np.zeros(4, dtype=np.int64), 2)
