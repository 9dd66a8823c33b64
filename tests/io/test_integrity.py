"""Invalid matrices of every format, against what SciPy says of them; and pieces of arrays on disk that are missing."""

import shutil

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import example, given, strategies as st
from scipy import sparse

from sctab.errors import DataFileError, InputValueError
from sctab.io.integrity import (
    indices_problem,
    indptr_problem,
    lost_piece_problem,
    missing_pieces,
    refuse,
    require_sound,
    shape_problem,
    sparse_problem,
)

DENSE = np.array([[0, 3, 0, 1], [0, 0, 0, 0], [2, 0, 5, 0], [0, 0, 0, 4], [1, 1, 1, 1], [0, 0, 0, 7]], dtype=np.float32)
FORMATS = ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"]


def changed(kind, attribute, place, value):
    """A matrix of a format with one number of one of its arrays changed, as an edited or a damaged one has it."""
    matrix = sparse.csr_matrix(DENSE).asformat(kind)
    array = getattr(matrix, attribute).copy()
    array[place] = value
    setattr(matrix, attribute, array)
    return matrix


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("of", [sparse.csr_matrix, sparse.csr_array])
def test_valid_matrices_have_no_problem(kind, of):
    assert sparse_problem(of(DENSE).asformat(kind)) is None


@pytest.mark.parametrize("kind", ["csr", "csc", "bsr"])
@pytest.mark.parametrize(
    ("attribute", "place", "value", "says"),
    [
        ("indices", 1, 6, "`indices` must lie between 0 and"),
        ("indices", 1, 10**6, "and one is 1000000"),
        ("indices", 1, -1, "and one is -1"),
        ("indptr", 0, 1, "must start at 0, and starts at 1"),
        ("indptr", 2, 10**6, "must never fall, and falls from 1000000"),
        ("indptr", 2, -5, "must never fall, and falls from"),
        ("indptr", -1, 10**6, "must end at the number of stored values"),
        ("indptr", -1, 0, "must"),
    ],
)
def test_indices_and_indptr(kind, attribute, place, value, says):
    problem = sparse_problem(changed(kind, attribute, place, value))
    assert problem is not None
    assert problem.startswith(f"is not a valid {kind.upper()} matrix")
    assert says in problem


@pytest.mark.parametrize(("attribute", "limit"), [("row", 6), ("col", 4)])
@pytest.mark.parametrize("value", [-1, None])
def test_coordinates(attribute, limit, value):
    value = limit if value is None else value
    matrix = changed("coo", attribute, 1, value)
    assert (
        sparse_problem(matrix) == f"is not a valid COO matrix: `{attribute}` must lie between 0 and {limit - 1}, and one is {value}"
    )


def test_lists():
    matrix = sparse.lil_matrix(DENSE)
    matrix.rows[2] = [0, 9]
    assert sparse_problem(matrix) == "is not a valid LIL matrix: columns must lie between 0 and 3, and one of row 2 is 9"
    matrix.rows[2] = [0, 1, 2]
    assert sparse_problem(matrix) == "is not a valid LIL matrix: row 2 must have as many columns as values, and has 3 and 2"
    matrix.rows = matrix.rows[:3]
    assert sparse_problem(matrix) == "is not a valid LIL matrix: `rows` and `data` must have 6 lists, and have 3 and 6"


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
def test_arrays_of_other_lengths(kind):
    matrix = sparse.csr_matrix(DENSE).asformat(kind)
    matrix.data = matrix.data[:-1]
    assert sparse_problem(matrix) is not None


@pytest.mark.parametrize("attribute", ["indices", "indptr"])
def test_indices_that_are_no_integers(attribute):
    matrix = sparse.csr_matrix(DENSE)
    setattr(matrix, attribute, getattr(matrix, attribute).astype(np.float64))
    assert sparse_problem(matrix) == f"is not a valid CSR matrix: `{attribute}` must hold integers, and holds float64"


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4", ">u8"])
def test_limits_of_every_type(dtype):
    largest = min(np.iinfo(dtype).max, 10**9)
    valid = np.array([0, largest, 3], dtype=dtype)
    assert indices_problem(valid, largest + 1) is None
    assert indices_problem(valid, 2**40) is None
    assert (
        indices_problem(valid, largest)
        == f"is not a valid CSR matrix: `indices` must lie between 0 and {largest - 1}, and one is {largest}"
    )
    if np.dtype(dtype).kind == "i":
        assert "and one is -1" in (indices_problem(np.array([5, -1], dtype=dtype), 2**40) or "")


def test_no_values():
    assert indices_problem(np.array([], dtype=np.int32), 0) is None
    assert indptr_problem(np.array([0]), 0, 0) is None
    assert "must have 1 entries" in (indptr_problem(np.array([], dtype=np.int64), 0, 0) or "")


@given(
    indptr=st.lists(st.integers(-2, 9), min_size=1, max_size=6),
    values=st.lists(st.tuples(st.integers(-2, 5), st.integers(0, 3)), max_size=8),
    n_vars=st.integers(0, 5),
)
@example(indptr=[0, 1, 3], values=[(0, 1), (0, 1), (2, 1)], n_vars=3)
@example(indptr=[0], values=[], n_vars=0)
def test_what_scipy_finds_invalid_is_refused_and_nothing_else(indptr, values, n_vars):
    columns, data = (np.array([value[i] for value in values], dtype=kind) for i, kind in enumerate((np.int32, np.float32)))
    matrix = sparse.csr_matrix((len(indptr) - 1, n_vars), dtype=np.float32)
    matrix.indptr, matrix.indices, matrix.data = np.array(indptr, dtype=np.int32), columns, data
    try:
        matrix.check_format(full_check=True)
        is_valid = indptr[-1] == len(values)  # SciPy cuts what is left over
    except ValueError:
        is_valid = False
    matrix.indices, matrix.data = columns, data
    assert (sparse_problem(matrix) is None) == is_valid


@pytest.mark.parametrize("bit", range(32))
def test_any_flipped_bit_is_refused_or_leaves_a_valid_matrix(bit):
    for attribute in ("indices", "indptr"):
        matrix = sparse.csr_matrix(DENSE)
        for place in range(len(getattr(matrix, attribute))):
            flipped = sparse.csr_matrix(DENSE)
            getattr(flipped, attribute).view(np.uint32)[place] ^= np.uint32(1 << bit)
            if sparse_problem(flipped) is None:
                flipped.check_format(full_check=True)


def test_shapes():
    assert shape_problem((6, 4), (6, 4)) is None
    assert shape_problem((6,)) == "must have two dimensions, and has the shape (6,)"
    assert "not negative" in (shape_problem((-6, 4)) or "")
    assert "has 5 rows and 4 columns" in (shape_problem((5, 4), (6, 4)) or "")


def test_error_says_where_the_matrix_is_from():
    assert type(refuse("X", "is wrong")) is InputValueError
    error = refuse("X", "is wrong", "a.h5ad")
    assert type(error) is DataFileError
    assert str(error).startswith("`a.h5ad`: `X` is wrong. The file is incomplete or damaged")
    with pytest.raises(InputValueError, match="`raw.X` is not a valid CSR matrix"):
        require_sound(changed("csr", "indices", 0, 99), "raw.X")


def random_rows(kind, n_obs=200, n_vars=60):
    return sparse.random(n_obs, n_vars, density=0.5, format=kind, dtype=np.float32, rng=np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_zeros_in_place_of_indices_are_a_lost_piece(kind):
    matrix = random_rows(kind)
    matrix.indices[1000:2000] = 0
    problem = sparse_problem(matrix)
    assert problem is not None
    assert "a piece of `indices` was lost" in problem


def test_repeated_indices_are_legal():
    matrix = random_rows("csr")
    twice = sparse.csr_matrix((matrix.nnz * 2 * [1.0], np.repeat(matrix.indices, 2), matrix.indptr * 2), shape=matrix.shape)
    assert lost_piece_problem(twice.indptr, twice.indices, 60) is None
    ones = sparse.csr_matrix(
        (np.ones(50), np.zeros(50, dtype=int), np.arange(51)), shape=(50, 60)
    )  # all cells have the first gene alone
    assert lost_piece_problem(ones.indptr, ones.indices, 60) is None


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (40, 20))])
def test_missing_chunks_of_zarr(tmp_path, zarr_format, shards):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    array = group.create_array("x", shape=(95, 50), dtype="f4", chunks=(20, 10) if shards else (40, 20), shards=shards)
    array[:] = 1
    assert list(missing_pieces(array)) == []
    key = "c/1/2" if zarr_format == 3 else "1.2"
    (tmp_path / "a.zarr" / "x" / key).unlink()
    assert list(missing_pieces(array)) == [(slice(40, 80), slice(40, 50))]
    shutil.rmtree(tmp_path / "a.zarr" / "x" / "c", ignore_errors=True)
    if zarr_format == 3:
        assert len(list(missing_pieces(array))) == 9


def test_missing_chunks_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        whole = file.create_dataset("whole", data=np.ones(100), chunks=(30,))
        part = file.create_dataset("part", shape=(100,), dtype="f4", chunks=(30,))
        part[60:] = 1
        never = file.create_dataset("never", shape=(10**12,), dtype="f4")
        empty = file.create_dataset("empty", shape=(0,), dtype="f4", chunks=(30,), maxshape=(None,))
        assert [list(missing_pieces(array)) for array in (whole, part, never, empty)] == [
            [],
            [(slice(0, 30),), (slice(30, 60),)],
            [(slice(0, 10**12),)],
            [],
        ]
