"""Every column of `obs` and `var` against what anndata reads, in files of its releases and of other tools."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from tests.anndata_files import FILES, RELEASES, read, unpack
from tests.formats import plant_claim

from sctab import DataFileError
from sctab.io._data_file import DataFile
from sctab.io._rows import RowReader

ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}
STRINGS = {"encoding-type": "string-array", "encoding-version": "0.2.0"}


def assert_same(file, adata):
    """All that a file says of cells and genes is what anndata says."""
    assert (file.n_obs, file.n_vars) == adata.shape
    assert file.obs_columns == list(adata.obs.columns)
    assert file.names(0, file.n_obs) == list(adata.obs_names)
    assert file.names(1, 3) == list(adata.obs_names[1:3])
    for column in set(adata.obs.columns):
        of_file, of_anndata = file.obs[column], adata.obs[column]
        if of_anndata.ndim == 2:  # the name is there twice
            of_anndata = of_anndata.iloc[:, 0]
        pd.testing.assert_series_equal(of_file, of_anndata.reset_index(drop=True))
    pd.testing.assert_frame_equal(file.var, adata.var)


def assert_same_matrices(file, adata):
    for found, expected in ((file.X, adata.X), (file.layers.get("doubled"), adata.layers.get("doubled"))):
        if expected is not None:
            expected = expected.toarray() if sparse.issparse(expected) else expected
            np.testing.assert_array_equal(RowReader(found).read(0, file.n_obs).toarray(), expected)
    if adata.raw is not None:
        pd.testing.assert_frame_equal(file.raw.var, adata.raw.var)
        expected = adata.raw.X.toarray() if sparse.issparse(adata.raw.X) else adata.raw.X
        np.testing.assert_array_equal(RowReader(file.raw.X).read(0, file.n_obs).toarray(), expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anndata")
    for release in RELEASES:
        unpack(release, folder / release)
    return folder


class TestReleases:
    def test_each_is_there(self):
        assert [release.rsplit(".", 1)[0] for release in RELEASES] == ["0.10", "0.11", "0.12", "0.13", "0.6", "0.7", "0.8", "0.9"]

    @pytest.mark.parametrize(("release", "name"), FILES)
    def test_every_column(self, folder, release, name):
        adata = read(folder / release / name)
        assert {"cell_type", "donor_id", "partly_known"} <= set(adata.obs.columns)
        assert adata.raw is not None
        file = DataFile(folder / release / name, list(adata.obs.columns))
        assert_same(file, adata)
        assert_same_matrices(file, adata)
        file.close()

    def test_zarr_of_anndata_06(self, folder):
        with pytest.raises(DataFileError, match=r"`.zarr` of anndata 0.6 or older.*Read it with anndata 0.10, and write it again"):
            DataFile(folder / "0.6.22" / "csr.zarr")


@pytest.fixture
def small(tmp_path):
    """A small `.h5ad` of which single things can be replaced."""
    path = tmp_path / "small.h5ad"
    obs = {"kind": pd.Categorical(list("xyxyxy")), "name": list("abcdef"), "number": range(6), "flag": [True, False] * 3}
    adata = ad.AnnData(
        sparse.csr_matrix(np.eye(6, 4, dtype=np.float32)),
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(6)]),
        var=pd.DataFrame({"symbol": list("wxyz")}, index=[f"g{i}" for i in range(4)]),
    )
    adata.write_h5ad(path)
    return path


def replace(path, name, values, attributes):
    """Put an array in the place of what has the name."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, data=values).attrs.update(attributes)


def check(path):
    adata = read(path)
    assert_same(DataFile(path, list(adata.obs.columns)), adata)


FIXED = np.array([f"c{i}" for i in range(6)], dtype="S4")
ASCII = FIXED.astype(h5py.string_dtype("ascii"))
UTF8 = np.array([f"ä{i}".encode() for i in range(6)], dtype=h5py.string_dtype("utf-8", 10))


class TestOtherTools:
    @pytest.mark.parametrize("table", ["obs", "var"])
    @pytest.mark.parametrize("name", ["_index", "column-order", "encoding-type", "encoding-version"])
    def test_attributes_of_fixed_length(self, small, table, name):
        with h5py.File(small, "r+") as file:
            value = file[table].attrs[name]
            file[table].attrs[name] = np.array([v.encode() for v in value], "S20") if name == "column-order" else np.bytes_(value)
        check(small)

    def test_matrix_whose_attributes_have_a_fixed_length(self, small):
        with h5py.File(small, "r+") as file:
            for name in ("encoding-type", "encoding-version"):
                file["X"].attrs[name] = np.bytes_(file["X"].attrs[name])
        np.testing.assert_array_equal(RowReader(DataFile(small).X).read(0, 6).toarray(), np.eye(6, 4))

    @pytest.mark.parametrize("values", [FIXED, ASCII, UTF8], ids=["fixed", "ascii", "utf8"])
    @pytest.mark.parametrize("attributes", [{}, STRINGS, ARRAY], ids=["none", "strings", "array"])
    def test_names_of_any_string_type(self, small, values, attributes):
        replace(small, "obs/_index", values, attributes)
        check(small)

    @pytest.mark.parametrize("values", [np.arange(6), np.arange(6) / 2], ids=["integers", "numbers"])
    def test_names_that_are_numbers(self, small, values):
        replace(small, "obs/_index", values, ARRAY)
        check(small)

    @pytest.mark.parametrize(
        "names",
        [pd.Categorical([f"c{i}" for i in range(6)]), pd.array([f"c{i}" for i in range(6)], dtype="string"), list("abcdef")],
        ids=["categories", "nullable", "strings"],
    )
    def test_names_of_any_encoding(self, small, names):
        with h5py.File(small, "r+") as file:
            del file["obs/_index"]
            ad.io.write_elem(file["obs"], "_index", names if not isinstance(names, list) else np.array(names, dtype=object))
        check(small)

    @pytest.mark.parametrize(
        "values",
        [np.array([1, 0] * 3, dtype="u1"), np.arange(6).astype(">i4"), np.arange(6).astype("f2"), FIXED, ASCII],
        ids=["u1", "big-endian", "half", "fixed", "ascii"],
    )
    @pytest.mark.parametrize("attributes", [{}, ARRAY], ids=["none", "array"])
    def test_columns(self, small, values, attributes):
        replace(small, "obs/number", values, attributes)
        check(small)

    @pytest.mark.parametrize(
        ("codes", "dtype"), [([0, 1, -1, 0, 1, -1], "i1"), ([0, 1, 0, 0, 1, 1], "u1"), ([0, 1, 0, 1, 1, 1], "i8")]
    )
    def test_codes(self, small, codes, dtype):
        replace(small, "obs/kind/codes", np.array(codes, dtype=dtype), ARRAY)
        check(small)

    @pytest.mark.parametrize("categories", [[3, 4], [3.0, 4.5], [True, False]])
    def test_categories(self, small, categories):
        replace(small, "obs/kind/categories", np.array(categories), ARRAY)
        check(small)

    @pytest.mark.parametrize("order", [["kind", "kind", "number"], ["_index", "kind"], ["number"], np.array([], dtype=float)])
    def test_order_of_columns(self, small, order):
        with h5py.File(small, "r+") as file:
            file["obs"].attrs["column-order"] = order
        check(small)

    def test_a_column_that_is_not_listed_is_none(self, small):
        with h5py.File(small, "r+") as file:
            file["obs"].attrs["column-order"] = ["number"]
        assert list(DataFile(small, ["kind", "kind/codes", "_index", "number"]).obs.columns) == ["number"]

    def test_a_column_with_a_slash(self, small):
        with h5py.File(small, "r+") as file:
            file["obs"].create_dataset("p/q", data=np.arange(6)).attrs.update(ARRAY)
            file["obs"].attrs["column-order"] = ["kind", "p/q"]
        check(small)

    def test_a_table_without_a_layout(self, small):
        with h5py.File(small, "r+") as file:
            del file["obs"].attrs["encoding-type"]
            del file["obs"].attrs["encoding-version"]
        check(small)

    def test_strings_of_fixed_length_in_zarr(self, tmp_path):
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
        ad.io.write_elem(group, "/", ad.AnnData(np.eye(6, dtype=np.float32)))
        del group["obs/_index"]
        group["obs"].create_array("_index", data=FIXED)
        check(tmp_path / "a.zarr")


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("obs/number", np.arange(5)),
            ("obs/number", np.zeros((6, 1))),
            ("obs/kind/codes", np.array([0, 1, 7, 0, 1, 1], dtype="i1")),
            ("obs/kind/codes", np.array([0, 1, 255, 0, 1, 1], dtype="u1")),
            ("obs/kind/categories", np.array([1, 1])),
        ],
    )
    def test_columns_that_cannot_be(self, small, name, values):
        replace(small, name, values, ARRAY)
        with pytest.raises(DataFileError, match=r"`.*small.h5ad` cannot be read as .h5ad"):
            DataFile(small, ["number", "kind"])

    def test_names_in_another_encoding(self, small):
        replace(small, "obs/_index", np.array([f"ä{i}".encode("latin-1") for i in range(6)]), STRINGS)
        with pytest.raises(DataFileError, match=r"small.h5ad` cannot be read as .h5ad"):
            DataFile(small).names(0, 6)

    @pytest.mark.parametrize("table", ["obs", "var"])
    def test_no_table(self, small, table):
        with h5py.File(small, "r+") as file:
            del file[table]
        with pytest.raises(DataFileError, match=f"it has no `{table}`"):
            DataFile(small)


def test_warnings_of_others_are_not_lost(folder):
    """Many threads read old files, and the filters of warnings are as they were."""
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        files = list(threads.map(lambda _: DataFile(folder / "0.7.8" / "csc.h5ad", ["cell_type"]), range(24)))
    assert warnings.filters == before
    for file in files:
        file.close()


@pytest.mark.parametrize("column", ["obs/note", "var/note"])
def test_a_column_that_claims_a_size_that_it_cannot_have(tmp_path, column):
    """Of `obs` where it is read, and of `var`, which is read whole."""
    table, name = column.split("/")
    ad.AnnData(np.eye(3, dtype=np.float32)).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file[table].attrs["column-order"] = [name]
    plant_claim(tmp_path / "a.h5ad", column, (3,), "S1000000000")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file[column].attrs.update(ARRAY)
    with pytest.raises(DataFileError, match=r"its column `note` claims 3\.0 GB with the shape \(3,\)"):
        DataFile(tmp_path / "a.h5ad", ["note"])
