"""Principal components of sparse blocks, against scikit-learn's of the dense matrix."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from sctab.data._components import principal_components


@pytest.fixture
def matrix():
    """500 sparse rows in 80 columns that vary along some directions much more than along others."""
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(500, 12)) * np.geomspace(6, 1, 12) @ rng.normal(size=(12, 80)) + 0.1 * rng.normal(size=(500, 80)) + 1
    return sparse.csr_matrix(np.where(dense > 0, dense, 0).astype(np.float32))


def blocks_of(matrix, size):
    return lambda: (matrix[start : start + size] for start in range(0, matrix.shape[0], size))


def test_are_those_of_scikit_learn(matrix):
    found = principal_components(blocks_of(matrix, 128), 80, 6, n_iterations=20, rng=np.random.default_rng(0))
    expected = PCA(6, svd_solver="full").fit(matrix.toarray().astype(np.float64))
    np.testing.assert_allclose(found.mean, expected.mean_, rtol=1e-5)
    np.testing.assert_allclose(found.variance, expected.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(np.abs((found.loadings * expected.components_).sum(axis=1)), 1, atol=1e-3)


def test_a_few_passes_find_nearly_all_of_the_variance(matrix):
    found = principal_components(blocks_of(matrix, 128), 80, 6, rng=np.random.default_rng(0))
    expected = PCA(6, svd_solver="full").fit(matrix.toarray().astype(np.float64))
    assert found.variance.sum() > 0.999 * expected.explained_variance_.sum()


@pytest.mark.parametrize("size", [1, 77, 500])
def test_size_of_the_blocks_does_not_matter(matrix, size):
    found, expected = (principal_components(blocks_of(matrix, each), 80, 6, rng=np.random.default_rng(0)) for each in (size, 128))
    np.testing.assert_allclose(found.loadings, expected.loadings, atol=1e-3)


def test_loadings_are_orthonormal(matrix):
    loadings = principal_components(blocks_of(matrix, 128), 80, 20, rng=np.random.default_rng(0)).loadings
    np.testing.assert_allclose(loadings @ loadings.T, np.eye(20), atol=1e-4)


def test_directions_without_variance_are_zero():
    """Four rows differ along three directions at most."""
    matrix = sparse.csr_matrix(np.random.default_rng(0).random((4, 10)).astype(np.float32))
    loadings = principal_components(blocks_of(matrix, 4), 10, 6, rng=np.random.default_rng(0)).loadings
    assert [bool(row.any()) for row in loadings] == [True] * 3 + [False] * 3


def test_constant_rows_have_no_component():
    matrix = sparse.csr_matrix(np.ones((5, 4), dtype=np.float32))
    assert not principal_components(blocks_of(matrix, 5), 4, 2, rng=np.random.default_rng(0)).loadings.any()
