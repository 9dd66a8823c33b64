"""Random changes to training cells that a classifier should not mind."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

_LARGEST_EXPRESSION = 9.0
"""Expression after augmentation is cut here: log1p of 10,000 counts per cell is 9.2."""
_FEWEST_PER_CLUSTER = 40


def drop_genes(values: Tensor, largest_share: float, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Set a random share of the genes to zero, cell by cell.

    Each cell draws a share :math:`s \sim U(0, \text{largest\_share})`, then loses each gene with probability :math:`s`, as if the
    gene had not been measured. A classifier that has seen this does not lean on few genes.

    Parameters
    ----------
    values
        Expression, `(n_obs, n_vars)`.
    largest_share
        Between 0 (nothing happens) and 1.
    generator
        Source of randomness; by default that of torch.

    Returns
    -------
    A new tensor of the same shape.
    """
    if largest_share == 0:
        return values
    shares = torch.rand(len(values), 1, device=values.device, generator=generator) * largest_share
    kept = torch.rand(values.shape, device=values.device, generator=generator) >= shares
    return values * kept


def donor_differences(
    values: sparse.csr_matrix,
    labels: NDArray[np.int64],
    donors: NDArray[np.int64],
    *,
    n_cells: int = 500_000,
    smallest: float = 0.25,
    largest: float = 1.5,
    n_clusters: int = 50,
    n_differences: int = 5000,
    rng: np.random.Generator,
) -> sparse.csr_matrix:
    """How the same cell type differs between donors: difference vectors for :func:`add_donor_differences`.

    The steps are those of Fischer et al. (2023, :doi:`10.1101/2023.10.07.561331`, Methods): cells sampled evenly over types; the mean of
    each type and donor; differences of those means between donors, type by type; values of at most `smallest` in size set to zero, the
    others cut to `largest`; and, to leave outliers out, only vectors of the large ones among `n_clusters` k-means clusters. Of
    22 million cells the paper keeps clusters of more than 2,000 vectors; here these are the clusters of at least average size, and where
    there are fewer than 40 vectors per cluster, fewer clusters are made.

    Parameters
    ----------
    values
        Normalised expression of training cells, `(n_obs, n_vars)`.
    labels, donors
        Type and donor of each cell, `(n_obs,)`.
    n_cells
        Cells to sample at most.
    smallest, largest
        Limits of what counts as a difference, on the scale of `values`.
    n_clusters
        Clusters of difference vectors.
    n_differences
        Vectors to give at most.
    rng
        Source of randomness.

    Returns
    -------
    CSR matrix `(n_differences, n_vars)`, float32; without rows where no type has two donors.

    Examples
    --------
    >>> values = sparse.csr_matrix([[1.0, 0.0], [3.0, 0.1], [0.0, 5.0]])
    >>> found = donor_differences(values, np.array([0, 0, 1]), np.array([0, 1, 0]), rng=np.random.default_rng(0))
    >>> abs(found).toarray()
    array([[1.5, 0. ]], dtype=float32)
    """
    chosen = _sampled_evenly(labels, n_cells, rng)
    groups, members = np.unique(np.column_stack([labels[chosen], donors[chosen]]), axis=0, return_inverse=True)
    members = members.ravel()
    share = sparse.csr_matrix(
        (1 / np.bincount(members)[members], (members, np.arange(len(chosen)))), shape=(len(groups), len(chosen))
    )
    means = sparse.csr_matrix(share @ values[chosen])
    pairs = [pair for label in np.unique(groups[:, 0]) for pair in combinations(np.flatnonzero(groups[:, 0] == label), 2)]
    if not pairs:
        return sparse.csr_matrix((0, values.shape[1]), dtype=np.float32)
    most = 20 * n_differences  # more than enough to cluster; 300 donors of 164 types would have millions
    picked = np.asarray(pairs)[rng.permutation(len(pairs))[:most]]
    differences = sparse.csr_matrix(means[picked[:, 0]] - means[picked[:, 1]], dtype=np.float32)
    differences.data[np.abs(differences.data) <= smallest] = 0
    differences.eliminate_zeros()
    np.clip(differences.data, -largest, largest, out=differences.data)
    return _without_outliers(differences, n_clusters, rng)[:n_differences]


def add_donor_differences(values: Tensor, differences: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Make each cell look as if it came from another donor: add or subtract a random difference vector, and cut to 0 to 9.

    Parameters
    ----------
    values
        Normalised expression, `(n_obs, n_vars)`.
    differences
        From :func:`donor_differences`, `(n_differences, n_vars)`.
    generator
        Source of randomness; by default that of torch.

    Returns
    -------
    A new tensor of the same shape.
    """
    chosen = torch.randint(len(differences), (len(values),), device=values.device, generator=generator)
    signs = 2.0 * torch.randint(2, (len(values), 1), device=values.device, generator=generator) - 1
    return (values + signs * differences[chosen]).clamp(0.0, _LARGEST_EXPRESSION)


def _sampled_evenly(labels: NDArray[np.int64], n_cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `n_cells` cells, of each type about the same number as far as it has them."""
    if len(labels) <= n_cells:
        return np.arange(len(labels))
    order = rng.permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)  # how many cells of its type come before a cell
    for label in np.unique(labels):
        of_type = order[labels[order] == label]
        rank[of_type] = np.arange(len(of_type))
    return np.sort(order[np.argsort(rank[order], kind="stable")[:n_cells]])


def _without_outliers(differences: sparse.csr_matrix, n_clusters: int, rng: np.random.Generator) -> sparse.csr_matrix:
    n_clusters = min(n_clusters, differences.shape[0] // _FEWEST_PER_CLUSTER)
    if n_clusters < 2:
        return differences
    clusters = MiniBatchKMeans(n_clusters, random_state=int(rng.integers(2**31)), n_init=1).fit_predict(differences)
    sizes = np.bincount(clusters, minlength=n_clusters)
    return differences[sizes[clusters] >= sizes.mean()]
