"""Statistics of all rows of a matrix, from which its content follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data._content import LOG_BASES, MatrixContent, Statistics, decide_content
from sctab.errors import BY_LAYER, InputValueError, Message, Parameter, place
from sctab.io import RowReader, ahead, row_ranges

_INTEGER_TOLERANCE = 1e-3
_MOST_ZEROS = 100
"""Stored zeros that follow each other before a part of the values may have been lost: zeros left by a filter are rarely that long."""
_MULTIPLE_TOLERANCE = 0.02
_ROWS_AT_A_TIME = 512
_ALMOST_EMPTY = 10
"""Genes that a barcode without a cell has at most, by most: cells have hundreds."""
_FEWEST_BARCODES, _FEWEST_GENES = 1000, 200
"""Cells and genes of a matrix that may be one of all barcodes; small panels have cells with few genes."""
_LARGEST_LOGARITHM = 50
"""Largest value of a logarithm of counts; the exponential of larger ones overflows."""
_LARGEST_VALUE = 1e30
"""Sums and products of larger values may be too large for single precision."""


def inspect_matrix(
    matrix: Any,
    *,
    name: str = "X",
    columns: NDArray[np.bool_] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> MatrixContent:
    """Decide what a matrix holds, from all of its rows, or refuse it.

    Hypotheses are tried in this order; the first that holds is taken.

    1. Every value is an integer: counts; with a note if they are unlikely to be counts of molecules, since all are 0 or 1, or nearly every
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
    on_progress
        Called with the number of rows after every block that was looked at.

    Raises
    ------
    InputValueError
        Without rows or columns; with NaN, infinite or far too large values; with negative values or unit variances (scaled); when
        some cells have integer counts and others fractional library sizes.

    Examples
    --------
    >>> inspect_matrix(np.array([[0, 3.0], [2.0, 5.0]])).content
    <Content.COUNTS: 'counts'>
    """
    inspection = MatrixInspection(name, columns)
    rows = RowReader(matrix, name)
    for block in ahead(rows.read(*at) for at in row_ranges(matrix)):
        inspection.add(block)
        if on_progress is not None:
            on_progress(block.shape[0])
    inspection.add_storage(rows)
    return inspection.decide(matrix.shape[1])


class MatrixInspection:
    """Running statistics of the rows of a matrix; :func:`inspect_matrix` adds all of them.

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
        self._log_sums: dict[str, list[NDArray[np.float64]]] = {base: [] for base in LOG_BASES}
        self._multiples, self._log_multiples = _Fraction(), _Fraction()
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
        for start in range(0, rows.shape[0], _ROWS_AT_A_TIME):  # intermediate results take several times their memory
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
            for base, value in LOG_BASES.items():
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
        """Decide the content of a matrix of `n_vars` columns of which all rows were added, see :func:`inspect_matrix`.

        Raises
        ------
        InputValueError
            As for :func:`inspect_matrix`.
        """
        n_genes = n_vars if self._columns is None else int(self._columns.sum())
        if self._n_obs == 0 or n_genes == 0:
            raise InputValueError(
                f"`{self._name}` has {self._n_obs} cells and {n_genes} genes: there is nothing to work on. Check earlier "
                "filtering steps."
            )
        variances = (self._column_squares - self._column_sums**2 / self._n_obs) / max(self._n_obs - 1, 1)
        may_be_logarithms = self._fractional_rows > 0 and self._largest <= _LARGEST_LOGARITHM
        found = Statistics(
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
        return replace(decide_content(found, self._name), remark=self._remark(found, n_genes), is_empty=not found.sums.size)

    def _remark(self, found: Statistics, n_genes: int) -> str:
        remarks = [self._storage] if self._storage else []
        n_almost_empty = self._n_obs - int((found.lengths > _ALMOST_EMPTY).sum())
        if self._n_obs >= _FEWEST_BARCODES and n_genes >= _FEWEST_GENES and n_almost_empty > self._n_obs / 2:
            remarks.append(
                f"`{self._name}` seems to hold all barcodes and not only cells: {n_almost_empty:,} of {self._n_obs:,} have at most "
                f"{_ALMOST_EMPTY} genes. Labels of empty droplets are not meaningful. Provide the filtered matrix, or remove them first, "
                "for example with `scanpy.pp.filter_cells(adata, min_genes=200)`."
            )
        if self._n_repeated:
            remarks.append(
                f"`{self._name}` has duplicate entries for some cells and genes ({self._n_repeated:,} too many); they were summed."
            )
        if self._longest_zeros >= _MOST_ZEROS and self._n_zeros < self._n_stored / 2:
            remarks.append(
                f"`{self._name}` stores {self._n_zeros:,} zeros among {self._n_stored:,} values, {self._longest_zeros:,} of "
                "them without a break. Sparse matrices do not store zeros, and incomplete copies look like this: compare it "
                "with the original."
            )
        return " ".join(remarks)


def fraction_of_multiples(block: sparse.csr_matrix) -> float:
    """Fraction of the stored values of rows that are a whole multiple of the smallest in their row, as counts and scaled counts are.

    Parameters
    ----------
    block
        Rows, `(n_obs, n_vars)`, without stored zeros.

    Examples
    --------
    >>> fraction_of_multiples(sparse.csr_matrix([[0.1, 0.2, 0.7], [0, 2, 6]]))
    1.0
    """
    fraction = _Fraction()
    fraction.add(block)
    return fraction.value


class _Fraction:
    """Running fraction of values that are a whole multiple of the smallest value in their cell."""

    def __init__(self) -> None:
        self._hits = self._total = 0

    def merge(self, other: _Fraction) -> None:
        self._hits += other._hits
        self._total += other._total

    def add(self, block: sparse.csr_matrix) -> None:
        lengths = np.diff(block.indptr)
        filled = lengths > 0
        ratio = block.data / np.repeat(_smallest(block), lengths[filled])
        ratio = ratio[(ratio > 1.5) & (ratio < 100)]  # near one all are multiples; far up rounding hides it
        # The smallest value of a cell may represent two counts, or three.
        hits = [np.abs(ratio * k - np.rint(ratio * k)) < _MULTIPLE_TOLERANCE for k in (1, 2, 3)]
        self._hits += int(np.logical_or.reduce(hits).sum())
        self._total += ratio.size

    @property
    def value(self) -> float:
        return self._hits / self._total if self._total else 0.0


def _refuse_invalid(values: NDArray[np.float64], name: str) -> None:
    if (n_invalid := int((~np.isfinite(values)).sum())) > 0:
        raise InputValueError(
            Message.of(
                f"`{name}` holds NaN or infinite values ({n_invalid} of them). Find the step that created them, or select "
                f"another matrix with {BY_LAYER}.",
                BY_LAYER,
            )
        )
    if (n_negative := int((values < 0).sum())) > 0:
        raise InputValueError(
            f"`{name}` holds negative values ({n_negative} of them, down to {values.min():.4g}), so it was scaled, centred or "
            "corrected, and counts cannot be recovered from it. Provide the matrix from before that step, for example as ",
            Parameter("layer", "counts"),
            " or in ",
            place("raw"),
            ".",
        )

    if (largest := values.max(initial=0.0)) > _LARGEST_VALUE:
        raise InputValueError(
            Message.of(
                f"`{name}` holds values up to {largest:.4g}, which exceed any count and overflow in single precision. Find "
                f"the step that created them, or select another matrix with {BY_LAYER}.",
                BY_LAYER,
            )
        )


def _longest_zeros(values: NDArray[np.float64]) -> int:
    """Length of the longest run of zeros."""
    return int(np.diff(np.flatnonzero(values), prepend=-1, append=len(values)).max()) - 1


def _is_fractional(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of the values, none of them zero, that are not integers up to rounding."""
    nearest = np.rint(values)
    return (np.abs(values - nearest) > _INTEGER_TOLERANCE) | (nearest == 0)


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
