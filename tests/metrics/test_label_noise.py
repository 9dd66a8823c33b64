"""Confident learning, against a case worked by hand and the definitions written out as loops."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sctab.metrics import LabelNoise

P = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
GIVEN = np.array([0, 0, 0, 1, 1])


def test_by_hand():
    """Thresholds 0.6 and 0.7: the third cell, given 0, reaches that of 1; the last cell reaches none."""
    found = LabelNoise.estimate(P, GIVEN)
    np.testing.assert_allclose(found.thresholds, [(0.9 + 0.8 + 0.1) / 3, (0.8 + 0.6) / 2])
    assert found.confident.tolist() == [0, 0, 1, 1, -1]
    assert found.counts.tolist() == [[2, 1], [0, 1]]
    assert found.is_suspect.tolist() == [False, False, True, False, False]
    assert found.suggested.tolist() == [1, 1, 1, 0, 0]
    np.testing.assert_allclose(found.margin, [-0.8, -0.6, 0.8, -0.6, -0.2])
    np.testing.assert_allclose(found.rates, [[0, 1 / 3], [0, 0]])
    assert found.n_wrong == pytest.approx(1.0)  # a third of three cells


def test_subtypes_and_broader_labels_do_not_contradict():
    """Given: T cell, CD4 T cell, B cell; evidence: CD4 T cell, CD8 T cell, B cell."""
    accepts = np.array([[True, True, False], [True, False, False], [False, False, True]])
    p = np.array([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    found = LabelNoise.estimate(p, [0, 1, 0, 1, 2], accepts)
    np.testing.assert_allclose(found.own, [0.9, 0.1, 0.2, 0.9, 0.8])
    assert found.is_suspect.tolist() == [False, True, True, False, False]
    assert found.suggested[[1, 2]].tolist() == [1, 2]
    assert (found.rates * accepts == 0).all()


def test_cells_that_cannot_be_compared():
    p = np.vstack([P, [[np.nan, np.nan]], [[0.5, 0.5]], [[0.5, 0.5]]])
    found = LabelNoise.estimate(p, [*GIVEN, 0, -1, 2], np.array([[True, False], [False, True], [False, False]]))
    plain = LabelNoise.estimate(P, GIVEN)
    np.testing.assert_array_equal(found.thresholds, plain.thresholds)
    np.testing.assert_array_equal(found.own[:5], plain.own)
    assert np.isnan(found.margin[5:]).all()
    assert not found.is_suspect[5:].any()
    assert (found.suggested[5:] == -1).all()
    assert found.n_given.tolist() == [3, 2, 0]


def test_a_label_that_nobody_gave_has_the_confidence_of_its_cells():
    p = np.array([[0.9, 0.0, 0.1], [0.1, 0.0, 0.9], [0.4, 0.0, 0.6]])
    found = LabelNoise.estimate(p, [0, 0, 0], np.array([[True, False, False]]))
    np.testing.assert_allclose(found.thresholds, [np.mean([0.9, 0.1, 0.4]), np.inf, np.mean([0.9, 0.6])])
    assert found.is_suspect.tolist() == [False, True, False]


def test_a_threshold_is_at_most_that_of_a_sure_label():
    found = LabelNoise.estimate([[0.99, 0.01]] * 5 + [[0.15, 0.85]] + [[0.01, 0.99]] * 5, [0] * 6 + [1] * 5)
    np.testing.assert_allclose(found.thresholds, [0.8, 0.8])
    assert found.is_suspect.tolist() == [False] * 5 + [True] + [False] * 5


def test_nothing_to_compare():
    found = LabelNoise.estimate(np.full((2, 2), np.nan), [0, 1])
    assert found.n_wrong == 0
    assert not found.is_suspect.any()


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(2, 30))
def test_against_the_definitions(seed, n_labels, n_obs):
    """Algorithm of Northcutt et al. 2021, section 3.1, in loops."""
    rng = np.random.default_rng(seed)
    p, given_codes = rng.dirichlet(np.ones(n_labels), n_obs), rng.integers(0, n_labels, n_obs)
    found = LabelNoise.estimate(p, given_codes)
    joint = np.zeros((n_labels, n_labels), dtype=int)
    thresholds = [min(p[given_codes == j, j].mean(), 0.8) if (given_codes == j).any() else None for j in range(n_labels)]
    if None in thresholds:
        return
    suspects = []
    for i in range(n_obs):
        above = [j for j in range(n_labels) if p[i, j] >= thresholds[j] - 1e-12]
        suspects.append(False)
        if above:
            j = max(above, key=lambda j: p[i, j])
            joint[given_codes[i], j] += 1
            suspects[-1] = j != given_codes[i]
    np.testing.assert_array_equal(found.counts, joint)
    assert found.is_suspect.tolist() == suspects
