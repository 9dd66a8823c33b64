"""Loom files in the layout of loompy."""

import h5py
import numpy as np
import pytest
from tests.formats import plant_claim, write_loom

from sctab import DataFileError
from sctab.io import DataFile, RowReader, read_data_file


def test_content(query, tmp_path):
    path = write_loom(query, tmp_path / "a.loom", layers=["doubled"], columns=["cell_type"])
    file, adata = DataFile(path, ["cell_type"]), read_data_file(path)
    assert list(file.var.index) == list(query.var_names)
    assert file.names(3, 9) == list(query.obs_names[3:9])
    assert list(file.obs["cell_type"]) == list(query.obs["cell_type"].astype(str))
    for start, stop in ((0, 300), (63, 65), (299, 300)):
        np.testing.assert_array_equal(RowReader(file.X).read(start, stop).toarray(), query.X[start:stop].toarray())
    np.testing.assert_array_equal(RowReader(file.layers["doubled"]).read(0, 9).toarray(), 2 * query.X[:9].toarray())
    np.testing.assert_array_equal(adata.X.toarray(), query.X.toarray())
    np.testing.assert_array_equal(adata.layers["doubled"].toarray(), 2 * query.X.toarray())
    assert list(adata.obs["cell_type"]) == list(query.obs["cell_type"].astype(str))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (
            "row_attrs/Gene",
            ["A", "B"],
            r"`row_attrs/Gene` must have a value for each of the 60 genes of the matrix, and has the shape \(2,\)",
        ),
        ("col_attrs/CellID", ["A"], "`col_attrs/CellID` must have a value for each of the 300 cells"),
        ("col_attrs/CellID", None, "must have names in `col_attrs/CellID`, and holds none there"),
        ("matrix", np.zeros(7), "must have two dimensions"),
        ("layers/more", np.zeros((5, 4)), r"`layers\['more'\]` must have a row for each of the 300 cells"),
    ],
)
def test_parts_that_do_not_belong_together(query, tmp_path, name, values, says):
    path = write_loom(query, tmp_path / "a.loom")
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values
    with pytest.raises(DataFileError, match=says):
        DataFile(path)


def test_no_modalities(query, tmp_path):
    with pytest.raises(ValueError, match=r"`modality='rna'` is for files of several modalities, and `.*a.loom` has one. Omit it"):
        DataFile(write_loom(query, tmp_path / "a.loom"), modality="rna")


class TestClaims:
    """Arrays that claim more than a disk would hold, in files of some kilobytes."""

    @pytest.mark.parametrize("name", ["row_attrs/Gene", "row_attrs/Note", "col_attrs/CellID", "col_attrs/Note"])
    def test_long_strings(self, query, tmp_path, name):
        n = query.n_vars if name.startswith("row") else query.n_obs
        path = plant_claim(write_loom(query, tmp_path / "a.loom"), name, (n,), "S1000000000")
        with pytest.raises(
            DataFileError, match=rf"`{name}` claims {n}\.0 GB with the shape \({n},\) and the type \|S1000000000, and 0 bytes"
        ):
            DataFile(path)

    @pytest.mark.parametrize("name", ["row_attrs/Gene", "col_attrs/CellID"])
    def test_many_names(self, query, tmp_path, name):
        path, n = write_loom(query, tmp_path / "a.loom"), 10**10
        with h5py.File(path, "r+") as file:
            for attribute in list(file[name.split("/")[0]]):
                del file[name.split("/")[0]][attribute]
        plant_claim(path, name, (n,), h5py.string_dtype())
        plant_claim(path, "matrix", (n, query.n_obs) if name.startswith("row") else (query.n_vars, n), "f4")
        with pytest.raises(DataFileError, match=rf"`{name}` claims 80\.0 GB"):
            DataFile(path)

    def test_a_matrix_without_values_is_read_in_blocks(self, query, tmp_path):
        path = plant_claim(write_loom(query, tmp_path / "a.loom"), "matrix", (query.n_vars, query.n_obs), "f4")
        assert RowReader(DataFile(path).X).read(0, 9).nnz == 0

    def test_compressed_strings_are_plausible(self, query, tmp_path):
        path = write_loom(query, tmp_path / "a.loom")
        with h5py.File(path, "r+") as file:
            values = np.full(query.n_obs, b"the same", dtype="S400000")  # 120 MB, of which little is stored
            file.create_dataset("col_attrs/Note", data=values, compression="gzip", chunks=(1,))
        assert DataFile(path).obs_columns == ["Note"]
