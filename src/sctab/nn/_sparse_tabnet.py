"""TabNet in time and memory of what is not zero: stored values of the input, and the support of the mask."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sctab.nn._norm import BatchNorm, follow, running_statistics
from sctab.nn._sparse_mask import SupportMask
from sctab.nn._sparse_products import InputProduct, Places, SparseInput, SparseProduct, csr_tensor

MOST_SELECTED = 0.2
"""Fraction of the genes in the support of a mask up to which products over it are faster than dense ones; trained masks have 0.01."""


def sparse_forward(network: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Evaluate a :class:`~sctab.nn.TabNet` of one decision step on a CSR tensor.

    Batch normalisation of the input, :math:`s x + t`, keeps no zero, but its product with a map, :math:`X \, \mathrm{diag}(s) W^T + W t`,
    needs stored values only, and what the mask lets through is zero off its support.

    Returns
    -------
    Output of the first feature transformer; the mask, a CSR tensor without a gradient; its values, with one; and output of the second
    transformer.
    """
    given, shape = SparseInput.of(x), (x.shape[0], x.shape[1])
    scale, shift = _affine(network.input_norm, given)
    (attend,), (transform,) = network.attentive_transformers, network.feature_transformers
    first_map, second_map = (each.maps(network.shared)[0] for each in (network.splitter, transform))
    table = first_map.weight.T.contiguous()
    first = network.splitter.after_map(InputProduct.apply(given, scale, shift, table), network.shared)

    norm = attend.norm
    mask, indptr, columns = SupportMask.apply(first[:, network.n_d :], attend.linear.weight, norm.bn.weight, norm.bn.bias, norm)
    places = Places(indptr.numpy(), columns.numpy(), shape[1])
    second_table = table if second_map is first_map else second_map.weight.T.contiguous()
    second = transform.after_map(_masked_product(given, places, mask, scale, shift, second_table), network.shared)
    return first, csr_tensor(indptr, columns, mask.detach(), shape), mask, second


def _masked_product(given: SparseInput, places: Places, mask: Tensor, scale: Tensor, shift: Tensor, table: Tensor) -> Tensor:
    """The product of the normalised input behind a mask, whose support and values are given, with a table, `(n_features, width)`."""
    columns = places.column_index
    if len(columns) > MOST_SELECTED * places.n_obs * places.n_columns:
        dense = mask.new_zeros(places.n_obs, places.n_columns).index_put((places.row_index, columns), mask)
        return (dense * (given.to_dense() * scale + shift)) @ table
    masked = mask * (given.at(places) * scale.index_select(0, columns) + shift.index_select(0, columns))
    return SparseProduct.apply(places, masked, table)


def _affine(norm: BatchNorm, given: SparseInput) -> tuple[Tensor, Tensor]:
    """Factor and summand that a batch norm is to its input."""
    if norm.training:
        mean, variance = given.moments()
        follow(norm, mean, variance, given.places.n_obs)
    else:
        mean, variance = running_statistics(norm)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, norm.bias - mean * scale
