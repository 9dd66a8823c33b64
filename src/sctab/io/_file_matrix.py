"""A matrix in a data file, whose rows are read on demand."""

from __future__ import annotations

from typing import Any

from sctab.errors import DataFileError
from sctab.io import integrity
from sctab.io._checks import stored_rows
from sctab.io._damage import explains_damage
from sctab.io._tables import encoding


class FileMatrix:
    """A matrix in a file, whose errors name the file."""

    def __init__(self, path: str, matrix: Any) -> None:
        self._path, self._matrix = path, matrix
        self.shape, self.dtype = tuple(matrix.shape), matrix.dtype
        self.is_dense = getattr(matrix, "is_dense", hasattr(matrix, "chunks"))  # of HDF5 or Zarr

    def remark(self, name: str) -> str:
        """Note on how the matrix is stored; empty where nothing needs saying."""
        return integrity.dense_remark(getattr(self._matrix, "stored", self._matrix), name) if self.is_dense else ""

    def __getitem__(self, rows: slice) -> Any:
        """The rows `start:stop`."""
        with explains_damage(self._path):
            return self._matrix[rows]


def open_matrix(path: str, name: str, elem: Any, shape: tuple[int, int]) -> FileMatrix | None:
    """Open a matrix of an AnnData in a file; `None` if there is none.

    Parameters
    ----------
    path, name
        What to call the file and the matrix in messages.
    elem
        The array or group; `None` if there is none.
    shape
        Shape that it must have.

    Raises
    ------
    DataFileError
        If it is not a numeric matrix of this shape.
    """
    how = "null" if elem is None else encoding(elem)[0]
    if how == "null":
        return None
    if how in {"csr_matrix", "csc_matrix"} or "h5sparse_format" in elem.attrs:
        elem = stored_rows(elem, name, path)
    elif hasattr(elem, "keys"):
        raise DataFileError(f"`{path}` holds a matrix as `{how or 'a group'}`, which is not a numeric matrix.")
    if problem := integrity.shape_problem(elem.shape, shape):
        raise integrity.refuse(name, problem, path)
    return FileMatrix(path, elem)
