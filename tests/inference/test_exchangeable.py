"""Queries that are not like held-out cells are noticed, and those that are, are not."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sctab.inference._exchangeable import ConfidenceRanks


def cells(rng, n_obs, power=1.0):
    """Labels, and confidences that are the lower, the smaller the power."""
    return rng.integers(3, size=n_obs), rng.uniform(size=n_obs) ** (1 / power)


def of_cells(rng, n_obs=3000):
    codes, confidence = cells(rng, n_obs)
    return ConfidenceRanks.of(codes, confidence, np.arange(n_obs), "cell", 3)


@pytest.mark.parametrize("seed", range(20))
def test_cells_from_the_same_distribution_are_within_the_limit(seed):
    rng = np.random.default_rng(seed)
    ranks = of_cells(rng)
    assert ranks.limit == 0.05
    assert ranks.distance(*cells(rng, int(rng.integers(5, 2000)))) <= 0.02


@pytest.mark.parametrize(("power", "expected"), [(0.5, 1 / 6), (2.0, 0)])
def test_less_confidence_is_seen(power, expected):
    """The mean rank is then the mean of a power of a uniform number: 1/3 or 2/3. More confidence is that of a model of all cells."""
    rng = np.random.default_rng(0)
    distance = of_cells(rng, 30_000).distance(*cells(rng, 30_000, power))
    assert distance == pytest.approx(expected, abs=0.02)


def test_composition_does_not_matter():
    """Labels differ in how sure the model is of them; a query of one of them alone is not strange."""
    rng = np.random.default_rng(1)
    codes, confidence = cells(rng, 6000)
    confidence = (confidence + codes) / 3
    ranks = ConfidenceRanks.of(codes[:3000], confidence[:3000], np.arange(3000), "cell", 3)
    for code in range(3):
        own = codes[3000:] == code
        assert ranks.distance(codes[3000:][own], confidence[3000:][own]) <= 0.02


def test_donors_that_differ_allow_a_new_one_to_differ():
    rng = np.random.default_rng(2)
    powers = [0.5, 0.7, 1.0, 1.5, 2.0, 1.0]
    parts = [cells(rng, 1000, power) for power in powers]
    codes, confidence = (np.concatenate(each) for each in zip(*parts, strict=True))
    donors = np.repeat(np.arange(6), 1000)
    alike = [np.concatenate(each) for each in zip(*[cells(rng, 1000) for _ in range(6)], strict=True)]
    ranks, strict = ConfidenceRanks.of(codes, confidence, donors, "donor", 3), ConfidenceRanks.of(*alike, donors, "donor", 3)
    assert strict.limit == pytest.approx(0.05, abs=0.01)
    assert ranks.limit > 0.1
    new = cells(rng, 1000, 0.6)
    assert strict.limit < ranks.distance(*new) < ranks.limit


def test_labels_with_few_held_out_cells_and_cells_without_a_label_do_not_count():
    ranks = ConfidenceRanks.of(np.zeros(19, dtype=int), np.linspace(0.1, 0.9, 19), np.arange(19), "cell", 2)
    assert ranks.distance(np.zeros(500, dtype=int), np.full(500, 0.01)) == 0
    assert ranks.distance(np.full(500, -1), np.full(500, np.nan)) == 0


@given(st.lists(st.tuples(st.integers(-1, 2), st.floats(0, 1)), max_size=50), st.randoms())
def test_the_order_of_cells_does_not_matter(rows, random):
    ranks = of_cells(np.random.default_rng(3), 300)
    mixed = random.sample(rows, len(rows))
    distances = [ranks.distance(np.array([code for code, _ in each]), np.array([c for _, c in each])) for each in (rows, mixed)]
    assert distances[0] == pytest.approx(distances[1])
    assert 0 <= distances[0] <= 0.5
