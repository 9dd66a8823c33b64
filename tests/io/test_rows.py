"""Row blocks of every kind of storage, against the dense array that was stored."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from sctab import InputValueError
from sctab.io._rows import row_blocks, to_csr

small_matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 9).map(float)
)


@pytest.mark.parametrize("size", [64, 299, 4096])
def test_blocks_are_the_rows_in_order(stored, counts, size):
    blocks = list(row_blocks(stored(counts), size))
    assert all(type(block) is sparse.csr_matrix for block in blocks)
    assert [block.shape[0] for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.vstack([block.toarray() for block in blocks]), counts)


def test_whole_matrix_is_what_was_stored(stored, counts):
    whole = to_csr(stored(counts))
    assert type(whole) is sparse.csr_matrix
    assert whole.dtype == counts.dtype
    np.testing.assert_array_equal(whole.toarray(), counts)


@given(matrix=small_matrices, size=st.integers(1, 15))
def test_block_size_does_not_matter(matrix, size):
    for kind in (np.asarray, sparse.csr_matrix, sparse.csc_array):
        blocks = list(row_blocks(kind(matrix), size))
        assert len(blocks) == -(-len(matrix) // size)
        np.testing.assert_array_equal(sparse.vstack(blocks).toarray(), matrix)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_numpy_matrix(counts):
    np.testing.assert_array_equal(to_csr(np.asmatrix(counts)).toarray(), counts)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint64", "float32", "float64"])
def test_numbers_of_every_type(counts, dtype):
    matrix = np.minimum(counts, 100).astype(dtype)
    np.testing.assert_array_equal(to_csr(matrix).toarray(), matrix)
    np.testing.assert_array_equal(to_csr(sparse.csr_matrix(matrix)).toarray(), matrix)


@pytest.mark.parametrize("dtype", ["float16", ">f4", ">i8"])
def test_numbers_that_scipy_does_not_know(counts, dtype):
    matrix = np.minimum(counts, 100).astype(dtype)
    np.testing.assert_array_equal(to_csr(matrix).toarray(), matrix.astype(np.float64))


def test_a_csr_matrix_is_not_copied(counts):
    matrix = sparse.csr_matrix(counts)
    assert to_csr(matrix) is matrix


def test_blocks_do_not_share_memory_with_the_matrix(counts):
    matrix = sparse.csr_matrix(counts)
    for block in row_blocks(matrix, 100):
        block.data[:] = -1
        block.indices[:] = 0
    np.testing.assert_array_equal(matrix.toarray(), counts)


FORMATS = ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"]


@st.composite
def corrupted(draw):
    """A sparse matrix of any format, with some numbers of its arrays replaced, and whether SciPy takes it for valid."""
    dense = draw(small_matrices)
    kind = draw(st.sampled_from(FORMATS))
    matrix = sparse.csr_matrix(dense).asformat(kind)
    names = [name for name in ("indices", "indptr", "coords", "offsets") if hasattr(matrix, name)]
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(names)) if names else None
        arrays = [] if name is None else list(matrix.coords) if name == "coords" else [getattr(matrix, name)]
        for array in arrays:
            if array.size:
                array[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from([-(2**31), -1, 0, 1, 5, 12, 10**6, 2**31 - 1]))
    return matrix


@given(matrix=corrupted(), size=st.integers(1, 15))
def test_a_corrupted_matrix_is_refused_or_read_as_scipy_reads_it(matrix, size):
    try:
        if hasattr(matrix, "check_format"):
            matrix.copy().check_format(full_check=True)
        elif matrix.format == "coo":
            type(matrix)((matrix.data, matrix.coords), shape=matrix.shape)  # which checks them
        expected = matrix.toarray()
    except ValueError:
        expected = None
    for read in (lambda: [to_csr(matrix)], lambda: list(row_blocks(matrix, size))):
        if expected is None:
            with pytest.raises(InputValueError, match="`X` is not a valid"):
                read()
        else:
            blocks = read()
            found = sparse.vstack(blocks).toarray() if blocks else np.zeros(matrix.shape)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, lambda matrix: da.from_array(matrix)])
def test_no_rows_are_no_blocks(kind):
    matrix = kind(np.zeros((0, 5), dtype=np.float32))
    assert list(row_blocks(matrix)) == []
    assert to_csr(matrix).shape == (0, 5)


def test_dask_computes_only_the_rows_that_are_asked_for(counts):
    computed = []

    def read(block, block_info=None):
        computed.append(block_info[0]["array-location"][0])
        return sparse.csr_matrix(block)

    lazy = da.from_array(counts, chunks=(100, -1)).map_blocks(
        read, dtype=counts.dtype, meta=sparse.csr_matrix((0, 0), dtype=counts.dtype)
    )
    blocks = row_blocks(lazy, 100)
    computed.clear()
    next(blocks)
    assert computed == [(0, 100)]
    next(blocks)
    assert computed == [(0, 100), (100, 200)]
