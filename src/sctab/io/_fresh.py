"""AnnData written from a file in another format, block by block."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

from sctab.io._csr_writer import CsrWriter
from sctab.io._data_file import DataFile
from sctab.io._layout import as_counts
from sctab.io._rows import RowReader, row_ranges

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
    reader, writer = RowReader(matrix, name), CsrWriter(root, name, matrix.shape)
    for start, stop in row_ranges(matrix):
        writer.append(as_counts(reader.read(start, stop)))
    writer.finish()
