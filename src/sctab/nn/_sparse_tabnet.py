"""TabNet in time and memory of what is not zero: stored values of the input, and the support of the mask."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sctab.nn._norm import BatchNorm, follow, running_statistics
from sctab.nn._sparse_mask import SupportMask
from sctab.nn._sparse_products import InputProduct, Places, SparseInput, SparseProduct, csr_tensor


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
    masked = mask * (given.at(places) * scale.index_select(0, columns) + shift.index_select(0, columns))
    second_table = table if second_map is first_map else second_map.weight.T.contiguous()
    second = transform.after_map(SparseProduct.apply(places, masked, second_table), network.shared)
    return first, csr_tensor(indptr, columns, mask.detach(), shape), mask, second


def _affine(norm: BatchNorm, given: SparseInput) -> tuple[Tensor, Tensor]:
    """Factor and summand that a batch norm is to its input."""
    if norm.training:
        mean, variance = given.moments()
        follow(norm, mean, variance, given.places.n_obs)
    else:
        mean, variance = running_statistics(norm)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, norm.bias - mean * scale
