"""Evaluating a network block by block, without any knowledge of which network it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from sctab._errors import SettingError
from sctab.counts import Normalization, normalise
from sctab.model._query import Query
from sctab.model._settings import TrainingData

BATCH_SIZE = 512
"""Cells evaluated at a time: dense blocks of 512 × 20,000 genes take 40 MB each."""
_CELLS_FOR_IMPORTANCE = 2000

Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]
"""From normalised expression `(n_obs, n_vars)` to logits `(n_obs, n_labels)` and latent `(n_obs, n_latent)`, if there is one."""


@dataclass(frozen=True)
class Evaluation:
    """What a model says of some cells."""

    probabilities: NDArray[np.float32]
    """`(n_obs, n_labels)`; rows sum to one. `NaN` for cells without a count in the model's genes."""
    latent: NDArray[np.float32] | None
    """`(n_obs, n_latent)`; `None` where the model has no latent space."""


def evaluate_blocks(
    forward: Forward, query: Query, *, batch_size: int, device: torch.device, show_progress: bool = False
) -> Evaluation:
    """Probabilities and latents of all cells of a query, `batch_size` of them at a time.

    Raises
    ------
    SettingError
        When `batch_size` is less than one.
    """
    require_batch_size(batch_size)
    probabilities, latents = [], []
    bar = Progress(console=Console(stderr=True), disable=not show_progress)
    with torch.inference_mode(), bar:
        task = bar.add_task("Annotating", total=query.n_obs)
        for block in query.blocks(batch_size):
            logits, latent = forward(torch.from_numpy(block.toarray()).to(device))
            of_block = logits.softmax(dim=1).cpu().numpy()
            of_block[np.diff(block.indptr) == 0] = np.nan  # nothing was measured, so nothing is known
            probabilities.append(of_block)
            if latent is not None:
                latents.append(latent.cpu().numpy())
            bar.advance(task, len(of_block))
    return Evaluation(np.concatenate(probabilities), np.concatenate(latents) if latents else None)


def measure_importance(
    forward: Forward,
    data: TrainingData,
    normalization: Normalization,
    *,
    device: torch.device,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    r"""Share of the decisions that each gene carries, `(n_vars,)`, summing to one.

    For gene :math:`g` the mean over training cells of :math:`|x_g \, \partial z_{\hat y} / \partial x_g|`, with :math:`z_{\hat y}`
    the logit of the predicted type: to first order, how much that logit changes when the gene is not measured. Up to 2,000 labelled
    cells are used.
    """
    cells = np.flatnonzero(data.labels >= 0)
    cells = np.sort(rng.choice(cells, size=min(len(cells), _CELLS_FOR_IMPORTANCE), replace=False))
    n_genes = data.counts.shape[1]
    total = torch.zeros(n_genes, dtype=torch.float64)
    for chosen in np.array_split(cells, -(-len(cells) // BATCH_SIZE)):
        block = normalise(data.counts[chosen], normalization)
        values = torch.from_numpy(block.toarray()).to(device).requires_grad_()
        logits, _ = forward(values)
        (gradient,) = torch.autograd.grad(logits.max(dim=1).values.sum(), values)
        total += (gradient * values).abs().sum(dim=0).detach().double().cpu()
    share = total / total.sum() if total.sum() > 0 else torch.full_like(total, 1 / n_genes)
    return share.float().numpy()


def require_batch_size(batch_size: int) -> None:
    """Refuse a batch without cells."""
    if batch_size < 1:
        raise SettingError(f"`batch_size={batch_size}` must be at least 1.")


def single_device(accelerator: str, device: int | str) -> torch.device:
    """The device that scvi-tools chooses for these."""
    from scvi.model._utils import parse_device_args

    _, _, chosen = parse_device_args(accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True)
    return chosen
