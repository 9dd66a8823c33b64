"""Sums of counts by gene and by cell, and the selection of genes by how often they drop out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_FEWEST_CELLS = 10
"""Cells that must show a gene before it can be selected."""
_DECAY = 1.5
_LEAST_DROPOUT = 0.02


@dataclass(frozen=True)
class GeneSums:
    """Sums of counts and of detections of each gene."""

    n_obs: int
    totals: NDArray[np.float64] = field(repr=False)
    """Sum of counts, `(n_vars,)`."""
    n_detected: NDArray[np.int64] = field(repr=False)
    """Cells with a count above zero, `(n_vars,)`."""
    log2_sums: NDArray[np.float64] = field(repr=False)
    """Sum of the binary logarithm of counts above zero, `(n_vars,)`."""

    @classmethod
    def of(cls, blocks: Iterable[sparse.csr_matrix], n_vars: int) -> Self:
        """Sum over blocks of counts, `(n_obs, n_vars)` each."""
        n_obs, totals, n_detected, log2_sums = 0, np.zeros(n_vars), np.zeros(n_vars, dtype=np.int64), np.zeros(n_vars)
        for block in blocks:
            n_obs += block.shape[0]
            is_count = block.data > 0
            genes, counts = block.indices[is_count], block.data[is_count].astype(np.float64)
            totals += np.bincount(genes, counts, minlength=n_vars)
            n_detected += np.bincount(genes, minlength=n_vars)
            log2_sums += np.bincount(genes, np.log2(counts), minlength=n_vars)
        return cls(n_obs, totals, n_detected, log2_sums)

    def genes_by_dropout(self, n_top_genes: int) -> NDArray[np.int64]:
        r"""Genes that drop out more often than their expression explains, in the order of the data.

        With :math:`d` the fraction of cells without a count, and :math:`m` the mean binary logarithm of the other counts, these are the
        genes with :math:`d > e^{-1.5 (m - o)} + 0.02`, where the offset :math:`o \geq 0` is such that as many as requested are found
        (Kobak and Berens 2019, :doi:`10.1038/s41467-019-13056-x`). Genes that fewer than 10 cells show are left out.

        Parameters
        ----------
        n_top_genes
            Requested number.

        Returns
        -------
        Positions, ascending. They are fewer than requested where fewer follow the rule at an offset of zero.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            dropout, mean = 1 - self.n_detected / self.n_obs, self.log2_sums / self.n_detected
            offsets = mean + np.log(dropout - _LEAST_DROPOUT) / _DECAY  # the largest at which the gene is selected
        offsets[(self.n_detected < _FEWEST_CELLS) | ~(offsets > 0)] = -np.inf
        order = np.argsort(-offsets, kind="stable")[:n_top_genes]
        return np.sort(order[offsets[order] > 0])
