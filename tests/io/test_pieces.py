"""Matrices that arrive in portions against SciPy."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.io._pieces import RowPieces


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.integers(1, 5))
def test_any_order(seed, n_obs, size, n_portions):
    rng = np.random.default_rng(seed)
    n_values = int(rng.integers(0, 200))
    rows, columns, values = rng.integers(0, n_obs, n_values), rng.integers(0, 7, n_values), rng.integers(1, 9, n_values)
    expected = sparse.coo_matrix((values, (rows, columns)), shape=(n_obs, 7)).toarray()
    pieces = RowPieces((n_obs, 7), np.float32, size)
    for part in np.array_split(np.arange(n_values), n_portions):
        pieces.add(rows[part], columns[part], values[part])
    start, stop = sorted(rng.integers(0, n_obs + 1, 2))
    np.testing.assert_array_equal(pieces[start:stop].toarray(), expected[start:stop])
    np.testing.assert_array_equal(pieces[0:n_obs].toarray(), expected)


def test_no_rows():
    assert RowPieces((5, 3), np.float32)[2:2].shape == (0, 3)
    assert RowPieces((5, 3), np.float32)[1:4].nnz == 0


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_types(dtype):
    pieces = RowPieces((5, 3), dtype)
    pieces.append(0, np.array([1]), np.array([2]), np.array([7]))
    assert pieces[0:5].dtype == dtype
    assert pieces[0:5][1, 2] == 7
