"""Mean expression in groups of cells, from some cells of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import FeatureSpace, Source, gene_expression, inspect_matrix, normalise, one_hot, with_covariates
from sctab.inference import Predictor, explained_shares
from sctab.io import rows_of

_SCALE = 1e4
"""Counts per cell that expression is shown for."""
_AT_ONCE = 2048
"""Cells in memory at a time."""
_ALL_READ = 20_000
"""Cells up to which a matrix is read in one go, and inspected whole."""
_RANGES, _RANGE = 8, 1024
"""Ranges of rows that are inspected of a larger one, and rows of each."""
_EXPLAINED = 200
"""Cells of each group that a model explains: the mean of more is much the same."""


@dataclass(frozen=True)
class Expression:
    """Cells of each group, and what they express."""

    sizes: NDArray[np.int64]
    """Cells, `(n_groups,)`."""
    inputs: NDArray[np.float64]
    """Mean input of the model, `(n_groups, n_vars)`; zero without a model."""
    attention: NDArray[np.float64] | None
    """Mean share of each gene in the decisions of a model that explains them, `(n_groups, n_vars)`; `None` for others."""
    means: NDArray[np.float64]
    """Mean expression as log1p of counts per 10,000, `(n_groups, n_vars)`."""
    expressed: NDArray[np.float64]
    """Fraction of the cells that express each gene, `(n_groups, n_vars)`."""

    def elsewhere(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of `values`, `(n_groups, n_vars)`, over the cells of all other groups; `NaN` where there are none."""
        n_others = (self.sizes.sum() - self.sizes)[:, None]
        total = self.sizes @ values - self.sizes[:, None] * values
        return np.divide(total, n_others, out=np.full_like(values, np.nan), where=n_others > 0)


def layer_of(matrix: str) -> str | None:
    """The `layer` of a matrix by its name in results: `raw` of `raw.X`."""
    if matrix.startswith("layers['"):
        return matrix.removeprefix("layers['").removesuffix("']")
    return {"raw.X": "raw", "X": "X"}.get(matrix)


def inspect_some(matrix: Any, *, name: str, columns: NDArray[np.bool_] | None) -> Any:
    """Content of a matrix that was annotated before, from some of its rows where it is large."""
    n_obs = matrix.shape[0]
    if n_obs > _ALL_READ and not hasattr(matrix, "dask"):
        starts = np.linspace(0, n_obs - _RANGE, _RANGES).astype(int)
        matrix = rows_of(matrix, [(start, start + _RANGE) for start in starts.tolist()], name)
    return inspect_matrix(matrix, name=name, columns=columns)


def _ranges(groups: pd.Categorical, max_cells: int) -> Iterator[list[tuple[int, int]]]:
    """Ranges of rows with at most that many cells of each group, a batch at a time."""
    n_obs = len(groups)
    if n_obs <= _ALL_READ:
        chosen = np.arange(n_obs)
    else:
        by_group = (np.flatnonzero(groups.codes == code) for code in range(len(groups.categories)))
        parts = [rows[np.linspace(0, len(rows) - 1, min(len(rows), max_cells)).astype(int)] for rows in by_group if len(rows)]
        chosen = np.sort(np.concatenate(parts)) if parts else np.arange(0)
    for start in range(0, len(chosen), _AT_ONCE):
        rows = chosen[start : start + _AT_ONCE]
        breaks = np.flatnonzero(np.diff(rows) > 1)
        firsts, lasts = rows[np.append(0, breaks + 1)], rows[np.append(breaks, len(rows) - 1)]
        yield [(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]


def summarise(
    source: Source,
    features: FeatureSpace,
    predictor: Predictor | None,
    obs: pd.DataFrame,
    groups: pd.Categorical,
    max_cells: int,
) -> Expression:
    """Mean expression of each group.

    Parameters
    ----------
    source
        Matrix of the cells.
    features
        Genes.
    predictor
        A model with these genes, whose input and attention are averaged as well.
    obs
        Annotation of the cells, in which the model may look for covariates.
    groups
        Group of each cell, `NaN` for none.
    max_cells
        Cells of each group to read, where there are many.
    """
    match = features.match(source.var)
    is_gene = gene_expression(source.var).astype(np.float64)
    n_groups = len(groups.categories)
    inputs, means, expressed, attention = (np.zeros((n_groups, len(features))) for _ in range(4))
    n_read, n_explained, explains = np.zeros(n_groups), np.zeros(n_groups), False
    covariates = None if predictor is None or not predictor.spec.covariates else one_hot(obs, predictor.spec.covariates)
    for ranges in _ranges(groups, max_cells):
        rows = np.concatenate([np.arange(start, stop) for start, stop in ranges])
        linear = source.content.to_linear(rows_of(source.matrix, ranges, source.name))
        codes = groups.codes[rows]
        of_group = _of_group(codes, n_groups)
        n_read += of_group.getnnz(axis=1)
        aligned = match.align(linear)
        shown = _per_10k(aligned, np.asarray(linear @ is_gene).ravel())
        means += (of_group @ shown).toarray()
        expressed += (of_group @ (aligned > 0).astype(np.float64)).toarray()
        if predictor is not None:
            values = normalise(aligned, predictor.spec.normalization)
            inputs += (of_group @ values).toarray()
            chosen = _first(codes, n_explained)
            known = None if covariates is None else covariates[rows[chosen]]
            block = values[chosen] if known is None else with_covariates(values[chosen], known)
            shares = explained_shares(predictor, block)
            if shares is not None and len(chosen):
                explains = True
                attention += (_of_group(codes[chosen], n_groups) @ shares).toarray()
                n_explained += np.bincount(codes[chosen], minlength=n_groups)
    sizes = np.bincount(groups.codes[groups.codes >= 0], minlength=n_groups)
    each = np.maximum(n_read, 1)[:, None]
    mean_attention = attention / np.maximum(n_explained, 1)[:, None] if explains else None
    return Expression(sizes, inputs / each, mean_attention, means / each, expressed / each)


def log_per_10k(source: Source, block: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of a matrix as log1p of counts per 10,000.

    Parameters
    ----------
    source
        The matrix.
    block
        Some of its rows, `(n_obs, n_query_vars)`.
    """
    linear = source.content.to_linear(block)
    return _per_10k(linear, np.asarray(linear @ gene_expression(source.var).astype(np.float64)).ravel())


def _per_10k(linear: sparse.csr_matrix, totals: NDArray[np.float64]) -> sparse.csr_matrix:
    factors = np.divide(_SCALE, totals, out=np.zeros_like(totals), where=totals > 0)
    shown = sparse.csr_matrix(sparse.diags(factors) @ linear)
    shown.data = np.log1p(shown.data)
    return shown


def _of_group(codes: NDArray[np.integer], n_groups: int) -> sparse.csr_matrix:
    """One where the cell of the column is in the group of the row, `(n_groups, n_obs)`."""
    known = np.flatnonzero(codes >= 0)
    return sparse.csr_matrix((np.ones(len(known)), (codes[known], known)), shape=(n_groups, len(codes)))


def _first(codes: NDArray[np.integer], n_explained: NDArray[np.floating]) -> NDArray[np.intp]:
    """Cells that are still to be explained: the first ones of each group."""
    rank = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    return np.flatnonzero((codes >= 0) & (rank + n_explained[codes] < _EXPLAINED))
