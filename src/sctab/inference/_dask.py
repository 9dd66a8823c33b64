"""Prediction on the workers of a Dask cluster.

Needs `distributed`, which is optional: `pip install 'sctab[dask]'`. It and `corpus/_workers.py` are the only
files of the package that know it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import CellData, InputRecipe, MatrixContent, MatrixInspection, Query, matrices
from sctab.errors import ClusterError, DataFileError, SettingError, require
from sctab.inference._block_predictor import BlockPredictor, Evaluation
from sctab.inference._engine import Engine, OnProgress, Ranges
from sctab.inference._unseen import UnseenTest
from sctab.io import DataFile, RowReader, row_ranges, row_sliceable

_TASKS_PER_THREAD = 3
"""So many blocks for each thread are under way at a time: enough that none waits, few enough that results do not pile up."""
_MOST_LOSSES = 5
"""Number of times all copies of the weights may be lost with their workers before giving up."""


class DaskEngine(Engine):
    """The workers of a cluster: blocks are mapped over them, and weights are sent to each worker once.

    Of a file each worker reads the rows that it names, so that it has to see the file under the same path or URL. When a worker is
    lost, its blocks are named by another one.

    Parameters
    ----------
    block_predictor
        The networks, on the CPU.
    client
        The `distributed.Client`.
    """

    def __init__(self, block_predictor: BlockPredictor, client: Any) -> None:
        self._distributed = require("distributed", extra="dask")
        self._client = client
        self._block_predictor = block_predictor

    def inspect(
        self, cells: CellData, matrix: Any, *, name: str, columns: NDArray[np.bool_] | None, on_progress: OnProgress
    ) -> MatrixContent:
        """See :meth:`Engine.inspect`."""
        whole = MatrixInspection(name, columns)
        rows_of = self._rows_of(cells, matrix, name)
        for (start, stop), part in self._map(lambda at: (_inspect, rows_of(at), name, columns), row_ranges(matrix)):
            whole.merge(part)
            if on_progress is not None:
                on_progress(stop - start)
        return whole.decide(matrix.shape[1])

    def predict(
        self, cells: CellData, query: Query, ranges: Ranges, *, batch_size: int, unseen: UnseenTest | None = None
    ) -> Iterator[tuple[tuple[int, int], Evaluation]]:
        """See :meth:`Engine.predict`."""
        rows_of = self._rows_of(cells, query.source.matrix, query.source.name)
        sent: list[Any] = []

        def send() -> None:
            sent[:] = self._client.scatter([self._block_predictor, query.recipe, unseen], broadcast=True, hash=False)

        def task(at: tuple[int, int]) -> tuple[Any, ...]:
            return _predict, *sent, rows_of(at), query.beside(*at), batch_size

        self._n_threads()
        send()
        return self._map(task, ranges, send)

    def _n_threads(self) -> int:
        n_threads = sum(self._client.nthreads().values())
        if n_threads == 0:
            raise SettingError("The Dask cluster has no workers. Start some, and run again.")
        return n_threads

    def _rows_of(self, cells: CellData, matrix: Any, name: str) -> Callable[[tuple[int, int]], Any]:
        """From a range of rows to what a worker takes for them: rows, what reads them, or a future of either."""
        if hasattr(matrix, "dask"):
            rows = row_sliceable(matrix, name)
            return lambda at: self._client.compute(rows[slice(*at)])
        if isinstance(cells, DataFile):
            return lambda at: _RowsOfFile(cells, name, *at)
        reader = RowReader(matrix, name)
        return lambda at: reader.read(*at)

    def _map(
        self, task: Callable[[tuple[int, int]], tuple[Any, ...]], ranges: Ranges, send_again: Callable[[], None] | None = None
    ) -> Iterator[tuple[tuple[int, int], Any]]:
        """Results of tasks as they are done, with a bounded number of them under way."""
        n_at_a_time = _TASKS_PER_THREAD * self._n_threads()
        todo = deque(ranges)
        under_way = self._distributed.as_completed()
        places: dict[str, tuple[int, int]] = {}
        n_losses = 0

        def submit() -> None:
            at = todo.popleft()
            future = self._client.submit(*task(at), pure=False)
            places[future.key] = at
            under_way.add(future)

        for _ in range(min(len(todo), n_at_a_time)):
            submit()
        for future in under_way:
            at = places.pop(future.key)
            try:
                result = future.result()
            except (self._distributed.CancelledError, self._distributed.KilledWorker) as error:
                # the weights went with the last worker that had them, or one worker after another died over this block
                n_losses += 1
                if n_losses > _MOST_LOSSES * n_at_a_time or isinstance(error, self._distributed.KilledWorker):
                    raise ClusterError(
                        "Workers of the Dask cluster are lost repeatedly. Check their logs: most often they lack memory. "
                        "Increase it, or use fewer threads per worker."
                    ) from error
                if send_again is not None and n_losses % n_at_a_time == 1:
                    send_again()
                todo.appendleft(at)
                submit()
                continue
            yield at, result
            if todo:
                submit()


@dataclass(frozen=True)
class _RowsOfFile:
    """Some rows of a file, for a worker to read."""

    file: DataFile
    matrix: str
    start: int
    stop: int

    def read(self) -> tuple[RowReader, sparse.csr_matrix]:
        matrix = next((matrix for name, matrix, _ in matrices(self.file) if name == self.matrix), None)
        if matrix is None:
            raise DataFileError(f"`{self.file.path}` no longer has `{self.matrix}`. Annotate the file again.")
        reader = RowReader(matrix, self.matrix)
        return reader, reader.read(self.start, self.stop)


def _read(rows: Any) -> tuple[RowReader, sparse.csr_matrix]:
    """Reader of the rows, and the rows."""
    if isinstance(rows, _RowsOfFile):
        return rows.read()
    reader = RowReader(rows)
    return reader, reader.read(0, rows.shape[0])


def _inspect(rows: Any, name: str, columns: NDArray[np.bool_] | None) -> MatrixInspection:
    inspection = MatrixInspection(name, columns)
    reader, block = _read(rows)
    inspection.add(block)
    inspection.add_storage(reader)
    return inspection


def _predict(
    block_predictor: BlockPredictor,
    recipe: InputRecipe,
    unseen: UnseenTest | None,
    rows: Any,
    known: sparse.csr_matrix,
    batch_size: int,
) -> Evaluation:
    return block_predictor.predict_block(recipe, (_read(rows)[1], known), batch_size=batch_size, unseen=unseen)
