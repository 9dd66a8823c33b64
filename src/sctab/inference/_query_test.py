"""The test for unseen types that fits a query, from a sample of its cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Normalization, Query
from sctab.inference._block_predictor import BlockPredictor, one_thread
from sctab.inference._neighbourhoods import MOST_CELLS, Neighbourhoods
from sctab.inference._unseen import LogitTest, NeighbourhoodTest, SeenTypes, UnseenTest

_RANGES = 50
"""Places of a query that a sample is read from: datasets are often ordered by donor or type."""
_CELLS_FOR_LOGITS = 2_000
_FEWEST_CELLS = 80
"""Cells of which a quarter, 20, suffices to estimate the difference between datasets. With fewer, all seem to be of unseen types."""
MOST_UNSEEN = 0.5
"""Fraction of the cells that no label fits beyond which a query is refused: most labels would be wrong."""
NO_TYPES = (
    "The model stores no profiles of its reference, so unseen types were looked for in its logits, as outliers among the cells of the "
    "query: no false discovery rate holds, and where most cells are of unseen types, none is found. Train the model again to compare cells "
    "with its reference."
)
NO_MARKERS = (
    "The data has fewer than 10 of the genes that tell the model's types from others, so that cells of unseen types were looked for in its "
    "logits, as outliers among the cells of the query: no false discovery rate can be promised."
)


def unseen_test(
    seen: SeenTypes | None, query: Query, normalization: Normalization, block_predictor: BlockPredictor
) -> tuple[UnseenTest | None, str]:
    """Learn from some cells of a query how to test all of them.

    Parameters
    ----------
    seen
        Types that the model has learned; `None` where it does not keep them.
    query
        The cells. Those of at most 50 places are read, 10,000 in all.
    normalization
        That of the model.
    block_predictor
        Networks, whose logits are looked at where there is nothing else.

    Returns
    -------
    `None` for a query in which no cell, or too few, have a count in the model's genes; and a note for the user, empty if there is none.
    """
    if seen is not None:
        values = sample_of(query, MOST_CELLS)
        if values.shape[0] == 0:
            return None, ""
        if values.shape[0] < _FEWEST_CELLS:
            return None, (
                f"Too few cells to look for unseen types: {values.shape[0]} have counts in the model's genes, and {_FEWEST_CELLS} are "
                "needed. Annotate them together with the other cells of their dataset."
            )
        n_genes = len(query.match.found)
        with one_thread():
            neighbourhoods = Neighbourhoods.learn(values, n_genes=n_genes)
            scores = seen.score(values, neighbourhoods, found=query.match.found, normalization=normalization)
        if scores is not None:
            return NeighbourhoodTest(neighbourhoods, seen.p_values(scores)), ""
    logits = []
    for block in query.read(sample_ranges(query.n_obs, _CELLS_FOR_LOGITS)):
        evaluation = block_predictor.predict_rows(query.recipe, block, slice(0, block[0].shape[0]))
        logits.append(evaluation.logits[evaluation.measured])
    measured = np.concatenate(logits) if logits else np.zeros((0, 1, 1), dtype=np.float32)
    if len(measured) == 0:
        return None, ""
    return LogitTest.learn(measured), NO_TYPES if seen is None else NO_MARKERS


def sample_ranges(n_obs: int, n_cells: int) -> list[tuple[int, int]]:
    """Ranges of rows, evenly spaced, with about `n_cells` rows in all; all rows where there are no more.

    Parameters
    ----------
    n_obs
        Rows to choose from.
    n_cells
        Rows to choose.
    """
    if n_obs <= n_cells:
        return [(0, n_obs)] if n_obs else []
    size = max(1, n_cells // _RANGES)
    starts = np.linspace(0, n_obs - size, n_cells // size).astype(int)
    return [(int(start), int(start) + size) for start in starts]


def sample_of(query: Query, n_cells: int) -> sparse.csr_matrix:
    """Input of the model for a sample of the cells that have a count in its genes, `(n_sampled, n_inputs)`.

    Parameters
    ----------
    query
        The cells.
    n_cells
        Cells to read.
    """

    def parts() -> Iterator[sparse.csr_matrix]:
        for block in query.read(sample_ranges(query.n_obs, n_cells)):
            values, measured = query.recipe.apply(*block, slice(0, block[0].shape[0]))
            yield values[measured]

    found = list(parts())
    return sparse.vstack(found, format="csr") if found else sparse.csr_matrix((0, 0), dtype=np.float32)


def fraction_unseen(p_values: NDArray[np.floating], largest: float) -> float:
    """Fraction of the cells with a p-value that are reported.

    Parameters
    ----------
    p_values
        Of all cells, `(n_obs,)`; NaN for those without one.
    largest
        The largest p-value to report.
    """
    known = np.isfinite(p_values)
    return float((p_values[known] <= largest).mean()) if known.any() else 0.0
