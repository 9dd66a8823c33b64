"""Intervals against every draw that there is, and against scipy."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from sctab.metrics import bootstrap_interval


def mean_of(values):
    return lambda times: np.average(values, weights=times)


def test_donors_are_drawn_whole(rng):
    """Three donors can be drawn in 27 ways; many draws have the quantiles of these."""
    values, donors = rng.normal(size=12), np.repeat(["a", "b", "c"], [2, 3, 7])
    cells = [values[donors == donor] for donor in "abc"]
    ways = [np.concatenate([cells[i] for i in way]).mean() for way in product(range(3), repeat=3)]
    low, high = bootstrap_interval(mean_of(values), 12, donors=donors, n_bootstrap=4000, level=0.8, rng=rng)
    assert low == pytest.approx(np.quantile(ways, 0.1, method="inverted_cdf"))
    assert high == pytest.approx(np.quantile(ways, 0.9, method="inverted_cdf"))


def test_scipy_agrees_on_cells(rng):
    values = rng.gamma(2, size=200)
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=rng).confidence_interval
    low, high = bootstrap_interval(mean_of(values), 200, n_bootstrap=4000, rng=rng)
    assert low == pytest.approx(expected.low, abs=0.02)
    assert high == pytest.approx(expected.high, abs=0.02)


def test_several_scores_at_once_and_the_same_seed():
    values = np.random.default_rng(1).normal(size=(30, 2, 3))
    once = [
        bootstrap_interval(lambda times: np.average(values, axis=0, weights=times), 30, rng=np.random.default_rng(0)) for _ in "ab"
    ]
    np.testing.assert_array_equal(once[0], once[1])
    low, high = once[0]
    assert low.shape == high.shape == (2, 3)
    assert (low < values.mean(axis=0)).all()
    assert (high > values.mean(axis=0)).all()


def test_a_score_that_is_missing_in_some_draws(rng):
    low, high = bootstrap_interval(lambda times: np.array([np.nan if times[0] else 1.0, np.nan]), 3, rng=rng)
    assert low[0] == high[0] == 1
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize("options", [{"donors": ["a"] * 4}, {"n_bootstrap": 0}])
def test_no_interval_from_one_donor_or_no_draw(options, rng):
    assert np.isnan(bootstrap_interval(mean_of(np.arange(4)), 4, rng=rng, **options)).all()
