"""Files of the published scDeepCluster: counts in `X`, labels in `Y`, batches in `B`."""

import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import write_elem
from scipy import sparse
from tests.formats import plant_claim, write_scdeepcluster

from sctab import DataFileError
from sctab.io import DataFile, RowReader, copy_data, read_data_file

N_OBS, N_VARS = 50, 12


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(0.7, size=(N_OBS, N_VARS)).astype(np.int64)


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "f8", ">f4", ">i4"])
def test_counts_of_any_type(counts, tmp_path, dtype):
    adata = read_data_file(write_scdeepcluster(counts.astype(dtype), tmp_path / "data.h5"))
    np.testing.assert_array_equal(adata.X.toarray(), counts)
    assert sparse.issparse(adata.X)
    assert list(adata.obs_names) == [str(number) for number in range(N_OBS)]
    assert list(adata.var_names) == [f"gene_{number}" for number in range(N_VARS)]
    assert list(adata.obs.columns) == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.arange(N_OBS) % 12, [str(number % 12) for number in range(N_OBS)]),
        ((np.arange(N_OBS) % 12).astype("f8"), [str(number % 12) for number in range(N_OBS)]),
        ((np.arange(N_OBS) % 12).astype("f4")[:, None], [str(number % 12) for number in range(N_OBS)]),
        (np.array([b"T cell", b"B cell"] * 25), ["T cell", "B cell"] * 25),
        (["T cell", "Zelle\u00e4"] * 25, ["T cell", "Zelle\u00e4"] * 25),
        (np.arange(N_OBS) % 2 / 2, ["0", "0.5"] * 25),
    ],
)  # fmt: skip
def test_labels(counts, tmp_path, labels, expected):
    path = write_scdeepcluster(counts, tmp_path / "data.h5", labels=labels)
    adata = read_data_file(path)
    assert list(adata.obs["Y"]) == expected
    assert list(DataFile(path, ["Y"]).obs["Y"]) == expected
    categories = list(adata.obs["Y"].cat.categories)
    assert categories == sorted(categories, key=float if expected[0][0].isdigit() else str)


def test_missing_labels(counts, tmp_path):
    numbers, texts = np.arange(N_OBS, dtype="f8"), np.array([b"a"] * N_OBS)
    numbers[3], texts[4] = np.nan, b""
    found = [read_data_file(write_scdeepcluster(counts, tmp_path / "a.h5", labels=labels)).obs["Y"] for labels in (numbers, texts)]
    assert [list(np.flatnonzero(pd.isna(each))) for each in found] == [[3], [4]]
    assert found[0].iloc[5] == "5"
    all_missing = read_data_file(write_scdeepcluster(counts, tmp_path / "b.h5", labels=np.full(N_OBS, np.nan)))
    assert all_missing.obs["Y"].isna().all()


def test_batches_and_names(counts, tmp_path):
    batches = np.arange(N_OBS) % 3
    genes, cells = [f"ENSG{i:011d}" for i in range(N_VARS)], [f"cell {i}" for i in range(N_OBS)]
    path = write_scdeepcluster(counts, tmp_path / "data.h5", batches=batches, gene_names=genes, barcodes=np.array(cells, "S"))
    adata = read_data_file(path)
    assert list(adata.obs["batch"]) == [str(batch) for batch in batches]
    assert list(adata.var_names) == genes
    assert list(adata.obs_names) == cells


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("how", ["anndata", "plain", "h5sparse"])
def test_sparse_groups(counts, tmp_path, kind, how):
    path, matrix = tmp_path / "data.h5", sparse.csr_matrix(counts).asformat(kind)
    with h5py.File(path, "w") as file:
        if how == "anndata":
            write_elem(file, "X", matrix)
        else:
            group = file.create_group("X")
            for name in ("data", "indices", "indptr"):
                group.create_dataset(name, data=getattr(matrix, name))
            if how == "plain":
                group.create_dataset("shape", data=np.array(counts.shape))
            else:
                group.attrs.update({"h5sparse_format": np.bytes_(kind), "h5sparse_shape": counts.shape})
    np.testing.assert_array_equal(read_data_file(path).X.toarray(), counts)


def test_a_copy_is_an_anndata(counts, tmp_path):
    path = write_scdeepcluster(counts, tmp_path / "data.h5", labels=np.arange(N_OBS) % 3)
    copy_data(DataFile(path), tmp_path / "copy.h5ad")
    copied = read_data_file(tmp_path / "copy.h5ad")
    np.testing.assert_array_equal(copied.X.toarray(), counts)
    assert list(copied.obs["Y"].astype(str)) == [str(number % 3) for number in range(N_OBS)]


def test_rows_are_read_in_blocks(tmp_path, monkeypatch):
    """A dense matrix is never in memory as a whole."""
    monkeypatch.setattr("sctab.io._rows._MOST_DENSE", 100_000)
    counts = np.zeros((4000, 1000), dtype=np.float64)
    counts[:, ::200] = 1
    path = write_scdeepcluster(counts, tmp_path / "data.h5")
    tracemalloc.start()
    adata = read_data_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert adata.X.sum() == counts.sum()
    assert peak < counts.nbytes / 4


class TestRefused:
    """Files that do not hold what the published program reads."""

    @pytest.mark.parametrize(("value", "called"), [(-1, "-1"), (0.5, "0.5"), (np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
    @pytest.mark.parametrize("is_sparse", [False, True])
    def test_values_that_are_no_counts(self, counts, tmp_path, value, called, is_sparse):
        path, wrong = tmp_path / "data.h5", counts.astype("f8")
        wrong[7, 3] = value
        if is_sparse:
            with h5py.File(path, "w") as file:
                write_elem(file, "X", sparse.csr_matrix(wrong))
        else:
            write_scdeepcluster(wrong, path)
        says = f"`X` must hold counts, integers that are not negative, and {called} was found in the cells 0 to 49"
        with pytest.raises(DataFileError, match=says):
            read_data_file(path)
        with pytest.raises(DataFileError, match=says):
            RowReader(DataFile(path).X).read(0, N_OBS)

    def test_negative_integers(self, counts, tmp_path):
        with pytest.raises(DataFileError, match="and -3 was found"):
            read_data_file(write_scdeepcluster(counts - 3, tmp_path / "data.h5"))

    @pytest.mark.parametrize(
        ("name", "values", "says"),
        [
            ("X", None, "must have the counts of cells by genes in `X`, and holds `B`, `Y`"),
            ("X", np.arange(N_OBS), "`X` must have two dimensions"),
            ("X", np.zeros((N_OBS, 0)), r"`X` must have cells and genes, and has the shape \(50, 0\)"),
            ("X", np.zeros((0, 4)), r"`X` must have cells and genes, and has the shape \(0, 4\)"),
            ("X", np.full((N_OBS, 2), b"a"), "`X` must hold real numbers"),
            ("X", np.zeros((N_OBS, 2), complex), "`X` must hold real numbers, and holds complex128"),
            ("Y", np.arange(7), r"`Y` must have a label for each of the 50 cells of `X`, and has the shape \(7,\)"),
            ("Y", np.zeros((N_OBS, 2)), r"`Y` must have a label for each .* has the shape \(50, 2\)"),
            ("Y", 3, r"`Y` must have a label for each .* has the shape \(\)"),
            ("Y", np.zeros(N_OBS, complex), "`Y` must hold numbers or strings, and holds complex128"),
            (
                "B",
                np.eye(4),
                r"`B` must have a row for each of the 50 cells of `X` and a column .*, and has the shape \(4, 4\)",
            ),
            ("B", np.zeros(N_OBS), r"`B` must have a row for each .* has the shape \(50,\)"),
            ("B", np.zeros((N_OBS, 0)), r"`B` must have a row for each .* has the shape \(50, 0\)"),
            ("B", np.zeros((N_OBS, 2)), "`B` must be one-hot, .* and is not in the row of cell 0"),
            ("B", np.ones((N_OBS, 2)), "`B` must be one-hot, .* and is not in the row of cell 0"),
            ("B", np.repeat([[0, 1], [0, 2]], N_OBS // 2, axis=0), "`B` must be one-hot, .* and is not in the row of cell 25"),
            ("B", np.full((N_OBS, 1), np.nan), "`B` must be one-hot"),
            ("B", np.full((N_OBS, 2), b"1"), "`B` must hold real numbers"),
        ],
    )
    def test_arrays_that_do_not_belong_together(self, counts, tmp_path, name, values, says):
        path = write_scdeepcluster(counts, tmp_path / "data.h5", labels=np.arange(N_OBS), batches=np.arange(N_OBS) % 2)
        with h5py.File(path, "r+") as file:
            del file[name]
            if values is not None:
                file[name] = values
        for read in (DataFile, read_data_file):
            with pytest.raises(DataFileError, match=says):
                read(path)

    @pytest.mark.parametrize("name", ["X", "Y", "B"])
    def test_groups(self, counts, tmp_path, name):
        path = write_scdeepcluster(counts, tmp_path / "data.h5", labels=np.arange(N_OBS), batches=np.arange(N_OBS) % 2)
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_group(name)
        with pytest.raises(DataFileError, match=f"`{name}`.* is a group"):
            read_data_file(path)

    @pytest.mark.parametrize("name", ["X", "Y", "B"])
    def test_data_that_is_elsewhere(self, counts, tmp_path, name):
        write_scdeepcluster(counts, tmp_path / "other.h5", labels=np.arange(N_OBS), batches=np.arange(N_OBS) % 2)
        path = write_scdeepcluster(counts, tmp_path / "data.h5", labels=np.arange(N_OBS), batches=np.arange(N_OBS) % 2)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), f"/{name}")
        with pytest.raises(DataFileError, match=f"`{name}` is a link to another file"):
            read_data_file(path)

    @pytest.mark.parametrize(
        ("name", "shape", "dtype"),
        [("X", (10**9, 10**4), "f4"), ("X", (10**10, 1), "i1"), ("Y", (N_OBS,), "S1000000000"), ("B", (N_OBS, 40), "f8")],
    )
    def test_claims(self, counts, tmp_path, name, shape, dtype):
        path = write_scdeepcluster(counts, tmp_path / "data.h5", labels=np.arange(N_OBS), batches=np.arange(N_OBS) % 2)
        path = plant_claim(path, name, shape, dtype)
        with pytest.raises(
            DataFileError, match="`B` must be one-hot" if name == "B" else f"`{name}` claims .* bytes are stored of it"
        ):
            read_data_file(path)

    @pytest.mark.parametrize(
        ("arrays", "says"),
        [
            ({"data": [1.0], "indices": [0]}, "must have the array `indptr`"),
            ({"data": [1.0], "indices": [0], "indptr": [0, 1]}, "must say its shape"),
            ({"data": [1.0], "indices": [0], "indptr": [0, 1], "shape": [1, 10**15]}, "must have cells and genes"),
            ({"data": [1.0], "indices": [0], "indptr": [0, 1], "shape": [10**15, 3]}, "must have 1,000,000,000,000,001 entries"),
            ({"data": [1.0], "indices": [0], "indptr": [0, 1], "shape": [-1, 3]}, "size that is not negative"),
            ({"data": [1.0], "indices": [9], "indptr": [0, 1], "shape": [1, 3]}, "must lie between 0 and 2, and one is 9"),
            ({"data": [1.0], "indices": [0], "indptr": [0, 7], "shape": [1, 3]}, "must end at the number of stored values"),
        ],
    )
    def test_sparse_groups_that_are_damaged(self, tmp_path, arrays, says):
        with h5py.File(tmp_path / "data.h5", "w") as file:
            for name, values in arrays.items():
                file.create_dataset(f"X/{name}", data=values)
        with pytest.raises(DataFileError, match=says):
            read_data_file(tmp_path / "data.h5")

    def test_truncated(self, counts, tmp_path):
        path = write_scdeepcluster(counts, tmp_path / "data.h5")
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataFileError, match="is incomplete"):
            read_data_file(path)

    def test_another_suffix(self, counts, tmp_path):
        with pytest.raises(DataFileError, match="is not an AnnData: it has neither `obs` nor `var`"):
            read_data_file(write_scdeepcluster(counts, tmp_path / "data.h5ad"))
