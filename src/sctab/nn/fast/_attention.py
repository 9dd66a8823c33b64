"""Masks of TabNet, computed from the genes that they keep."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sctab.nn._tabnet import AttentiveTransformer
from sctab.nn.fast import _kernels
from sctab.nn.fast._parts import Affine, SparseRows, fold, for_random_rows, uses_kernels

_ROWS_OF_LOGITS = 32
"""Cells whose mask logits are there at a time on the CPU: 2.5 MB, which the caches hold until they are looked at."""
_ROUNDING = 1e-6
"""More than single precision loses in a few operations, relative to their result."""
_NO_WEIGHT = np.empty((0, 0), dtype=np.float32)
_NEWTON_STEPS = 24
"""On devices that would have to wait to see whether one more is needed; 15 suffice where all of 20,000 logits are equal."""
_buffers = threading.local()


def multiplies_bytes() -> bool:
    """Return whether this processor multiplies 8-bit integers exactly and fast."""
    is_supported = getattr(torch.cpu, "_is_vnni_supported", None)  # private, as is `_int_mm`: a later PyTorch may lack them
    return torch.backends.mkldnn.is_available() and hasattr(torch, "_int_mm") and is_supported is not None and is_supported()


class SparseAttention:
    """An attentive transformer that gives its mask on the support."""

    def __init__(self, transformer: AttentiveTransformer, dtype: torch.dtype) -> None:
        norm: Any = transformer.norm.bn
        weight, self.bias = fold(transformer.linear.weight, None, Affine.of(norm))
        self.weight = weight.to(dtype)
        self.n_a = weight.shape[1]
        self.rounded = RoundedProduct(self.weight) if uses_kernels(weight.device) else None
        self.is_entmax = transformer.mask_type == "entmax"

    def __call__(self, attention: Tensor, rows: SparseRows, norm: Affine, prior: Tensor | None) -> tuple[SparseRows, Tensor]:
        """The masked input and the mask, on its support."""
        return (self._on_cpu if uses_kernels(attention.device) else self._on_device)(attention.contiguous(), rows, norm, prior)

    def _on_cpu(self, attention: Tensor, rows: SparseRows, norm: Affine, prior: Tensor | None) -> tuple[SparseRows, Tensor]:
        parts = []
        indices, values, scale, shift = (part.numpy() for part in (rows.columns, rows.values, norm.scale, norm.shift))
        starts = range(0, max(rows.n_obs, 1), _ROWS_OF_LOGITS)
        for start, logits in zip(starts, self._logits(attention, prior), strict=True):
            indptr = rows.indptr[start : start + _ROWS_OF_LOGITS + 1].numpy()
            parts.append(_kernels.attend(logits, self.is_entmax, indptr, indices, values, scale, shift))
        indptrs, *others = zip(*parts, strict=True)
        indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in indptrs]))])
        support, mask, masked = (np.concatenate(part) for part in others)
        return SparseRows.of_arrays(indptr, support, masked, rows.n_columns, self.bias.device), torch.from_numpy(mask)

    def _logits(self, attention: Tensor, prior: Tensor | None) -> Iterator[_kernels.Logits]:
        """Logits of some cells at a time."""
        if self.rounded is not None and prior is None and multiplies_bytes():
            yield from self.rounded(attention, self.bias)
            return
        n_obs, n_inputs = len(attention), len(self.bias)
        buffer = _buffer("logits", _ROWS_OF_LOGITS, n_inputs, self.weight.dtype)
        ones, zeros = np.ones(n_inputs, dtype=np.float32), np.zeros(n_inputs, dtype=np.float32)
        for start in range(0, max(n_obs, 1), _ROWS_OF_LOGITS):
            some = attention[start : start + _ROWS_OF_LOGITS]
            products = torch.mm(some.to(self.weight.dtype), self.weight.T, out=buffer[: len(some)]).float()
            bias = self.bias.numpy()
            if prior is not None:
                products, bias = (products + self.bias) * prior[start : start + _ROWS_OF_LOGITS], zeros
            exact = np.zeros(len(some), dtype=np.float32)
            yield _kernels.Logits(products.numpy(), exact + 1, ones, bias, exact, some.numpy(), _NO_WEIGHT)

    def _on_device(self, attention: Tensor, rows: SparseRows, norm: Affine, prior: Tensor | None) -> tuple[SparseRows, Tensor]:
        logits = (attention.to(self.weight.dtype) @ self.weight.T).float() + self.bias
        mask = sparse_mask(logits if prior is None else logits * prior, is_entmax=self.is_entmax)
        values = rows.to_dense()
        row, column = mask.nonzero(as_tuple=True)
        weights = mask[row, column]
        masked = weights * (values[row, column] * norm.scale[column] + norm.shift[column])
        indptr = torch.zeros_like(rows.indptr)
        torch.cumsum((mask > 0).sum(dim=1), dim=0, out=indptr[1:])
        return SparseRows(indptr, column.to(rows.columns.dtype), masked, rows.n_columns), weights


class RoundedProduct:
    r"""A linear map of numbers that are rounded to eight bits, four times as fast as in single precision, and how far off it may be.

    With :math:`a = \hat a + e_a` and :math:`w = \hat w + e_w` it gives :math:`\hat a^T \hat w`, and
    :math:`|a^T w - \hat a^T \hat w| = |a^T e_w + e_a^T \hat w| \le \|a\| \|e_w\| + \|e_a\| \|\hat w\|`, and what scaling it rounds.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = for_random_rows(weight)
        self.rounded, step, lost, left = _round(self.weight)
        self.step, self.lost, self.left = step.squeeze(1), lost.max(), left.max()

    def __call__(self, x: Tensor, bias: Tensor) -> Iterator[_kernels.Logits]:
        """Logits of some cells at a time."""
        rounded, step, lost, left = _round(x)
        error = (left + lost) * self.lost + lost * self.left + _ROUNDING * left * self.left
        buffer = _buffer("rounded logits", _ROWS_OF_LOGITS, len(bias), torch.int32)
        for start in range(0, max(len(x), 1), _ROWS_OF_LOGITS):
            at = slice(start, start + _ROWS_OF_LOGITS)
            products = torch._int_mm(rounded[at], self.rounded.T, out=buffer[: len(rounded[at])])
            parts = (products, step[at, 0], self.step, bias, error[at], x[at], self.weight)
            yield _kernels.Logits(*(part.numpy() for part in parts))


def _round(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows as multiples of a step each, `(n, m)` and `(n, 1)`; and norms of what is lost by that and of what is left, `(n,)`."""
    step = (x.abs().amax(dim=1, keepdim=True) / 127).clamp_min(torch.finfo(x.dtype).tiny)
    multiples = (x / step).round()
    left = multiples * step
    return multiples.to(torch.int8), step, (x - left).norm(dim=1), left.norm(dim=1)


def _buffer(name: str, n_rows: int, n_columns: int, dtype: torch.dtype) -> Tensor:
    """Memory of this thread to write to again and again: fresh memory from the system would take longer than the product."""
    buffers: dict[Any, Tensor] = _buffers.__dict__
    tensor = buffers.get(name)
    if tensor is None or tensor.shape != (n_rows, n_columns) or tensor.dtype is not dtype:
        buffers[name] = tensor = torch.empty(n_rows, n_columns, dtype=dtype)
    return tensor


def sparse_mask(logits: Tensor, *, is_entmax: bool) -> Tensor:
    r"""1.5-entmax or sparsemax of the rows of `logits`, without a sort; see :func:`sctab.nn.fast._kernels.collect_candidates` for how.

    Parameters
    ----------
    logits
        `(n_obs, n_features)`.
    is_entmax
        1.5-entmax; otherwise sparsemax.
    """
    z = logits - logits.amax(dim=1, keepdim=True)
    if is_entmax:
        z = z / 2
    tau = torch.full_like(z[:, :1], -1)
    for _ in range(_NEWTON_STEPS):
        distance = torch.relu(z - tau)
        first = distance.sum(dim=1, keepdim=True)
        if is_entmax:
            tau = tau + (distance.square().sum(dim=1, keepdim=True) - 1) / (2 * first)
        else:
            tau = tau + (first - 1) / (distance > 0).sum(dim=1, keepdim=True)
    distance = torch.relu(z - tau)
    return distance.square() if is_entmax else distance
