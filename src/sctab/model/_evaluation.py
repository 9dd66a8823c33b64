"""Evaluating a network block by block, without any knowledge of which network it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from scipy.special import entr

from sctab._errors import SettingError
from sctab.counts import Normalization, normalise
from sctab.model._covariates import with_covariates
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
    expected_entropy: NDArray[np.float32] | None = None
    """Of an ensemble: mean entropy of its members' probabilities, `(n_obs,)`, in nats. What is uncertain to each of them."""
    mutual_information: NDArray[np.float32] | None = None
    """Of an ensemble: entropy of the mean probabilities minus :attr:`expected_entropy`, `(n_obs,)`. What they disagree on."""


def evaluate_blocks(
    forwards: Sequence[Forward], query: Query, *, batch_size: int, device: torch.device, show_progress: bool = False
) -> Evaluation:
    """Probabilities and latents of all cells of a query, `batch_size` of them at a time, in one pass over the data.

    Parameters
    ----------
    forwards
        One network, or those of the members of an ensemble: probabilities are averaged, latents stand side by side.
    query
        The cells.
    batch_size
        Cells at a time.
    device
        Where the networks are.
    show_progress
        Draw a progress bar on stderr.

    Raises
    ------
    SettingError
        When `batch_size` is less than one.
    """
    require_batch_size(batch_size)
    probabilities, latents, entropies = [], [], []
    n_known = query.covariates.getnnz(axis=1)
    start = 0
    bar = Progress(console=Console(stderr=True), disable=not show_progress)
    with torch.inference_mode(), bar:
        task = bar.add_task("Annotating", total=query.n_obs)
        for block in query.blocks(batch_size):
            values = torch.from_numpy(block.toarray()).to(device)
            outputs = [forward(values) for forward in forwards]
            of_members = torch.stack([logits.softmax(dim=1) for logits, _ in outputs])
            of_block = of_members.mean(dim=0).cpu().numpy()
            of_block[np.diff(block.indptr) == n_known[start : start + len(of_block)]] = np.nan  # nothing was measured
            start += len(of_block)
            probabilities.append(of_block)
            entropies.append(torch.special.entr(of_members).sum(dim=2).mean(dim=0).cpu().numpy())
            latents.append([latent.cpu().numpy() for _, latent in outputs if latent is not None])
            bar.advance(task, len(of_block))
    mean = np.concatenate(probabilities)
    latent = np.concatenate([np.concatenate(of_block, axis=1) for of_block in latents]) if latents[0] else None
    if len(forwards) == 1:
        return Evaluation(mean, latent)
    expected = np.where(np.isnan(mean[:, 0]), np.float32(np.nan), np.concatenate(entropies))
    return Evaluation(mean, latent, expected, np.maximum(entr(mean).sum(axis=1) - expected, 0))


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
    total = torch.zeros(n_genes + data.covariates.shape[1], dtype=torch.float64)
    for chosen in np.array_split(cells, -(-len(cells) // BATCH_SIZE)):
        block = with_covariates(normalise(data.counts[chosen], normalization), data.covariates[chosen])
        values = torch.from_numpy(block.toarray()).to(device).requires_grad_()
        logits, _ = forward(values)
        (gradient,) = torch.autograd.grad(logits.max(dim=1).values.sum(), values)
        total += (gradient * values).abs().sum(dim=0).detach().double().cpu()
    total = total[:n_genes]
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
