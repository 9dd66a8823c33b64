"""Rows of a matrix that is stored in blocks."""

import numpy as np
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.corpus.sources._blocks import BlockRows

MATRIX = sparse.random(23, 7, density=0.4, format="csr", random_state=0)
LENGTHS = [5, 1, 10, 0, 7]


def read(number):
    start = sum(LENGTHS[:number])
    return MATRIX[start : start + LENGTHS[number]]


@given(bounds=st.tuples(st.integers(0, 23), st.integers(0, 23)).map(sorted))
def test_any_rows_are_those_of_the_matrix(bounds):
    start, stop = bounds
    rows = BlockRows(LENGTHS, 7, read)
    np.testing.assert_array_equal(rows[start:stop].toarray(), MATRIX[start:stop].toarray())


def test_a_block_is_read_once_for_rows_in_order():
    seen = []
    rows = BlockRows(LENGTHS, 7, lambda number: (seen.append(number), read(number))[1])
    for start in range(0, 23, 4):
        rows[start : min(start + 4, 23)]
    assert seen == sorted(set(seen))
    assert rows.shape == (23, 7)
