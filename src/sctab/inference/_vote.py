"""Votes: the label and the term of groups of cells, from the probabilities of their cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.inference._backoff import climb
from sctab.inference._terms import Terms

_ONE = 2**36
"""Sums are of integer multiples of the inverse, so that they do not depend on the order of cells."""
_ROWS_AT_A_TIME = 16_384
_ROUNDING = 1e-9


class VoteSums:
    """Sums of probabilities, labels and terms over the cells of each group, block by block.

    Parameters
    ----------
    n_groups, n_labels
        Numbers of groups, and of labels of the model.
    n_terms
        Number of terms that may be promised of a cell; 0 where nothing was promised.
    """

    def __init__(self, n_groups: int, n_labels: int, n_terms: int = 0) -> None:
        self.probabilities = np.zeros((n_groups, n_labels), dtype=np.int64)
        self.labels = np.zeros((n_groups, n_labels), dtype=np.int64)
        self.terms = np.zeros((n_groups, n_terms + 1), dtype=np.int64)

    def add(
        self, groups: NDArray[np.integer], probabilities: NDArray[np.floating], terms: NDArray[np.integer] | None = None
    ) -> None:
        """Add cells.

        Parameters
        ----------
        groups
            Group of each cell, `(n_obs,)`; -1 for a cell without one, which does not count.
        probabilities
            Calibrated probabilities, `(n_obs, n_labels)`; NaN in a cell that was not measured, which does not count.
        terms
            Promised term of each cell, `(n_obs,)`; -1 where there is none.
        """
        for start in range(0, len(groups), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            self._add(groups[rows], probabilities[rows], None if terms is None else terms[rows])

    def _add(self, groups: NDArray[np.integer], probabilities: NDArray[np.floating], terms: NDArray[np.integer] | None) -> None:
        counted = np.flatnonzero((groups >= 0) & np.isfinite(probabilities).all(axis=1))
        groups, probabilities = groups[counted], probabilities[counted]
        members = sparse.csr_matrix(
            (np.ones(len(counted), dtype=np.int64), (groups, np.arange(len(counted)))), shape=(len(self.labels), len(counted))
        )
        self.probabilities += members @ np.rint(probabilities.astype(np.float64) * _ONE).astype(np.int64)
        np.add.at(self.labels, (groups, probabilities.argmax(axis=1)), 1)
        if terms is not None:
            np.add.at(self.terms, (groups, terms[counted]), 1)  # -1 is the last column


@dataclass(frozen=True)
class Votes:
    """Result of each group; `(n_groups,)` each. A group none of whose cells voted has codes of -1 and shares of NaN."""

    n_voting: NDArray[np.int64]
    """Cells that were measured."""
    labels: NDArray[np.int64]
    """Label with the largest mean probability."""
    shares: NDArray[np.float64]
    """Fraction of cells whose own label is that label or a subtype."""
    seconds: NDArray[np.int64]
    """Most frequent label among the other cells; -1 where there are none."""
    second_shares: NDArray[np.float64]
    """Fraction of cells that have it."""
    commons: NDArray[np.int64]
    """Most specific term above both labels; -1 where only a term above all labels is, or where there is no second label."""
    terms: NDArray[np.int64]
    """Promised term; -1 where there is none."""
    term_shares: NDArray[np.float64]
    """Fraction of cells whose promised terms are at or below it; NaN where there is none."""


def elect(sums: VoteSums, terms: Terms, *, smallest_share: float = 1.0) -> Votes:
    r"""Find the label of each group, and the most specific term that covers enough of its cells.

    Cells of a group are not independent: they share what misleads a model, so that their probabilities are averaged and not multiplied.
    From the label a group climbs to the term above with the smallest mean probability, as cells do, until the promised terms of at least a
    fraction :math:`s` of its cells are at or below that term. Where the term of a cell is right, so is that of its group. If at most a
    fraction :math:`\alpha` of the terms of cells are wrong, those of groups are wrong for at most :math:`\alpha + 1 - s` of the cells.

    Parameters
    ----------
    sums
        Sums over the cells of the groups.
    terms
        Labels and the terms above them.
    smallest_share
        :math:`s`.
    """
    n_voting, n_labels = sums.labels.sum(axis=1), sums.labels.shape[1]
    has_vote = n_voting > 0
    n_cells = np.maximum(n_voting, 1)
    labels = np.where(has_vote, sums.probabilities.argmax(axis=1), -1)
    agrees = terms.below[:n_labels][labels]
    others = np.where(agrees, 0, sums.labels)
    second = others.argmax(axis=1)
    second_counts = others[np.arange(len(second)), second]
    has_second = has_vote & (second_counts > 0)
    codes, shares = _promised(sums, terms, labels, smallest_share)
    return Votes(
        n_voting=n_voting,
        labels=labels,
        shares=np.where(has_vote, (sums.labels * agrees).sum(axis=1) / n_cells, np.nan),
        seconds=np.where(has_second, second, -1),
        second_shares=np.where(has_vote, second_counts / n_cells, np.nan),
        commons=np.array(
            [_common(terms, a, b) if b >= 0 else -1 for a, b in zip(labels, np.where(has_second, second, -1), strict=True)],
            dtype=np.int64,
        ),
        terms=codes,
        term_shares=shares,
    )


def _promised(
    sums: VoteSums, terms: Terms, labels: NDArray[np.int64], smallest_share: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The first term on the way up from each label that covers enough cells, and the fraction that it covers."""
    found, shares = np.full(len(labels), -1, dtype=np.int64), np.full(len(labels), np.nan)
    voting = np.flatnonzero(labels >= 0)
    if sums.terms.shape[1] == 1 or not len(voting):
        return found, shares
    n_cells = sums.terms[voting].sum(axis=1)
    below = terms.below.astype(np.int64)
    is_within = below @ below.T == below.sum(axis=1)[:, None]  # all labels below the term of the row are below that of the column
    covered = (sums.terms[voting, :-1] @ is_within) / n_cells[:, None]
    mean = sums.probabilities[voting] / (_ONE * n_cells[:, None])
    for groups, nodes, _ in climb(terms, mean, labels[voting]):
        share = covered[groups, nodes]
        is_new = (share >= smallest_share - _ROUNDING) & (found[voting[groups]] < 0)
        found[voting[groups[is_new]]], shares[voting[groups[is_new]]] = nodes[is_new], share[is_new]
    return found, shares


def _common(terms: Terms, first: int, second: int) -> int:
    """The term with the fewest labels below it, two labels and their subtypes among them; -1 where there is none."""
    union = terms.below[first] | terms.below[second]
    above = np.flatnonzero((terms.below >= union).all(axis=1))
    return min(above.tolist(), key=lambda node: (terms.n_below[node], terms.ids[node] or ""), default=-1)
