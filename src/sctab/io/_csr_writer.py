"""A CSR matrix that is written while its rows are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy import sparse

_CHUNK = 1_000_000
"""Numbers in a chunk: 4 MB."""


class CsrWriter:
    """A CSR matrix of float32 in an `.h5ad` or `.zarr`, to which blocks of rows are added.

    Parameters
    ----------
    root
        Group in which the matrix is made.
    name
        Its name there.
    shape
        Its shape once all rows were added.
    compression
        Compression of HDF5, such as `"gzip"`; by default none.
    """

    def __init__(self, root: Any, name: str, shape: Sequence[int], *, compression: str | None = None) -> None:
        self._group = root.create_group(name)
        self._group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(shape)})
        self._lengths = [np.zeros(1, dtype=np.int64)]
        self._data = _Growing(self._group, "data", np.float32, compression)
        self._indices = _Growing(self._group, "indices", np.int32, compression)

    def append(self, block: sparse.csr_matrix) -> None:
        """Add rows."""
        self._lengths.append(np.diff(block.indptr).astype(np.int64))
        self._data.append(block.data)
        self._indices.append(block.indices)

    def finish(self) -> None:
        """Write what is left."""
        self._data.finish()
        self._indices.finish()
        write_elem(self._group, "indptr", np.cumsum(np.concatenate(self._lengths)))


class _Growing:
    """An array of unknown length, to which whole chunks are added."""

    def __init__(self, group: Any, name: str, dtype: Any, compression: str | None) -> None:
        if isinstance(group, h5py.Group):
            self._array: Any = group.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(_CHUNK,), dtype=dtype, compression=compression
            )
        else:
            self._array = group.create_array(name, shape=(0,), chunks=(_CHUNK,), dtype=dtype)
        self._array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self._waiting: list[NDArray[Any]] = []
        self._n_waiting = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add values; they are written when there is a chunk of them."""
        self._waiting.append(values.astype(self._array.dtype, copy=False))
        self._n_waiting += len(values)
        if self._n_waiting >= _CHUNK:
            self._write(self._n_waiting // _CHUNK * _CHUNK)

    def finish(self) -> None:
        """Write what is left."""
        self._write(self._n_waiting)

    def _write(self, n_values: int) -> None:
        values = np.concatenate(self._waiting) if self._waiting else np.empty(0, self._array.dtype)
        start = self._array.shape[0]
        self._array.resize((start + n_values,))
        self._array[start:] = values[:n_values]
        self._waiting, self._n_waiting = [values[n_values:].copy()], len(values) - n_values
