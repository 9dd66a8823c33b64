"""A matrix somewhere else, of which whole blocks of rows are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse


class BlockRows:
    """Rows of a matrix that is read in blocks; the last block is kept, so that reading in order reads each once.

    Parameters
    ----------
    lengths
        Rows of each block.
    n_vars
        Number of columns.
    read
        Reads the block of a number.

    Examples
    --------
    >>> rows = BlockRows([2, 1], 3, lambda number: sparse.csr_matrix(np.eye(3)[[0, 1]] if number == 0 else np.eye(3)[[2]]))
    >>> rows[1:3].toarray()
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """

    def __init__(self, lengths: Sequence[int], n_vars: int, read: Callable[[int], sparse.csr_matrix]) -> None:
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._read = read
        self._kept: tuple[int, sparse.csr_matrix] | None = None
        self.shape = (int(self._starts[-1]), n_vars)

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """The rows `start:stop`."""
        start, stop, _ = rows.indices(self.shape[0])
        if start >= stop:
            return sparse.csr_matrix((0, self.shape[1]), dtype=np.float32)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        parts = []
        for number in range(first, last):
            at = self._starts[number]
            parts.append(self._block(number)[max(start - at, 0) : stop - at])
        return sparse.csr_matrix(sparse.vstack(parts, format="csr"))

    def _block(self, number: int) -> sparse.csr_matrix:
        if self._kept is None or self._kept[0] != number:
            self._kept = None  # two would be in memory otherwise
            self._kept = number, self._read(number)
        return self._kept[1]
