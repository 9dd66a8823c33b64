"""Batches of counts for a network that trains on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sctab.nn import csr_tensor
from sctab.sampling import Split
from sctab.train._processes import n_processes, own_number

type Batch = tuple[Tensor, Tensor, Tensor]
"""Counts, `(n_obs, n_vars)`, covariates, `(n_obs, n_categories)`, and labels, `(n_obs,)`."""


class Batches(ABC):
    """The batches of one epoch after another, of nearly equal size: a last batch of one cell would have no variance to normalise by.

    Which cells are in which batch follows from the epoch, so that a training can resume within one. Where several processes train together,
    each gets its part of every batch.
    """

    batch_sampler = None
    """Lightning asks for it where there is a :attr:`sampler`."""

    def __init__(self, n_batches: int) -> None:
        self._n_batches = n_batches
        self._epoch = 0
        self._n_given = 0
        self._goes_on_at = 0, 0

    @property
    def sampler(self) -> Batches:
        """Sampler on which Lightning calls :meth:`set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Progress within the epoch."""
        return {"epoch": self._epoch, "batch": self._n_given}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Leave out the batches that were given before."""
        self._goes_on_at = state_dict["epoch"], state_dict["batch"]

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[Batch]:
        epoch, batch = self._goes_on_at
        self._n_given = batch if self._epoch == epoch else 0
        for each in self.of_epoch(self._epoch, self._n_given):
            self._n_given += 1
            yield each

    @abstractmethod
    def of_epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from one of them on, with sparse counts."""


class MemoryBatches(Batches):
    """Batches from memory.

    Parameters
    ----------
    counts, covariates, labels
        Of all cells.
    cells
        The cells that are meant.
    batch_size
        Cells per batch, of all processes.
    seed
        Decides their order, another one in each epoch; `None` leaves it as it is.
    """

    def __init__(
        self,
        counts: sparse.csr_matrix,
        covariates: sparse.csr_matrix,
        labels: NDArray[np.int64],
        cells: NDArray[np.int64],
        batch_size: int,
        *,
        seed: int | None,
    ) -> None:
        super().__init__(-(-len(cells) // batch_size))
        self._counts, self._covariates, self._labels, self._cells = counts, covariates, labels, cells
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)
        self._order = np.arange(len(cells))
        self._epochs_drawn = 0

    def of_epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """See :meth:`Batches.of_epoch`."""
        if start == 0:
            torch.empty((), dtype=torch.int64).random_()  # as a `DataLoader` does, whose results documented numbers are
        while self._generator is not None and self._epochs_drawn <= epoch:
            self._order = torch.randperm(len(self._cells), generator=self._generator).numpy()
            self._epochs_drawn += 1
        for cells in np.array_split(self._cells[self._order], max(len(self), 1))[start:]:
            own = np.array_split(cells, n_processes())[own_number()]
            yield as_batch(self._counts[own], self._covariates[own], self._labels[own])


class CountsDataModule(LightningDataModule):
    """Batches of sparse counts."""

    def __init__(self, split: Split, train: Batches, validation: Batches) -> None:
        super().__init__()
        self.train_idx, self.val_idx = split.train, split.validation
        self.test_idx = np.array([], dtype=np.int64)
        self.n_train, self.n_val = len(split.train), len(split.validation)
        self._train, self._validation = train, validation

    @property
    def n_batches(self) -> int:
        """Training batches per epoch."""
        return len(self._train)

    def train_dataloader(self) -> Batches:
        """Shuffled again in every epoch."""
        return self._train

    def val_dataloader(self) -> Batches:
        """In order."""
        return self._validation

    def on_after_batch_transfer(self, batch: Batch, _index: int) -> Batch:
        """Make counts dense where they are now, unless the network needs only those that are stored."""
        counts, covariates, labels = batch
        plan: Any = self.trainer.lightning_module if self.trainer else None
        return counts if plan is not None and plan.takes_sparse(counts) else _dense(counts), covariates, labels


def _dense(counts: Tensor) -> Tensor:
    """The same numbers as a dense tensor; on a processor SciPy takes a tenth of PyTorch's time."""
    if counts.device.type != "cpu":
        return counts.to_dense()
    arrays = counts.values().numpy(), counts.col_indices().numpy(), counts.crow_indices().numpy()
    return torch.from_numpy(sparse.csr_matrix(arrays, shape=tuple(counts.shape)).toarray())


def as_batch(counts: sparse.csr_matrix, covariates: sparse.csr_matrix, labels: NDArray[np.int64]) -> Batch:
    """Batch of some cells."""
    return to_sparse_tensor(counts), torch.from_numpy(covariates.toarray()), torch.from_numpy(labels)


def to_sparse_tensor(block: sparse.csr_matrix) -> Tensor:
    """A float32 CSR tensor of a block."""
    values = np.asarray(block.data, dtype=np.float32)
    return csr_tensor(torch.from_numpy(block.indptr), torch.from_numpy(block.indices), torch.from_numpy(values), block.shape)
