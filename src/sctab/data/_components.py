"""Principal components of a sparse matrix that is read block by block and never made dense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Blocks = Callable[[], Iterator[sparse.csr_matrix]]
"""Starts a pass over the rows of a matrix, as CSR blocks."""
_MORE_DIRECTIONS = 10
_SMALLEST_VARIANCE = 1e-6
"""A direction with less of the variance of the first one is rounding, not data."""
_ROUNDING = float(np.finfo(np.float32).eps)
"""And so is one with less of the squared mean, from which single precision cannot tell it."""


class PrincipalComponents(NamedTuple):
    """Mean of the cells and the directions along which they vary most."""

    mean: NDArray[np.float32]
    """`(n_vars,)`."""
    loadings: NDArray[np.float32]
    """`(n_components, n_vars)`; rows are orthonormal, in order of variance. Rows without variance are zero."""
    variance: NDArray[np.float64] | None = None
    """Along each component, `(n_components,)`."""

    def project(self, block: sparse.csr_matrix) -> NDArray[np.float32]:
        """Coordinates of cells along the components, `(n_obs, n_components)`."""
        return np.asarray(block @ self.loadings.T - self.mean @ self.loadings.T, dtype=np.float32)


def principal_components(
    blocks: Blocks, n_vars: int, n_components: int, *, n_iterations: int = 6, rng: np.random.Generator
) -> PrincipalComponents:
    r"""The directions of largest variance, by randomised subspace iteration.

    Starting from random directions :math:`Q`, repeats :math:`Q \leftarrow \mathrm{orth}(C Q)` with the covariance
    :math:`C = X^\top X / (n - 1) - n \mu \mu^\top / (n - 1)`, and then solves the small eigenproblem of :math:`Q^\top C Q`
    (Halko, Martinsson and Tropp 2011, :doi:`10.1137/090771806`, algorithms 4.4 and 5.3). Memory is a few times
    `n_vars` × `n_components`, however many rows there are; each iteration is one pass.

    Parameters
    ----------
    blocks
        Gives the rows of the matrix, the same ones in the same order each time.
    n_vars
        Its number of columns.
    n_components
        How many components to give, at most `n_vars`.
    n_iterations
        Passes besides the first and the last.
    rng
        Source of randomness.
    """
    n_rows, sums = 0, np.zeros(n_vars)
    for block in blocks():
        n_rows += block.shape[0]
        sums += np.asarray(block.sum(axis=0), dtype=np.float64).ravel()
    mean = sums / n_rows

    def covariance_with(directions: NDArray[np.float64]) -> NDArray[np.float64]:
        narrow = directions.astype(np.float32)
        product = np.zeros_like(directions)
        for block in blocks():
            product += block.T @ (block @ narrow)
        product -= n_rows * np.outer(mean, mean @ directions)
        return product / max(n_rows - 1, 1)

    directions = rng.standard_normal((n_vars, min(n_components + _MORE_DIRECTIONS, n_vars)))
    for _ in range(n_iterations):
        directions = np.linalg.qr(covariance_with(directions))[0]
    small = directions.T @ covariance_with(directions)
    variance, rotation = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(variance)[::-1][:n_components]
    variance = np.maximum(variance[order], 0)
    loadings = (directions @ rotation[:, order]).T
    loadings *= np.sign(loadings[np.arange(len(loadings)), np.abs(loadings).argmax(axis=1)])[:, None]
    loadings[variance <= max(_SMALLEST_VARIANCE * variance[0], _ROUNDING * mean @ mean)] = 0
    return PrincipalComponents(mean.astype(np.float32), loadings.astype(np.float32), variance)
