"""Kinds of values that a matrix of antibodies can hold, and the decision between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.errors import InputValueError, agreeing
from sctab.io import row_blocks

_INTEGER_TOLERANCE = 1e-3
_LARGEST_VALUE = 1e30
"""Squares of larger values may overflow."""
_LARGEST_MEAN, _LEAST_SD, _LARGEST_SD = 0.2, 0.8, 1.2
"""Mean and standard deviation of an antibody whose values were scaled, some cells of which may have been removed since."""
_LARGEST_CELL_MEAN = 0.1
"""Mean of a cell's values, in units of their root mean square, up to which they are centred."""


class ProteinValues(StrEnum):
    """Kind of the values of a matrix of antibodies."""

    COUNTS = "counts"
    CLR = "centred log ratios"
    SCALED = "scaled values"
    NORMALISED = "normalised values"

    @property
    def are_centred(self) -> bool:
        """True if the values of a cell are compared with their mean: those of counts after their logarithm."""
        return self in {ProteinValues.COUNTS, ProteinValues.CLR}


def inspect_proteins(matrix: Any, name: str = "X") -> ProteinValues:
    """Decide what a matrix of antibodies holds, from all of its rows, or refuse it.

    Hypotheses are tried in this order; the first that holds is taken. Cells all of whose values are NaN were not measured, as outer joins
    give them, and do not count.

    1. Every value is a non-negative integer: counts.
    2. There are negative values, and each antibody has a mean within 0.2 of 0 and a standard deviation between 0.8 and 1.2: scaled values.
       An antibody without any value but 0 did not vary before it was scaled.
    3. There are negative values, and the mean of most cells is within a tenth of the root mean square of all values: centred log ratios.
    4. What is left are normalised values of another kind, such as those of Seurat's CLR, which are not negative, of dsb or of arcsinh.

    Parameters
    ----------
    matrix
        Anything that :func:`sctab.io._rows.row_blocks` reads, `(n_obs, n_antibodies)`.
    name
        What to call it in messages.

    Raises
    ------
    InputValueError
        Without cells, antibodies or a measured cell; with infinite or far too large values; with cells in which only some values are NaN.

    Examples
    --------
    >>> inspect_proteins(np.array([[0, 3.0], [2.0, 5.0]]), "X")
    <ProteinValues.COUNTS: 'counts'>
    >>> inspect_proteins(np.array([[-1.0, 1.0], [-2.5, 2.5]]), "X")
    <ProteinValues.CLR: 'centred log ratios'>
    """
    inspection = ProteinInspection(name, matrix.shape[1])
    for block in row_blocks(matrix, name=name):
        inspection.add(block.toarray())
    return inspection.decide()


class ProteinInspection:
    """Running statistics of the rows of a matrix of antibodies; :func:`inspect_proteins` adds all of them.

    Parameters
    ----------
    name
        What to call the matrix in messages.
    n_antibodies
        Its number of columns.
    """

    def __init__(self, name: str, n_antibodies: int) -> None:
        self._name = name
        self.n_obs = self.n_measured = 0
        self.are_counts = True
        self._has_negative = False
        self._sums, self._squares = np.zeros(n_antibodies), np.zeros(n_antibodies)
        self.smallest, self.largest = np.full(n_antibodies, np.inf), np.full(n_antibodies, -np.inf)
        self._cell_means: list[NDArray[np.float64]] = []

    def add(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Look at more rows, `(n_obs, n_antibodies)`, and give the mask of the cells that were measured, `(n_obs,)`.

        Raises
        ------
        InputValueError
            With infinite or far too large values, or with cells in which only some values are NaN.
        """
        values = np.asarray(rows, dtype=np.float64)
        measured = measured_cells(values)
        self.n_obs += len(values)
        self.n_measured += int(measured.sum())
        values = values[measured]
        self._refuse_invalid(values)
        if values.size:
            self.are_counts &= bool((values >= 0).all() and (np.abs(values - np.rint(values)) <= _INTEGER_TOLERANCE).all())
            self._has_negative |= bool((values < 0).any())
            self._sums += values.sum(axis=0)
            self._squares += (values**2).sum(axis=0)
            self.smallest = np.minimum(self.smallest, values.min(axis=0))
            self.largest = np.maximum(self.largest, values.max(axis=0))
            self._cell_means.append(values.mean(axis=1))
        return measured

    def _refuse_invalid(self, values: NDArray[np.float64]) -> None:
        if n_missing := int(np.isnan(values).any(axis=1).sum()):
            raise InputValueError(
                f"`{self._name}` holds NaN for some antibodies of {n_missing:,} {agreeing(n_missing, 'cell', 'cells')} and values for "
                "others. A cell must have values for all antibodies, or NaN for all of them if it was not measured. Keep the antibodies "
                "that all measured cells have."
            )
        if n_invalid := int(np.isinf(values).sum()):
            raise InputValueError(
                f"`{self._name}` holds infinite values ({n_invalid:,} of them). Find the step that created them, or provide counts."
            )
        if (largest := np.abs(values).max(initial=0.0)) > _LARGEST_VALUE:
            raise InputValueError(
                f"`{self._name}` holds values up to {largest:.4g}, which exceed any count. Find the step that created them, or provide "
                "counts."
            )

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each antibody over the measured cells, `(n_antibodies,)`."""
        mean: NDArray[np.float64] = self._sums / max(self.n_measured, 1)
        return mean

    def decide(self) -> ProteinValues:
        """Decide the kind of a matrix of which all rows were added, see :func:`inspect_proteins`.

        Raises
        ------
        InputValueError
            Without antibodies or a measured cell.
        """
        if self.n_obs == 0 or len(self._sums) == 0:
            raise InputValueError(
                f"`{self._name}` has {self.n_obs} cells and {len(self._sums)} antibodies: there is nothing to work on. Check earlier "
                "filtering steps."
            )
        if self.n_measured == 0:
            raise InputValueError(f"`{self._name}` holds NaN only: antibodies were not measured in any of {self.n_obs:,} cells.")
        if self.are_counts:
            return ProteinValues.COUNTS
        if self._has_negative and self._is_scaled():
            return ProteinValues.SCALED
        scale = np.sqrt(self._squares.sum() / (self.n_measured * len(self._sums)))
        if self._has_negative and np.median(np.abs(np.concatenate(self._cell_means))) <= _LARGEST_CELL_MEAN * scale:
            return ProteinValues.CLR
        return ProteinValues.NORMALISED

    def _is_scaled(self) -> bool:
        filled = self._squares > 0
        mean = self._sums[filled] / self.n_measured
        sd = np.sqrt(np.maximum(self._squares[filled] / self.n_measured - mean**2, 0))
        return bool((np.abs(mean) <= _LARGEST_MEAN).all() and ((sd >= _LEAST_SD) & (sd <= _LARGEST_SD)).all())


def measured_cells(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the rows that are not NaN throughout, `(n_obs,)`."""
    return ~np.isnan(values).all(axis=1) if values.shape[1] else np.zeros(len(values), dtype=bool)
