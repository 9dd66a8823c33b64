"""Rows that are written in any order and read in order, in temporary files."""

from __future__ import annotations

import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 65_536
"""Rows that are filled at a time."""


class ScatteredRows:
    """An array in a temporary file, which has no name and goes with the process; memory does not grow with it.

    Parameters
    ----------
    shape
        Its shape, `(n_rows, …)`.
    dtype
        Type of its values.
    fill
        Value of rows that are not written.

    Examples
    --------
    >>> rows = ScatteredRows((4,), np.int32, fill=-1)
    >>> rows.put(np.array([2, 0]), np.array([7, 8]))
    >>> rows[1:4]
    array([-1,  7, -1], dtype=int32)
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, fill: Any = 0) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._file = tempfile.TemporaryFile(prefix="sctab-")  # noqa: SIM115 (it is closed with the object)
        weakref.finalize(self, self._file.close)
        block = np.full((min(ROWS, shape[0]), *shape[1:]), fill, dtype=self.dtype)
        for start in range(0, shape[0], ROWS):
            self._file.write(np.ascontiguousarray(block[: shape[0] - start]).data)
        self._file.flush()

    def _mapped(self, mode: Any) -> Any:
        return np.memmap(self._file, dtype=self.dtype, mode=mode, shape=self.shape)

    def put(self, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Write some rows."""
        if len(rows) and 0 not in self.shape:
            mapped = self._mapped("r+")  # and not mapped any more after it: its pages would count as memory of the process
            mapped[rows] = values

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """The rows `start:stop`."""
        if 0 in self.shape:
            return np.empty((len(range(*rows.indices(self.shape[0]))), *self.shape[1:]), dtype=self.dtype)
        return np.array(self._mapped("r")[rows])
