"""Contents that a matrix can have, and the decision between them from statistics of all of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import BY_LAYER, InputValueError, Message, Parameter, place

LOG_BASES = {"e": np.e, "2": 2.0, "10": 10.0}
_SUM_TOLERANCE = 1e-2
"""Relative spread of library sizes under which they count as equal: normalised sums differ by rounding and by filtered genes."""
_MULTIPLE_FRACTION = 0.9
_CHANCE_SHARE = 0.2
"""Fraction of normalised cells that may hold integers by chance: those whose library size is the target sum, or divides it."""
_SCALED_SHARE = 0.25
"""Fraction of genes with unit variance above which a matrix was scaled; clipping at a maximum takes it from the rare genes."""
_FEWEST_CELLS = 20
"""Cells needed to tell integers that are not counts."""
_FEWEST_GENES = 5
"""Genes of the average cell needed for that: with fewer, shallow counts of a panel look the same."""
_LARGEST_LOG1P = np.log1p(1e6)
"""The largest value that log1p of counts per million can have."""


class Content(StrEnum):
    """Kind of the values of a matrix."""

    COUNTS = "counts"
    """Raw counts: non-negative integers."""
    NORMALISED = "normalised counts"
    """Counts scaled cell by cell, such as counts per 10,000."""
    LOG1P = "log1p of normalised counts"
    r"""Logarithm of one plus normalised counts."""


@dataclass(frozen=True)
class MatrixContent:
    """Result of :func:`inspect_matrix`."""

    content: Content
    log_base: float | None = None
    """Base of the logarithm, for :attr:`Content.LOG1P`."""
    note: str = ""
    """Caveat of the decision; empty if there is none."""
    remark: str = field(default="", compare=False)
    """Signs that a part of the matrix was lost; empty if there are none."""
    is_empty: bool = field(default=False, compare=False)
    """True if all of its values are zero."""

    def to_linear(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Undo the logarithm of a block, if there is one; a cell's values are then proportional to its counts.

        Examples
        --------
        >>> block = sparse.csr_matrix(np.log1p([[1.0, 3.0]]))
        >>> MatrixContent(Content.LOG1P, log_base=np.e).to_linear(block).toarray().round(6)
        array([[1., 3.]])
        """
        if self.log_base is None:
            return block
        return sparse.csr_matrix((self.linear(block.data), block.indices.copy(), block.indptr.copy()), shape=block.shape)

    def linear(self, values: NDArray[Any]) -> NDArray[Any]:
        """Undo the logarithm of values of any shape: themselves where there is none, or a new array in double precision."""
        return values if self.log_base is None else np.expm1(values.astype(np.float64) * np.log(self.log_base))


@dataclass
class Statistics:
    """Sums over all rows, enough to decide."""

    count_rows: int
    """Cells whose values are all integers, the smallest one and others larger."""
    fractional_rows: int
    """Cells with a value that is not an integer."""
    largest: float
    sums: NDArray[np.float64]
    """Library sizes of the cells that have any, `(n_cells,)`."""
    lengths: NDArray[np.integer]
    """Number of values of these cells, `(n_cells,)`."""
    largest_of_cells: NDArray[np.float64]
    """The largest value of each, `(n_cells,)`."""
    log_sums: dict[str, NDArray[np.float64]]
    """Library sizes after undoing the logarithm, by base."""
    multiples: float
    """Fraction of values that are a whole multiple of the smallest in their cell."""
    log_multiples: float
    """The same after undoing a natural logarithm."""
    deviations: NDArray[np.float64]
    """Standard deviation of every gene, `(n_vars,)`."""


def decide_content(found: Statistics, name: str) -> MatrixContent:
    if found.fractional_rows == 0:
        why = _unlike_counts(found)
        note = (
            f"`{name}` holds integers that are unlikely to be counts of molecules: {why}. If there are counts, select them "
            f"with {BY_LAYER}."
        )
        return MatrixContent(Content.COUNTS, note=Message.of(note, BY_LAYER) if why else "")
    if _are_equal(found.sums):
        return MatrixContent(Content.NORMALISED)
    for base, log_sums in found.log_sums.items():
        if _are_equal(log_sums) and found.count_rows == 0:
            return MatrixContent(Content.LOG1P, log_base=LOG_BASES[base])
    if found.multiples > max(_MULTIPLE_FRACTION, found.log_multiples) and found.count_rows <= _CHANCE_SHARE * found.sums.size:
        return MatrixContent(Content.NORMALISED)
    if found.log_multiples > _MULTIPLE_FRACTION and found.count_rows == 0:
        return MatrixContent(Content.LOG1P, log_base=np.e)
    varying = found.deviations[found.deviations > 0]
    if varying.size > 1 and np.mean(np.abs(varying - 1) < 0.05) > _SCALED_SHARE:
        raise InputValueError(
            f"`{name}` is scaled: its genes have unit variance, and counts cannot be recovered from that. "
            "Provide the matrix before `scanpy.pp.scale`, for example as ",
            Parameter("layer", "counts"),
            " or in ",
            place("raw"),
            ".",
        )
    if found.count_rows > 0:
        raise InputValueError(
            f"`{name}` mixes two kinds of cells: {found.count_rows} hold integer counts and {found.fractional_rows} have "
            "fractional library sizes. Only some cells were normalised or corrected. Provide a matrix in which all cells "
            "were processed alike, for example the raw counts in a layer."
        )
    if found.largest <= _LARGEST_LOG1P:
        return MatrixContent(
            Content.LOG1P,
            log_base=np.e,
            note=Message(
                f"`{name}` was taken as log1p of normalised expression: it holds no value above {found.largest:.3g}, but its "
                "cells show neither equal library sizes nor counts. If this is wrong, select the counts with ",
                BY_LAYER,
                ".",
            ),
        )
    return MatrixContent(
        Content.COUNTS,
        note=Message(
            f"`{name}` was taken as fractional counts (as ambient-RNA correction or pseudo-alignment give): its values go up "
            f"to {found.largest:.4g} and are not integers. If this is wrong, select the counts with ",
            BY_LAYER,
            ".",
        ),
    )


def _unlike_counts(found: Statistics) -> str:
    """Reason why integers are unlikely to be counts; empty if they may be, or if there is too little data to tell.

    Shallow counts of a small panel, from 0 to 5, can: their largest value differs from cell to cell.
    """
    if len(found.sums) < _FEWEST_CELLS or found.lengths.mean() < _FEWEST_GENES:
        return ""
    if found.largest <= 1:
        return "all of them are 0 or 1"
    n_values = found.lengths.astype(np.float64)
    is_ranked = (np.abs(found.largest_of_cells - n_values) <= 0.02 * n_values) & (
        np.abs(found.sums - n_values * (n_values + 1) / 2) <= 0.02 * found.sums
    )
    if is_ranked.mean() > 0.9:
        return "cells hold the values 1 to their number of genes, as ranks do"
    values, n_cells = np.unique(found.largest_of_cells, return_counts=True)
    if values[n_cells.argmax()] > 2 and n_cells.max() > 0.9 * len(found.sums):
        return f"nearly every cell has the same largest value, {values[n_cells.argmax()]:.0f}, as bins have"
    return ""


def _are_equal(sums: NDArray[np.float64]) -> bool:
    """Return whether nearly all library sizes are the same, up to rounding."""
    if sums.size < 2:
        return False
    middle = np.median(sums)
    return bool(np.mean(np.abs(sums - middle) <= _SUM_TOLERANCE * middle) > 0.99)
