"""The Parquet store that was published with scTab, as a source.

Its layout is that of Fischer et al. (2023, :doi:`10.1101/2023.10.07.561331`): directories `train`, `val` and `test` of Parquet files, in
whose column `X` each cell has a list of values, normalised and logarithmised; further columns are codes, whose meaning is in
`categorical_lookup/<column>.parquet`; and `var.parquet` names the genes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from sctab.corpus._entry import SPLIT
from sctab.corpus.sources._blocks import BlockRows
from sctab.errors import DataFileError
from sctab.io import explains_damage

SPLIT_DIRECTORIES = {"train": "train", "val": "validation", "test": "test"}
"""Names of the directories, and what the splits are called here."""
_LOOKUP, _VAR, _VALUES = "categorical_lookup", "var.parquet", "X"
_KIND = "a store of Parquet files"
_CELLS_AT_A_TIME = 256
"""Cells that are dense in memory: 20 MB for 19,331 genes."""


def is_parquet_store(path: Path) -> bool:
    """Return whether a directory is such a store, by what is in it."""
    return (path / _LOOKUP).is_dir() and any((path / name).is_dir() for name in SPLIT_DIRECTORIES)


@dataclass(frozen=True)
class _Group:
    """A row group of a file."""

    file: Path
    number: int
    n_obs: int


class ParquetStore:
    """A store that was published with scTab, with what of an AnnData a corpus looks at; see :class:`sctab.corpus.sources._open.CellSource`.

    Cells are those of training, then validation, then test. Columns of codes are given by their names, and the column `split` says which
    directory a cell is in.

    Parameters
    ----------
    path
        Its directory.
    obs_keys
        Columns to read.

    Raises
    ------
    DataFileError
        If a part of it is missing or damaged.
    """

    layers: dict[str, Any] = {}  # noqa: RUF012 (it has none)
    raw = None

    def __init__(self, path: str, obs_keys: Sequence[str] = ()) -> None:
        self.path = path
        root = Path(path)
        if not (root / _VAR).exists():
            raise DataFileError(f"`{path}` has no `{_VAR}`, which names its genes. Copy it from the source of the store.")
        with explains_damage(path, _KIND):
            var = pd.read_parquet(root / _VAR)
            self.var = var.set_axis(var.index.astype(str))
            self.n_vars = len(self.var)
            self._files = {
                split: sorted((root / name).glob("*.parquet"), key=_natural) for name, split in SPLIT_DIRECTORIES.items()
            }
            self._groups: list[_Group] = []
            n_obs = []
            for files in self._files.values():
                groups = [group for file in files for group in _groups(file)]
                self._groups += groups
                n_obs.append(sum(group.n_obs for group in groups))
            if not self._groups:
                raise DataFileError(f"`{path}` holds no cells: its directories have no `.parquet`. Copy the complete store again.")
            self._starts = np.concatenate([[0], np.cumsum(n_obs)])
            self.n_obs = int(self._starts[-1])
            schema = pq.read_schema(self._groups[0].file)
            if _VALUES not in schema.names:
                raise DataFileError(f"`{self._groups[0].file}` has no column `{_VALUES}`. Copy the complete store again.")
            self.obs_columns = [name for name in schema.names if name not in {_VALUES, SPLIT}] + [SPLIT]
            known = [key for key in obs_keys if key in self.obs_columns]
            self.obs = pd.DataFrame({key: self._column(key, root) for key in known}, index=pd.RangeIndex(self.n_obs))
            self.X = BlockRows([group.n_obs for group in self._groups], self.n_vars, self._read)

    def _column(self, key: str, root: Path) -> Any:
        if key == SPLIT:
            return pd.Categorical.from_codes(np.repeat(np.arange(len(self._files)), np.diff(self._starts)), list(self._files))
        parts = [pq.read_table(file, columns=[key]).column(key) for files in self._files.values() for file in files]
        values = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
        lookup = root / _LOOKUP / f"{key}.parquet"
        if not pa.types.is_integer(values.type) or not lookup.exists():
            return values.to_pandas().to_numpy()
        return pd.Categorical.from_codes(values.to_numpy(), pd.read_parquet(lookup)["label"].sort_index().astype(str))

    def _read(self, number: int) -> sparse.csr_matrix:
        """The values of a row group."""
        with explains_damage(self.path, _KIND):
            return sparse.csr_matrix(sparse.vstack(list(self._parts(self._groups[number])), format="csr"))

    def _parts(self, group: _Group) -> Iterator[sparse.csr_matrix]:
        with pq.ParquetFile(group.file) as file:
            for batch in file.iter_batches(batch_size=_CELLS_AT_A_TIME, row_groups=[group.number], columns=[_VALUES]):
                values = batch.column(0)
                lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
                if not (lengths == self.n_vars).all():
                    raise DataFileError(
                        f"`{group.file}` has cells with another number of values than the {self.n_vars:,} genes of `{_VAR}`. "
                        "Copy the complete store again."
                    )
                dense: NDArray[Any] = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), self.n_vars)
                yield sparse.csr_matrix(dense)

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`: the store has none, so that they say where a cell is."""
        splits = np.searchsorted(self._starts, np.arange(start, stop), side="right") - 1
        names = list(self._files)
        return [f"{names[split]}-{cell - self._starts[split]}" for cell, split in zip(range(start, stop), splits, strict=True)]

    def fingerprint(self) -> dict[str, Any]:
        """Values that differ between this store and another one, or an earlier state of it, without reading it whole."""
        states = [file.stat() for files in self._files.values() for file in files]
        text = "\n".join([*self.var.index, *(f"{state.st_size} {state.st_mtime_ns}" for state in states)])
        return {"path": self.path, "n_obs": self.n_obs, "state": hashlib.sha256(text.encode()).hexdigest()}

    def close(self) -> None:
        """Release it: files are open only while they are read."""


def _groups(file: Path) -> list[_Group]:
    metadata = pq.read_metadata(file)
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    return [_Group(file, number, size) for number, size in enumerate(sizes) if size]


def _natural(file: Path) -> list[tuple[int, str]]:
    """Sorts `part.10` behind `part.9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]
