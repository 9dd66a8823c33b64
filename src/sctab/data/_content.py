"""What a matrix holds, from all of its rows, and how it is normalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import InputValueError
from sctab.io import RowReader, ahead, row_ranges

_LOG_BASES = {"e": np.e, "2": 2.0, "10": 10.0}
_INTEGER_TOLERANCE = 1e-3
_SUM_TOLERANCE = 1e-2
"""Relative spread of library sizes under which they count as equal: normalised sums differ by rounding and by filtered genes."""
_MOST_ZEROS = 100
"""Stored zeros that follow each other before a part of the values may have been lost: those that a filter left are rarely so many."""
_MULTIPLE_TOLERANCE = 0.02
_MULTIPLE_SHARE = 0.9
_CHANCE_SHARE = 0.2
"""Share of normalised cells that may hold integers by chance: those whose library size is the target sum, or divides it."""
_SCALED_SHARE = 0.25
"""Share of genes with unit variance above which a matrix was scaled; clipping at a maximum takes it from the rare genes."""
_FEWEST_CELLS = 20
"""Cells needed to tell integers that are not counts."""
_FEWEST_GENES = 5
"""Genes of the average cell needed for that: with fewer, shallow counts of a panel look the same."""
_ROWS_AT_A_TIME = 512
_LARGEST_LOGARITHM = 50
"""Beyond this nothing is a logarithm of counts, and the exponential overflows."""
_LARGEST_VALUE = 1e30
"""Sums and products of larger values may be too large for single precision."""
_LARGEST_LOG1P = np.log1p(1e6)
"""The largest value that log1p of counts per million can have."""


class Content(StrEnum):
    """What the values of a matrix are."""

    COUNTS = "counts"
    """Raw counts: non-negative integers."""
    NORMALISED = "normalised counts"
    """Counts scaled cell by cell, such as counts per 10,000."""
    LOG1P = "log1p of normalised counts"
    r"""Logarithm of one plus normalised counts."""


@dataclass(frozen=True)
class Normalization:
    """How counts become the input of a model: `target_sum` per cell over the model's genes, then log1p."""

    target_sum: float = 1e4
    log1p: bool = True


@dataclass(frozen=True)
class MatrixContent:
    """What :func:`inspect_matrix` found."""

    content: Content
    log_base: float | None = None
    """Base of the logarithm, for :attr:`Content.LOG1P`."""
    note: str = ""
    """What the user should know about how this was decided; empty when there is no doubt."""
    remark: str = field(default="", compare=False)
    """What the user should know about the matrix besides: signs that a part of it was lost; empty when there are none."""
    is_empty: bool = field(default=False, compare=False)
    """Whether all of its values are zero."""

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
        """The same for values alone, of any shape: themselves, or a new array in double precision."""
        return values if self.log_base is None else np.expm1(values.astype(np.float64) * np.log(self.log_base))


def normalise(block: sparse.csr_matrix, normalization: Normalization) -> sparse.csr_matrix:
    r"""Scale every cell to `target_sum`, then take :math:`\log(1 + x)`; cells without counts stay zero.

    Parameters
    ----------
    block
        Values proportional to counts over the model's genes, `(n_obs, n_vars)`.
    normalization
        Target sum and whether the logarithm is taken.

    Returns
    -------
    A new float32 matrix of the same shape.

    Examples
    --------
    >>> counts = sparse.csr_matrix([[1, 3], [0, 0]])
    >>> np.expm1(normalise(counts, Normalization(target_sum=8)).toarray()).round(4)
    array([[2., 6.],
           [0., 0.]], dtype=float32)
    """
    totals = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(normalization.target_sum, totals, out=np.zeros_like(totals), where=totals > 0)
    per_value = np.repeat(factors.astype(np.float32), np.diff(block.indptr))
    values = block.data.astype(np.float32) * per_value
    if normalization.log1p:
        np.log1p(values, out=values)
    return sparse.csr_matrix((values, block.indices.copy(), block.indptr.copy()), shape=block.shape)


def inspect_matrix(
    matrix: Any,
    *,
    name: str = "X",
    columns: NDArray[np.bool_] | None = None,
    watch: Callable[[int], None] | None = None,
) -> MatrixContent:
    """Decide what a matrix holds, from all of its rows, or refuse it.

    Hypotheses are tried in this order; the first that holds is taken.

    1. Every value is an integer: counts; with a note where they can hardly be counts of molecules, since all are 0 or 1, or nearly every
       cell has the same largest value (bins) or the values 1 to its number of genes (ranks).
    2. Library sizes are equal: normalised counts.
    3. Library sizes of :math:`b^x - 1` are equal for :math:`b` of e, 2 or 10: log1p of normalised counts.
    4. A matrix cut to some genes after it was normalised has no equal sums. Within a cell, though, its values (or those of
       :math:`e^x - 1`) are still whole multiples of the cell's smallest: normalised counts (or log1p of them).
    5. What is left is taken as log1p where no value is larger than log1p of a million can be, else as fractional counts, with
       a note that says so.

    Parameters
    ----------
    matrix
        Anything that :func:`sctab.io._rows.row_blocks` reads, `(n_obs, n_vars)`.
    name
        What to call it in messages, such as `X` or `layers['counts']`.
    columns
        Which columns are genes, `(n_vars,)`; `None` is all.
    watch
        Called with the number of rows after every block that was looked at.

    Raises
    ------
    InputValueError
        Without rows or columns; with NaN, infinite or far too large values; with negative values or unit variances (scaled); when cells
        with integer counts stand beside cells with fractional library sizes.

    Examples
    --------
    >>> inspect_matrix(np.array([[0, 3.0], [2.0, 5.0]])).content
    <Content.COUNTS: 'counts'>
    """
    inspection = MatrixInspection(name, columns)
    rows = RowReader(matrix, name)
    for block in ahead(rows.read(*at) for at in row_ranges(matrix)):
        inspection.add(block)
        if watch is not None:
            watch(block.shape[0])
    inspection.add_storage(rows)
    return inspection.decide(matrix.shape[1])


class MatrixInspection:
    """What is known of a matrix after some of its rows were looked at; :func:`inspect_matrix` looks at all of them.

    Rows can be looked at in several places, in any order, and what was found is then merged.

    Parameters
    ----------
    name, columns
        As for :func:`inspect_matrix`.
    """

    def __init__(self, name: str = "X", columns: NDArray[np.bool_] | None = None) -> None:
        self._name, self._columns = name, columns
        self._n_obs = self._count_rows = self._fractional_rows = 0
        self._largest = 0.0
        self._sums: list[NDArray[np.float64]] = []
        self._lengths: list[NDArray[np.integer]] = []
        self._largest_of_cells: list[NDArray[np.float64]] = []
        self._log_sums: dict[str, list[NDArray[np.float64]]] = {base: [] for base in _LOG_BASES}
        self._multiples, self._log_multiples = _Share(), _Share()
        self._column_sums: Any = 0.0
        self._column_squares: Any = 0.0
        self._n_repeated = self._n_zeros = self._n_stored = self._longest_zeros = 0
        self._storage = ""

    def add(self, rows: sparse.csr_matrix) -> None:
        """Look at more rows, `(n_obs, n_vars)`.

        Raises
        ------
        InputValueError
            With NaN, infinite, negative or far too large values.
        """
        for start in range(0, rows.shape[0], _ROWS_AT_A_TIME):  # what is found out on the way takes several times their memory
            some = rows[start : start + _ROWS_AT_A_TIME]
            self._add(sparse.csr_matrix(some if self._columns is None else some[:, self._columns], dtype=np.float64, copy=True))

    def _add(self, block: sparse.csr_matrix) -> None:
        _refuse_invalid(block.data, self._name)
        n_stored = block.nnz
        self._n_stored += n_stored
        if np.count_nonzero(block.data) < n_stored:
            self._longest_zeros = max(self._longest_zeros, _longest_zeros(block.data))
            block.eliminate_zeros()
            self._n_zeros += n_stored - block.nnz
        self._n_obs += block.shape[0]
        filled = np.diff(block.indptr) > 0
        self._largest = max(self._largest, block.data.max(initial=0.0))
        self._sums.append(_row_sums(block)[filled])
        self._lengths.append(np.diff(block.indptr)[filled])
        self._largest_of_cells.append(_largest(block))
        is_fractional_value = _is_fractional(block.data)
        is_fractional = _row_sums(_with_data(block, is_fractional_value))[filled] > 0
        self._count_rows += int((~is_fractional & (_smallest(block) == 1) & (self._largest_of_cells[-1] > 1)).sum())
        self._fractional_rows += int(is_fractional.sum())
        self._column_sums = self._column_sums + np.asarray(block.sum(axis=0)).ravel()
        self._column_squares = self._column_squares + np.asarray(block.multiply(block).sum(axis=0)).ravel()
        if is_fractional.any() and self._largest <= _LARGEST_LOGARITHM:
            for base, value in _LOG_BASES.items():
                linear = _with_data(block, np.expm1(block.data * np.log(value)))
                self._log_sums[base].append(_row_sums(linear)[filled])
                if base == "e":
                    self._log_multiples.add(linear)
        if is_fractional.any():
            self._multiples.add(block)

    def add_storage(self, rows: RowReader) -> None:
        """Note what reading the rows has shown of how the matrix is stored."""
        self._n_repeated += rows.n_repeated
        self._storage = rows.remark

    def merge(self, other: MatrixInspection) -> None:
        """Add what was found in other rows of the same matrix."""
        self._n_obs += other._n_obs
        self._n_repeated += other._n_repeated
        self._n_zeros += other._n_zeros
        self._n_stored += other._n_stored
        self._longest_zeros = max(self._longest_zeros, other._longest_zeros)
        self._storage = other._storage or self._storage
        self._count_rows += other._count_rows
        self._fractional_rows += other._fractional_rows
        self._largest = max(self._largest, other._largest)
        self._sums += other._sums
        self._lengths += other._lengths
        self._largest_of_cells += other._largest_of_cells
        for base, sums in other._log_sums.items():
            self._log_sums[base] += sums
        self._multiples.merge(other._multiples)
        self._log_multiples.merge(other._log_multiples)
        self._column_sums = self._column_sums + other._column_sums
        self._column_squares = self._column_squares + other._column_squares

    def decide(self, n_vars: int) -> MatrixContent:
        """What a matrix of `n_vars` columns holds of which all rows were looked at, see :func:`inspect_matrix`.

        Raises
        ------
        InputValueError
            As there.
        """
        n_genes = n_vars if self._columns is None else int(self._columns.sum())
        if self._n_obs == 0 or n_genes == 0:
            raise InputValueError(
                f"`{self._name}` has {self._n_obs} cells and {n_genes} genes: there is nothing to work on. "
                "Check the filters that were applied before."
            )
        variances = (self._column_squares - self._column_sums**2 / self._n_obs) / max(self._n_obs - 1, 1)
        may_be_logarithms = self._fractional_rows > 0 and self._largest <= _LARGEST_LOGARITHM
        found = _Statistics(
            count_rows=self._count_rows,
            fractional_rows=self._fractional_rows,
            largest=self._largest,
            sums=np.concatenate(self._sums),
            lengths=np.concatenate(self._lengths),
            largest_of_cells=np.concatenate(self._largest_of_cells),
            log_sums={base: np.concatenate(parts) for base, parts in self._log_sums.items() if parts} if may_be_logarithms else {},
            multiples=self._multiples.value,
            log_multiples=self._log_multiples.value if may_be_logarithms else 0.0,
            deviations=np.sqrt(np.maximum(variances, 0)),
        )
        return replace(_decide(found, self._name), remark=self._remark(), is_empty=not found.sums.size)

    def _remark(self) -> str:
        remarks = [self._storage] if self._storage else []
        if self._n_repeated:
            remarks.append(
                f"`{self._name}` has more than one value for some cells and genes ({self._n_repeated:,} too many); they were summed."
            )
        if self._longest_zeros >= _MOST_ZEROS and self._n_zeros < self._n_stored / 2:
            remarks.append(
                f"`{self._name}` stores {self._n_zeros:,} zeros among {self._n_stored:,} values, {self._longest_zeros:,} of them without a "
                "break. A sparse matrix has no need of them, and an incomplete copy is read like this: compare it with the original."
            )
        return " ".join(remarks)


@dataclass
class _Statistics:
    """Sums over all rows, enough to decide."""

    count_rows: int
    """Cells whose values are all integers, the smallest one and others larger."""
    fractional_rows: int
    """Cells with a value that is no integer."""
    largest: float
    sums: NDArray[np.float64]
    """Library sizes of the cells that have any, `(n_cells,)`."""
    lengths: NDArray[np.integer]
    """How many values these cells have, `(n_cells,)`."""
    largest_of_cells: NDArray[np.float64]
    """The largest value of each, `(n_cells,)`."""
    log_sums: dict[str, NDArray[np.float64]]
    """Library sizes after undoing the logarithm, by base."""
    multiples: float
    """Share of values that are a whole multiple of the smallest in their cell."""
    log_multiples: float
    """The same after undoing a natural logarithm."""
    deviations: NDArray[np.float64]
    """Standard deviation of every gene, `(n_vars,)`."""


def _decide(found: _Statistics, name: str) -> MatrixContent:
    if found.fractional_rows == 0:
        why = _unlike_counts(found)
        note = f"`{name}` holds integers that hardly are counts of molecules: {why}. If there are counts, give them with `layer=`."
        return MatrixContent(Content.COUNTS, note=note if why else "")
    if _are_equal(found.sums):
        return MatrixContent(Content.NORMALISED)
    for base, log_sums in found.log_sums.items():
        if _are_equal(log_sums) and found.count_rows == 0:
            return MatrixContent(Content.LOG1P, log_base=_LOG_BASES[base])
    if found.multiples > max(_MULTIPLE_SHARE, found.log_multiples) and found.count_rows <= _CHANCE_SHARE * found.sums.size:
        return MatrixContent(Content.NORMALISED)
    if found.log_multiples > _MULTIPLE_SHARE and found.count_rows == 0:
        return MatrixContent(Content.LOG1P, log_base=np.e)
    varying = found.deviations[found.deviations > 0]
    if varying.size > 1 and np.mean(np.abs(varying - 1) < 0.05) > _SCALED_SHARE:
        raise InputValueError(
            f"`{name}` is scaled: its genes have unit variance, and counts cannot be recovered from that. "
            "Give the matrix before `scanpy.pp.scale`, for example as `layer='counts'` or in `adata.raw`."
        )
    if found.count_rows > 0:
        raise InputValueError(
            f"`{name}` mixes two kinds of cells: {found.count_rows} hold integer counts and {found.fractional_rows} have "
            "fractional library sizes. Parts of it were normalised or corrected and others were not. Give a matrix in which "
            "all cells were treated alike, for example the raw counts in a layer."
        )
    if found.largest <= _LARGEST_LOG1P:
        return MatrixContent(
            Content.LOG1P,
            log_base=np.e,
            note=f"`{name}` was taken as log1p of normalised expression: it holds no value above {found.largest:.3g}, but its "
            "cells show neither equal library sizes nor counts. If it is something else, give counts with `layer=`.",
        )
    return MatrixContent(
        Content.COUNTS,
        note=f"`{name}` was taken as fractional counts (as ambient-RNA correction or pseudo-alignment give): its values go up "
        f"to {found.largest:.4g} and are not integers. If it is something else, give counts with `layer=`.",
    )


def _unlike_counts(found: _Statistics) -> str:
    """Why integers can hardly be counts; empty where they can, or where there is too little to tell.

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


def share_of_multiples(block: sparse.csr_matrix) -> float:
    """Share of the stored values of rows that are a whole multiple of the smallest in their row, as counts and scaled counts are.

    Parameters
    ----------
    block
        Rows, `(n_obs, n_vars)`, without stored zeros.

    Examples
    --------
    >>> share_of_multiples(sparse.csr_matrix([[0.1, 0.2, 0.7], [0, 2, 6]]))
    1.0
    """
    share = _Share()
    share.add(block)
    return share.value


class _Share:
    """Running share of values that are a whole multiple of the smallest value in their cell."""

    def __init__(self) -> None:
        self._hits = self._total = 0

    def merge(self, other: _Share) -> None:
        self._hits += other._hits
        self._total += other._total

    def add(self, block: sparse.csr_matrix) -> None:
        lengths = np.diff(block.indptr)
        filled = lengths > 0
        ratio = block.data / np.repeat(_smallest(block), lengths[filled])
        ratio = ratio[(ratio > 1.5) & (ratio < 100)]  # near one all are multiples; far up rounding hides it
        # The smallest value of a cell may stand for two counts, or three.
        hits = [np.abs(ratio * k - np.rint(ratio * k)) < _MULTIPLE_TOLERANCE for k in (1, 2, 3)]
        self._hits += int(np.logical_or.reduce(hits).sum())
        self._total += ratio.size

    @property
    def value(self) -> float:
        return self._hits / self._total if self._total else 0.0


def _refuse_invalid(values: NDArray[np.float64], name: str) -> None:
    if (n_invalid := int((~np.isfinite(values)).sum())) > 0:
        raise InputValueError(
            f"`{name}` holds NaN or infinite values ({n_invalid} of them). Find the step that made them, or give another matrix "
            "with `layer=`."
        )
    if (n_negative := int((values < 0).sum())) > 0:
        raise InputValueError(
            f"`{name}` holds negative values ({n_negative} of them, down to {values.min():.4g}), so that it was scaled, centred or "
            "corrected, and counts cannot be recovered from it. Give the matrix from before that step, for example as "
            "`layer='counts'` or in `adata.raw`."
        )

    if (largest := values.max(initial=0.0)) > _LARGEST_VALUE:
        raise InputValueError(
            f"`{name}` holds values up to {largest:.4g}, which no count reaches and single precision cannot hold in sums. Find the step "
            "that made them, or give another matrix with `layer=`."
        )


def _longest_zeros(values: NDArray[np.float64]) -> int:
    """How many zeros follow each other at most."""
    return int(np.diff(np.flatnonzero(values), prepend=-1, append=len(values)).max()) - 1


def _is_fractional(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values, none of them zero, are no integers up to rounding."""
    nearest = np.rint(values)
    return (np.abs(values - nearest) > _INTEGER_TOLERANCE) | (nearest == 0)


def _are_equal(sums: NDArray[np.float64]) -> bool:
    """Whether nearly all library sizes are the same, up to rounding."""
    if sums.size < 2:
        return False
    middle = np.median(sums)
    return bool(np.mean(np.abs(sums - middle) <= _SUM_TOLERANCE * middle) > 0.99)


def _smallest(block: sparse.csr_matrix) -> NDArray[np.float64]:
    """Smallest stored value of every row that has one."""
    return np.minimum.reduceat(block.data, block.indptr[:-1][np.diff(block.indptr) > 0])


def _largest(block: sparse.csr_matrix) -> NDArray[np.float64]:
    """Largest stored value of every row that has one."""
    return np.maximum.reduceat(block.data, block.indptr[:-1][np.diff(block.indptr) > 0])


def _row_sums(block: sparse.csr_matrix) -> NDArray[np.float64]:
    return np.asarray(block.sum(axis=1)).ravel()


def _with_data(block: sparse.csr_matrix, data: NDArray[Any]) -> sparse.csr_matrix:
    return sparse.csr_matrix((data.astype(np.float64), block.indices, block.indptr), shape=block.shape)
