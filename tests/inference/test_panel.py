"""Informative genes of types, and types that a panel cannot tell apart."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import poisson
from tests.types_of_cells import N_GENES, learn, reference

from sctab.inference._panel import LARGEST_OVERLAP, Panel
from sctab.inference._unseen import SeenTypes

EVERY = np.ones(N_GENES, dtype=bool)


@pytest.fixture(scope="module")
def seen():
    return learn(*reference())


def types(expression, n_genes=None):
    """Types with this expression, whose marker genes are the first ones."""
    expression = np.asarray(expression, dtype=np.float32)
    genes = np.arange(expression.shape[1], dtype=np.int32)
    n_genes = n_genes or expression.shape[1]
    return SeenTypes(
        genes, expression, np.ones(n_genes, dtype=np.float32), np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.int32)
    )


def test_all_genes_cover_all(seen):
    np.testing.assert_allclose(Panel(seen, EVERY).coverage(), 1)
    np.testing.assert_allclose(Panel(seen, ~EVERY).coverage(), 0)


def test_informative_genes_are_those_of_the_type(seen):
    """Each simulated type has 15 genes of its own; genes of the others tell it from these."""
    for label in range(3):
        own = set(range(15 * label, 15 * (label + 1)))
        best = seen.genes[Panel(seen, EVERY).informative(label)][:10]
        assert len(own & set(best.tolist())) >= 7


def test_a_type_whose_genes_are_missing_is_covered_less(seen):
    found = EVERY.copy()
    found[:15] = False
    coverage = Panel(seen, found).coverage()
    assert coverage[0] < 0.4
    assert (coverage[1:] > coverage[0]).all()


@given(st.sets(st.integers(0, N_GENES - 1)), st.sets(st.integers(0, N_GENES - 1)))
def test_more_genes_never_cover_or_separate_less(some, others):
    seen = learn(*reference())
    fewer, more = (np.isin(np.arange(N_GENES), list(genes)) for genes in (some, some | others))
    assert (Panel(seen, more).coverage() >= Panel(seen, fewer).coverage() - 1e-9).all()
    assert (Panel(seen, more).overlap(500) <= Panel(seen, fewer).overlap(500) + 1e-9).all()


def test_overlap_is_that_of_poisson_distributions():
    expression = np.array([[1.0, 30.0, 4.0], [7.0, 22.0, 4.0]])
    values = np.arange(400)
    roots = np.sqrt(poisson.pmf(values[:, None, None], expression * 0.3))
    expected = np.prod((roots[:, 0] * roots[:, 1]).sum(axis=0))
    found = Panel(types(expression), np.ones(3, dtype=bool)).overlap(3_000)
    np.testing.assert_allclose(found, [[1, expected], [expected, 1]], rtol=1e-6)


def test_types_whose_difference_is_not_measured_are_confused():
    seen = types([[50, 0, 0, 9], [0, 50, 0, 9], [0, 50, 40, 9]])
    assert not Panel(seen, np.ones(4, dtype=bool)).confused(5_000)
    without_third = Panel(seen, np.array([True, True, False, True]))
    assert [group.tolist() for group in without_third.confused(5_000)] == [[1, 2]]
    assert [group.tolist() for group in Panel(seen, np.zeros(4, dtype=bool)).confused(5_000)] == [[0, 1, 2]]


def test_depth_decides_what_can_be_told_apart():
    seen = types([[8, 0], [0, 8]])
    panel = Panel(seen, np.ones(2, dtype=bool))
    assert panel.confused(500)
    assert not panel.confused(10_000)
    assert panel.overlap(500)[0, 1] > LARGEST_OVERLAP > panel.overlap(10_000)[0, 1]


def test_labels_without_cells_are_left_out():
    panel = Panel(types([[9, 0], [0, 0], [0, 9]]), np.array([True, False]))
    assert np.isnan(panel.coverage()).tolist() == [False, True, False]
    assert not len(panel.informative(1))
    assert [group.tolist() for group in panel.confused(1)] == [[0, 2]]
