"""Cells that no label fits: how far the expression around a cell is from that of every type that a model has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import ndtr

from sctab.data import Normalization
from sctab.errors import ModelFormatError
from sctab.inference._neighbourhoods import Neighbourhoods

_FEWEST_MARKERS = 10
"""Marker genes that a query must have; a direction in fewer says little."""
_SCALE = 1e4
"""Counts per cell that expression is stored for, whatever the model's normalisation."""
_TRUSTED_FRACTION = 0.25
"""Fraction of the query's cells, those that resemble a type most, that the difference between datasets is estimated from."""
_TRUSTED_DISTANCE = 0.4
"""Distance beyond which no cell is trusted, however little the others resemble a type. Known cells of other studies were at 0.1 to 0.3,
cells of other tissues at 0.5 to 0.9."""
_FEWEST_TRUSTED = 20
"""Trusted cells of a type that it takes to estimate a difference from it."""
_MAD = 1.4826
_PREFIX = "types."


@dataclass(frozen=True)
class SeenTypes:
    """Types that a model has learned, in marker genes; and scores of cells that it had not seen.

    The score of a neighbourhood is one minus the cosine between its mean expression and that of the nearest type, both as logarithms in
    marker genes and relative to the mean of all types: 0 for the direction of a type, 1 for a right angle. Neighbourhoods vote because
    single cells are too sparse for that. A few marker genes tell more than thousands of variable ones, in which whatever differs between
    two datasets adds up. What is left of that difference, a shift of all cells of the query, is estimated from those cells that resemble a
    type most, as the mean over types of their mean difference from it, shrunken towards none by one further type without a difference. It
    therefore depends neither on the composition of the query nor on cells that no label fits, and is not estimated where no cell resembles
    a type.
    """

    genes: NDArray[np.int32]
    """Positions of the marker genes among the model's genes, ascending, `(n_markers,)`."""
    expression: NDArray[np.float32]
    """Mean expression of each label per 10,000 counts, `(n_labels, n_markers)`; zero for labels without cells, which are not compared."""
    mean_expression: NDArray[np.float32]
    """Mean over labels for every gene of the model, per 10,000 counts, `(n_genes,)`: which part of the counts a panel measures."""
    scores: NDArray[np.float32]
    """Scores of reference cells against types learned without their unit, `(n_cells,)`."""
    units: NDArray[np.int32]
    """Unit of each of these cells: its donor or study, or a part of the cells at random where there is one only, `(n_cells,)`."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, n_genes: int, n_labels: int) -> Self:
        """Read what :meth:`to_arrays` gave.

        Raises
        ------
        ValueError
            If an array is missing, of another shape, or holds numbers that cannot be right.
        """
        if missing := {"genes", "expression", "mean_expression", "scores", "units"} - set(arrays):
            raise ValueError(f"the types that a model has learned lack {sorted(missing)}")
        found = cls(
            arrays["genes"].astype(np.int32),
            arrays["expression"].astype(np.float32),
            arrays["mean_expression"].astype(np.float32),
            arrays["scores"].astype(np.float32),
            arrays["units"].astype(np.int32),
        )
        genes = found.genes
        if genes.ndim != 1 or len(genes) == 0 or (np.diff(genes) <= 0).any() or genes[0] < 0 or genes[-1] >= n_genes:
            raise ValueError("marker genes are not ascending positions of genes of the model")
        if found.expression.shape != (n_labels, len(genes)) or found.mean_expression.shape != (n_genes,):
            raise ValueError(f"the expression of types is not that of {n_labels} labels, {len(genes)} markers and {n_genes} genes")
        if found.scores.ndim != 1 or len(found.scores) == 0 or found.units.shape != found.scores.shape:
            raise ValueError("scores and units of reference cells differ in number, or there are none")
        for values, largest in ((found.expression, np.inf), (found.mean_expression, np.inf), (found.scores, 2)):
            if not (np.isfinite(values).all() and (values >= 0).all() and (values <= largest).all()):
                raise ValueError("expression or scores are negative, too large, NaN or infinite")
        return found

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays to store, by name."""
        return dict(vars(self))

    def score(
        self,
        values: sparse.csr_matrix,
        neighbourhoods: Neighbourhoods,
        *,
        found: NDArray[np.bool_],
        normalization: Normalization,
    ) -> NDArray[np.float32] | None:
        """Score the neighbourhoods of a query; a cell has the score of its own one.

        Parameters
        ----------
        values
            Input of the model for the cells that neighbourhoods were learned on, `(n_cells, n_inputs)`.
        neighbourhoods
            Learned from them.
        found
            Genes of the model that the query has, `(n_genes,)`.
        normalization
            That of the model.

        Returns
        -------
        One score per landmark, `(n_landmarks,)`; `None` where the query has fewer than 10 marker genes.
        """
        has = found[self.genes]
        if has.sum() < _FEWEST_MARKERS:
            return None
        measured = self.mean_expression[found].sum() / max(self.mean_expression.sum(), np.finfo(np.float32).tiny)
        means = neighbourhoods.mean(values, expression_of(values[:, self.genes[has]], normalization))
        weights = np.bincount(neighbourhoods.assign(values), minlength=len(neighbourhoods))
        learned = self.expression[self.expression.any(axis=1)]
        types = np.log1p(learned[:, has] / max(measured, np.finfo(np.float32).tiny))
        return distances(np.log1p(means), types, weights)

    def p_values(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        r"""p-value of each score: how often a cell of a seen type scores as high, :math:`(1 + \#\{s_i \ge s\}) / (n + 1)`.

        These are the marginal conformal p-values of Bates et al. (2023, :doi:`10.1214/22-AOS2244`). They are valid for cells that are
        exchangeable with those of the reference, such as further cells of its donors. Each unit counts the same, however many cells it has.
        The correction of the authors that holds for nearly every draw of the reference cells is not made: it is small beside differences
        between donors for thousands of cells, and supposes that these are independent, which neighbours are not.

        Parameters
        ----------
        scores
            Of cells, any shape.
        """
        _, unit, sizes = np.unique(self.units, return_inverse=True, return_counts=True)
        order = np.argsort(self.scores)
        weights = (len(self.scores) / len(sizes) / sizes)[unit][order]
        above = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
        n_cells = len(self.scores)
        return ((1 + above[np.searchsorted(self.scores[order], scores, side="left")]) / (n_cells + 1)).astype(np.float32)


def distances(profiles: NDArray[np.floating], types: NDArray[np.floating], weights: NDArray[np.integer]) -> NDArray[np.float32]:
    """One minus the cosine to the nearest type, after the difference between datasets is removed; see :class:`SeenTypes`.

    Parameters
    ----------
    profiles
        Log expression of neighbourhoods in marker genes, `(n_landmarks, n_markers)`.
    types
        Log expression of types, `(n_labels, n_markers)`.
    weights
        Cells of each neighbourhood, `(n_landmarks,)`.

    Returns
    -------
    Between 0 and 2, `(n_landmarks,)`.
    """
    centre = types.mean(axis=0)
    directions = types - centre
    distance = 1 - _cosines(profiles - centre, directions)
    nearest, smallest = distance.argmin(axis=1), distance.min(axis=1)
    order = np.argsort(smallest, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    trusted = np.zeros(len(profiles), dtype=bool)
    trusted[order[before < _TRUSTED_FRACTION * weights.sum()]] = True
    trusted &= smallest <= _TRUSTED_DISTANCE
    shifts = []
    for label in np.unique(nearest[trusted]):
        cells = trusted & (nearest == label)
        if weights[cells].sum() >= _FEWEST_TRUSTED:
            shifts.append(np.average(profiles[cells], axis=0, weights=weights[cells]) - types[label])
    shift = np.sum(shifts, axis=0) / (len(shifts) + 1) if shifts else 0.0
    return (1 - _cosines(profiles - shift - centre, directions).max(axis=1)).astype(np.float32).clip(0, 2)


def _cosines(profiles: NDArray[np.floating], directions: NDArray[np.floating]) -> NDArray[np.floating]:
    lengths = np.outer(np.linalg.norm(profiles, axis=1), np.linalg.norm(directions, axis=1))
    return np.divide(profiles @ directions.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def expression_of(values: sparse.csr_matrix, normalization: Normalization) -> sparse.csr_matrix:
    """Expression per 10,000 counts, from values as a model has them.

    Parameters
    ----------
    values
        `(n_obs, n_vars)`.
    normalization
        That of the model.
    """
    linear = sparse.csr_matrix(values, dtype=np.float32, copy=True)
    if normalization.log1p:
        np.expm1(linear.data, out=linear.data)
    linear.data *= np.float32(_SCALE / normalization.target_sum)
    return linear


def types_to_arrays(types: SeenTypes) -> dict[str, NDArray[Any]]:
    """Types as arrays that a model keeps beside those of others.

    Parameters
    ----------
    types
        What it has learned.
    """
    return {_PREFIX + name: values for name, values in types.to_arrays().items()}


def types_of_arrays(arrays: Mapping[str, NDArray[Any]], *, n_genes: int, n_labels: int) -> SeenTypes | None:
    """Types that a model keeps; `None` where it keeps none.

    Parameters
    ----------
    arrays
        All arrays that it keeps.
    n_genes, n_labels
        Its genes and labels.

    Raises
    ------
    ModelFormatError
        If they are incomplete or cannot be right.
    """
    found = {name.removeprefix(_PREFIX): values for name, values in arrays.items() if name.startswith(_PREFIX)}
    if not found:
        return None
    try:
        return SeenTypes.from_arrays(found, n_genes=n_genes, n_labels=n_labels)
    except ValueError as error:
        raise ModelFormatError(f"The stored types of the model were changed: {error}. Copy the complete model again.") from error


class UnseenTest(Protocol):
    """Test of cells of one query for being of types that the model has learned."""

    def p_values(self, values: sparse.csr_matrix, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """p-value of each cell, `(n_obs,)`.

        Parameters
        ----------
        values
            Input of the model, `(n_obs, n_inputs)`.
        logits
            Of the members, `(n_obs, n_members, n_labels)`.
        """


@dataclass(frozen=True)
class NeighbourhoodTest:
    """Each cell has the p-value of its neighbourhood."""

    neighbourhoods: Neighbourhoods
    of_landmarks: NDArray[np.float32]
    """p-value of each landmark, `(n_landmarks,)`."""

    def p_values(self, values: sparse.csr_matrix, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """See :meth:`UnseenTest.p_values`."""
        del logits
        return self.of_landmarks[self.neighbourhoods.assign(values)]


@dataclass(frozen=True)
class LogitTest:
    """For a model without :class:`SeenTypes`, such as a checkpoint of another program: cells are compared with the query itself.

    The score is minus the largest logit, averaged over members. Most of the query is taken to be of seen types, whose scores are normally
    distributed around their median with the spread that the median absolute deviation gives (an empirical null, Efron 2004,
    :doi:`10.1198/016214504000000089`). No promise follows from it, and where most cells are of unseen types it finds none.
    """

    centre: float
    spread: float

    @classmethod
    def learn(cls, logits: NDArray[np.floating]) -> Self:
        """Learn the distribution of the scores.

        Parameters
        ----------
        logits
            Of measured cells of the query, `(n_cells, n_members, n_labels)`.
        """
        scores = cls._scores(logits)
        centre = float(np.median(scores))
        return cls(centre, float(max(_MAD * np.median(np.abs(scores - centre)), np.finfo(np.float32).tiny)))

    def p_values(self, values: sparse.csr_matrix | None, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """See :meth:`UnseenTest.p_values`."""
        del values
        return ndtr((self.centre - self._scores(logits)) / self.spread).astype(np.float32)

    @staticmethod
    def _scores(logits: NDArray[np.floating]) -> NDArray[np.floating]:
        return -logits.max(axis=2).mean(axis=1)


def largest_p_value(p_values: NDArray[np.floating], fdr: float) -> float:
    """The largest p-value to report so that the expected fraction of false ones among the reported cells is at most `fdr`.

    Benjamini and Hochberg (1995, :doi:`10.1111/j.2517-6161.1995.tb02031.x`).

    Parameters
    ----------
    p_values
        Of all cells of a query, `(n_obs,)`; NaN for those without one, which are not counted.
    fdr
        Accepted false discovery rate.

    Returns
    -------
    -1 where no cell is to be reported.
    """
    ordered = np.sort(p_values[np.isfinite(p_values)])
    passed = np.flatnonzero(ordered <= fdr * np.arange(1, len(ordered) + 1) / max(len(ordered), 1))
    return float(ordered[passed[-1]]) if len(passed) else -1.0
