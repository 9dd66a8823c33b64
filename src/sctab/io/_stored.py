"""Rows of sparse matrices in files, CSR and CSC, checked before anything computes on them."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import listing
from sctab.io import integrity
from sctab.io._pieces import ROWS as _ROWS, RowPieces

_MOST_IN_MEMORY = 16_000_000
"""Stored values of a backed CSC matrix up to which it is transposed in memory. A larger one is transposed on disk in such portions."""


class StoredRows:
    """A backed CSR matrix of which rows can be read.

    The sizes of its arrays are checked at once, where its rows begin when the first are read, and indices with the rows that have them.

    Parameters
    ----------
    dataset
        A sparse dataset of anndata, of HDF5 or Zarr.
    name
        What to call it in messages, such as `layers['counts']`.
    path
        What to call the file; by default the one that the dataset lies in.

    Raises
    ------
    DataFileError
        If its arrays do not belong together; later, if rows are read, if indices point outside of it.
    """

    is_dense = False

    def __init__(self, dataset: Any, name: str, path: str | None = None) -> None:
        self.shape = tuple(dataset.shape)
        self.kind = str(dataset.format)
        self._name, self._path = name, path or file_of(dataset.group)
        self._arrays = {key: dataset.group.get(key) for key in ("data", "indices", "indptr")}
        if lost := [key for key, array in self._arrays.items() if array is None or hasattr(array, "keys")]:
            self._require(f"is not a valid {self.kind.upper()} matrix: {listing(lost)} must be there, as an array")
        self._require(integrity.shape_problem(self.shape))
        self._n_major, self._n_minor = self.shape if self.kind == "csr" else self.shape[::-1]
        self._require(self._problem_of_sizes())
        self.dtype = native_dtype(self._arrays["data"].dtype)

    def _require(self, problem: str | None) -> None:
        if problem is not None:
            raise integrity.refuse(self._name, problem, self._path)

    def _problem_of_sizes(self) -> str | None:
        indptr, expected = self._arrays["indptr"], (self._n_major + 1,)
        if tuple(indptr.shape) != expected:
            return (
                f"is not a valid {self.kind.upper()} matrix: for the shape {self.shape} `indptr` must have {expected[0]:,} entries, and "
                f"has the shape {tuple(indptr.shape)}"
            )
        return integrity.values_problem(self._arrays["indices"], self._arrays["data"], self.kind)

    @cached_property
    def indptr(self) -> NDArray[np.int64]:
        """Start of each row, or of each column for a CSC matrix."""
        for (piece,) in integrity.missing_pieces(self._arrays["data"]):  # a sparse matrix has no piece of zeros to leave out
            self._require(_lost("data", piece))
        missing = [piece for (piece,) in integrity.missing_pieces(self._arrays["indptr"])]
        if missing and self.n_values and missing[-1].stop > self._n_major:
            self._require(_lost("indptr", missing[-1]))
        indptr = np.asarray(self._arrays["indptr"][:])
        problem = integrity.indptr_problem(indptr, self._n_major, self.n_values, self.kind)
        if missing and (problem or np.diff(indptr).max() > self._n_minor):  # else the rows before the first value
            problem = _lost("indptr", missing[-1])
        self._require(problem)
        indptr = indptr.astype(np.int64, copy=False)
        self._require(self._problem_of_missing_indices(indptr))
        return indptr

    @property
    def n_values(self) -> int:
        """Number of stored values."""
        return int(self._arrays["data"].shape[0])

    def _problem_of_missing_indices(self, indptr: NDArray[np.int64]) -> str | None:
        """A piece of indices that holds zeros alone may be left out where each row has one value of it at most."""
        for (piece,) in integrity.missing_pieces(self._arrays["indices"]):
            first, last = np.searchsorted(indptr, [piece.start, piece.stop - 1], side="right")
            if len(np.unique(indptr[first - 1 : last])) < piece.stop - piece.start:
                return _lost("indices", piece)
        return None

    def values(self, major: slice) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
        """`data`, `indices` and `indptr` of some rows, or columns of a CSC matrix, which can be computed with."""
        indptr = self.indptr[major.start : major.stop + 1]
        at = slice(int(indptr[0]), int(indptr[-1]))
        indices = np.asarray(self._arrays["indices"][at])
        self._require(integrity.indices_problem(indices, self._n_minor, self.kind))
        data = np.asarray(self._arrays["data"][at]).astype(self.dtype, copy=False)
        return data, as_index(indices, self._n_minor), indptr - at.start

    def require_whole(self) -> None:
        """Refuse the matrix where a piece of it is missing."""
        _ = self.indptr

    def require_unbroken(self, indptr: NDArray[np.int64], indices: NDArray[Any]) -> None:
        """Refuse rows whose repeated indices show that a piece was lost."""
        self._require(integrity.lost_piece_problem(indptr, indices, self._n_minor, self.kind))

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """The rows `start:stop`."""
        start, stop, _ = rows.indices(self.shape[0])
        stop = max(start, stop)
        arrays = self.values(slice(start, stop))
        block = sparse.csr_matrix(arrays, shape=(stop - start, self.shape[1]))
        if not block.has_canonical_format:
            self.require_unbroken(block.indptr, block.indices)
        return block


class TransposedRows:
    """A backed CSC matrix of which rows can be read, with memory that does not grow with the matrix.

    It is transposed when the first rows are requested: a small one in memory, a large one on disk, as :class:`~sctab.io._pieces.RowPieces`
    that columns are added to in portions.

    Parameters
    ----------
    dataset, name, path
        As for :class:`StoredRows`.
    """

    is_dense = False

    def __init__(self, dataset: Any, name: str, path: str | None = None) -> None:
        self._columns = StoredRows(dataset, name, path)
        self.shape, self.dtype = self._columns.shape, self._columns.dtype
        self._in_memory: sparse.csr_matrix | None = None
        self._pieces: RowPieces | None = None

    def require_whole(self) -> None:
        """Refuse the matrix where a piece of it is missing."""
        self._columns.require_whole()

    def _portion(self, first: int, last: int) -> sparse.csr_matrix:
        """Some columns as CSR."""
        portion = sparse.csc_matrix(self._columns.values(slice(first, last)), shape=(self.shape[0], last - first))
        if not portion.has_canonical_format:
            self._columns.require_unbroken(portion.indptr, portion.indices)
        return portion.tocsr()

    def _transpose_on_disk(self) -> RowPieces:
        indptr, (n_obs, n_vars) = self._columns.indptr, self.shape
        pieces = RowPieces(self.shape, self.dtype, _ROWS)
        first = 0
        while first < n_vars:
            last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + _MOST_IN_MEMORY, side="right")) - 1)
            portion = self._portion(first, last)
            for number, start in enumerate(range(0, n_obs, _ROWS)):
                rows = portion[start : start + _ROWS]
                pieces.append(number, np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices + first, rows.data)
            first = last
        return pieces

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """The rows `start:stop`."""
        if self._in_memory is None and self._pieces is None:
            if self._columns.n_values <= _MOST_IN_MEMORY:
                self._in_memory = self._portion(0, self.shape[1])
            else:
                self._pieces = self._transpose_on_disk()
        transposed: Any = self._in_memory if self._pieces is None else self._pieces
        return cast("sparse.csr_matrix", transposed[rows])


def native_dtype(dtype: Any) -> np.dtype[Any]:
    """The type that SciPy's sparse matrices know for values of a type: neither half precision nor another byte order."""
    return np.dtype(np.float32) if dtype == np.float16 else np.dtype(dtype).newbyteorder("=")


def as_index(indices: NDArray[Any], n_minor: int) -> NDArray[Any]:
    """Valid indices in a type that SciPy's sparse matrices know."""
    is_small = n_minor <= np.iinfo(np.int32).max and indices.dtype.itemsize <= 4
    return indices.astype(np.int32 if is_small else np.int64, copy=False)


def _lost(key: str, piece: slice) -> str:
    return f"must be stored whole, and a piece of `{key}` is missing: its values {piece.start:,} to {piece.stop - 1:,}"


def file_of(group: Any) -> str:
    """The file or store that a group lies in."""
    if hasattr(group, "file"):
        return str(group.file.filename)
    root = getattr(group.store_path.store, "root", None)
    return str(root if root is not None else group.store_path.store)
