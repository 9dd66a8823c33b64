"""Row blocks of whatever holds a matrix: the only place that knows about storage classes."""

from __future__ import annotations

import ctypes
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from scipy import sparse

BLOCK_SIZE = 1024
"""Rows read at a time where nothing else decides: 2,000 stored values a row make about 16 MB."""
_MOST_DENSE = 16_000_000
"""Numbers of a dense matrix read at a time, so that a block on its way to CSR takes 64 MB and not five times as much."""
_MMAP_THRESHOLD = -3
"""`M_MMAP_THRESHOLD` of `malloc.h`."""
_MOST_IN_MEMORY = 16_000_000
"""Stored values of a backed CSC matrix up to which it is transposed in memory. A larger one is transposed on disk, so many at a time."""


class RowReader:
    """Rows of a matrix, as CSR in memory; the matrix itself is never changed.

    Parameters
    ----------
    matrix
        Anything that AnnData keeps in `X` or a layer, `(n_obs, n_vars)`: a NumPy array or matrix, any SciPy sparse matrix or array,
        a Dask array of either, a backed sparse dataset, an HDF5 dataset or a Zarr array. A backed CSC dataset is transposed once, in
        a temporary file where it is large.

    Examples
    --------
    >>> RowReader(np.eye(5)).read(1, 3).toarray()
    array([[0., 1., 0., 0., 0.],
           [0., 0., 1., 0., 0.]])
    """

    def __init__(self, matrix: Any) -> None:
        self.shape = tuple(matrix.shape)
        self._rows = row_sliceable(matrix)
        is_array_on_disk = hasattr(self._rows, "chunks") and not hasattr(self._rows, "dask")  # of HDF5 or Zarr
        is_dense_on_disk = getattr(self._rows, "is_dense", is_array_on_disk)
        self._most = max(1, _MOST_DENSE // max(1, self.shape[1])) if is_dense_on_disk else None

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows `start` to `stop`, without duplicates."""
        if self._most is not None and stop - start > self._most:
            parts = [self.read(at, min(at + self._most, stop)) for at in range(start, stop, self._most)]
            return sparse.csr_matrix(sparse.vstack(parts, format="csr"))
        block = self._rows[start:stop]
        if hasattr(block, "compute"):  # Dask
            block = block.compute()
        if not sparse.issparse(block):
            block = _in_native_type(np.asarray(block))
        block = sparse.csr_matrix(block)
        block.sum_duplicates()
        return block


def give_back_large_arrays(above: int = 2**20) -> None:
    """Have the memory of large arrays given back to the system when they go, from now on, where the C library is that of Linux.

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
    """Where to cut the rows of a matrix for reading: every `size` rows; of a Dask array only where its chunks end.

    A part of a Dask chunk costs as much as the whole, so that small chunks are put together up to `size` and large ones stay whole.

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


def row_blocks(matrix: Any, size: int = BLOCK_SIZE) -> Iterator[sparse.csr_matrix]:
    """Yield the rows of a matrix, in order, as CSR blocks in memory.

    Parameters
    ----------
    matrix
        As for :class:`RowReader`.
    size
        Rows per block; the last one may be smaller.

    Examples
    --------
    >>> [block.shape for block in row_blocks(np.eye(5), size=2)]
    [(2, 5), (2, 5), (1, 5)]
    """
    rows = RowReader(matrix)
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
    """The same items, each of them made by another thread while the one before it is used.

    Examples
    --------
    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="sctab-read") as reader:
        coming = reader.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = reader.submit(next, iterator, end)
            yield cast("T", item)
            del item  # it may be large


def to_csr(matrix: Any) -> sparse.csr_matrix:
    """Bring a whole matrix into memory as CSR; what is a CSR matrix already is given back as it is."""
    if isinstance(matrix, sparse.csr_matrix):
        return matrix
    if sparse.issparse(matrix):
        return sparse.csr_matrix(matrix)
    blocks = list(row_blocks(matrix))
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix(matrix.shape)


def _in_native_type(block: np.ndarray) -> np.ndarray:
    """The same values in a type that SciPy's sparse matrices know: neither half precision nor another byte order."""
    return block.astype(np.float32 if block.dtype == np.float16 else block.dtype.newbyteorder("="), copy=False)


def row_sliceable(matrix: Any) -> Any:
    """A view or copy of `matrix` of which rows can be sliced at little cost; nothing is read from disk yet."""
    if sparse.issparse(matrix):
        return sparse.csr_matrix(matrix)
    if getattr(matrix, "format", None) == "csc" and hasattr(matrix, "group"):  # a backed CSC dataset
        return _Transposed(matrix)
    return np.asarray(matrix) if isinstance(matrix, np.matrix) else matrix


class _Transposed:
    """A backed CSC matrix of which rows can be read, with memory that does not grow with the matrix.

    It is transposed when the first rows are asked for: a small one in memory, a large one on disk. Columns are then read in portions, and
    of each portion the values of every `BLOCK_SIZE` rows are appended to a temporary file, which has no name and goes with the process. To
    read such a block of rows is to gather its pieces.
    """

    ndim = 2

    def __init__(self, dataset: Any) -> None:
        self.shape = tuple(dataset.shape)
        self._dataset = dataset
        self._in_memory: sparse.csr_matrix | None = None
        self._file: Any = None
        self._dtype = _in_native_type(np.empty(0, dtype=dataset.group["data"].dtype)).dtype
        self._pieces: list[list[tuple[int, int]]] = []
        """For every `BLOCK_SIZE` rows, where in the file pieces of them are and how many values those have."""

    def _transpose_on_disk(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sctab-")  # noqa: SIM115 (it is closed with the object)
        weakref.finalize(self, self._file.close)
        n_obs, n_vars = self.shape
        group = self._dataset.group
        indptr = np.asarray(group["indptr"][:], dtype=np.int64)
        self._pieces = [[] for _ in range(0, n_obs, BLOCK_SIZE)]
        first = 0
        while first < n_vars:
            last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + _MOST_IN_MEMORY, side="right")) - 1)
            at = slice(int(indptr[first]), int(indptr[last]))
            values = np.asarray(group["data"][at]).astype(self._dtype, copy=False)
            arrays = (values, np.asarray(group["indices"][at]), indptr[first : last + 1] - at.start)
            portion = sparse.csc_matrix(arrays, shape=(n_obs, last - first)).tocsr()
            for number, start in enumerate(range(0, n_obs, BLOCK_SIZE)):
                self._append(number, portion[start : start + BLOCK_SIZE], first)
            first = last

    def _append(self, number: int, rows: sparse.csr_matrix, first_column: int) -> None:
        if rows.nnz == 0:
            return
        self._pieces[number].append((self._file.seek(0, 2), rows.nnz))
        row_of_value = np.repeat(np.arange(rows.shape[0], dtype=np.int32), np.diff(rows.indptr))
        for part in (row_of_value, (rows.indices + first_column).astype(np.int32), rows.data):
            self._file.write(np.ascontiguousarray(part).data)

    def _block(self, number: int) -> sparse.csr_matrix:
        rows, columns, values = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, self._dtype)]
        for place, length in self._pieces[number]:
            self._file.seek(place)
            for parts, dtype in ((rows, np.dtype(np.int32)), (columns, np.dtype(np.int32)), (values, self._dtype)):
                parts.append(np.frombuffer(self._file.read(length * dtype.itemsize), dtype=dtype))
        height = min(BLOCK_SIZE, self.shape[0] - number * BLOCK_SIZE)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_matrix(entries, shape=(height, self.shape[1]))

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """The rows `start:stop`."""
        if self._in_memory is None and self._file is None:
            if self._dataset.group["data"].shape[0] <= _MOST_IN_MEMORY:
                self._in_memory = sparse.csr_matrix(self._dataset.to_memory())
            else:
                self._transpose_on_disk()
        if self._in_memory is not None:
            return cast("sparse.csr_matrix", self._in_memory[rows])
        start, stop, _ = rows.indices(self.shape[0])
        first, last = start // BLOCK_SIZE, -(-stop // BLOCK_SIZE)
        blocks = [self._block(number) for number in range(first, last)]
        whole = sparse.vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
        return cast("sparse.csr_matrix", whole[start - first * BLOCK_SIZE : stop - first * BLOCK_SIZE])
