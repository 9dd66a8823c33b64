"""1.5-entmax with its gradient, without a sort where a compiled loop can read the logits."""

from __future__ import annotations

from typing import Any

import entmax
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sctab.nn.fast._kernels import entmax15_gradient, entmax15_rows
from sctab.nn.fast._threads import in_threads

LARGEST_LOGITS = 512
"""Logits that are sorted at first on other devices; where all of them turn out to be in the support, more are sorted: it is exact."""


def entmax15(logits: Tensor) -> Tensor:
    r"""1.5-entmax of each row (Peters et al. 2019, :doi:`10.18653/v1/P19-1146`).

    The sort that :func:`entmax.entmax15` needs takes a fifth of the training of a small network on a processor.

    Parameters
    ----------
    logits
        `(n_obs, n_inputs)`.

    Returns
    -------
    Non-negative rows that sum to one, `(n_obs, n_inputs)`.

    Examples
    --------
    >>> entmax15(torch.tensor([[0.0, 0.0, -9.0]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    on_processor = logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.dim() == 2 and logits.numel() > 0
    if on_processor and torch.isfinite(logits.detach().sum()):
        return _Entmax15.apply(logits)
    return entmax.entmax15(logits, dim=-1, k=LARGEST_LOGITS)


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        given = logits.detach().contiguous()
        mask = torch.empty_like(given)
        of_logits, of_mask = given.numpy(), mask.numpy()
        in_threads(lambda rows: entmax15_rows(of_logits[rows], of_mask[rows]), len(given))
        ctx.save_for_backward(mask)
        return mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (mask,) = ctx.saved_tensors
        of_logits = torch.empty_like(mask)
        arrays = mask.numpy(), gradient.contiguous().numpy(), of_logits.numpy()
        in_threads(lambda rows: entmax15_gradient(*(array[rows] for array in arrays)), len(mask))
        return of_logits
