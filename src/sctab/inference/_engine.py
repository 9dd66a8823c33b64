"""Protocol of the engines that run predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.data import CellData, MatrixContent, Query
from sctab.inference._block_predictor import Evaluation
from sctab.inference._unseen import UnseenTest

Ranges = Sequence[tuple[int, int]]
OnProgress = Callable[[int], None] | None


class Engine(ABC):
    """Inspects matrices and predicts cells; results do not depend on the engine."""

    @abstractmethod
    def inspect(
        self, cells: CellData, matrix: Any, *, name: str, columns: NDArray[np.bool_] | None, on_progress: OnProgress
    ) -> MatrixContent:
        """See :func:`sctab.data.inspect_matrix`; `matrix` is the one of `cells` that is called `name`."""

    @abstractmethod
    def predict(
        self, cells: CellData, query: Query, ranges: Ranges, *, batch_size: int, unseen: UnseenTest | None = None
    ) -> Iterator[tuple[tuple[int, int], Evaluation]]:
        """Predict the cells of some ranges, and test them for being of unseen types; yields results as they are ready."""
