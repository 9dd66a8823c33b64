"""Loops over the values of sparse matrices against dense products, in either precision."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse

from sctab.nn.fast import _product_kernels as kernels

matrices = st.builds(
    lambda seed, n_obs, n_columns, density: sparse.random(
        n_obs, n_columns, density=density, format="csr", random_state=seed
    ).sorted_indices(),
    seed=st.integers(0, 10_000),
    n_obs=st.integers(1, 12),
    n_columns=st.integers(1, 1500),
    density=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
numbers = st.integers(0, 10_000).map(np.random.default_rng)
precisions = st.sampled_from([(np.float32, 1e-4), (np.float64, 1e-12)])


@given(matrix=matrices, rng=numbers, precision=precisions, size=st.sampled_from([1, 7, 512, 4096]))
@settings(deadline=None)
def test_weighted_sums_are_a_product(matrix, rng, precision, size):
    dtype, tolerance = precision
    scale, table = rng.normal(size=matrix.shape[1]), rng.normal(size=(matrix.shape[1], 3))
    out = np.zeros((matrix.shape[0], 3), dtype=dtype)
    arrays = matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(dtype)
    kernels.add_weighted_sum(*arrays, scale.astype(dtype), table.astype(dtype), size, out)
    np.testing.assert_allclose(out, matrix.toarray() * scale @ table, atol=tolerance * 30, rtol=tolerance)


@given(matrix=matrices, rng=numbers, precision=precisions)
@settings(deadline=None)
def test_products_at_places_are_those_of_the_dense_product(matrix, rng, precision):
    dtype, tolerance = precision
    rows, table = rng.normal(size=(matrix.shape[0], 5)), rng.normal(size=(matrix.shape[1], 5))
    out = np.empty(matrix.nnz, dtype=dtype)
    kernels.products_at(matrix.indptr.astype(np.int64), matrix.indices, rows.astype(dtype), table.astype(dtype), out)
    np.testing.assert_allclose(out, (rows @ table.T)[matrix.nonzero()], atol=tolerance * 10)


@given(matrix=matrices, seed=st.integers(0, 100), density=st.sampled_from([0.0, 0.1, 1.0]))
@settings(deadline=None)
def test_values_at_places_are_those_of_the_dense_matrix(matrix, seed, density):
    wanted = sparse.random(*matrix.shape, density=density, format="csr", random_state=seed).sorted_indices()
    out = np.empty(wanted.nnz)
    of_matrix = matrix.indptr.astype(np.int64), matrix.indices, matrix.data
    kernels.values_at(*of_matrix, wanted.indptr.astype(np.int64), wanted.indices, matrix.shape[1], out)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(wanted.indptr))
    np.testing.assert_array_equal(out, matrix.toarray()[rows, wanted.indices])


@given(matrix=matrices, offset=st.sampled_from([0.0, 1e6]))
@settings(deadline=None)
def test_moments_are_those_of_the_dense_matrix(matrix, offset):
    matrix.data += offset  # a sum of squares without the mean taken off would lose all digits
    by_column = matrix.tocsc()
    out = np.empty((matrix.shape[1], 2))
    kernels.moments(by_column.indptr.astype(np.int64), by_column.data, matrix.shape[0], out)
    dense = matrix.toarray()
    np.testing.assert_allclose(out, np.column_stack([dense.mean(axis=0), dense.var(axis=0)]), rtol=1e-9, atol=1e-9)


@given(rng=numbers, n_columns=st.integers(1, 20), width=st.integers(1, 9))
@settings(deadline=None)
def test_gradients_are_finished(rng, n_columns, width):
    x, gradient = rng.normal(size=(6, n_columns)), rng.normal(size=(6, width))
    scale, shift, table = rng.normal(size=n_columns), rng.normal(size=n_columns), rng.normal(size=(n_columns, width))
    of_table, of_scale, of_shift = x.T @ gradient, np.empty(n_columns), np.empty(n_columns)
    kernels.finish_gradients(scale, shift, table, gradient.sum(axis=0), of_table, of_scale, of_shift)
    of_input = gradient @ table.T
    np.testing.assert_allclose(of_table, (x * scale + shift).T @ gradient, atol=1e-12)
    np.testing.assert_allclose(of_scale, (of_input * x).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(of_shift, of_input.sum(axis=0), atol=1e-12)


@pytest.mark.parametrize("n_rows", [1, 2, 9])
def test_mean_squares_of_columns(n_rows):
    matrix, out = np.random.default_rng(0).normal(size=(n_rows, 7)), np.empty(5)
    kernels.mean_squares(matrix[:, 1:6], out)
    np.testing.assert_allclose(out, (matrix[:, 1:6] ** 2).mean(axis=0))


@pytest.mark.parametrize(("n_values", "size"), [(8_000, 2048), (800_000, 512)])
def test_tiles_are_larger_where_few_values_are_in_each(n_values, size):
    assert kernels.tile_size(n_values, 100, 19_331) == size
