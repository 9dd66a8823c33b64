"""Engine for predictions in this process, and the choice between it and a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.data import CellData, MatrixContent, Query, inspect_matrix
from sctab.inference._backends import Backend
from sctab.inference._backoff import BackOff
from sctab.inference._block_predictor import BlockPredictor, Evaluation, require_batch_size
from sctab.inference._dask import DaskEngine
from sctab.inference._decide import Decision, decide
from sctab.inference._engine import Engine, OnProgress, Ranges
from sctab.inference._predictor import Predictor
from sctab.inference._sizes import BATCH_SIZE
from sctab.inference._unseen import UnseenTest
from sctab.io import ProgressReport, client_in_use
from sctab.nn import Precision


class LocalEngine(Engine):
    """One process, with as many threads as PyTorch uses in it, or the device that the model is on.

    Parameters
    ----------
    block_predictor
        The networks.
    """

    def __init__(self, block_predictor: BlockPredictor) -> None:
        self._block_predictor = block_predictor

    def inspect(
        self, cells: CellData, matrix: Any, *, name: str, columns: NDArray[np.bool_] | None, on_progress: OnProgress
    ) -> MatrixContent:
        """See :meth:`Engine.inspect`."""
        del cells
        return inspect_matrix(matrix, name=name, columns=columns, on_progress=on_progress)

    def predict(
        self, cells: CellData, query: Query, ranges: Ranges, *, batch_size: int, unseen: UnseenTest | None = None
    ) -> Iterator[tuple[tuple[int, int], Evaluation]]:
        """See :meth:`Engine.predict`; ranges come in order."""
        del cells
        parts = self._block_predictor.predict_blocks(query.recipe, query.read(ranges), batch_size=batch_size, unseen=unseen)
        return zip(ranges, parts, strict=True)


def predict_cells(
    predictor: Predictor,
    cells: CellData,
    query: Query,
    *,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "float32",
    backend: Backend = "torch",
    backoff: BackOff | None = None,
    unseen: UnseenTest | None = None,
    expected: NDArray[np.bool_] | None = None,
    show_progress: bool = False,
) -> Decision:
    """Decide what all cells of a query are called; on the Dask cluster in use where they are a Dask array.

    Parameters
    ----------
    predictor
        The model.
    cells, query
        The cells, and the query that they give.
    batch_size, precision, backend, show_progress
        As in :func:`sctab.tl.annotate`.
    backoff
        Rule that says which term can be promised of a cell.
    unseen
        Test of the cells for being of types that the model has learned.
    expected
        Labels that can occur, `(n_labels,)`; by default all.

    Raises
    ------
    SettingError
        If `batch_size` is less than one, if the model has no such precision, or if the backend is unknown or does not have the model.
    MissingDependencyError
        If the backend is not installed.
    """
    require_batch_size(batch_size)
    parts = _parts(predictor, cells, query, batch_size, precision, backend, unseen, show_progress=show_progress)
    return Decision.join([decide(part, predictor.spec.calibration, backoff, expected=expected) for part in parts])


def evaluate_cells(predictor: Predictor, cells: CellData, query: Query, *, batch_size: int = BATCH_SIZE) -> Evaluation:
    """Outputs of a model for all cells of a query, before anything is decided.

    Parameters
    ----------
    predictor, cells, query, batch_size
        As in :func:`predict_cells`; errors are those of it.
    """
    require_batch_size(batch_size)
    return Evaluation.join(_parts(predictor, cells, query, batch_size, "float32", "torch", None, show_progress=False))


def _parts(
    predictor: Predictor,
    cells: CellData,
    query: Query,
    batch_size: int,
    precision: Precision,
    backend: Backend,
    unseen: UnseenTest | None,
    *,
    show_progress: bool,
) -> list[Evaluation]:
    """Outputs for all cells, in order."""
    client = client_in_use() if hasattr(query.source.matrix, "dask") else None
    engine = engine_for(predictor, precision=precision, backend=backend, client=client)
    parts = {}
    with ProgressReport(query.n_obs, shown=show_progress) as progress:
        for (start, stop), evaluation in engine.predict(cells, query, query.ranges(), batch_size=batch_size, unseen=unseen):
            parts[start] = evaluation
            progress.advance(stop - start)
    return [parts[start] for start in sorted(parts)]


def engine_for(predictor: Predictor, *, precision: Precision = "float32", backend: Backend = "torch", client: Any = None) -> Engine:
    """The cluster of a `distributed.Client` where one is given, this process otherwise.

    Parameters
    ----------
    predictor, precision, backend
        The model, the precision of its weights, and what evaluates it.
    client
        `None`, or a client.
    """
    if client is None:
        return LocalEngine(predictor.block_predictor(precision=precision, backend=backend))
    return DaskEngine(predictor.block_predictor(precision=precision, device="cpu", backend=backend), client)
