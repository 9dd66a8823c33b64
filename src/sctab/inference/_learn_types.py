"""Learning of types, and of the scores that cells of types have which were learned from others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Normalization
from sctab.inference._neighbourhoods import MOST_CELLS, Neighbourhoods
from sctab.inference._unseen import SeenTypes, distances, expression_of

_PER_LABEL = 20
"""Marker genes per label. With many genes, differences between datasets outweigh those between types."""
_MOST_MARKERS = 2_000
_REGULARISATION = 0.05
"""Added to variances of log expression."""
_N_FOLDS = 5
_ROWS_AT_A_TIME = 4_096


def learn_types(
    values: sparse.csr_matrix,
    codes: NDArray[np.integer],
    units: NDArray[np.integer] | None,
    *,
    n_labels: int,
    normalization: Normalization,
    seed: int = 0,
) -> SeenTypes | None:
    """Learn types from a reference in memory.

    Parameters
    ----------
    values
        Normalised expression of the reference over the model's genes, `(n_obs, n_genes)`.
    codes
        Label of each cell, `(n_obs,)`.
    units
        Donor or study of each cell, `(n_obs,)`; `None` where they are not known.
    n_labels
        Labels of the model.
    normalization
        That of the model.
    seed
        Seed of parts and samples.

    Returns
    -------
    `None` with fewer than two labels that have cells, or where no cell of a label is left that could be compared with others of it.
    """
    folds = folds_of_units(units, len(codes), seed=seed)
    sums = TypeSums(n_labels, values.shape[1], int(folds.max(initial=0)) + 1, normalization)
    for start in range(0, len(codes), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        sums.add(values[part], codes[part], folds[part])
    sample = np.sort(np.random.default_rng(seed).permutation(len(codes))[: 2 * MOST_CELLS])
    return sums.seen_types(values[sample], codes[sample], folds[sample], seed=seed)


class TypeSums:
    """Sums of expression per label, in parts that are held out from each other; a reference of any size goes through block by block.

    Parameters
    ----------
    n_labels, n_genes, n_folds
        Numbers of labels, genes and parts.
    normalization
        That of the model.
    """

    def __init__(self, n_labels: int, n_genes: int, n_folds: int, normalization: Normalization) -> None:
        shape = (n_folds, n_labels, n_genes)
        self._normalization = normalization
        self._n_cells = np.zeros(shape[:2])
        self._linear, self._log, self._squares = (np.zeros(shape, dtype=np.float32) for _ in range(3))

    def add(self, values: sparse.csr_matrix, codes: NDArray[np.integer], folds: NDArray[np.integer]) -> None:
        """Add cells.

        Parameters
        ----------
        values
            Normalised expression, `(n_obs, n_genes)`.
        codes, folds
            Label and part of each cell, `(n_obs,)`.
        """
        n_folds, n_labels, n_genes = self._linear.shape
        groups = folds * n_labels + codes
        shape = (n_folds * n_labels, len(codes))
        member = sparse.csr_matrix((np.ones(len(codes), dtype=np.float32), (groups, np.arange(len(codes)))), shape=shape)
        self._n_cells += np.bincount(groups, minlength=shape[0]).reshape(n_folds, n_labels)
        linear = expression_of(values, self._normalization)
        log = linear.log1p()
        for sums, each in ((self._linear, linear), (self._log, log), (self._squares, log.multiply(log))):
            of_groups = (member @ each).tocoo()
            flat = sums.reshape(-1, n_genes)  # a view
            np.add.at(flat, (of_groups.row, of_groups.col), of_groups.data)

    def seen_types(
        self, values: sparse.csr_matrix, codes: NDArray[np.integer], folds: NDArray[np.integer], *, seed: int = 0
    ) -> SeenTypes | None:
        """Types from all cells, and scores of some cells against types without their part.

        Parameters
        ----------
        values, codes, folds
            As in :meth:`add`, of cells that were added; a sample of at most some ten thousand.
        seed
            Seed of the neighbourhoods.

        Returns
        -------
        As :func:`learn_types`.
        """
        n_folds = len(self._n_cells)
        scores, units = [], []
        for fold in range(n_folds):
            others = np.arange(n_folds) != fold
            held_out = np.flatnonzero(folds == fold)
            held_out = held_out[self._n_cells[others].sum(axis=0)[codes[held_out]] > 0]  # of other labels nothing was learned
            if len(held_out) == 0 or (types := self._types(others)) is None:
                continue
            genes, expression = types
            cells = values[held_out]
            neighbourhoods = Neighbourhoods.learn(cells, n_genes=cells.shape[1], seed=seed)
            profiles = np.log1p(neighbourhoods.mean(cells, expression_of(cells[:, genes], self._normalization)))
            assigned = neighbourhoods.assign(cells)
            weights = np.bincount(assigned, minlength=len(neighbourhoods))
            scores.append(distances(profiles, np.log1p(expression), weights)[assigned])
            units.append(np.full(len(held_out), fold))
        types = self._types(np.ones(n_folds, dtype=bool))
        if types is None or not scores:
            return None
        genes, expression = types
        n_cells = self._n_cells.sum(axis=0)
        mean_expression = self._linear.sum(axis=0)[n_cells > 0] / n_cells[n_cells > 0, None]
        complete = np.zeros((len(n_cells), len(genes)), dtype=np.float32)
        complete[n_cells > 0] = expression
        return SeenTypes(
            genes.astype(np.int32),
            complete,
            mean_expression.mean(axis=0).astype(np.float32),
            np.concatenate(scores).astype(np.float32),
            np.concatenate(units).astype(np.int32),
        )

    def _types(self, folds: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.float32]] | None:
        """Marker genes, and mean expression of the labels that have cells, from some parts; `None` with fewer than two labels."""
        n_cells = self._n_cells[folds].sum(axis=0)
        has = n_cells > 0
        if has.sum() < 2:
            return None
        per_cell = 1 / n_cells[has, None]
        log = self._log[folds].sum(axis=0)[has] * per_cell
        variance = np.maximum(self._squares[folds].sum(axis=0)[has] * per_cell - log**2, 0)
        genes = select_markers(log, variance, min(_PER_LABEL, max(1, _MOST_MARKERS // int(has.sum()))))
        return genes, (self._linear[folds].sum(axis=0)[has][:, genes] * per_cell).astype(np.float32)


def select_markers(means: NDArray[np.floating], variances: NDArray[np.floating], n_per_label: int) -> NDArray[np.intp]:
    """Genes that tell a label from the others best, up or down: the largest differences of means in units of the spread.

    Parameters
    ----------
    means, variances
        Of log expression within each label, `(n_labels, n_genes)`.
    n_per_label
        Genes for each label; several labels can have the same ones.

    Returns
    -------
    Their positions, ascending.
    """
    n_labels = len(means)
    chosen: set[int] = set()
    for label in range(n_labels):
        others = np.arange(n_labels) != label
        spread = np.sqrt((variances[label] + variances[others].mean(axis=0)) / 2 + _REGULARISATION)
        difference = np.abs(means[label] - means[others].mean(axis=0)) / spread
        chosen.update(np.argsort(-difference, kind="stable")[:n_per_label].tolist())
    return np.array(sorted(chosen), dtype=np.intp)


def folds_of_units(units: NDArray[np.integer] | None, n_obs: int, *, seed: int = 0) -> NDArray[np.intp]:
    """Part of each cell, `(n_obs,)`: whole units in at most five parts of about one size, or cells at random where there is one unit only.

    Parameters
    ----------
    units
        Donor or study of each cell, or `None`.
    n_obs
        Number of cells.
    seed
        Seed of random parts.
    """
    names, unit, sizes = np.unique(np.zeros(n_obs) if units is None else units, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return np.random.default_rng(seed).permutation(n_obs) % _N_FOLDS
    fold_of_unit, filled = np.zeros(len(names), dtype=np.intp), np.zeros(min(_N_FOLDS, len(names)))
    for number in np.argsort(-sizes, kind="stable"):
        fold_of_unit[number] = filled.argmin()
        filled[fold_of_unit[number]] += sizes[number]
    return fold_of_unit[unit]
