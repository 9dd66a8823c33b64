"""Naming the cells of a query block by block, without any knowledge of which network does it."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import entr
from torch import nn

from sctab.data import InputRecipe, Normalization, Query, normalise, with_covariates
from sctab.errors import ModelFormatError, SettingError
from sctab.inference._storage import require_sound
from sctab.io import CellProgress, ahead
from sctab.nn import Precision, SparseNetwork, evaluate_sparse, sparse_network
from sctab.train import TrainingData

BATCH_SIZE = 1024
"""Cells evaluated at a time: on other devices than the CPU their mask logits over 20,000 genes take 80 MB."""
DENSE_BATCH_SIZE = 512
"""Cells at a time where all of their genes are looked at, in dense blocks."""
_CELLS_FOR_IMPORTANCE = 2000

Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]
"""From normalised expression `(n_obs, n_vars)` to logits `(n_obs, n_labels)` and latent `(n_obs, n_latent)`, if there is one."""
Block = tuple[sparse.csr_matrix, sparse.csr_matrix]
"""Rows of a matrix `(n_obs, n_query_vars)`, and covariates of these cells `(n_obs, n_categories)`."""


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

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One after another."""

        def joined(arrays: list[Any]) -> Any:
            return None if arrays[0] is None else np.concatenate(arrays)

        return cls(
            joined([part.probabilities for part in parts]),
            joined([part.latent for part in parts]),
            joined([part.expected_entropy for part in parts]),
            joined([part.mutual_information for part in parts]),
        )


class Evaluator:
    """The network of a model, or those of the members of an ensemble, ready to name cells. It can be sent to other processes.

    Parameters
    ----------
    modules
        Trained networks on one device: probabilities are averaged, latents stand side by side.
    precision
        See :func:`sctab.nn.sparse_network`.
    device
        Where to compute; by default where the networks are, which stay there in any case.

    Raises
    ------
    SettingError
        When the networks do not have that precision.
    ModelFormatError
        When their weights are NaN or infinite, as after a training that diverged.
    """

    def __init__(self, modules: Sequence[nn.Module], *, precision: Precision = "float32", device: str | None = None) -> None:
        for module in modules:
            require_sound(module.state_dict())
        if device is not None:
            modules = [copy.deepcopy(module).to(device) for module in modules]
        try:
            self._networks: list[SparseNetwork] = [sparse_network(module, precision=precision) for module in modules]
        except ValueError as error:
            raise SettingError(str(error)) from error

    def evaluate(self, recipe: InputRecipe, block: Block, rows: slice) -> Evaluation:
        """Name some rows of a block, all at once and in this thread."""
        values, is_measured = recipe.apply(*block, rows)
        outputs = evaluate_sparse(self._networks, values)
        with torch.inference_mode():
            of_members = torch.stack([output.logits.softmax(dim=1) for output in outputs])
            mean = of_members.mean(dim=0).cpu().numpy()
            entropies = torch.special.entr(of_members).sum(dim=2).mean(dim=0).cpu().numpy()
        if not np.isfinite(mean[is_measured]).all():
            raise ModelFormatError(
                "The model gives NaN for cells that have counts in its genes: its training diverged, or it was damaged. Train it again "
                "with a lower `learning_rate`, or copy it again."
            )
        mean[~is_measured] = np.nan
        latents = [output.embedding.cpu().numpy() for output in outputs if output.embedding is not None]
        latent = np.concatenate(latents, axis=1) if latents else None
        if len(outputs) == 1:
            return Evaluation(mean, latent)
        entropies[~is_measured] = np.nan
        return Evaluation(mean, latent, entropies, np.maximum(entr(mean).sum(axis=1) - entropies, 0))

    def evaluate_block(self, recipe: InputRecipe, block: Block, *, batch_size: int = BATCH_SIZE) -> Evaluation:
        """Name the rows of a block, `batch_size` of them at a time, in this thread alone."""
        with _one_thread():
            return Evaluation.join([self.evaluate(recipe, block, rows) for rows in _batches(block, batch_size)])

    def evaluate_blocks(
        self, recipe: InputRecipe, blocks: Iterable[Block], *, batch_size: int = BATCH_SIZE
    ) -> Iterator[Evaluation]:
        """Name the rows of blocks, in order, in as many threads as PyTorch uses here.

        While a block is evaluated, the next one is read. What a block gives does not depend on the number of threads.
        """
        waiting: deque[list[Future[Evaluation]]] = deque()
        n_threads = torch.get_num_threads()
        with _evaluation_threads() as pool:
            try:
                for block in ahead(blocks):
                    waiting.append([pool.submit(self.evaluate, recipe, block, rows) for rows in _batches(block, batch_size)])
                    if sum(map(len, waiting)) - len(waiting[0]) >= n_threads:  # so that no thread is idle at the end of a block
                        yield Evaluation.join([future.result() for future in waiting.popleft()])
                while waiting:
                    yield Evaluation.join([future.result() for future in waiting.popleft()])
            finally:
                for future in [future for futures in waiting for future in futures]:
                    future.cancel()


def evaluate_query(evaluator: Evaluator, query: Query, *, batch_size: int = BATCH_SIZE, show_progress: bool = False) -> Evaluation:
    """Probabilities and latents of all cells of a query, in one pass over the data.

    Parameters
    ----------
    evaluator
        The networks.
    query
        The cells.
    batch_size
        Cells evaluated at a time by a thread.
    show_progress
        Show on stderr how many cells are done.

    Raises
    ------
    SettingError
        When `batch_size` is less than one.
    """
    require_batch_size(batch_size)
    parts = []
    with CellProgress(query.n_obs, shown=show_progress) as progress:
        for part in evaluator.evaluate_blocks(query.recipe, query.read(query.ranges()), batch_size=batch_size):
            parts.append(part)
            progress.advance(len(part.probabilities))
    return Evaluation.join(parts)


def _batches(block: Block, batch_size: int) -> list[slice]:
    n_obs = block[0].shape[0]
    return [slice(start, min(start + batch_size, n_obs)) for start in range(0, n_obs, batch_size)]


@contextmanager
def _evaluation_threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as PyTorch uses here; in each of them PyTorch uses that one only, and here what it used before."""
    n_threads = torch.get_num_threads()
    everyone = threading.Barrier(n_threads)

    def begin() -> None:
        torch.get_num_threads()  # otherwise PyTorch does what follows once more at its first work in this thread, with another number
        torch.set_num_threads(1)  # of this thread, and of those that come later
        everyone.wait()

    with ThreadPoolExecutor(n_threads, thread_name_prefix="sctab-evaluate", initializer=begin) as pool:
        list(pool.map(lambda _: None, range(n_threads)))
        torch.set_num_threads(n_threads)
        yield pool


@contextmanager
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


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
    n_genes = data.rows(cells[:0]).shape[1]
    total = torch.zeros(n_genes + data.covariates.shape[1], dtype=torch.float64)
    for chosen in np.array_split(cells, -(-len(cells) // DENSE_BATCH_SIZE)):
        block = with_covariates(normalise(data.rows(chosen), normalization), data.covariates[chosen])
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
