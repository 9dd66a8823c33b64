"""Batch normalisation that several processes share, and over virtual batches."""

from __future__ import annotations

from typing import override

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


def is_shared() -> bool:
    """Return whether several processes train one network."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def follow(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, n_obs: Tensor | int) -> None:
    """Let running statistics follow those of a batch, `(n_features,)`; `variance` is without the correction for the mean."""
    if norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None:
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * n_obs / (n_obs - 1), norm.momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)


def running_statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Mean and variance that a batch norm has in evaluation mode, `(n_features,)`."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("A batch norm without running statistics cannot be folded.")
    return norm.running_mean, norm.running_var


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation with mean and variance of the whole batch, of which every process may have a part.

    With one process it is :class:`torch.nn.BatchNorm1d`. :class:`torch.nn.SyncBatchNorm` does the same on GPUs only.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input`, `(n_obs, n_features)`."""
        if not (self.training and is_shared()):
            return super().forward(input)
        n: Tensor = all_reduce(torch.tensor(float(len(input)), device=input.device))
        mean = all_reduce(input.sum(dim=0)) / n
        variance = all_reduce((input - mean).square().sum(dim=0)) / n
        follow(self, mean, variance, n)
        normalised = (input - mean) * (variance + self.eps).rsqrt()
        return normalised * self.weight + self.bias


class GhostBatchNorm(nn.Module):
    """Batch normalisation over virtual batches (Hoffer et al. 2017, :doi:`10.48550/arXiv.1705.08741`).

    In training a batch of `n_obs` cells is cut into `max(n_obs // virtual_batch_size, 1)` parts of almost equal size, each
    normalised by its own mean and variance. In evaluation it is ordinary batch normalisation with running statistics.

    Parameters
    ----------
    n_features
        Width of the input.
    virtual_batch_size
        Cells per virtual batch.
    momentum
        Weight of the newest virtual batch in the running statistics.
    """

    def __init__(self, n_features: int, *, virtual_batch_size: int, momentum: float) -> None:
        super().__init__()
        self.virtual_batch_size = virtual_batch_size
        self.bn = nn.BatchNorm1d(n_features, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`, `(n_obs, n_features)`."""
        if not self.training:
            return self.bn(x)
        parts = self.parts(x)
        return self.bn(x) if len(parts) == 1 else torch.cat([self.bn(part) for part in parts], dim=0)  # one without a copy

    def parts(self, x: Tensor) -> list[Tensor]:
        """The virtual batches of `x`: all of it in evaluation mode."""
        n_chunks = max(x.shape[0] // self.virtual_batch_size, 1) if self.training else 1
        chunks = list(x.chunk(n_chunks, dim=0))
        if len(chunks) > 1 and chunks[-1].shape[0] == 1:  # one cell has no variance: it joins its neighbours
            chunks[-2:] = [torch.cat(chunks[-2:], dim=0)]
        return chunks
