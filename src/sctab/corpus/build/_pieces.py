"""An external shuffle: cells of many files on their way to random places in a store, with memory that does not grow with either.

Every cell of a split has a random place, and places are cut into shelves of equal size. One source after another is read in order. Some of
its cells at a time are sorted by shelf and appended to files of the source, with a note of how many are of which shelf. A shelf then fits
in memory, where its cells are put in order.
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
"""Values of a source that are kept until they are sorted onto shelves: 64 MB."""
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
"""What is kept of cells, and as what."""
_OF_VALUES = ("values", "columns")
_RUNS = "runs"
"""File with a row for each run of cells of the same shelf: which shelf, how many cells, and how many values they have."""


@dataclass(frozen=True)
class Shelf:
    """Cells of one shelf, in order."""

    matrix: sparse.csr_matrix
    source: NDArray[np.int32]
    """Source of each cell, `(n_obs,)`."""
    row: NDArray[np.int64]
    """Row in the source, `(n_obs,)`."""
    hashes: NDArray[np.uint64]
    """Hash of the expression of each cell, `(n_obs,)`."""


class Pieces:
    """Appends cells of one source to its files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waiting: defaultdict[int, list[dict[str, NDArray[Any]]]] = defaultdict(list)
        """For each shelf, what is kept of cells."""
        self._n_values = 0

    def add(self, block: sparse.csr_matrix, shelf: NDArray[np.int64], place: NDArray[np.int64], row: NDArray[np.int64]) -> None:
        """Append cells.

        Parameters
        ----------
        block
            Their expression, `(n_obs, n_vars)`.
        shelf, place
            Which shelf each belongs to, and where on it, `(n_obs,)`.
        row
            Their rows in the source.
        """
        order = np.argsort(shelf, kind="stable")
        block, shelf = block[order], shelf[order]
        of_cells = {"lengths": np.diff(block.indptr), "places": place[order], "rows": row[order], "hashes": hash_rows(block)}
        starts = np.flatnonzero(np.diff(shelf, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(shelf)], strict=True):
            at = slice(block.indptr[start], block.indptr[stop])
            part = {"values": block.data[at], "columns": block.indices[at]}
            part |= {name: array[start:stop] for name, array in of_cells.items()}
            self._waiting[int(shelf[start])].append(part)
        self._n_values += block.nnz
        if self._n_values >= _MOST_VALUES:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        shelves = sorted(self._waiting)
        for name, dtype in _COLUMNS.items():
            with (self._directory / name).open("ab") as file:
                for shelf in shelves:
                    for part in self._waiting[shelf]:
                        np.ascontiguousarray(part[name], dtype=dtype).tofile(file)
        with (self._directory / _RUNS).open("ab") as file:
            for shelf in shelves:
                n_cells, n_values = (sum(len(part[name]) for part in self._waiting[shelf]) for name in ("lengths", "values"))
                np.array([shelf, n_cells, n_values], dtype=np.int64).tofile(file)
        self._waiting.clear()
        self._n_values = 0


class _Piece:
    """What one source has of a shelf."""

    def __init__(self, source: int, directory: Path, shelf: int) -> None:
        self.source, self._directory = source, directory
        runs = np.fromfile(directory / _RUNS, dtype=np.int64).reshape(-1, 3)
        is_of_shelf = runs[:, 0] == shelf
        self._lengths = runs[is_of_shelf, 1:]
        self._starts = (np.cumsum(runs[:, 1:], axis=0) - runs[:, 1:])[is_of_shelf]
        self.n_obs = int(self._lengths[:, 0].sum())

    def read(self, name: str) -> NDArray[Any]:
        dtype, kind = np.dtype(_COLUMNS[name]), int(name in _OF_VALUES)
        with (self._directory / name).open("rb") as file:
            runs = []
            for start, length in zip(self._starts[:, kind].tolist(), self._lengths[:, kind].tolist(), strict=True):
                file.seek(start * dtype.itemsize)
                runs.append(np.fromfile(file, dtype=dtype, count=length))
        return np.concatenate(runs)


def read_shelf(directories: Sequence[tuple[int, Path]], shelf: int, n_vars: int) -> Shelf:
    """Put the pieces of one shelf together.

    Parameters
    ----------
    directories
        Number and directory of each source.
    shelf
        Which.
    n_vars
        Number of genes.
    """
    pieces = [_Piece(source, directory, shelf) for source, directory in directories]
    pieces = [piece for piece in pieces if piece.n_obs]

    def of_cells(name: str) -> NDArray[Any]:
        return np.concatenate([piece.read(name) for piece in pieces])

    lengths, order = of_cells("lengths"), np.argsort(of_cells("places"))
    indptr = np.concatenate([[0], np.cumsum(lengths[order], dtype=np.int64)])
    starts = np.empty(len(order), dtype=np.int64)
    starts[order] = indptr[:-1]

    def of_values(name: str) -> NDArray[Any]:
        """Copy cell by cell, so that memory holds the shelf once, and what one source has of it."""
        array = np.empty(indptr[-1], dtype=_COLUMNS[name])
        cells = zip(starts.tolist(), lengths.tolist(), strict=True)
        for piece in pieces:
            part, at = piece.read(name), 0
            for start, length in islice(cells, piece.n_obs):
                array[start : start + length] = part[at : at + length]
                at += length
        return array

    matrix = sparse.csr_matrix((of_values("values"), of_values("columns"), indptr), shape=(len(order), n_vars))
    sources = np.repeat(np.array([piece.source for piece in pieces], dtype=np.int32), [piece.n_obs for piece in pieces])
    return Shelf(matrix, sources[order], of_cells("rows")[order], of_cells("hashes")[order])


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
