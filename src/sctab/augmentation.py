"""Random changes to training cells that a classifier should not mind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from sctab import _lazy

__dir__ = _lazy.defined_in(__file__)

type Rows = sparse.csr_matrix | Callable[[NDArray[np.int64]], sparse.csr_matrix]
"""Normalised expression: all of it, `(n_obs, n_vars)`, or a function that gives the rows at some positions, as CSR, any number of them."""

LARGEST_EXPRESSION = 9.0
"""Expression after augmentation is cut here by default: log1p of 10,000 counts per cell is 9.2."""
_FEWEST_PER_CLUSTER = 40
_LARGE = 2.0
"""Minimum size of a large cluster relative to the average one: in the paper 2,000 of 49,200 vectors in 50 clusters."""
_ROWS_AT_A_TIME = 4096
_SMALLEST_VARIANCE = 1e-9
"""Relative size of a sum of squares below which it counts as rounding error."""


def drop_genes(values: Tensor, max_fraction: float, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Set a random fraction of the genes to zero, cell by cell.

    Each cell draws a share :math:`s \sim U(0, \text{max\_fraction})`, then loses each gene with probability :math:`s`, as if the
    gene had not been measured. A classifier that has seen this does not lean on few genes.

    Parameters
    ----------
    values
        Expression, `(n_obs, n_vars)`.
    max_fraction
        Between 0 (nothing happens) and 1.
    generator
        Source of randomness; by default that of torch.

    Returns
    -------
    A new tensor of the same shape.
    """
    if max_fraction == 0:
        return values
    shares = torch.rand(len(values), 1, device=values.device, generator=generator) * max_fraction
    kept = torch.rand(values.shape, device=values.device, generator=generator) >= shares
    return values * kept


def donor_differences(
    rows: Rows,
    labels: NDArray[np.int64],
    donors: NDArray[np.int64],
    *,
    n_cells: int = 500_000,
    pairs_per_type: int = 300,
    smallest: float = 0.25,
    largest: float = 1.5,
    n_clusters: int = 50,
    min_cluster_size: int = 2000,
    n_differences: int = 5000,
    rng: np.random.Generator,
) -> sparse.csr_matrix:
    """Compute how the same cell type differs between donors: difference vectors for :func:`add_donor_differences`.

    The steps and the numbers are those of Fischer et al. (2023, :doi:`10.1101/2023.10.07.561331`, Methods, and the code published with
    it):

    1. `n_cells` cells are sampled evenly over types; where there are fewer, all are taken.
    2. The mean expression of each type and donor is taken.
    3. Means of the same type are subtracted from each other, for `pairs_per_type` random pairs of donors at most.
    4. Values of at most `smallest` in size become zero.
    5. The others are cut to `largest` in size.
    6. To leave outliers out, the vectors are clustered by k-means, and `n_differences` of them are drawn from large clusters.

    Where the data is smaller than in the paper, step 6 follows the number of vectors. There is at most one cluster per 40 vectors. A
    cluster is large with more than twice the vectors of an average one, which is what 2,000 are in the paper; from 50,000 vectors on, with
    more than `min_cluster_size`. Where all clusters are smaller, those of at least average size are large; where there is only one, all
    vectors are kept.

    Expression is read type by type, and only of donors in a pair. Besides what `rows` takes there are `2 * pairs_per_type` dense means at a
    time; the vectors stay sparse.

    Parameters
    ----------
    rows
        Normalised expression of training cells, `(n_obs, n_vars)`, or a function that gives it for an array of positions.
    labels, donors
        Type and donor of each cell, `(n_obs,)`.
    n_cells
        Cells to sample at most.
    pairs_per_type
        Pairs of donors to compare for each type at most, so that types with many donors do not crowd out the others.
    smallest, largest
        Limits of what counts as a difference, on the scale of `rows`.
    n_clusters
        Clusters of difference vectors at most.
    min_cluster_size
        Number of vectors that makes a cluster large at most.
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
    read = _reader(rows)
    sampled = _sampled_evenly(labels, n_cells, rng)  # step 1

    def differences() -> Iterator[sparse.csr_matrix]:
        for of_type in _groups(labels[sampled]):
            cells = sampled[of_type]
            found = _differences_between_means(read, cells, donors[cells], pairs_per_type, rng)  # steps 2 and 3
            found[np.abs(found) <= smallest] = 0  # step 4
            yield sparse.csr_matrix(found.clip(-largest, largest))  # step 5

    vectors = _stacked(differences(), n_vars=read(sampled[:0]).shape[1])
    usable = _in_large_clusters(vectors, n_clusters, min_cluster_size, rng)  # step 6
    return vectors[np.sort(rng.permutation(usable)[:n_differences])]


class SparseRows(nn.Module):
    """Rows of a sparse matrix, on whatever device they are moved to.

    Parameters
    ----------
    matrix
        CSR matrix, `(n_rows, n_vars)`.

    Examples
    --------
    >>> rows = SparseRows(sparse.csr_matrix([[0.0, 1.0], [2.0, 0.0]]))
    >>> rows.added_to(torch.ones(2, 2), chosen=torch.tensor([0, 0]), weights=torch.tensor([1.0, -1.0]))
    tensor([[1., 2.],
            [1., 0.]])
    """

    indptr: Tensor
    indices: Tensor
    data: Tensor

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        super().__init__()
        self.register_buffer("indptr", torch.from_numpy(matrix.indptr.astype(np.int64)))
        self.register_buffer("indices", torch.from_numpy(matrix.indices.astype(np.int32)))
        self.register_buffer("data", torch.from_numpy(matrix.data.astype(np.float32)))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    def added_to(self, values: Tensor, *, chosen: Tensor, weights: Tensor) -> Tensor:
        """`values + weights[:, None] * rows[chosen]`, of which only the stored values are touched.

        Parameters
        ----------
        values
            `(n_obs, n_vars)`.
        chosen
            The row to add to each of them, `(n_obs,)`.
        weights
            What to multiply it with, `(n_obs,)`.
        """
        starts = self.indptr[chosen]
        lengths = self.indptr[chosen + 1] - starts
        ends = lengths.cumsum(0)
        position = torch.arange(int(ends[-1]) if len(ends) else 0, device=values.device)
        stored = position + (starts - ends + lengths).repeat_interleave(lengths)
        target = torch.arange(len(values), device=values.device).repeat_interleave(lengths) * values.shape[1]
        added = weights.repeat_interleave(lengths) * self.data[stored]
        # No place is named twice, so that the order of the sums, which is left to the device, does not matter.
        return values.flatten().index_add(0, target + self.indices[stored], added.to(values.dtype)).view(values.shape)


def add_donor_differences(
    values: Tensor, differences: SparseRows, *, largest: float = LARGEST_EXPRESSION, generator: torch.Generator | None = None
) -> Tensor:
    """Make each cell look as if it came from another donor: add or subtract a random difference vector, and cut to 0 to `largest`.

    Parameters
    ----------
    values
        Normalised expression, `(n_obs, n_vars)`.
    differences
        From :func:`donor_differences`, `(n_differences, n_vars)`.
    largest
        Largest expression of a cell; the default is that of the paper for log1p of 10,000 counts per cell.
    generator
        Source of randomness; by default that of torch.

    Returns
    -------
    A new tensor of the same shape.
    """
    chosen = torch.randint(len(differences), (len(values),), device=values.device, generator=generator)
    signs = 2.0 * torch.randint(2, (len(values),), device=values.device, generator=generator) - 1
    return differences.added_to(values, chosen=chosen, weights=signs).clamp(0.0, largest)


def explained_variance(
    rows: Rows,
    labels: NDArray[np.int64],
    donors: NDArray[np.int64],
    differences: sparse.csr_matrix,
    *,
    largest: float = LARGEST_EXPRESSION,
    rng: np.random.Generator,
) -> pd.DataFrame:
    r"""Fraction of the variance of expression that types and donors explain, before and after :func:`add_donor_differences`.

    Each gene is regressed on the type and the donor of the cells, one-hot and with an intercept (ordinary least squares), as in Fischer et
    al. (2023, :doi:`10.1101/2023.10.07.561331`, Methods), who report :math:`R^2` of 0.189 before and 0.164 after.

    Parameters
    ----------
    rows
        Normalised expression, `(n_obs, n_vars)`, or a function that gives it for an array of positions. It is read twice, block by block.
    labels, donors
        Type and donor of each cell, `(n_obs,)`.
    differences
        From :func:`donor_differences`, `(n_differences, n_vars)`.
    largest
        As for :func:`add_donor_differences`.
    rng
        Source of randomness.

    Returns
    -------
    :math:`R^2` of the data as it is, `original`, and `augmented`, as the rows of a frame. The columns are named as in
    :func:`sklearn.metrics.r2_score`: `uniform_average` is the mean over genes, and `variance_weighted` weights genes by their variance.
    Genes that do not vary are left out.

    Examples
    --------
    >>> values = sparse.csr_matrix([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0], [4.0, 3.0]])
    >>> differences = sparse.csr_matrix([[0.0, 0.5]])
    >>> types, donors = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0])
    >>> explained_variance(values, types, donors, differences, rng=np.random.default_rng(0)).round(2)
               uniform_average  variance_weighted
    original              0.50               0.80
    augmented             0.55               0.87
    """
    read = _reader(rows)
    design = sparse.hstack([_one_hot(labels), _one_hot(donors)], format="csr")
    positions = [np.arange(start, min(start + _ROWS_AT_A_TIME, len(labels))) for start in range(0, len(labels), _ROWS_AT_A_TIME)]
    chosen = rng.integers(differences.shape[0], size=len(labels))
    signs = rng.choice([-1.0, 1.0], size=len(labels))

    def augmented(cells: NDArray[np.int64]) -> sparse.csr_matrix:
        moved = sparse.csr_matrix(read(cells) + sparse.diags(signs[cells]) @ differences[chosen[cells]])
        np.clip(moved.data, 0, largest, out=moved.data)
        return moved

    scores = [_explained_variance((design[cells], take(cells)) for cells in positions) for take in (read, augmented)]
    return pd.DataFrame(scores, index=["original", "augmented"], columns=["uniform_average", "variance_weighted"])


def _reader(rows: Rows) -> Callable[[NDArray[np.int64]], sparse.csr_matrix]:
    return rows if callable(rows) else lambda cells: rows[cells]


def _sampled_evenly(labels: NDArray[np.int64], n_cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `n_cells` cells, of each type about the same number as far as it has them."""
    if len(labels) <= n_cells:
        return np.arange(len(labels))
    shuffled = rng.permutation(len(labels))
    groups = _groups(labels[shuffled])
    rank = np.concatenate([np.arange(len(group)) for group in groups])  # how many cells of its type come before a cell
    return np.sort(shuffled[np.concatenate(groups)[np.argsort(rank, kind="stable")[:n_cells]]])


def _groups(codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions of each code, in order."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _differences_between_means(
    read: Callable[[NDArray[np.int64]], sparse.csr_matrix],
    cells: NDArray[np.int64],
    donors: NDArray[np.int64],
    n_pairs: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Differences between donors in the mean expression of one type, for random pairs of donors, `(n_pairs, n_vars)`."""
    names, donors = np.unique(donors, return_inverse=True)
    used, pairs = np.unique(_random_pairs(len(names), n_pairs, rng), return_inverse=True)
    is_used = np.isin(donors, used)
    means = _means(read, cells[is_used], np.searchsorted(used, donors[is_used]))
    first, second = pairs.reshape(-1, 2).T
    return means[first] - means[second]


def _random_pairs(n: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Different pairs of `n` things, `(n_pairs, 2)`; drawn by number, since 5,000 donors have 12 million pairs."""
    n_pairs = n * (n - 1) // 2
    number = rng.choice(n_pairs, min(n_pairs, most), replace=False)  # of (0, 1), (0, 2), (1, 2), (0, 3), ...
    second = ((1 + np.sqrt(1 + 8 * number)) / 2).astype(np.int64)
    return np.column_stack([number - second * (second - 1) // 2, second])


def _means(
    read: Callable[[NDArray[np.int64]], sparse.csr_matrix], cells: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean expression of each group of cells, `(n_groups, n_vars)`."""
    sizes = np.bincount(groups)
    means = np.zeros((len(sizes), read(cells[:0]).shape[1]), dtype=np.float32)
    for start in range(0, len(cells), _ROWS_AT_A_TIME):
        block = slice(start, start + _ROWS_AT_A_TIME)
        of = groups[block]
        share = sparse.csr_matrix((1 / sizes[of], (of, np.arange(len(of)))), shape=(len(sizes), len(of)))
        means += (share @ read(cells[block])).toarray()
    return means


def _stacked(blocks: Iterable[sparse.csr_matrix], *, n_vars: int) -> sparse.csr_matrix:
    """The rows of all blocks. Arrays grow in place, since `scipy.sparse.vstack` would hold everything twice."""
    data, indices, lengths = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int32), [np.zeros(1, dtype=np.int64)]
    for block in blocks:
        for array, more in ((data, block.data), (indices, block.indices)):
            array.resize(len(array) + len(more), refcheck=False)
            array[len(array) - len(more) :] = more
        lengths.append(np.diff(block.indptr))
    indptr = np.cumsum(np.concatenate(lengths))
    return sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, n_vars))


def _in_large_clusters(
    vectors: sparse.csr_matrix, n_clusters: int, min_cluster_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Mask of the vectors in large clusters, by the rule of :func:`donor_differences`."""
    n_clusters = min(n_clusters, vectors.shape[0] // _FEWEST_PER_CLUSTER)
    if n_clusters < 2:
        return np.arange(vectors.shape[0])
    clusters = MiniBatchKMeans(n_clusters, random_state=int(rng.integers(2**31)), n_init=1).fit_predict(vectors)
    sizes = np.bincount(clusters, minlength=n_clusters)
    is_large = sizes > min(min_cluster_size, _LARGE * sizes.mean())
    if not is_large.any():
        is_large = sizes >= sizes.mean()
    return np.flatnonzero(is_large[clusters])


def _one_hot(codes: NDArray[np.int64]) -> sparse.csr_matrix:
    names, codes = np.unique(codes, return_inverse=True)
    return sparse.csr_matrix((np.ones(len(codes)), codes, np.arange(len(codes) + 1)), shape=(len(codes), len(names)))


def _explained_variance(blocks: Iterable[tuple[sparse.csr_matrix, sparse.csr_matrix]]) -> tuple[float, float]:
    """Coefficient of determination of least squares with an intercept, from blocks of a design and of what it is to explain.

    Sums of squares and products are enough, of which there are as many as features of the design times genes.
    """
    n = 0
    feature_sums: Any = 0.0
    feature_products: Any = 0.0
    sums: Any = 0.0
    squares: Any = 0.0
    products: Any = 0.0
    for design, block in blocks:
        values = block.astype(np.float64)
        n += design.shape[0]
        feature_sums = feature_sums + np.asarray(design.sum(axis=0)).ravel()
        feature_products = feature_products + (design.T @ design).toarray()
        sums = sums + np.asarray(values.sum(axis=0)).ravel()
        squares = squares + np.asarray(values.multiply(values).sum(axis=0)).ravel()
        products = products + (design.T @ values).toarray()
    # Centred, as an intercept does. Types and donors determine each other in part: directions without variance are left out.
    strength, directions = np.linalg.eigh(feature_products - np.outer(feature_sums, feature_sums) / n)
    is_real = strength > _SMALLEST_VARIANCE * strength.max()
    projected = (directions[:, is_real] / np.sqrt(strength[is_real])).T @ (products - np.outer(feature_sums, sums) / n)
    explained, total = (projected**2).sum(axis=0), squares - sums**2 / n
    varies = total > _SMALLEST_VARIANCE * squares
    explained, total = explained[varies], total[varies]
    return float((explained / total).mean()), float(explained.sum() / total.sum())
