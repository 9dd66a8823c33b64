"""An external shuffle: cells of many files on their way to random places in a store, with memory that does not grow with either.

Every cell of a split has a random place, and places are cut into shards of equal size. One source after another is read in order. Some of
its cells at a time are sorted by shard and appended to files of the source, with a note of how many are of which shard. A shard then fits
in memory, where its cells are sorted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_MOST_VALUES = 8_000_000
"""Values of a source that are kept until they are sorted onto shards: 64 MB."""
_HASHED_AT_A_TIME = 65_536
"""Values, so that what is computed on the way takes little memory."""
_COLUMNS: dict[str, Any] = {
    "values": np.float32,
    "columns": np.int32,
    "lengths": np.int32,
    "places": np.int32,
    "rows": np.int64,
    "hashes": np.uint64,
}
"""Data kept per cell, with types."""
_OF_VALUES = ("values", "columns")
_RUNS = "runs"
"""File with a row for each run of cells of the same shard: which shard, how many cells, and how many values they have."""


@dataclass(frozen=True)
class Shard:
    """Cells of one shard, in order."""

    matrix: sparse.csr_matrix
    source: NDArray[np.int32]
    """Source of each cell, `(n_obs,)`."""
    row: NDArray[np.int64]
    """Row in the source, `(n_obs,)`."""
    hashes: NDArray[np.uint64]
    """Hash of the expression of each cell, `(n_obs,)`."""


class SpillWriter:
    """Appends cells of one source to its files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waiting: defaultdict[int, list[dict[str, NDArray[Any]]]] = defaultdict(list)
        """For each shard, what is kept of cells."""
        self._n_values = 0

    def add(self, block: sparse.csr_matrix, shard: NDArray[np.int64], place: NDArray[np.int64], row: NDArray[np.int64]) -> None:
        """Append cells.

        Parameters
        ----------
        block
            Their expression, `(n_obs, n_vars)`.
        shard, place
            Which shard each belongs to, and where on it, `(n_obs,)`.
        row
            Their rows in the source.
        """
        order = np.argsort(shard, kind="stable")
        block, shard = block[order], shard[order]
        of_cells = {"lengths": np.diff(block.indptr), "places": place[order], "rows": row[order], "hashes": hash_rows(block)}
        starts = np.flatnonzero(np.diff(shard, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(shard)], strict=True):
            at = slice(block.indptr[start], block.indptr[stop])
            part = {"values": block.data[at], "columns": block.indices[at]}
            part |= {name: array[start:stop] for name, array in of_cells.items()}
            self._waiting[int(shard[start])].append(part)
        self._n_values += block.nnz
        if self._n_values >= _MOST_VALUES:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        shards = sorted(self._waiting)
        for name, dtype in _COLUMNS.items():
            with (self._directory / name).open("ab") as file:
                for shard in shards:
                    for part in self._waiting[shard]:
                        np.ascontiguousarray(part[name], dtype=dtype).tofile(file)
        with (self._directory / _RUNS).open("ab") as file:
            for shard in shards:
                n_cells, n_values = (sum(len(part[name]) for part in self._waiting[shard]) for name in ("lengths", "values"))
                np.array([shard, n_cells, n_values], dtype=np.int64).tofile(file)
        self._waiting.clear()
        self._n_values = 0


class _Spill:
    """Cells of a shard that are from one source."""

    def __init__(self, source: int, directory: Path, shard: int) -> None:
        self.source, self._directory = source, directory
        runs = np.fromfile(directory / _RUNS, dtype=np.int64).reshape(-1, 3)
        is_of_shard = runs[:, 0] == shard
        self._lengths = runs[is_of_shard, 1:]
        self._starts = (np.cumsum(runs[:, 1:], axis=0) - runs[:, 1:])[is_of_shard]
        self.n_obs = int(self._lengths[:, 0].sum())

    def read(self, name: str) -> NDArray[Any]:
        dtype, kind = np.dtype(_COLUMNS[name]), int(name in _OF_VALUES)
        with (self._directory / name).open("rb") as file:
            runs = []
            for start, length in zip(self._starts[:, kind].tolist(), self._lengths[:, kind].tolist(), strict=True):
                file.seek(start * dtype.itemsize)
                runs.append(np.fromfile(file, dtype=dtype, count=length))
        return np.concatenate(runs)


def read_shard(directories: Sequence[tuple[int, Path]], shard: int, n_vars: int) -> Shard:
    """Read one shard from the spill files of all sources.

    Parameters
    ----------
    directories
        Number and directory of each source.
    shard
        Which.
    n_vars
        Number of genes.
    """
    spills = [_Spill(source, directory, shard) for source, directory in directories]
    spills = [spill for spill in spills if spill.n_obs]

    def of_cells(name: str) -> NDArray[Any]:
        return np.concatenate([spill.read(name) for spill in spills])

    lengths, order = of_cells("lengths"), np.argsort(of_cells("places"))
    indptr = np.concatenate([[0], np.cumsum(lengths[order], dtype=np.int64)])
    starts = np.empty(len(order), dtype=np.int64)
    starts[order] = indptr[:-1]

    def of_values(name: str) -> NDArray[Any]:
        """Copy cell by cell, so that memory holds the shard once, and what one source has of it."""
        array = np.empty(indptr[-1], dtype=_COLUMNS[name])
        cells = zip(starts.tolist(), lengths.tolist(), strict=True)
        for spill in spills:
            part, at = spill.read(name), 0
            for start, length in islice(cells, spill.n_obs):
                array[start : start + length] = part[at : at + length]
                at += length
        return array

    matrix = sparse.csr_matrix((of_values("values"), of_values("columns"), indptr), shape=(len(order), n_vars))
    sources = np.repeat(np.array([spill.source for spill in spills], dtype=np.int32), [spill.n_obs for spill in spills])
    return Shard(matrix, sources[order], of_cells("rows")[order], of_cells("hashes")[order])


def hash_rows(block: sparse.csr_matrix) -> NDArray[np.uint64]:
    """A hash of the values of each row and of where they are, whatever their order, `(n_obs,)`; zero for a row without values.

    Examples
    --------
    >>> rows = sparse.csr_matrix([[0, 1.0, 2.0], [0, 1.0, 2.0], [1.0, 0, 2.0]])
    >>> hashes = hash_rows(rows)
    >>> bool(hashes[0] == hashes[1]), bool(hashes[0] == hashes[2])
    (True, False)
    """
    mixed = np.empty(block.nnz, dtype=np.uint64)
    for start in range(0, block.nnz, _HASHED_AT_A_TIME):
        at = slice(start, start + _HASHED_AT_A_TIME)
        values = np.ascontiguousarray(block.data[at], dtype=np.float32).view(np.uint32)
        mixed[at] = _mix((block.indices[at].astype(np.uint64) << np.uint64(32)) | values)
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    return sums[block.indptr[1:]] - sums[block.indptr[:-1]]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele et al. 2014, :doi:`10.1145/2660193.2660195`); what it is given becomes that."""
    x += np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
