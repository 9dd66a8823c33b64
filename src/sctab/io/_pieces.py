"""Rows of a matrix that arrives in portions, kept in a temporary file with memory that does not grow with the matrix."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

ROWS = 1024
"""Rows that lie together in the file."""


class RowPieces:
    """A matrix that is written in portions, in any order, and read by rows.

    The values of every `ROWS` rows of each portion are appended to a temporary file, which has no name and goes with the process. Such a
    block of rows is read by gathering its pieces.

    Parameters
    ----------
    shape
        Rows and columns, `(n_obs, n_vars)`.
    dtype
        Type of the values.
    size
        Rows that lie together, by default `ROWS`.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, size: int | None = None) -> None:
        self.shape, self.dtype = (int(shape[0]), int(shape[1])), np.dtype(dtype)
        self._size = size or ROWS
        self._file = tempfile.TemporaryFile(prefix="sctab-")  # noqa: SIM115 (it is closed with the object)
        weakref.finalize(self, self._file.close)
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(0, self.shape[0], self._size)]
        """For every `size` rows, where in the file pieces of them are and how many values those have."""

    def add(self, rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]) -> None:
        """Add a portion of values, which must lie in the matrix."""
        if not len(rows):
            return
        numbers = rows // self._size
        if (np.diff(numbers) < 0).any():
            order = np.argsort(numbers, kind="stable")
            rows, columns, values, numbers = rows[order], columns[order], values[order], numbers[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            number = int(numbers[start])
            self.append(number, rows[start:stop] - number * self._size, columns[start:stop], values[start:stop])

    def append(self, number: int, rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]) -> None:
        """Add values of block `number`, with their rows in it."""
        if not len(values):
            return
        self._pieces[number].append((self._file.seek(0, 2), len(values)))
        for part, dtype in ((rows, np.int32), (columns, np.int32), (values, self.dtype)):
            self._file.write(np.ascontiguousarray(part, dtype=dtype).data)

    def _block(self, number: int) -> sparse.csr_matrix:
        rows, columns, values = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, self.dtype)]
        for place, length in self._pieces[number]:
            self._file.seek(place)
            for parts, dtype in ((rows, np.dtype(np.int32)), (columns, np.dtype(np.int32)), (values, self.dtype)):
                parts.append(np.frombuffer(self._file.read(length * dtype.itemsize), dtype=dtype))
        height = min(self._size, self.shape[0] - number * self._size)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_matrix(entries, shape=(height, self.shape[1]))

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """The rows `start:stop`."""
        start, stop, _ = rows.indices(self.shape[0])
        first, last = start // self._size, -(-max(start, stop) // self._size)
        blocks = [self._block(number) for number in range(first, last)]
        if not blocks:
            return sparse.csr_matrix((0, self.shape[1]), dtype=self.dtype)
        whole = sparse.vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
        return cast("sparse.csr_matrix", whole[start - first * self._size : stop - first * self._size])
