"""Gene importance estimated from network weights, without data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def importance_of_weights(weights: Mapping[str, Tensor], means: Tensor | None = None) -> NDArray[np.float32]:
    r"""Fraction of the decisions that each gene probably carries, `(n_vars,)`, summing to one.

    :math:`\bar x_g \, \lVert \partial h / \partial x_g \rVert`, with :math:`\bar x_g` the mean expression of the gene in the training data
    and :math:`h` the output of the first linear map: how far that moves when the gene is not measured. It is the first step of what is
    measured when a model is trained, which follows the change to the decision. The batch norm at the input of a TabNet remembers the mean;
    where nothing does, all genes count as equally expressed. If nothing can be determined, all matter alike.

    How much attention a TabNet pays to a gene is left out. It depends on the cell, and without one it tells little.

    Parameters
    ----------
    weights
        Of a network of :mod:`sctab.nn`.
    means
        Mean expression of every gene in the training data, if it is known, `(n_vars,)`.
    """
    if "input_norm.running_mean" in weights:
        means = weights["input_norm.running_mean"]
    share = _effect(weights) * (1 if means is None else means.double().clamp(min=0))
    total = share.sum()
    if not (torch.isfinite(total) and total > 0):
        share, total = torch.ones_like(share), torch.tensor(len(share))
    return (share / total).float().numpy()


def _effect(weights: Mapping[str, Tensor]) -> Tensor:
    """Norm of the change of the first linear map's output per unit of every gene, `(n_vars,)`."""
    if "input_norm.weight" in weights:
        first = [weights["shared.0.weight"]] if "shared.0.weight" in weights else _of_every_transformer(weights)
        deviation = torch.sqrt(weights["input_norm.running_var"].double() + torch.nn.BatchNorm1d(1).eps)
        return torch.cat(first).double().norm(dim=0) * weights["input_norm.weight"].abs() / deviation
    if "layers.0.0.weight" in weights:
        return weights["layers.0.0.weight"].double().norm(dim=0)
    weight = weights["classifier.weight"].double()
    return (weight - weight.mean(dim=0)).norm(dim=0)  # what all classes have in common decides nothing


def _of_every_transformer(weights: Mapping[str, Tensor]) -> list[Tensor]:
    return [tensor for name, tensor in weights.items() if name.endswith("independent.0.weight")]
