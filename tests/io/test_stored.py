"""Sparse matrices in files, whole and damaged, against SciPy and the arrays that were stored."""

import h5py
import numpy as np
import pytest
import zarr
from anndata import AnnData, read_h5ad as read
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from sctab import DataFileError
from sctab.io._rows import RowReader, row_blocks
from sctab.io._stored import StoredRows, TransposedRows

KINDS = {"csr": StoredRows, "csc": TransposedRows}
N_OBS, N_VARS = 150, 90


@pytest.fixture(scope="module")
def dense():
    return np.random.default_rng(1).poisson(0.7, (N_OBS, N_VARS)).astype(np.float32)


@pytest.fixture(params=["hdf5", "zarr"])
def group(request, tmp_path):
    """An empty group of either format."""
    if request.param == "hdf5":
        with h5py.File(tmp_path / "a.h5ad", "w") as file:
            yield file
    else:
        yield zarr.open_group(tmp_path / "a.zarr", mode="w")


def store(group, matrix, **changed):
    """Write a matrix with some arrays or attributes changed, as an interrupted or foreign writer leaves them."""
    write_elem(group, "X", matrix)
    for name, value in changed.items():
        if name in {"data", "indices", "indptr"}:
            del group["X"][name]
            value = np.asarray(value)
            array = (
                group["X"].create_dataset(name, data=value) if hasattr(group, "file") else group["X"].create_array(name, data=value)
            )
            assert array.shape == value.shape
        else:
            group["X"].attrs[name.replace("_", "-")] = value
    return sparse_dataset(group["X"])


def rows_of(dataset):
    return KINDS[dataset.format](dataset, "layers['counts']", "a file")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint32", "float16", "float32", ">f8"])
@pytest.mark.parametrize("index", ["int32", "int64", "uint16", "uint64", ">i4"])
def test_values_and_indices_of_every_type(group, dense, kind, dtype, index):
    if kind == "csr" or (dtype, index) in {("float32", "int64"), (">f8", ">i4")}:
        matrix = sparse.csr_matrix(dense).asformat(kind)
        arrays = {
            "data": matrix.data.astype(dtype),
            "indices": matrix.indices.astype(index),
            "indptr": matrix.indptr.astype("uint64"),
        }
        rows = rows_of(store(group, matrix, **arrays))
        np.testing.assert_array_equal(rows[20:149].toarray(), dense[20:149])
        assert rows[3:3].shape == (0, N_VARS)


INVALID = {
    "an index too high": (
        lambda m: {"indices": np.where(np.arange(m.nnz) == 77, max(m.shape), m.indices)},
        "`indices` must lie between",
    ),
    "an index too low": (lambda m: {"indices": np.where(np.arange(m.nnz) == 77, -1, m.indices)}, "and one is -1"),
    "indices of floats": (lambda m: {"indices": m.indices.astype(float)}, "`indices` must hold integers, and holds float64"),
    "indptr of floats": (lambda m: {"indptr": m.indptr.astype(float)}, "`indptr` must hold integers, and holds float64"),
    "indptr falls": (lambda m: {"indptr": np.where(np.arange(len(m.indptr)) == 9, 0, m.indptr)}, "must never fall"),
    "indptr runs too far": (lambda m: {"indptr": np.where(np.arange(len(m.indptr)) == 9, 10**6, m.indptr)}, "must never fall"),
    "indptr starts late": (lambda m: {"indptr": np.maximum(m.indptr, 1)}, "must start at 0, and starts at 1"),
    "indptr ends early": (lambda m: {"indptr": np.minimum(m.indptr, 99)}, "must end at the number of stored values"),
    "indptr too short": (lambda m: {"indptr": m.indptr[:-1]}, "`indptr` must have"),
    "fewer indices than values": (lambda m: {"indices": m.indices[:-1]}, "the same length"),
    "values in two dimensions": (lambda m: {"data": m.data[:, None]}, "one dimension"),
    "text for values": (lambda m: {"data": m.data.astype("S4")}, "must hold real numbers"),
    "complex values": (lambda m: {"data": m.data.astype(complex)}, "must hold real numbers, and holds complex128"),
    "a shape of one dimension": (lambda _: {"shape": [13]}, ""),
    "a negative shape": (lambda m: {"shape": [-m.shape[0], m.shape[1]]}, ""),
    "a huge shape": (lambda _: {"shape": [10**12, 10**12]}, "`indptr` must have"),
    "the other layout": (lambda m: {"encoding_type": "csc_matrix" if m.format == "csr" else "csr_matrix"}, "`indptr` must have"),
}


@pytest.mark.filterwarnings("ignore:The data type:zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", INVALID)
def test_invalid_matrices_are_refused(group, dense, kind, what):
    change, says = INVALID[what]
    matrix = sparse.csr_matrix(dense).asformat(kind)
    dataset = store(group, matrix, **change(matrix))
    with pytest.raises(DataFileError) as caught:
        rows_of(dataset)[0:N_OBS]
    assert str(caught.value).startswith("`a file`: `layers['counts']` ")
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_bit_is_refused_or_leaves_a_valid_matrix(group, dense, kind, rng):
    matrix = sparse.csr_matrix(dense).asformat(kind)
    n_refused = 0
    for name in ("indices", "indptr"):
        for bit in range(0, 32, 1 if hasattr(group, "file") else 6):
            flipped = getattr(matrix, name).astype(np.int32)
            flipped.view(np.uint32)[rng.integers(len(flipped))] ^= np.uint32(1 << bit)
            arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr} | {name: flipped}
            try:
                expected = type(matrix)((arrays["data"], arrays["indices"], arrays["indptr"]), shape=matrix.shape)
                expected.check_format(full_check=True)
            except ValueError:
                expected = None
            dataset = store(group, matrix, **arrays)
            if expected is None:
                with pytest.raises(DataFileError, match="is not a valid CS. matrix"):
                    rows_of(dataset)[0:N_OBS]
                n_refused += 1
            else:
                np.testing.assert_array_equal(rows_of(dataset)[0:N_OBS].toarray(), expected.toarray())
    assert n_refused >= 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_matrix_is_transposed_on_disk_and_checked(group, dense, kind, monkeypatch):
    monkeypatch.setattr("sctab.io._stored._MOST_IN_MEMORY", 500)
    monkeypatch.setattr("sctab.io._stored._ROWS", 37)
    matrix = sparse.csr_matrix(dense).asformat(kind)
    np.testing.assert_array_equal(rows_of(store(group, matrix))[30:140].toarray(), dense[30:140])
    damaged = np.where(np.arange(matrix.nnz) == matrix.nnz - 5, N_OBS + N_VARS, matrix.indices)
    rows = rows_of(store(group, matrix, indices=damaged))
    for _ in range(2):  # what was transposed before the damage is not taken for the whole
        with pytest.raises(DataFileError, match="`indices` must lie between"):
            rows[0:N_OBS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("array", ["data", "indices", "indptr"])
@pytest.mark.parametrize("is_group", [True, False])
def test_arrays_that_are_missing_or_groups_are_refused(group, dense, kind, array, is_group):
    write_elem(group, "X", sparse.csr_matrix(dense).asformat(kind))
    dataset = sparse_dataset(group["X"])
    del group["X"][array]
    if is_group:
        group["X"].create_group(array)
    with pytest.raises(DataFileError, match=f"is not a valid {kind.upper()} matrix: `{array}` must be there, as an array"):
        KINDS[kind](dataset, "X")


def chunked(path, matrix, zarr_format, shards=None):
    """A matrix in a local Zarr store, in small chunks."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    X = group.create_group(
        "X", attributes={"encoding-type": f"{matrix.format}_matrix", "encoding-version": "0.1.0", "shape": matrix.shape}
    )
    for name, chunk in (("data", 500), ("indices", 500), ("indptr", 20)):
        array = getattr(matrix, name)
        sizes = {"chunks": (chunk // 5,), "shards": (chunk,)} if shards else {"chunks": (chunk,)}
        kept = X.create_array(name, shape=array.shape, dtype=array.dtype, **sizes)
        kept[:] = array
    return sparse_dataset(zarr.open_group(path, mode="r")["X"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["data", "indices", "indptr"])
@pytest.mark.parametrize(("zarr_format", "shards"), [(2, False), (3, False), (3, True)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_missing_chunks_are_refused(dense, tmp_path, kind, name, zarr_format, shards, number):
    path = tmp_path / "a.zarr"
    matrix = sparse.csr_matrix(dense).asformat(kind)
    np.testing.assert_array_equal(rows_of(chunked(path, matrix, zarr_format, shards))[0:N_OBS].toarray(), dense)
    (path / "X" / name / (str(number) if zarr_format == 2 else f"c/{number}")).unlink()
    with pytest.raises(DataFileError, match=f"a piece of `{name}` is missing: its values"):
        rows_of(sparse_dataset(zarr.open_group(path, mode="r")["X"]))[0:N_OBS]


def test_chunks_that_hold_zeros_alone_may_be_left_out(tmp_path):
    one_gene = sparse.csr_matrix((np.arange(1.0, 1201), np.zeros(1200, dtype=np.int32), np.arange(1201)), shape=(1200, 30))
    empty_first = sparse.csr_matrix(np.vstack([np.zeros((50, 30)), np.ones((10, 30))]))
    for number, matrix in enumerate((one_gene, empty_first)):
        dataset = chunked(tmp_path / f"{number}.zarr", matrix, 3)
        np.testing.assert_array_equal(rows_of(dataset)[0 : matrix.shape[0]].toarray(), matrix.toarray())
    assert not (tmp_path / "0.zarr/X/indices/c/0").exists()
    assert not (tmp_path / "1.zarr/X/indptr/c/0").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_in_place_of_indices_are_refused(group, dense, kind):
    matrix = sparse.csr_matrix(dense).asformat(kind)
    lost = matrix.indices.copy()
    lost[1000:1500] = 0
    with pytest.raises(DataFileError, match="a piece of `indices` was lost"):
        rows_of(store(group, matrix, indices=lost))[0:N_OBS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_backed_matrix_is_called_by_its_file(dense, tmp_path, kind):
    path = tmp_path / "a.h5ad"
    AnnData(sparse.csr_matrix(dense).asformat(kind)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X"]["indices"][5] = 10**6
    backed = read(path, backed="r")
    with pytest.raises(DataFileError) as caught:
        list(row_blocks(backed.X))
    assert str(caught.value).startswith(f"`{path}`: `X` is not a valid {kind.upper()} matrix")
    assert RowReader(np.eye(3)).remark == ""
