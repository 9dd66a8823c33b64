"""Given labels that calibrated probabilities contradict: confident learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SURE = 0.8
"""Largest threshold: a calibrated probability of this size is right four times out of five."""


@dataclass(frozen=True)
class LabelNoise:
    r"""Noise of given labels, estimated from probabilities by models that have not seen them.

    The threshold :math:`t_j` of label :math:`j` is the mean probability of :math:`j` among the cells whose given label accepts it, at
    most 0.8: where types are easily distinguished, a cell need not be more probable than most cells. A cell is
    confidently of the most probable label among those that reach their thresholds. Confident labels are counted by given label, and the
    counts are rescaled so that each given label has as many cells as it was given to.

    References
    ----------
    Northcutt, Jiang, Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 2021, :doi:`10.1613/jair.1.12125`.
    """

    thresholds: NDArray[np.float64]
    """Threshold of each label, `(n_labels,)`; infinite for one that no cell is evidence for."""
    confident: NDArray[np.int64]
    """Label that each cell is confidently of, `(n_obs,)`; -1 where there is none."""
    counts: NDArray[np.int64]
    """Cells by given label and confident label, `(n_given, n_labels)`."""
    n_given: NDArray[np.int64]
    """Cells of each given label that have probabilities, `(n_given,)`."""
    own: NDArray[np.float64]
    """Probability of the labels that the given one accepts, `(n_obs,)`; NaN for a cell that is not compared."""
    other: NDArray[np.float64]
    """Probability of the most probable label that contradicts the given one, `(n_obs,)`; NaN as above."""
    suggested: NDArray[np.int64]
    """That label, `(n_obs,)`; -1 for a cell that is not compared, and for one whose given label accepts all."""
    is_suspect: NDArray[np.bool_]
    """Cells that are confidently of a label which contradicts the given one, `(n_obs,)`."""
    accepts: NDArray[np.bool_]
    """`(n_given, n_labels)`, as given."""

    @classmethod
    def estimate(cls, probabilities: ArrayLike, given: ArrayLike, accepts: ArrayLike | None = None) -> Self:
        """Compare given labels with probabilities.

        Parameters
        ----------
        probabilities
            Out-of-sample probability of each label, `(n_obs, n_labels)`; cells with NaN are not compared.
        given
            Given label of each cell, `(n_obs,)`; negative where there is none, and not compared.
        accepts
            True where label `j` does not contradict given label `i`: it is the same, a kind of it, or broader, `(n_given, n_labels)`. By
            default given labels are the labels, and accept themselves only. A given label that accepts none is not compared.
        """
        values, codes = np.asarray(probabilities, dtype=np.float64), np.asarray(given, dtype=np.int64)
        allowed = np.eye(values.shape[1], dtype=bool) if accepts is None else np.asarray(accepts, dtype=bool)
        compared = (codes >= 0) & np.isfinite(values).all(axis=1)
        compared[compared] = allowed[codes[compared]].any(axis=1)
        cells = np.flatnonzero(compared)
        p, own_labels = values[cells], allowed[codes[cells]]
        thresholds = _thresholds(p, own_labels)
        reached = p >= thresholds - 1e-12
        confident = np.where(reached.any(axis=1), np.where(reached, p, -1).argmax(axis=1), -1)
        others = np.where(own_labels, -1.0, p)
        best = others.argmax(axis=1)
        has_other = ~own_labels.all(axis=1)
        is_suspect = (confident >= 0) & ~own_labels[np.arange(len(cells)), confident]
        counts = np.zeros(allowed.shape, dtype=np.int64)
        sure = confident >= 0
        np.add.at(counts, (codes[cells][sure], confident[sure]), 1)

        def spread[T: np.generic](found: NDArray[T], missing: float) -> NDArray[T]:
            full = np.full(len(codes), missing, dtype=found.dtype)
            full[cells] = found
            return full

        return cls(
            thresholds=thresholds,
            confident=spread(confident, -1),
            counts=counts,
            n_given=np.bincount(codes[cells], minlength=len(allowed)),
            own=spread(np.where(own_labels, p, 0).sum(axis=1), np.nan),
            other=spread(np.where(has_other, p[np.arange(len(cells)), best], 0.0), np.nan),
            suggested=spread(np.where(has_other, best, -1), -1),
            is_suspect=spread(is_suspect, missing=False),
            accepts=allowed,
        )

    @property
    def margin(self) -> NDArray[np.float64]:
        """Probability of the contradicting label minus that of what the given label accepts, `(n_obs,)`; NaN where not compared."""
        return self.other - self.own

    @property
    def rates(self) -> NDArray[np.float64]:
        """Estimated fraction of the cells of each given label (row) that are of a contradicting label (column), `(n_given, n_labels)`."""
        totals = self.counts.sum(axis=1, keepdims=True)
        return np.divide(np.where(self.accepts, 0, self.counts), totals, out=np.zeros(self.counts.shape), where=totals > 0)

    @property
    def n_wrong(self) -> float:
        """Estimated number of cells whose given label is wrong."""
        return float((self.rates.sum(axis=1) * self.n_given).sum())


def _thresholds(p: NDArray[np.float64], own_labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean probability of a label among cells whose given label accepts it; if there are none, among those that it is most probable for."""
    n_cells = own_labels.sum(axis=0)
    thresholds = np.full(p.shape[1], np.inf)
    has_cells = n_cells > 0
    thresholds[has_cells] = np.minimum(np.where(own_labels, p, 0).sum(axis=0)[has_cells] / n_cells[has_cells], _SURE)
    if len(p):
        best = p.argmax(axis=1)
        for label in np.flatnonzero(~has_cells & (np.bincount(best, minlength=p.shape[1]) > 0)):
            thresholds[label] = min(p[best == label, label].mean(), _SURE)
    return thresholds
