"""Findings on a query before anything is annotated: its cells, its depth, and how they compare with those that a model learned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Content, Query
from sctab.inference._backoff import BackOff
from sctab.inference._block_predictor import Evaluation
from sctab.inference._decide import decide
from sctab.inference._fingerprints import Fingerprints
from sctab.inference._neighbourhoods import MOST_CELLS
from sctab.inference._predictor import Predictor
from sctab.inference._query_test import sample_ranges
from sctab.inference._unseen import UnseenTest, largest_p_value
from sctab.io import ProgressReport, ahead


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Numbers of each cell of a query, `(n_obs,)` each."""

    n_counts: NDArray[np.float32]
    """Sum of its counts in the genes of the model; of values proportional to counts where the matrix holds these."""
    n_detected: NDArray[np.int32]
    """Genes of the model that it shows."""
    is_empty: NDArray[np.bool_]
    """Cells without a count in any gene."""
    is_learned: NDArray[np.bool_] | None
    """Cells that the model has learned from; `None` where it keeps no fingerprints."""

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Cells with a count in the model's genes."""
        return self.n_detected > 0


def count_cells(query: Query, fingerprints: Fingerprints | None, *, show_progress: bool = False) -> CellCounts:
    """Count what each cell of a query shows, block by block.

    Parameters
    ----------
    query
        The cells.
    fingerprints
        Those of the cells that the model learned from.
    show_progress
        Show progress on stderr.
    """
    n_genes = len(query.match.found)
    of_model = (query.match.positions >= 0).astype(np.float64)
    counts, detected, empty, learned = [], [], [], []
    with ProgressReport(query.n_obs, "Inspecting all cells", shown=show_progress) as progress:
        for block in ahead(query.read(query.ranges())):
            n_obs = block[0].shape[0]
            values, _ = query.recipe.apply(*block, slice(0, n_obs))
            linear = query.source.content.to_linear(block[0])
            counts.append(np.asarray(linear @ of_model, dtype=np.float32))
            empty.append(_n_positive(block[0], block[0].shape[1]) == 0)
            detected.append(_n_positive(values, n_genes))
            if fingerprints is not None:
                learned.append(fingerprints.recognise(values))
            progress.advance(n_obs)
    return CellCounts(
        np.concatenate(counts), np.concatenate(detected), np.concatenate(empty), np.concatenate(learned) if learned else None
    )


def _n_positive(values: sparse.csr_matrix, n_columns: int) -> NDArray[np.int32]:
    """Number of positive values of each row among the first columns, `(n_obs,)`."""
    shown = (values.data > 0) & (values.indices < n_columns)
    before = np.concatenate([[0], np.cumsum(shown)])
    return (before[values.indptr[1:]] - before[values.indptr[:-1]]).astype(np.int32)


@dataclass(frozen=True, eq=False)
class SampledCells:
    """Outputs of a model for some cells of a query, from places that are spread over all of it."""

    n_cells: int
    """Number of these cells that have a count in the model's genes."""
    codes: NDArray[np.int32]
    """Most probable label of each, -1 for a cell without a count in the model's genes."""
    confidence: NDArray[np.float32]
    """Its probability."""
    p_values: NDArray[np.float32] | None
    """p-value of each for being of a type that the model has learned; `None` where that cannot be tested."""
    note: str
    """Note on how cells of unseen types were looked for."""

    def n_unseen(self, fdr: float) -> int:
        """Number of these cells that no label fits.

        Parameters
        ----------
        fdr
            Accepted false discovery rate.
        """
        if self.p_values is None:
            return 0
        known = self.p_values[self.codes >= 0]
        return int((known <= np.float32(largest_p_value(known, fdr))).sum())

    @property
    def shift(self) -> float | None:
        """Probability that a cell lies further from all types than a cell of the reference does from types learned without its unit.

        0.5 for cells like those of the reference, 1 where each is further than all of them; `None` where there is nothing to compare with.
        """
        if self.p_values is None or not self.n_cells:
            return None
        return float(1 - self.p_values[self.codes >= 0].mean(dtype=np.float64))


def sample_cells(predictor: Predictor, query: Query, test: UnseenTest | None, note: str) -> SampledCells:
    """Predict some cells of a query, 10,000 at most.

    Parameters
    ----------
    predictor, query
        The model, and the cells.
    test, note
        Test of cells for being of types that the model has learned, and a note on it.
    """
    blocks = predictor.block_predictor().predict_blocks(
        query.recipe, query.read(sample_ranges(query.n_obs, MOST_CELLS)), unseen=test
    )
    decision = decide(Evaluation.join(list(blocks)), predictor.spec.calibration)
    return SampledCells(int(decision.measured.sum()), decision.codes, decision.confidence, decision.unseen, note)


@dataclass(frozen=True)
class PromiseCheck:
    """Result of the test of whether a promise can hold for a query."""

    accepted_error: float
    distance: float
    """Distance between confidence in these cells and in held-out ones."""
    limit: float
    """Largest distance of a unit like those that were held out."""
    unit: str
    """Unit that was held out whole."""
    n_units: int
    note: str
    """Limit of the promise; empty where there is none."""

    @property
    def holds(self) -> bool:
        """Return whether nothing speaks against the promise."""
        return self.distance <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"holds": self.holds}

    @classmethod
    def of(cls, backoff: BackOff, cells: SampledCells) -> PromiseCheck | None:
        """Compare confidence in cells of a query with that in held-out cells; `None` where it was not kept.

        Parameters
        ----------
        backoff
            Rule that promises terms.
        cells
            Cells of the query.
        """
        if (ranks := backoff.ranks) is None:
            return None
        distance = ranks.distance(cells.codes, cells.confidence)
        return cls(backoff.accepted_error, distance, ranks.limit, backoff.unit, backoff.n_units, backoff.note)


def holds_counts(query: Query) -> bool:
    """Return whether the matrix of a query holds counts, and not what is proportional to them."""
    return query.source.content.content is Content.COUNTS and not query.source.content.note
