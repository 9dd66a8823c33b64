"""Loom files in the layout of loompy."""

import h5py
import numpy as np
import pytest
from tests.formats import write_loom

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
