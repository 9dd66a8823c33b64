"""Genes that a query has of those that distinguish types, and types that these genes cannot distinguish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from sctab.inference._unseen import SeenTypes

_PER_LABEL = 20
"""Informative genes that are listed for each type, as many as each is learned with."""
_SCALE = 1e4
"""Counts per cell that the expression of types is stored for."""
LARGEST_OVERLAP = 0.2
"""Overlap from which two types cannot be distinguished in single cells, see :meth:`Panel.overlap`. Real cells vary more than by chance."""


@dataclass(frozen=True)
class Panel:
    """Types of a model in the genes that a query has.

    Parameters
    ----------
    seen
        Types that the model has learned.
    found
        Genes of the model that the query has, `(n_genes,)`.
    """

    seen: SeenTypes
    found: NDArray[np.bool_]

    @property
    def has(self) -> NDArray[np.bool_]:
        """Mask of the marker genes that the query has, `(n_markers,)`."""
        return self.found[self.seen.genes]

    @property
    def is_learned(self) -> NDArray[np.bool_]:
        """Mask of the labels that the model has seen cells of, `(n_labels,)`."""
        return self.seen.expression.any(axis=1)

    def weights(self) -> NDArray[np.float64]:
        r"""Share of each marker gene in what tells a type from the others, `(n_labels, n_markers)`; NaN for a label without cells.

        The weight of gene :math:`g` for type :math:`t` is :math:`(\sqrt{x_{tg}} - \overline{\sqrt{x_{ug}}})^2`, with mean expression
        :math:`x` and the mean over the other types :math:`u`. Square roots of counts that vary by chance have one variance, however large
        they are.
        """
        roots = np.sqrt(self.seen.expression.astype(np.float64))
        learned = self.is_learned
        weights = np.full(roots.shape, np.nan)
        for label in np.flatnonzero(learned):
            others = learned.copy()
            others[label] = False
            if others.any():
                difference = (roots[others].mean(axis=0) - roots[label]) ** 2
                weights[label] = difference / max(difference.sum(), np.finfo(np.float64).tiny)
        return weights

    def coverage(self) -> NDArray[np.float64]:
        """Share of what tells each type from the others that the genes of the query carry, `(n_labels,)`; NaN for a label without cells."""
        return self.weights()[:, self.has].sum(axis=1)

    def informative(self, label: int) -> NDArray[np.intp]:
        """Positions among the marker genes of the 20 that tell a type from the others best, the best first.

        Parameters
        ----------
        label
            Number of the type.
        """
        weights = self.weights()[label]
        order = np.argsort(-np.nan_to_num(weights), kind="stable")[:_PER_LABEL]
        return order[np.nan_to_num(weights)[order] > 0]

    def overlap(self, n_counts: float, *, found: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        r"""Overlap of each two types in single cells, `(n_labels, n_labels)`: 1 for the same distribution, 0 for what is never confused.

        It is the Bhattacharyya coefficient of Poisson distributions, :math:`\exp(-\frac{1}{2} \sum_g (\sqrt{\lambda_{tg}} -
        \sqrt{\lambda_{ug}})^2)`, over the marker genes of the query (Kailath 1967, :doi:`10.1109/TCOM.1967.1089532`). No method confuses
        fewer than :math:`(1 - \sqrt{1 - o^2}) / 2` of the cells of two equally frequent types that overlap by :math:`o`, if their
        counts vary by chance alone.

        Parameters
        ----------
        n_counts
            Counts of a cell in the genes of the model, were all of them measured.
        found
            Genes of the model to use instead of those of the query.
        """
        has = self.has if found is None else found[self.seen.genes]
        roots = np.sqrt(self.seen.expression[:, has].astype(np.float64) * (n_counts / _SCALE))
        squared = (roots**2).sum(axis=1)
        distances = np.maximum(squared[:, None] + squared[None, :] - 2 * roots @ roots.T, 0)
        overlap = np.exp(-distances / 2)
        unknown = ~self.is_learned
        overlap[unknown] = overlap[:, unknown] = np.nan
        return overlap

    def confused(self, n_counts: float) -> list[NDArray[np.intp]]:
        """Groups of types that the genes of the query cannot tell apart, with two or more types each; parameters as for :meth:`overlap`."""
        linked = self.overlap(n_counts) >= LARGEST_OVERLAP
        n_groups, group = connected_components(csr_matrix(linked), directed=False)
        members = [np.flatnonzero(group == number) for number in range(n_groups)]
        return [labels for labels in members if len(labels) > 1]
