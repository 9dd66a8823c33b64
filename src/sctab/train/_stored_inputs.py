"""The input of a training step from stored counts, with the numbers and the random draws of the dense one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sctab.augmentation import SparseRows
from sctab.data import Normalization, normalise
from sctab.nn import csr_tensor

_ROWS_OF_DRAWS = 64
"""Cells for which random numbers of all genes are in memory at a time."""


def as_matrix(counts: Tensor) -> sparse.csr_matrix:
    """The matrix of a CSR tensor, whose memory it shares: columns of each row in order, each named once."""
    arrays = counts.values().numpy(), counts.col_indices().numpy(), counts.crow_indices().numpy()
    matrix = sparse.csr_matrix(arrays, shape=tuple(counts.shape))
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def as_input(values: sparse.csr_matrix, covariates: Tensor) -> Tensor:
    """The CSR tensor of normalised expression, `(n_obs, n_vars)`, and of covariates, `(n_obs, n_categories)`, beside it."""
    matrix = sparse.hstack([values, sparse.csr_matrix(covariates.numpy())], format="csr") if covariates.shape[1] else values
    indptr, columns, data = (torch.from_numpy(array) for array in (matrix.indptr, matrix.indices, matrix.data))
    return csr_tensor(indptr, columns, data, matrix.shape)


def stored_values(
    counts: sparse.csr_matrix, *, gene_dropout: float, normalization: Normalization, differences: SparseRows | None
) -> sparse.csr_matrix:
    """Drop genes, normalise, and add differences between donors, as the dense functions do with the same state of torch's generator.

    Parameters
    ----------
    counts
        `(n_obs, n_vars)`.
    gene_dropout
        See :func:`sctab.augmentation.drop_genes`.
    normalization
        See :func:`sctab.data.normalise_tensor`.
    differences
        See :func:`sctab.augmentation.add_donor_differences`.
    """
    values = normalise(_with_dropped_genes(counts, gene_dropout), normalization)
    return values if differences is None else _with_differences(values, differences, normalization.largest)


def _with_dropped_genes(counts: sparse.csr_matrix, max_fraction: float) -> sparse.csr_matrix:
    if max_fraction == 0:
        return counts
    n_obs, n_vars = counts.shape
    shares = (torch.rand(n_obs, 1) * max_fraction).numpy()
    kept = np.empty(counts.nnz, dtype=bool)
    for start in range(0, n_obs, _ROWS_OF_DRAWS):
        stop = min(start + _ROWS_OF_DRAWS, n_obs)
        draws = torch.rand(stop - start, n_vars).numpy()
        own = slice(counts.indptr[start], counts.indptr[stop])
        rows = np.repeat(np.arange(stop - start), np.diff(counts.indptr[start : stop + 1]))
        kept[own] = draws[rows, counts.indices[own]] >= shares[start:stop][rows, 0]
    return _at(counts, kept)


def _at(matrix: sparse.csr_matrix, kept: NDArray[np.bool_]) -> sparse.csr_matrix:
    """Some of the stored values."""
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr].astype(matrix.indptr.dtype)
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def _with_differences(values: sparse.csr_matrix, differences: SparseRows, largest: float) -> sparse.csr_matrix:
    n_obs, n_vars = values.shape
    chosen = torch.randint(len(differences), (n_obs,)).numpy()
    signs = (2.0 * torch.randint(2, (n_obs,)) - 1).numpy()
    arrays: list[NDArray[Any]] = [tensor.numpy() for tensor in (differences.data, differences.indices, differences.indptr)]
    added = sparse.csr_matrix(tuple(arrays), shape=(len(differences), n_vars))[chosen]
    added.data *= np.repeat(signs.astype(added.dtype), np.diff(added.indptr))
    moved = sparse.csr_matrix(values + added)
    np.clip(moved.data, 0, largest, out=moved.data)
    return _at(moved, moved.data != 0)
