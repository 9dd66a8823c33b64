"""Trained networks on blocks of cells, whatever networks they are."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from sctab.data import InputRecipe
from sctab.errors import Parameter, SettingError
from sctab.inference._backends import Backend, evaluator_of
from sctab.inference._sizes import BATCH_SIZE
from sctab.inference._storage import require_sound
from sctab.inference._unseen import UnseenTest
from sctab.io import ahead
from sctab.nn import Precision

Block = tuple[sparse.csr_matrix, sparse.csr_matrix]
"""Rows of a matrix `(n_obs, n_query_vars)`, and covariates of these cells `(n_obs, n_categories)`."""


@dataclass(frozen=True)
class Evaluation:
    """Network outputs for cells; :func:`~sctab.inference.decide` turns them into labels."""

    logits: NDArray[np.float32]
    """`(n_obs, n_members, n_labels)`; one member unless the model is an ensemble."""
    latent: NDArray[np.float32] | None
    """`(n_obs, n_latent)`, concatenated over members; `None` where the model has no latent space."""
    measured: NDArray[np.bool_]
    """Cells with a count in the model's genes, `(n_obs,)`; the logits of others are undefined."""
    unseen: NDArray[np.float32] | None = None
    """p-value of each cell for being of a type that the model has learned, `(n_obs,)`; `None` where it was not asked for."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the evaluations of consecutive cells."""
        latents = [part.latent for part in parts if part.latent is not None]
        unseen = [part.unseen for part in parts if part.unseen is not None]
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate(latents) if latents else None,
            np.concatenate([part.measured for part in parts]),
            np.concatenate(unseen) if unseen else None,
        )


class BlockPredictor:
    """The network of a model, or those of the members of an ensemble, in their fast form. It can be sent to other processes.

    Parameters
    ----------
    modules
        Trained networks on one device.
    precision
        See :func:`sctab.nn.sparse_network`.
    device
        Where to compute; by default where the networks are, which stay there in any case.
    backend
        What evaluates the networks, see :data:`~sctab.inference._backends.Backend`; with `"jax"` they are on its devices.

    Raises
    ------
    SettingError
        If the backend is unknown, or does not have the networks or that precision.
    MissingDependencyError
        If the backend is not installed.
    ModelFormatError
        If their weights are NaN or infinite, as after a training that diverged.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        *,
        precision: Precision = "float32",
        device: str | None = None,
        backend: Backend = "torch",
    ) -> None:
        for module in modules:
            require_sound(module.state_dict())
        self._evaluate = evaluator_of(modules, precision=precision, device=device, backend=backend)

    def predict_rows(self, recipe: InputRecipe, block: Block, rows: slice, *, unseen: UnseenTest | None = None) -> Evaluation:
        """Evaluate some rows of a block, all at once and in this thread."""
        values, measured = recipe.apply(*block, rows)
        logits, latent = self._evaluate(values)
        return Evaluation(logits, latent, measured, None if unseen is None else unseen.p_values(values, logits))

    def predict_block(
        self, recipe: InputRecipe, block: Block, *, batch_size: int = BATCH_SIZE, unseen: UnseenTest | None = None
    ) -> Evaluation:
        """Evaluate the rows of a block, `batch_size` of them at a time, in this thread alone."""
        with one_thread():
            return Evaluation.join([self.predict_rows(recipe, block, rows, unseen=unseen) for rows in _batches(block, batch_size)])

    def predict_blocks(
        self, recipe: InputRecipe, blocks: Iterable[Block], *, batch_size: int = BATCH_SIZE, unseen: UnseenTest | None = None
    ) -> Iterator[Evaluation]:
        """Evaluate the rows of blocks, in order, in as many threads as PyTorch uses here.

        While a block is evaluated, the next one is read. What a block gives does not depend on the number of threads.
        """
        waiting: deque[list[Future[Evaluation]]] = deque()
        n_threads = torch.get_num_threads()
        with _prediction_threads() as pool:
            try:
                for block in ahead(blocks):
                    waiting.append(
                        [pool.submit(self.predict_rows, recipe, block, rows, unseen=unseen) for rows in _batches(block, batch_size)]
                    )
                    if sum(map(len, waiting)) - len(waiting[0]) >= n_threads:  # so that no thread is idle at the end of a block
                        yield Evaluation.join([future.result() for future in waiting.popleft()])
                while waiting:
                    yield Evaluation.join([future.result() for future in waiting.popleft()])
            finally:
                for future in [future for futures in waiting for future in futures]:
                    future.cancel()


def _batches(block: Block, batch_size: int) -> list[slice]:
    n_obs = block[0].shape[0]
    return [slice(start, min(start + batch_size, n_obs)) for start in range(0, n_obs, batch_size)]


@contextmanager
def _prediction_threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as PyTorch uses here; in each of them PyTorch uses that one only, and here what it used before."""
    n_threads = torch.get_num_threads()
    everyone = threading.Barrier(n_threads)

    def begin() -> None:
        torch.get_num_threads()  # otherwise PyTorch does what follows once more at its first work in this thread, with another number
        torch.set_num_threads(1)  # of this thread, and of those that come later
        everyone.wait()

    with ThreadPoolExecutor(n_threads, thread_name_prefix="sctab-predict", initializer=begin) as pool:
        try:
            list(pool.map(lambda _: None, range(n_threads)))
        except BaseException:  # such as a thread that the system refuses, for which the others would wait for ever
            everyone.abort()
            raise
        torch.set_num_threads(n_threads)
        yield pool


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch uses this thread alone."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def require_batch_size(batch_size: int) -> None:
    """Refuse a batch without cells."""
    if batch_size < 1:
        raise SettingError(Parameter("batch_size", batch_size), " must be at least 1.")
