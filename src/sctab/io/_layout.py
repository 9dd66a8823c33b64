"""Content of a file in another format than that of anndata, under the names of an AnnData."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from sctab.errors import DataFileError, did_you_mean, listing

Choose = Callable[[Mapping[str, pd.DataFrame]], str]
"""From the features of each part of a file, such as its modalities, to the part that is used."""
_NAMES_AT_A_TIME = 65_536


class CellColumns:
    """Names and columns of cells, read on demand, with the interface of :class:`~sctab.io._tables.Table`.

    Parameters
    ----------
    names
        Names of the cells, `(n_obs,)`: a dataset of HDF5, or anything whose slices are names.
    columns
        Further annotation, each `(n_obs,)`.
    """

    def __init__(self, names: Any, columns: Mapping[str, Any] | None = None) -> None:
        self._names, self._arrays = names, dict(columns or {})
        self.n_rows = len(names)
        self.columns = list(self._arrays)

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`."""
        return strings(self._names[start:stop])

    def add(self, columns: Mapping[str, Any]) -> None:
        """Add annotation, each `(n_obs,)`."""
        self._arrays |= columns
        self.columns = list(self._arrays)

    def select(self, keys: Sequence[str]) -> pd.DataFrame:
        """Those columns that there are, in the order of `keys`, with numbers as their index."""
        known = [key for key in dict.fromkeys(keys) if key in self._arrays]
        return pd.DataFrame(
            {key: values(self._arrays[key]) for key in known}, index=pd.RangeIndex(self.n_rows), columns=known or None
        )


@dataclass(frozen=True)
class Layout:
    """Cells, features and matrices of a file."""

    obs: CellColumns
    var: pd.DataFrame
    """Features, `(n_vars, …)`."""
    X: Any = field(repr=False)
    """Matrix of which rows can be read, `(n_obs, n_vars)`."""
    layers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    part: str | None = None
    """Genome that was chosen; `None` where there is one."""
    parts: list[str] = field(default_factory=list)
    """All genomes, where there are several."""


class StoredColumns:
    """A dense matrix on disk that has cells in columns, `(n_vars, n_obs)`, of which the rows of its transpose are read."""

    is_dense = True

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.stored = dataset
        self.shape, self.dtype = tuple(dataset.shape[::-1]), dataset.dtype

    def __getitem__(self, rows: slice) -> Any:
        """The rows `start:stop` of the transpose."""
        return self.stored[:, rows].T


def as_counts(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """Integers as scanpy reads them: float32."""
    return block.astype(np.float32) if block.dtype.kind in "biu" else block


def strings(found: Any) -> list[str]:
    """Strings of any kind of array of strings or bytes."""
    return [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in np.asarray(found, dtype=object)
    ]


def values(dataset: Any) -> Any:
    """A whole column: numbers as they are, anything else as strings."""
    found = dataset[:]
    if isinstance(found, pd.Categorical):
        return found
    return found if found.dtype.kind in "biuf" else np.array(strings(found), dtype=object)


def array_of(group: Any, name: str, path: str, n: int | None = None) -> Any:
    """An array of one dimension, checked to be there and of its length.

    Raises
    ------
    DataFileError
        If it is missing, a group, or of another shape.
    """
    found = group.get(name)
    where = f"{group.name.strip('/')}/{name}".strip("/")
    if found is None or hasattr(found, "keys"):
        raise DataFileError(
            f"`{path}` must have the array `{where}`, and holds {listing(sorted(group), most=8)} there. The file is "
            "incomplete or damaged; copy or export it again."
        )
    if found.ndim != 1 or (n is not None and found.shape[0] != n):
        raise DataFileError(
            f"`{path}`: `{where}` must have {'one dimension' if n is None else f'{n:,} entries'}, and has the shape {tuple(found.shape)}. "
            "The file is incomplete or damaged; copy or export it again."
        )
    return found


def choose_part(tables: Mapping[str, pd.DataFrame], wanted: str | None, choose: Choose | None, path: str, what: str) -> str:
    """The part of a file that is used: the one that the user named, else the one that `choose` finds.

    Raises
    ------
    DataFileError
        If there is none of this name.
    """
    if wanted is not None:
        if wanted not in tables:
            raise DataFileError(f"`{path}` has no {what} `{wanted}`.{did_you_mean(wanted, tables)} Available: {listing(tables)}.")
        return wanted
    if len(tables) == 1 or choose is None:
        return next((name for name in tables if name.lower() in {"rna", "gex"}), next(iter(tables)))
    return choose(tables)
