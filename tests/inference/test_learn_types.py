"""Types learned from a reference: worked examples, and which cells are compared with which."""

import numpy as np
import pytest
from scipy import sparse
from tests.types_of_cells import N_GENES, NORMALIZATION, learn, reference

from sctab.data import Normalization
from sctab.inference._learn_types import TypeSums, folds_of_units, select_markers


def test_markers_worked_by_hand():
    """Gene 0 is up in type 0, gene 1 down in type 1, gene 2 varies as much within types as between them, gene 3 is constant."""
    means = np.array([[3.0, 2.0, 5.0, 1.0], [0.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 1.0]])
    variances = np.array([[0.1, 0.1, 25.0, 0.0]] * 3)
    assert select_markers(means, variances, 1).tolist() == [0, 1]
    assert select_markers(means, variances, 4).tolist() == [0, 1, 2, 3]


def test_learning_does_not_depend_on_the_normalisation():
    values, codes = reference()
    linear = sparse.csr_matrix(values.expm1() / 100)
    found, expected = learn(linear, codes, normalization=Normalization(100.0, log1p=False)), learn(values, codes)
    np.testing.assert_array_equal(found.genes, expected.genes)
    np.testing.assert_allclose(found.expression, expected.expression, rtol=1e-4)


def test_sums_of_blocks_are_means_of_the_whole():
    values, codes = reference()
    folds = folds_of_units(None, 600)
    sums = TypeSums(3, N_GENES, 5, NORMALIZATION)
    for start in range(0, 600, 70):
        part = slice(start, start + 70)
        sums.add(values[part], codes[part], folds[part])
    seen = sums.seen_types(values, codes, folds)
    expected = np.stack([np.expm1(values[codes == label].toarray()).mean(axis=0) for label in range(3)])
    np.testing.assert_allclose(seen.expression, expected[:, seen.genes], rtol=1e-4)
    np.testing.assert_allclose(seen.mean_expression, expected.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_one_label_cannot_be_told_from_others():
    values, _ = reference()
    assert learn(values, np.zeros(600, dtype=int), n_labels=1) is None


def test_cells_are_compared_with_types_of_other_units():
    """A type that only one unit has is unknown to the others: its cells say nothing of cells of seen types."""
    values, codes = reference()
    units = np.where(codes == 2, 0, 1 + np.arange(600) % 2)
    seen = learn(values, codes, units)
    assert set(seen.units.tolist()) == {1, 2}
    assert len(seen.scores) == 400


@pytest.mark.parametrize("n_units", [2, 5, 12])
def test_units_are_held_out_whole(n_units):
    units = np.random.default_rng(0).integers(n_units, size=500)
    folds = folds_of_units(units, 500)
    assert len(np.unique(folds)) == min(n_units, 5)
    for unit in np.unique(units):
        assert len(np.unique(folds[units == unit])) == 1


def test_cells_at_random_where_there_is_one_unit():
    for units in (None, np.zeros(100, dtype=int)):
        assert np.bincount(folds_of_units(units, 100)).tolist() == [20] * 5


def test_markers_of_the_types():
    """Nearly all of the 45 genes that tell the types apart are among the at most 60."""
    seen = learn(*reference())
    assert len(set(range(45)) & set(seen.genes.tolist())) >= 42
    assert len(seen.genes) <= 60
