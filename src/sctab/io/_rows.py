"""Row blocks of whatever holds a matrix: the only place that knows about storage classes."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from scipy import sparse

from sctab.errors import require
from sctab.io import integrity
from sctab.io._sizes import BLOCK_SIZE
from sctab.io._stored import StoredRows, TransposedRows, as_index, native_dtype

_MOST_DENSE = 16_000_000
"""Numbers of a dense matrix read at a time, so that a block on its way to CSR takes 64 MB and not five times as much."""
_MMAP_THRESHOLD = -3
"""`M_MMAP_THRESHOLD` of `malloc.h`."""


class RowReader:
    """Rows of a matrix, as CSR in memory; the matrix itself is never changed, and nothing computes on it before it was checked.

    Parameters
    ----------
    matrix
        Anything that AnnData keeps in `X` or a layer, `(n_obs, n_vars)`: a NumPy array or matrix, any SciPy sparse matrix or array,
        a Dask array of either, a backed sparse dataset, an HDF5 dataset or a Zarr array. A backed CSC dataset is transposed once, in
        a temporary file where it is large.
    name
        What to call it in messages, such as `X` or `layers['counts']`.

    Raises
    ------
    InputValueError
        If the matrix is not one of real numbers, or its indices point outside of it; also when rows are read.
    DataFileError
        The same of a matrix in a file.

    Examples
    --------
    >>> RowReader(np.eye(5)).read(1, 3).toarray()
    array([[0., 1., 0., 0., 0.],
           [0., 0., 1., 0., 0.]])
    """

    def __init__(self, matrix: Any, name: str = "X") -> None:
        self.shape = tuple(matrix.shape)
        self._name = name
        self._rows = row_sliceable(matrix, name)
        is_array_on_disk = hasattr(self._rows, "chunks") and not hasattr(self._rows, "dask")  # of HDF5 or Zarr
        is_dense_on_disk = getattr(self._rows, "is_dense", is_array_on_disk)
        self._most = max(1, _MOST_DENSE // max(1, self.shape[1])) if is_dense_on_disk else None
        self.n_repeated = 0
        """Values that were added to another one of the same row and column."""

    @property
    def remark(self) -> str:
        """Note on how the matrix is stored, once all rows were read; empty where nothing needs saying."""
        stored = getattr(self._rows, "remark", None)
        remarks = [stored(self._name) if stored is not None else ""]
        if stored is None and self._most is not None:
            remarks.append(integrity.dense_remark(self._rows, self._name))
        return " ".join(filter(None, remarks))

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows `start` to `stop`, without duplicates."""
        if self._most is not None and stop - start > self._most:
            parts = [self.read(at, min(at + self._most, stop)) for at in range(start, stop, self._most)]
            return sparse.csr_matrix(sparse.vstack(parts, format="csr"))
        block = self._rows[start:stop]
        if hasattr(block, "compute"):  # Dask
            block = block.compute()
        if sparse.issparse(block):
            if block.dtype != native_dtype(block.dtype):
                arrays = (block.data.astype(native_dtype(block.dtype)), block.indices, block.indptr)
                block = sparse.csr_matrix(arrays, shape=block.shape)
        else:
            block = _as_array(block)
            if block.ndim != 2 or integrity.dtype_problem(block.dtype):  # what a Dask array computes may be anything
                raise integrity.refuse(
                    self._name, integrity.dtype_problem(block.dtype) or integrity.shape_problem(block.shape) or ""
                )
            block = block.astype(native_dtype(block.dtype), copy=False)
        block = sparse.csr_matrix(block)
        n_values = block.nnz
        block.sum_duplicates()
        self.n_repeated += n_values - block.nnz
        return block


def release_large_arrays(above: int = 2**20) -> None:
    """Have the memory of large arrays returned to the system when they go, from now on, where the C library is that of Linux.

    It would raise that limit by itself, up to 32 MB, whenever a large array goes (see `mallopt(3)`), and keep the memory of smaller ones in
    pieces for each thread. What reads block after block in several threads would need a fifth more of it. New memory has to be cleared,
    which takes longer than using the same again.

    Parameters
    ----------
    above
        Bytes of a large array; 32 MB at most.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, above)


def row_ranges(matrix: Any, size: int = BLOCK_SIZE) -> list[tuple[int, int]]:
    """Ranges of rows for reading a matrix: `size` rows each; for a Dask array they end where its chunks end.

    A part of a Dask chunk costs as much as the whole, so small chunks are merged up to `size` and large ones stay whole.

    Examples
    --------
    >>> row_ranges(np.eye(5), size=2)
    [(0, 2), (2, 4), (4, 5)]
    """
    n_obs = matrix.shape[0]
    if not hasattr(matrix, "dask"):
        return [(start, min(start + size, n_obs)) for start in range(0, n_obs, size)]
    ranges: list[tuple[int, int]] = []
    start = stop = 0
    for length in matrix.chunks[0]:
        if stop > start and stop + length - start > size:
            ranges.append((start, stop))
            start = stop
        stop += length
    return [*ranges, (start, stop)] if stop > start else ranges


def row_blocks(matrix: Any, size: int = BLOCK_SIZE, name: str = "X") -> Iterator[sparse.csr_matrix]:
    """Yield the rows of a matrix, in order, as CSR blocks in memory.

    Parameters
    ----------
    matrix
        As for :class:`RowReader`.
    size
        Rows per block; the last one may be smaller.
    name
        What to call it in messages.

    Examples
    --------
    >>> [block.shape for block in row_blocks(np.eye(5), size=2)]
    [(2, 5), (2, 5), (1, 5)]
    """
    rows = RowReader(matrix, name)
    rest: sparse.csr_matrix | None = None
    for start, stop in row_ranges(matrix, size):
        block = rows.read(start, stop)
        if rest is not None:
            block = sparse.csr_matrix(sparse.vstack([rest, block], format="csr"))
        at = 0
        while block.shape[0] - at >= size:
            yield block if at == 0 and block.shape[0] == size else block[at : at + size]
            at += size
        rest = block[at:] if at < block.shape[0] else None
    if rest is not None:
        yield rest


def ahead[T](items: Iterable[T]) -> Iterator[T]:
    """Prefetch items: another thread makes each one while the one before it is used.

    Examples
    --------
    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    iterator, end = iter(items), object()
    reader = ThreadPoolExecutor(1, thread_name_prefix="sctab-read")
    try:
        coming = reader.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = reader.submit(next, iterator, end)
            yield cast("T", item)
            del item  # it may be large
    finally:  # without waiting: the thread that closes this, maybe for the garbage collector, may hold a lock that the reader needs
        reader.shutdown(wait=False, cancel_futures=True)


def rows_of(matrix: Any, ranges: Sequence[tuple[int, int]], name: str = "X") -> sparse.csr_matrix:
    """Some rows of a matrix, as CSR in memory; chunks of a Dask array that several ranges need are computed once.

    Examples
    --------
    >>> rows_of(np.eye(5), [(0, 1), (3, 5)]).indices
    array([0, 3, 4], dtype=int32)
    """
    reader = RowReader(matrix, name)
    if hasattr(matrix, "dask"):
        computed = require("dask.base", extra="dask").compute(*(reader._rows[start:stop] for start, stop in ranges))
        parts = [RowReader(part, name).read(0, part.shape[0]) for part in computed]
    else:
        parts = [reader.read(start, stop) for start, stop in ranges]
    return sparse.csr_matrix(sparse.vstack(parts, format="csr"))


def to_csr(matrix: Any, name: str = "X") -> sparse.csr_matrix:
    """Bring a whole matrix into memory as CSR; what is a CSR matrix already is returned as it is, once it was checked."""
    if sparse.issparse(matrix):
        integrity.require_sound(matrix, name)
        return matrix if isinstance(matrix, sparse.csr_matrix) else sparse.csr_matrix(matrix)
    blocks = list(row_blocks(matrix, name=name))
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix(matrix.shape)


def _as_array(block: Any) -> np.ndarray:
    """Rows of anything dense as an array, what is missing or masked as NaN."""
    if hasattr(block, "to_numpy"):  # pandas, whose nullable types would give objects
        return np.asarray(block.to_numpy(dtype=np.float64, na_value=np.nan))
    if isinstance(block, np.ma.MaskedArray) and block.mask.any():
        return np.where(block.mask, np.nan, block.data)
    return np.asarray(block)


def row_sliceable(matrix: Any, name: str = "X") -> Any:
    """A view or copy of `matrix` of which rows can be sliced at little cost; nothing is read from disk yet.

    Rows of it are sound, see :mod:`sctab.io.integrity`: those of a CSR matrix are checked when they are sliced.
    """
    if sparse.issparse(matrix):
        if matrix.format == "csr":
            return _CheckedRows(matrix, name)
        integrity.require_sound(matrix, name)
        return sparse.csr_matrix(matrix)
    if hasattr(matrix, "group") and getattr(matrix, "format", None) in {"csr", "csc"}:  # a backed sparse dataset
        return StoredRows(matrix, name) if matrix.format == "csr" else TransposedRows(matrix, name)
    if isinstance(matrix, StoredRows | TransposedRows) or not hasattr(matrix, "dtype"):  # reads and checks rows itself
        return matrix
    if problem := integrity.shape_problem(matrix.shape) or integrity.dtype_problem(matrix.dtype):
        raise integrity.refuse(name, problem)
    if hasattr(matrix, "dask"):
        for source in _sources(matrix.dask):  # which Dask slices before it gives a block
            integrity.require_sound(source, name)
        return matrix.map_blocks(_checked_block, name, dtype=matrix.dtype, meta=matrix._meta)
    return np.asarray(matrix) if isinstance(matrix, np.matrix) else matrix


def _sources(graph: Any) -> Iterator[Any]:
    """The objects in memory that a graph of Dask holds, such as the matrix that an array was made of."""
    for layer in getattr(graph, "layers", {}).values():
        yield from getattr(layer, "mapping", {}).values()
        yield from (source for source, _ in getattr(layer, "indices", ()))


def _checked_block(block: Any, name: str) -> Any:
    """A block of a Dask array, which is sliced by SciPy next."""
    integrity.require_sound(block, name)
    return block


class _CheckedRows:
    """A CSR matrix in memory whose rows are checked when they are sliced."""

    def __init__(self, matrix: Any, name: str) -> None:
        self.shape, self._name = tuple(matrix.shape), name
        self._data, self._indices, self._indptr = matrix.data, matrix.indices, matrix.indptr
        self._require(
            integrity.shape_problem(self.shape)
            or integrity.values_problem(self._indices, self._data)
            or integrity.indptr_problem(self._indptr, self.shape[0], len(self._data))
        )

    def _require(self, problem: str | None) -> None:
        if problem is not None:
            raise integrity.refuse(self._name, problem)

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """A copy of the rows `start:stop`."""
        start, stop, _ = rows.indices(self.shape[0])
        indptr = self._indptr[start : max(start, stop) + 1].astype(np.int64)
        at = slice(int(indptr[0]), int(indptr[-1]))
        indices = self._indices[at]
        self._require(integrity.indices_problem(indices, self.shape[1]))
        arrays = (self._data[at].copy(), as_index(indices, self.shape[1]).copy(), indptr - at.start)
        block = sparse.csr_matrix(arrays, shape=(len(indptr) - 1, self.shape[1]))
        if not block.has_canonical_format:
            self._require(integrity.lost_piece_problem(block.indptr, block.indices, self.shape[1]))
        return block
