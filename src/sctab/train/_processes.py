"""Several processes that train one network together."""

from __future__ import annotations

import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor


def n_processes() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_number() -> int:
    """Rank of this process, from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


def is_first_process() -> bool:
    """Return whether this process is the one that writes files; known before the processes have found each other."""
    return int(rank_zero_only.rank) == 0


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, without a gradient."""
    values = values.detach().clone()
    if n_processes() > 1:
        dist.all_reduce(values)
    return values
