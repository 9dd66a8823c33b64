"""Importance of the inputs of a trained network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from sctab.data import Normalization, normalise, with_covariates
from sctab.inference import DENSE_BATCH_SIZE
from sctab.train._reference import TrainingData
from sctab.train._threads import with_useful_threads

_CELLS_FOR_IMPORTANCE = 2000
Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]
"""From normalised expression `(n_obs, n_vars)` to logits `(n_obs, n_labels)` and latent `(n_obs, n_latent)`, if there is one."""


def measure_importance(
    forward: Forward,
    data: TrainingData,
    normalization: Normalization,
    *,
    device: torch.device,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    r"""Fraction of the decisions that each input carries, `(n_inputs,)`, summing to one: genes, proteins, then covariates.

    For input :math:`g` the mean over training cells of :math:`|x_g \, \partial z_{\hat y} / \partial x_g|`, with :math:`z_{\hat y}`
    the logit of the predicted type: to first order, how much that logit changes when the input is not measured. Up to 2,000 labelled
    cells are used.
    """
    cells = np.flatnonzero(data.labels >= 0)
    cells = np.sort(rng.choice(cells, size=min(len(cells), _CELLS_FOR_IMPORTANCE), replace=False))
    n_genes = data.rows(cells[:0]).shape[1]
    total = torch.zeros(n_genes + data.covariates.shape[1], dtype=torch.float64)
    for chosen in np.array_split(cells, -(-len(cells) // DENSE_BATCH_SIZE)):
        block = with_covariates(normalise(data.rows(chosen), normalization), data.covariates[chosen])
        values = torch.from_numpy(block.toarray()).to(device).requires_grad_()
        with with_useful_threads(0):  # these are few cells
            logits, _ = forward(values)
            (gradient,) = torch.autograd.grad(logits.max(dim=1).values.sum(), values)
        total += (gradient * values).abs().sum(dim=0).detach().double().cpu()
    share = total / total.sum() if total.sum() > 0 else torch.full_like(total, 1 / len(total))
    return share.float().numpy()


def importance_of_genes(importance: NDArray[np.float32], n_genes: int) -> NDArray[np.float32]:
    """Fraction of what all genes carry that each gene carries, `(n_vars,)`, summing to one.

    Parameters
    ----------
    importance
        Importance of all inputs, `(n_inputs,)`.
    n_genes
        Number of genes, which come first.
    """
    of_genes = importance[:n_genes].astype(np.float64)
    total = of_genes.sum()
    return (of_genes / total if total > 0 else np.full(n_genes, 1 / n_genes)).astype(np.float32)
