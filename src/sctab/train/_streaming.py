"""Batches from a store, in memory that does not grow with it: `annbatch` reads, and this says what to read when."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import require
from sctab.io import explains_damage, fast_reading, file_of, integrity, release_large_arrays
from sctab.train._batches import Batch, Batches, as_batch
from sctab.train._processes import n_processes, own_number

CHUNK_SIZE = 256
"""Cells that are read in one piece. Those of a store are in random order already."""
WINDOW_SIZE = 4096
"""Cells that are in memory at a time, and among which batches are drawn: 65 MB with 2,000 values each."""
_MOST_READ = 4
"""Maximum ratio of cells read to cells kept in a subset."""
_SPARSE = 10
"""Density, as one in this number of rows, below which rows are read one by one."""
_LANES = 8
"""Parts of every chunk, each contributing to a batch. Processes divide lanes, so batches are the same for 1, 2, 4 or 8."""
_LARGE = 32 * 2**20
"""Bytes of an array whose memory is not kept for the next one: arrays of a window, but not of a batch, which would take a third longer."""
_AHEAD = 2
"""Number of prefetched batches."""

type Window = tuple[NDArray[np.int64], list[NDArray[np.int64]]]
"""Rows to read, and positions among them of each batch that they make."""


class RowLoader:
    """Reads rows of several matrices on disk as if they were one.

    Parameters
    ----------
    matrices
        The matrices, backed CSR of Zarr, `(n_obs, n_vars)` each.
    """

    def __init__(self, matrices: Sequence[Any]) -> None:
        annbatch = require("annbatch", extra="corpus")
        release_large_arrays(_LARGE)
        self._matrices = list(matrices)
        self._path = os.path.commonpath([file_of(matrix.group) for matrix in self._matrices])
        self._schedule = _schedule_class()()
        # What it holds of every row is where its values begin: eight bytes.
        self._loader = annbatch.Loader(batch_sampler=self._schedule, return_index=True, preload_to_gpu=False)
        with warnings.catch_warnings():  # positions of values are of the smallest type that has room for those of a part
            warnings.filterwarnings("ignore", message="Adding dataset with dtype")
            self._loader.add_datasets(self._matrices)
        with fast_reading():  # the first row opens all arrays
            list(self.read([(np.zeros(1, dtype=np.int64), [np.zeros(1, dtype=np.int64)])]))

    def read(self, windows: Iterable[Window]) -> Iterator[tuple[sparse.csr_matrix, NDArray[np.int64]]]:
        """Expression and rows of one batch after another."""
        self._schedule.windows = windows
        loaded = iter(self._loader)
        while True:
            with explains_damage(self._path, "a corpus"):
                found = next(loaded, None)
            if found is None:
                return
            if problem := integrity.sparse_problem(found["X"]):
                raise integrity.refuse("X", problem, self._path)
            yield found["X"], found["index"]

    def rows(self, rows: NDArray[np.int64]) -> sparse.csr_matrix:
        """Some rows, in the requested order, `(len(rows), n_vars)`."""
        parts = [sparse.csr_matrix((0, self._matrices[0].shape[1]), dtype=np.float32)]
        order = np.argsort(rows, kind="stable")
        windows = [(part, [np.arange(len(part))]) for part in _pieces(rows[order], WINDOW_SIZE) if len(part)]
        parts += [block for block, _ in self.read(windows)]
        together = sparse.csr_matrix(sparse.vstack(parts, format="csr"))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return together[back]


class StreamedBatches(Batches):
    """Batches from a store.

    Rows are read in chunks, and as many chunks as fill a window are in memory at a time. In every epoch chunks are in another order, and
    so are the rows of a window. The batches of an epoch are of nearly equal size.

    Parameters
    ----------
    load
        Gives what reads the rows; called for the first batch.
    finish
        Brings what was read into the form of the model: the counts of a batch, `(n_obs, n_vars)`.
    cells
        Rows that are meant, in ascending order.
    labels, covariates
        Of all rows.
    batch_size
        Cells per batch, of all processes.
    seed
        Decides the order; `None` leaves it as it is.
    """

    def __init__(
        self,
        load: Callable[[], RowLoader],
        finish: Callable[[sparse.csr_matrix], sparse.csr_matrix],
        cells: NDArray[np.int64],
        labels: NDArray[np.int64],
        covariates: sparse.csr_matrix,
        batch_size: int,
        *,
        seed: int | None,
    ) -> None:
        super().__init__(-(-len(cells) // batch_size))
        self._load, self._finish = load, finish
        self._loader: RowLoader | None = None
        self._cells, self._labels, self._covariates, self._seed = cells, labels, covariates, seed
        n_chunks = max(-(-len(cells) // CHUNK_SIZE), 1)
        self._bounds = np.linspace(0, len(cells), n_chunks + 1).astype(np.int64)
        n_read = sum(len(_span(cells[first:last])) for first, last in zip(self._bounds, self._bounds[1:], strict=False))
        n_windows = max(round(len(cells) / WINDOW_SIZE), round(n_read / (_MOST_READ * WINDOW_SIZE)))
        n_windows = max(min(n_windows, len(self), n_chunks), 1)
        self._ends = np.linspace(0, len(self), n_windows + 1).astype(np.int64)  # batches available after each window
        self._windows = np.round(n_chunks * self._ends / max(len(self), 1)).astype(np.int64)

    def of_epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """See :meth:`Batches.of_epoch`."""
        if self._loader is None:
            self._loader = self._load()
        read = self._loader.read(self.windows(epoch, start))
        yield from _made_ahead(as_batch(self._finish(block), self._covariates[rows], self._labels[rows]) for block, rows in read)

    def windows(self, epoch: int, start: int) -> Iterator[Window]:
        """Windows that this process reads in an epoch from a batch on."""
        n_chunks = len(self._bounds) - 1
        order = self._shuffled(np.arange(n_chunks), (epoch,))
        lanes = _LANES if _LANES % n_processes() == 0 else n_processes()
        lane_numbers = range(lanes)[own_number() * lanes // n_processes() : (own_number() + 1) * lanes // n_processes()]
        own = slice(lane_numbers.start, lane_numbers.stop)
        for number, (first, last) in enumerate(zip(self._windows, self._windows[1:], strict=False)):
            begun, done = self._ends[number : number + 2]
            if done <= start:
                continue
            rows: list[NDArray[np.int64]] = []
            of_lanes: list[list[NDArray[np.int64]]] = [[] for _ in lane_numbers]
            n_read = 0
            for chunk in order[first:last]:
                parts = np.array_split(self._cells[self._bounds[chunk] : self._bounds[chunk + 1]], lanes)[own]
                rows.append(_span(np.concatenate(parts)))
                for positions, part in zip(of_lanes, parts, strict=True):
                    positions.append(np.searchsorted(rows[-1], part) + n_read)
                n_read += len(rows[-1])
            shares = [
                self._shuffled(np.concatenate(p), (epoch, number, lane)) for lane, p in zip(lane_numbers, of_lanes, strict=True)
            ]
            batches = zip(*(np.array_split(share, done - begun) for share in shares), strict=True)
            yield np.concatenate(rows), [np.concatenate(parts) for parts in batches][max(start - begun, 0) :]

    def _shuffled(self, positions: NDArray[np.int64], what: tuple[int, ...]) -> NDArray[np.int64]:
        return positions if self._seed is None else np.random.default_rng((self._seed, *what)).permutation(positions)


def _span(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows to read for rows in ascending order: all from first to last where they are dense, since single rows are slow."""
    if not len(rows) or rows[-1] - rows[0] >= _SPARSE * len(rows):
        return rows
    return np.arange(rows[0], rows[-1] + 1)


def _schedule_class() -> Any:
    """A sampler for `annbatch` that reads the requested rows; made here, since `annbatch` is optional."""
    sampler: Any = require("annbatch.abc", extra="corpus").Sampler

    class Schedule(sampler):
        windows: Iterable[Window] = ()
        batch_size = None
        shuffle = False

        def n_batches(self, _n_obs: int) -> int:
            return 0  # nobody asks

        def validate(self, _n_obs: int) -> None:
            pass

        def _sample(self, _n_obs: int) -> Iterator[dict[str, Any]]:
            return ({"requests": rows, "splits": batches} for rows, batches in self.windows)

    return Schedule


def _made_ahead[T](items: Iterator[T]) -> Iterator[T]:
    """The same items, prefetched in a thread."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="sctab-batches")
    try:
        waiting = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
    finally:  # without waiting, as in `sctab.io.ahead`
        pool.shutdown(wait=False, cancel_futures=True)


def _pieces(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return np.array_split(rows, max(-(-len(rows) // size), 1))
