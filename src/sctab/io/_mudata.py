"""Modalities of a MuData in a file: the cells of one, with the columns of all, and the matrix of another one in the same order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import DataFileError
from sctab.io._file_matrix import open_matrix
from sctab.io._rows import RowReader, row_ranges
from sctab.io._scattered import ScatteredRows
from sctab.io._tables import Table

ChooseBeside = Callable[[Mapping[str, pd.DataFrame], str], str | None]
"""From the features of each modality, and the one that is read, to another one that is read beside it; `None` for none."""
_NAMES_AT_A_TIME = 65_536
_ROWS_AT_A_TIME = 8_192
"""Rows of another modality that are in memory at a time."""


class JointCells:
    """The cells of one modality with the columns of the MuData too, with the interface of :class:`~sctab.io._tables.Table`.

    Columns of the MuData come first; one of the modality with the same name is left out, as in :func:`sctab.data.join`.

    Parameters
    ----------
    root
        Root of the file.
    modality
        Name of the modality.
    path
        What to call the file in messages.
    """

    def __init__(self, root: Any, modality: str, path: str) -> None:
        self._root, self._modality, self._path = root, modality, path
        self._own = Table(root["mod"][modality], "obs")
        self._all = Table(root, "obs") if "obs" in root else None
        self._columns_of_all = [] if self._all is None else list(self._all.columns)
        self.n_rows = self._own.n_rows
        self.columns = [*self._columns_of_all, *(name for name in self._own.columns if name not in self._columns_of_all)]

    @property
    def n_all(self) -> int:
        """Number of cells of the MuData."""
        return self.n_rows if self._all is None else self._all.n_rows

    @property
    def has_own_table(self) -> bool:
        """True if the MuData has a table of its cells."""
        return self._all is not None

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells of the modality from `start` to `stop`."""
        return self._own.names(start, stop)

    def names_of_all(self, start: int, stop: int) -> list[str]:
        """Names of the cells of the MuData from `start` to `stop`."""
        return (self._own if self._all is None else self._all).names(start, stop)

    @cached_property
    def rows_in_all(self) -> NDArray[np.int64] | None:
        """Row of each cell in the tables of the MuData, -1 where it has none, `(n_obs,)`; `None` where rows are the same.

        Raises
        ------
        DataFileError
            If names of cells occur more than once, and the file does not say which is which.
        """
        if self._all is None:
            return None
        return self._rows(self._all, lambda: _inverse(self._map(self._modality), self.n_rows))

    def rows_in(self, other: str) -> NDArray[np.int64] | None:
        """Row of each cell in another modality; see :attr:`rows_in_all`."""

        def mapped() -> NDArray[np.int64] | None:
            of_all, of_other = _inverse(self._map(self._modality), self.n_rows), self._map(other)
            if of_all is None or of_other is None:
                return None
            return np.where(of_all >= 0, np.append(of_other, -1)[of_all], -1)

        return self._rows(Table(self._root["mod"][other], "obs"), mapped)

    def select(self, keys: Sequence[str]) -> pd.DataFrame:
        """Those columns that there are, in the order of `keys`, with numbers as their index."""
        known = [key for key in dict.fromkeys(keys) if key in self.columns]
        of_all = [key for key in known if key in self._columns_of_all]
        found = self._own.select([key for key in known if key not in of_all])
        if of_all and self._all is not None:
            table = self._all.select(of_all)
            if self.rows_in_all is not None:
                table = table.reindex(self.rows_in_all).set_axis(pd.RangeIndex(self.n_rows))
            found = pd.concat([table, found], axis=1)
        return found[known]

    def arrays_of_all(self, slot: str) -> Any:
        """The `obsm` or `uns` of the MuData, which may be empty."""
        return self._root.get(slot, {})

    def in_order(self, values: Any) -> Any:
        """Rows of an array or a frame of all cells for the cells of the modality; `None` where one is not among them."""
        rows = self.rows_in_all
        if len(values) != self.n_all or (rows is not None and (rows < 0).any()):
            return None
        if rows is None:
            return values
        return values.iloc[rows] if isinstance(values, pd.DataFrame) else values[rows]

    def complete(self, adata: AnnData) -> AnnData:
        """The modality in memory, with columns, arrays and results that are in the MuData itself."""
        adata.obs = self.select(self.columns).set_axis(adata.obs_names)
        for name in [name for name in self.arrays_of_all("obsm") if name not in self._root["mod"]]:
            values = self.in_order(read_elem(self.arrays_of_all("obsm")[name]))
            if values is not None:
                adata.obsm[name] = values
        stored = self.arrays_of_all("uns")
        adata.uns |= {name: read_elem(stored[name]) for name in stored}
        return adata

    def _rows(self, table: Table, mapped: Callable[[], NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
        if table.n_rows == self.n_rows and all(
            self._own.names(*at) == table.names(*at) for at in row_ranges(_Rows(self.n_rows), _NAMES_AT_A_TIME)
        ):
            return None
        rows = _matched(_hashes(self._own), _hashes(table))
        if rows is None and (rows := mapped()) is None:
            raise DataFileError(
                f"Names of cells occur more than once in `{self._path}`, so modalities cannot be matched. Make them unique with "
                "`mdata.mod[...].obs_names_make_unique()` and `mdata.update()`, and write the file again."
            )
        return rows

    def _map(self, modality: str) -> NDArray[np.int64] | None:
        """Row in a modality of each cell of the MuData, -1 where it has none, as the file has it; `None` where that is not known."""
        maps = self._root.get("obsmap", {})
        if modality not in maps or hasattr(maps[modality], "keys"):
            return None
        found = np.asarray(maps[modality][...]).ravel().astype(np.int64) - 1
        n_rows = Table(self._root["mod"][modality], "obs").n_rows
        return found if len(found) == self.n_all and found.min(initial=0) >= -1 and found.max(initial=-1) < n_rows else None


@dataclass(frozen=True)
class _Rows:
    """A number of rows, for :func:`row_ranges`."""

    n: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, 0


def _hashes(table: Table) -> NDArray[np.uint64]:
    """A hash of each name, 8 bytes per cell."""
    parts = [
        pd.util.hash_array(np.array(table.names(*at), dtype=object), categorize=False)
        for at in row_ranges(_Rows(table.n_rows), _NAMES_AT_A_TIME)
    ]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _matched(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """Position of each hash among others, -1 for one that is not among them; `None` where one of the others occurs twice."""
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    if (ordered[1:] == ordered[:-1]).any():
        return None
    if not len(known):
        return np.full(len(wanted), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(ordered, wanted), len(known) - 1)
    return np.where(ordered[at] == wanted, order[at], -1).astype(np.int64)


def _inverse(rows: NDArray[np.int64] | None, n: int) -> NDArray[np.int64] | None:
    if rows is None:
        return None
    found = np.full(n, -1, dtype=np.int64)
    has = np.flatnonzero(rows >= 0)
    found[rows[has]] = has
    return found


@dataclass(frozen=True)
class Beside:
    """Another modality of a file, of the cells of the one that is read."""

    name: str
    """Name of the modality."""
    matrix_name: str
    """Name of the matrix in messages, such as `mod['prot'].X`."""
    var: pd.DataFrame = field(repr=False)
    matrix: Any = field(repr=False)
    """Rows of the same cells in the same order, `(n_obs, n_features)`; NaN for cells that the modality does not have."""


def open_beside(root: Any, path: str, name: str, var: pd.DataFrame, cells: JointCells) -> Beside | None:
    """Open another modality of a MuData; `None` if it has no matrix.

    Parameters
    ----------
    root, path
        Root of the file, and what to call it.
    name, var
        The modality and its features.
    cells
        The cells of the modality that is read.

    Raises
    ------
    DataFileError
        If its matrix or its names of cells cannot be used.
    """
    group, where = root["mod"][name], f"mod[{name!r}].X"
    matrix = open_matrix(path, where, group.get("X"), (Table(group, "obs").n_rows, len(var)))
    if matrix is None:
        return None
    rows = cells.rows_in(name)
    return Beside(name, where, var, matrix if rows is None else ReorderedRows(matrix, where, rows))


class ReorderedRows:
    """Rows of a matrix in another order, float32; NaN where there is none.

    Where the order is another one, the matrix is written once to a temporary file, in the order in which it is read.

    Parameters
    ----------
    matrix, name
        As for :class:`~sctab.io._rows.RowReader`.
    rows
        Row of the matrix for each row of this one, -1 for none, `(n_rows,)`.
    """

    is_dense = True

    def __init__(self, matrix: Any, name: str, rows: NDArray[np.int64]) -> None:
        self._reader = RowReader(matrix, name)
        self._rows = rows
        self.shape, self.dtype = (len(rows), int(matrix.shape[1])), np.dtype(np.float32)

    @cached_property
    def _is_ordered(self) -> bool:
        known = self._rows[self._rows >= 0]
        return bool((np.diff(known) >= 0).all())

    @cached_property
    def _scattered(self) -> ScatteredRows:
        found = ScatteredRows(self.shape, np.float32, fill=np.nan)
        order = np.argsort(self._rows, kind="stable")
        ordered = self._rows[order]
        for start, stop in row_ranges(_Rows(self._reader.shape[0]), _ROWS_AT_A_TIME):
            first, last = np.searchsorted(ordered, [start, stop])
            found.put(order[first:last], _dense(self._reader.read(start, stop))[ordered[first:last] - start])
        return found

    def remark(self, name: str) -> str:
        """See :meth:`~sctab.io._file_matrix.FileMatrix.remark`."""
        del name
        return ""

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """The rows `start:stop`."""
        if not self._is_ordered:
            return self._scattered[rows]
        wanted = self._rows[rows]
        values = np.full((len(wanted), self.shape[1]), np.nan, dtype=np.float32)
        has = np.flatnonzero(wanted >= 0)
        while len(has):
            start = int(wanted[has[0]])
            n = int(np.searchsorted(wanted[has], start + _ROWS_AT_A_TIME))
            values[has[:n]] = _dense(self._reader.read(start, int(wanted[has[n - 1]]) + 1))[wanted[has[:n]] - start]
            has = has[n:]
        return values


def _dense(block: sparse.csr_matrix) -> NDArray[np.floating]:
    values: NDArray[np.floating] = block.toarray()
    return values
