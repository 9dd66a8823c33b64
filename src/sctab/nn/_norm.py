"""Batch normalisation that several processes share."""

from __future__ import annotations

from typing import override

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation with mean and variance of the whole batch, of which every process may have a part.

    With one process it is :class:`torch.nn.BatchNorm1d`. :class:`torch.nn.SyncBatchNorm` does the same on GPUs only.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input`, `(n_obs, n_features)`."""
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        n: Tensor = all_reduce(torch.tensor(float(len(input)), device=input.device))
        mean = all_reduce(input.sum(dim=0)) / n
        variance = all_reduce((input - mean).square().sum(dim=0)) / n
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        normalised = (input - mean) * (variance + self.eps).rsqrt()
        return normalised * self.weight + self.bias
