"""Random changes to training cells that a classifier should not mind."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_genes(values: Tensor, largest_share: float, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Set a random share of the genes to zero, cell by cell.

    Each cell draws a share :math:`s \sim U(0, \text{largest\_share})`, then loses each gene with probability :math:`s`, as if the
    gene had not been measured. A classifier that has seen this does not lean on few genes.

    Parameters
    ----------
    values
        Expression, `(n_obs, n_vars)`.
    largest_share
        Between 0 (nothing happens) and 1.
    generator
        Source of randomness; by default that of torch.

    Returns
    -------
    A new tensor of the same shape.
    """
    if largest_share == 0:
        return values
    shares = torch.rand(len(values), 1, device=values.device, generator=generator) * largest_share
    kept = torch.rand(values.shape, device=values.device, generator=generator) >= shares
    return values * kept
