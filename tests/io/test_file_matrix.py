import h5py
import numpy as np
import pytest
from anndata.io import write_elem
from scipy import sparse

from sctab.errors import DataFileError
from sctab.io import row_blocks
from sctab.io._file_matrix import open_matrix


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as root:
        yield root


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_rows(file, kind):
    values = np.arange(12.0).reshape(4, 3)
    write_elem(file, "X", kind(values))
    matrix = open_matrix("a.h5", "X", file["X"], (4, 3))
    np.testing.assert_array_equal(next(row_blocks(matrix)).toarray(), values)


def test_nothing():
    assert open_matrix("a.h5", "X", None, (4, 3)) is None


def test_another_shape(file):
    write_elem(file, "X", np.zeros((4, 2)))
    with pytest.raises(DataFileError, match="has 4 rows and 2 columns"):
        open_matrix("a.h5", "X", file["X"], (4, 3))


def test_no_matrix(file):
    write_elem(file, "X", {"a": 1})
    with pytest.raises(DataFileError, match="holds a matrix as `dict`"):
        open_matrix("a.h5", "X", file["X"], (4, 3))
