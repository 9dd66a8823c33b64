"""Scaling of counts to one sum per cell, in the forms that a model needs: sparse matrices, dense and sparse tensors, and rows of a query.

All give the same values, which a test compares. The logarithm is taken where :class:`Normalization` says so, and only there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

from sctab.data import _kernels

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """Scale of a model's input: `target_sum` per cell over the model's genes, then log1p."""

    target_sum: float = 1e4
    log1p: bool = True

    @property
    def largest(self) -> float:
        """Largest expression after augmentation: 9 for log1p of 10,000 counts per cell, as in the paper."""
        return float(math.floor(math.log1p(self.target_sum))) if self.log1p else self.target_sum


def normalise(block: sparse.csr_matrix, normalization: Normalization, *, dtype: DTypeLike = np.float32) -> sparse.csr_matrix:
    r"""Scale every cell to `target_sum`, then take :math:`\log(1 + x)`; cells without counts stay zero.

    Parameters
    ----------
    block
        Values proportional to counts over the model's genes, `(n_obs, n_vars)`. Several values for one gene of a cell are summed.
    normalization
        Target sum and whether the logarithm is taken.
    dtype
        Precision.

    Returns
    -------
    A new matrix of the same shape, float32 by default.

    Examples
    --------
    >>> counts = sparse.csr_matrix([[1, 3], [0, 0]])
    >>> np.expm1(normalise(counts, Normalization(target_sum=8)).toarray()).round(4)
    array([[2., 6.],
           [0., 0.]], dtype=float32)
    """
    if not block.has_canonical_format:  # the logarithm of a sum is not a sum of logarithms
        block = block.copy()
        block.sum_duplicates()
    totals = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(normalization.target_sum, totals, out=np.zeros_like(totals), where=totals > 0)
    per_value = np.repeat(factors.astype(dtype), np.diff(block.indptr))
    values = block.data.astype(dtype) * per_value
    if normalization.log1p:
        np.log1p(values, out=values)
    return sparse.csr_matrix((values, block.indices.copy(), block.indptr.copy()), shape=block.shape)


def normalise_tensor(counts: Tensor, normalization: Normalization) -> Tensor:
    """Do the same as :func:`normalise` for a tensor, on its device.

    Parameters
    ----------
    counts
        Non-negative counts over the model's genes, `(n_obs, n_vars)`.
    normalization
        Target sum and whether the logarithm is taken.

    Returns
    -------
    A new tensor of the same shape.

    Examples
    --------
    >>> import torch
    >>> normalise_tensor(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), Normalization(target_sum=4)).exp() - 1
    tensor([[1., 3.],
            [0., 0.]])
    """
    totals = counts.sum(dim=1, keepdim=True)
    scaled = counts * (normalization.target_sum / totals.masked_fill(totals == 0, 1.0))
    return scaled.log1p() if normalization.log1p else scaled


def normalise_values(values: Tensor, row_of_value: Tensor, totals: Tensor, normalization: Normalization) -> Tensor:
    """Do the same as :func:`normalise` for the values of a sparse tensor.

    Parameters
    ----------
    values, row_of_value
        Counts above zero over the model's genes and the row of each, `(n_values,)`.
    totals
        Sum of each row, `(n_obs,)`.
    normalization
        Target sum and whether the logarithm is taken.

    Returns
    -------
    A new tensor, `(n_values,)`.

    Examples
    --------
    >>> import torch
    >>> row_of_value = torch.tensor([0, 0])
    >>> normalise_values(torch.tensor([1.0, 3.0]), row_of_value, torch.tensor([4.0]), Normalization(target_sum=8)).expm1()
    tensor([2.0000, 6.0000])
    """
    scaled = values * (normalization.target_sum / totals)[row_of_value]
    return scaled.log1p_() if normalization.log1p else scaled


def align_and_normalise(
    block: sparse.csr_matrix,
    known: sparse.csr_matrix,
    *,
    positions: NDArray[np.int32],
    n_genes: int,
    normalization: Normalization,
) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """Do the same as :func:`normalise` for rows of a query, and map them onto the genes of a model, in one pass over their values.

    Parameters
    ----------
    block
        Rows of the query, proportional to counts, `(n_obs, n_query_vars)`.
    known
        Other inputs of these cells, proteins and covariates, `(n_obs, n_beside)`; they follow the genes as they are.
    positions
        Gene of the model for each feature, -1 for none, `(n_query_vars,)`. Features of one gene are summed.
    n_genes
        Genes of the model.
    normalization
        Target sum and whether the logarithm is taken.

    Returns
    -------
    Float32 `(n_obs, n_genes + n_beside)`, columns of a row in no order; and the cells that have a count in the model's genes,
    `(n_obs,)`.
    """
    indptr, columns, values, totals = _kernels.align_and_scale(
        block.indptr.astype(np.int64, copy=False),
        block.indices.astype(np.int32, copy=False),
        block.data.astype(np.float32, copy=False),
        positions,
        normalization.target_sum,
        known.indptr.astype(np.int64, copy=False),
        known.indices.astype(np.int32, copy=False),
        n_genes,
    )
    if normalization.log1p:
        np.log1p(values, out=values)
    if known.shape[1]:
        values[columns >= n_genes] = known.data
    shape = (len(totals), n_genes + known.shape[1])
    return sparse.csr_matrix((values, columns, indptr), shape=shape), totals > 0
