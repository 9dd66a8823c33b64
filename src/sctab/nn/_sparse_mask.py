"""Feature attention on its support: masks and their gradients without a dense matrix of cells and genes that outlives a virtual batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from sctab.nn._entmax import entmax15
from sctab.nn._norm import GhostBatchNorm, follow, running_statistics
from sctab.nn._sparse_products import Places
from sctab.nn.fast._kernels import entmax15_support, entmax15_support_gradient
from sctab.nn.fast._product_kernels import mean_squares
from sctab.nn.fast._threads import in_threads


class SupportMask(torch.autograd.Function):
    r"""The mask :math:`\mathrm{entmax}_{1.5}(\mathrm{GBN}(W a))` on its support: its values, `indptr` and columns.

    A virtual batch at a time: with :math:`a` without its mean, :math:`u_{ig} = w_g^T a_i` and the batch-normalised logit
    :math:`\gamma_g u_{ig} / \sigma_g + \beta_g`, the gradient of the logits, :math:`S`, is zero off the support. With
    :math:`e_g = \sum_i S_{ig} a_i`, :math:`k_g = \gamma_g / \sigma_g` and :math:`q_g = e_g^T w_g / (n \sigma_g^2)` the gradients of
    batch normalisation (Ioffe and Szegedy 2015, :doi:`10.48550/arXiv.1502.03167`) become

    .. math::

        \nabla w_g = k_g (e_g - q_g A^T A w_g), \quad \nabla A = S \, \mathrm{diag}(k) W - A W^T \mathrm{diag}(kq) W,

    and that of :math:`a` is the second one without its mean.
    """

    @staticmethod
    def forward(
        ctx: Any, attention: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, norm: GhostBatchNorm
    ) -> tuple[Tensor, Tensor, Tensor]:
        bn = norm.bn
        ctx.parts, ctx.mean = [], None
        found: list[tuple[Places, NDArray[Any]]] = []
        for chunk in norm.parts(attention):
            if norm.training:
                mean = chunk.mean(dim=0)
                centred = chunk - mean
                products = centred @ weight.T
                variance = _mean_squares(products)
                follow(bn, weight @ mean, variance, len(chunk))
                inverse, bias = (variance + bn.eps).rsqrt(), beta
            else:
                centred, products = chunk, chunk @ weight.T
                mean, variance = running_statistics(bn)
                inverse = (variance + bn.eps).rsqrt()
                bias, ctx.mean = beta - mean * gamma * inverse, mean.clone()
            found.append(_supports(products, gamma * inverse, bias))
            ctx.parts.append((centred, inverse, found[-1][0]))
        mask = torch.from_numpy(np.concatenate([values for _, values in found]))
        ends = np.cumsum([0, *(len(places.columns) for places, _ in found)])
        starts = zip(found, ends, strict=False)
        indptr = np.concatenate([np.zeros(1, np.int64), *(places.indptr[1:] + start for (places, _), start in starts)])
        columns = np.concatenate([places.columns for places, _ in found])
        outputs = mask, torch.from_numpy(indptr), torch.from_numpy(columns)
        ctx.save_for_backward(weight, gamma, mask)
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        weight, gamma, mask = ctx.saved_tensors
        of_attention: list[Tensor] = []
        of_weight, of_gamma, of_beta = torch.zeros_like(weight), torch.zeros_like(gamma), torch.zeros_like(gamma)
        start = 0
        for centred, inverse, places in ctx.parts:
            own = slice(start, start + len(places.columns))
            start = own.stop
            of_logits = _gradient_of_logits(places, mask[own].numpy(), gradient[own].contiguous().numpy())
            total = torch.zeros_like(gamma).index_add_(0, places.column_index, torch.from_numpy(of_logits))
            by_gene, values = places.transposed(of_logits)
            outer = torch.from_numpy(by_gene.times(values, np.ones(len(centred), dtype=of_logits.dtype), centred.numpy()))
            scale = gamma * inverse
            along = (outer * weight).sum(dim=1)
            moved = torch.from_numpy(places.times(of_logits, scale.numpy(), weight.detach().numpy()))
            if ctx.mean is None:
                back = along * inverse.square() / len(centred)
                of_weight.addcmul_(scale[:, None], outer.addcmul_(back[:, None], weight @ (centred.T @ centred), value=-1))
                moved = moved - moved.mean(dim=0) - centred @ (weight.T @ ((scale * back)[:, None] * weight))
            else:
                along = along - ctx.mean * total
                of_weight.addcmul_(scale[:, None], outer)
            of_gamma.addcmul_(inverse, along)
            of_beta += total
            of_attention.append(moved)
        return torch.cat(of_attention), of_weight, of_gamma, of_beta, None


def _mean_squares(products: Tensor) -> Tensor:
    """The mean square of each column, of which PyTorch takes ten times as long."""
    out = torch.empty_like(products[0])
    arrays = products.numpy(), out.numpy()
    in_threads(lambda part: mean_squares(arrays[0][:, part], arrays[1][part]), len(out))
    return out


def _supports(products: Tensor, scale: Tensor, bias: Tensor) -> tuple[Places, NDArray[Any]]:
    """The support of the mask of each row of logits, `products * scale + bias`, and its values."""
    if not torch.isfinite(products.sum() + scale.sum() + bias.sum()):
        entmax15(products * scale + bias)  # it says what is wrong
    n_obs, n_inputs = products.shape
    arrays = products.numpy(), scale.numpy(), bias.numpy()
    parts: dict[int, tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]] = {}

    def loop(rows: slice) -> None:
        own = arrays[0][rows]
        indptr = np.empty(len(own) + 1, dtype=np.int64)
        columns, mask = np.empty(own.size, dtype=np.int32), np.empty(own.size, dtype=own.dtype)  # of which little is touched
        entmax15_support(own, *arrays[1:], indptr, columns, mask)
        parts[rows.start] = np.diff(indptr), columns[: indptr[-1]].copy(), mask[: indptr[-1]].copy()

    in_threads(loop, n_obs)
    lengths, columns, values = (np.concatenate(arrays) for arrays in zip(*(parts[start] for start in sorted(parts)), strict=True))
    return Places(np.concatenate([[0], np.cumsum(lengths)]), columns, n_inputs), values


def _gradient_of_logits(places: Places, mask: NDArray[Any], gradient: NDArray[Any]) -> NDArray[Any]:
    """The gradient of the logits of a mask from that of its values."""
    of_logits = np.empty_like(mask)

    def loop(rows: slice) -> None:
        entmax15_support_gradient(places.indptr[rows.start : rows.stop + 1], mask, gradient, of_logits)

    in_threads(loop, places.n_obs, places.indptr)
    return of_logits
