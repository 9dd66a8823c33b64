"""Batches of counts for a network that trains on them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sctab.model._settings import TrainingData
from sctab.sampling import Split


class CountsDataModule(LightningDataModule):
    """Batches of sparse counts, made dense on the device that trains on them."""

    def __init__(self, data: TrainingData, split: Split, batch_size: int, seed: int) -> None:
        super().__init__()
        self.rows = _Rows(data)
        self.train_idx = split.train
        self.val_idx = split.validation
        self.test_idx = np.array([], dtype=np.int64)
        self.n_train, self.n_val = len(split.train), len(split.validation)
        self._batches = _Batches(split.train, batch_size, torch.Generator().manual_seed(seed))
        self._validation_batches = _Batches(split.validation, batch_size, None)

    @property
    def n_batches(self) -> int:
        """Training batches per epoch."""
        return len(self._batches)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew in every epoch."""
        return DataLoader(self.rows, sampler=self._batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order."""
        return DataLoader(self.rows, sampler=self._validation_batches, batch_size=None)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Make the counts dense where they are now."""
        counts, covariates, labels = batch
        return counts.to_dense(), covariates, labels


class _Rows(Dataset[tuple[Tensor, Tensor, Tensor]]):
    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def __getitem__(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        return (
            to_sparse_tensor(self.data.counts[rows]),
            torch.from_numpy(self.data.covariates[rows].toarray()),
            torch.from_numpy(self.data.labels[rows]),
        )


class _Batches(Sampler[NDArray[np.int64]]):
    """Batches of nearly equal size: a last batch of one cell would have no variance to normalise by."""

    def __init__(self, cells: NDArray[np.int64], batch_size: int, shuffle: torch.Generator | None) -> None:
        self.cells, self.shuffle = cells, shuffle
        self._n_batches = -(-len(cells) // batch_size)

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        cells = self.cells
        if self.shuffle is not None:
            cells = cells[torch.randperm(len(cells), generator=self.shuffle).numpy()]
        return iter(np.array_split(cells, self._n_batches))


def to_sparse_tensor(block: sparse.csr_matrix) -> Tensor:
    """A float32 CSR tensor of a block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(block.indptr.astype(np.int64)),
            torch.from_numpy(block.indices.astype(np.int64)),
            torch.from_numpy(block.data.astype(np.float32)),
            size=block.shape,
            check_invariants=False,  # SciPy has made it
        )
