"""AnnData written from a file in another format, block by block."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from numpy.typing import NDArray

from sctab.io._data_file import DataFile
from sctab.io._layout import as_counts
from sctab.io._rows import RowReader, row_ranges

_CHUNK = 1_000_000
"""Numbers in a chunk: 4 MB."""
_NAMES_AT_A_TIME = 65_536


def write_fresh(file: DataFile, root: Any) -> None:
    """Write what a file in another format holds as an AnnData, with memory that does not grow with the number of cells.

    Matrices become CSR of float32, whose rows are checked and sorted, and repeated values added, as everywhere where rows are read.

    Parameters
    ----------
    file
        A file with a `layout`.
    root
        Root of an empty `.h5ad` or `.zarr`.
    """
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    _write_obs(file, root.create_group("obs"))
    write_elem(root, "var", file.var)
    layers = root.create_group("layers")
    layers.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
    _write_rows(file.X, "X", root)
    for name, matrix in file.layers.items():
        _write_rows(matrix, name, layers)
    for slot in ("obsm", "obsp", "uns", "varm", "varp"):
        write_elem(root, slot, {})


def _write_obs(file: DataFile, obs: Any) -> None:
    obs.attrs.update(
        {"encoding-type": "dataframe", "encoding-version": "0.2.0", "column-order": list(file.obs_columns), "_index": "_index"}
    )
    if isinstance(obs, h5py.Group):
        names = obs.create_dataset("_index", shape=(file.n_obs,), dtype=h5py.string_dtype())
    else:
        names = obs.create_array("_index", shape=(file.n_obs,), dtype=str, chunks=(max(1, min(_NAMES_AT_A_TIME, file.n_obs)),))
    names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    for start in range(0, file.n_obs, _NAMES_AT_A_TIME):
        found = file.names(start, min(start + _NAMES_AT_A_TIME, file.n_obs))
        names[start : start + len(found)] = np.array(found, dtype=object)
    if file.layout is not None:
        for column in file.obs_columns:
            values = file.layout.obs.select([column])[column].array
            write_elem(obs, column, values if isinstance(values, pd.Categorical) else np.asarray(values))


def _write_rows(matrix: Any, name: str, root: Any) -> None:
    """Write a matrix as CSR while its rows are read."""
    group = root.create_group(name)
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(matrix.shape)})
    reader, lengths = RowReader(matrix, name), [np.zeros(1, dtype=np.int64)]
    data, indices = _Growing(group, "data", np.float32), _Growing(group, "indices", np.int32)
    for start, stop in row_ranges(matrix):
        block = as_counts(reader.read(start, stop))
        lengths.append(np.diff(block.indptr).astype(np.int64))
        data.append(block.data)
        indices.append(block.indices)
    data.finish()
    indices.finish()
    write_elem(group, "indptr", np.cumsum(np.concatenate(lengths)))


class _Growing:
    """An array of unknown length, to which whole chunks are added."""

    def __init__(self, group: Any, name: str, dtype: Any) -> None:
        if isinstance(group, h5py.Group):
            self._array: Any = group.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(_CHUNK,), dtype=dtype)
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
