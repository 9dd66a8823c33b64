"""Normalisation and losses on tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def normalise_counts(counts: Tensor, target_sum: float) -> Tensor:
    r"""Counts per `target_sum`, then :math:`\log(1 + x)`; a cell without counts stays zero.

    Parameters
    ----------
    counts
        Non-negative counts over the model's genes, `(n_obs, n_vars)`.
    target_sum
        Sum of each cell before the logarithm.

    Examples
    --------
    >>> import torch
    >>> normalise_counts(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), target_sum=4.0).exp() - 1
    tensor([[1., 3.],
            [0., 0.]])
    """
    totals = counts.sum(dim=1, keepdim=True)
    return (counts * (target_sum / totals.masked_fill(totals == 0, 1.0))).log1p()


def cross_entropy(logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    r"""Class-weighted cross-entropy :math:`\sum_i w_{y_i} \ell_i / \sum_i w_{y_i}` over the labelled cells of a batch.

    Parameters
    ----------
    logits
        `(n_obs, n_classes)`.
    labels
        Class of each cell, `(n_obs,)`; negative where there is none: such cells do not count.
    class_weights
        `(n_classes,)`; `None` weighs all alike.

    Returns
    -------
    A scalar; zero, with a gradient of zero, when no cell has a label.
    """
    labeled = labels >= 0
    if not labeled.any():
        return logits.sum() * 0.0
    return functional.cross_entropy(logits[labeled], labels[labeled], weight=class_weights)
