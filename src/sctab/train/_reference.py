"""What a model learns from, wherever it lies."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.augmentation import donor_differences
from sctab.data import LearnedMatrix, Normalization, normalise
from sctab.errors import SettingError
from sctab.io import BLOCK_SIZE
from sctab.sampling import Split, balanced_class_weights, split_cells
from sctab.train._batches import CountsDataModule, MemoryBatches
from sctab.train._settings import CommonSettings, TrainingResult


@dataclass(frozen=True)
class TrainingData(ABC):
    """Counts over the model's genes, and what is known of each cell."""

    labels: NDArray[np.int64]
    """Class of each cell, `(n_obs,)`; negative where there is none."""
    donors: NDArray[np.int64] | None
    """Donor of each cell, `(n_obs,)`."""
    n_classes: int
    covariates: sparse.csr_matrix = field(repr=False)
    """What is known of each cell besides its genes, one column per category, `(n_obs, n_categories)`."""
    child_matrix: NDArray[np.bool_] = field(repr=False)
    """Whether the class of the column is that of the row or one of its subtypes, `(n_classes, n_classes)`."""

    @abstractmethod
    def read(self, size: int) -> Iterator[sparse.csr_matrix]:
        """The counts of all cells, in order, in blocks of so many: float32, `(size, n_vars)`."""

    @abstractmethod
    def rows(self, cells: NDArray[np.int64]) -> sparse.csr_matrix:
        """The counts of some cells, in the order that they are asked for, `(len(cells), n_vars)`."""

    @abstractmethod
    def split(self, settings: CommonSettings) -> Split:
        """Which cells to learn from and which to validate on."""

    @abstractmethod
    def batches(self, split: Split, batch_size: int, seed: int) -> CountsDataModule:
        """Batches for training and for validation."""

    def donor_differences(self, split: Split, normalization: Normalization, seed: int) -> sparse.csr_matrix:
        """Vectors of :func:`sctab.augmentation.donor_differences` from the training cells.

        Raises
        ------
        SettingError
            When donors are not known, or no type is in two of them.
        """
        if self.donors is None:
            raise SettingError("`augment=True` needs donors. Pass `donor_key` to `setup_anndata`, or leave `augment` out.")
        found = donor_differences(
            lambda cells: normalise(self.rows(split.train[cells]), normalization),
            self.labels[split.train],
            self.donors[split.train],
            rng=np.random.default_rng(seed),
        )
        if not found.shape[0]:
            raise SettingError("`augment=True` needs a cell type of which two training donors have cells. Leave `augment` out.")
        return found

    @property
    def origin(self) -> dict[str, Any]:
        """Where it is from, for `model.json`."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this data from other data, for a training that goes on: a hash of its content."""
        donors = [] if self.donors is None else [self.donors]
        covariates = self.covariates.tocsr()
        of_cells = content_hash(self.labels, *donors, covariates.indptr, covariates.indices)
        return self.origin | {"n_obs": len(self.labels), "cells": of_cells, **self._identity_of_counts}

    @property
    @abstractmethod
    def _identity_of_counts(self) -> dict[str, Any]:
        """What :attr:`origin` does not tell of the counts."""

    @property
    def matrix(self) -> LearnedMatrix | None:
        """Which matrix it is; `None` where there are many."""
        return None

    @cached_property
    def unlooked_subtypes(self) -> NDArray[np.bool_]:
        """:attr:`child_matrix` without the subtypes that were told apart: most cells of the label are of donors who have them too.

        Who called some cells of a donor "monocyte" and others "non-classical monocyte" did not mean the latter by the former. Without
        donors nothing is known of who looked closer, and labels are taken to exclude each other.
        """
        of_themselves = np.eye(self.n_classes, dtype=bool)
        if self.donors is None:
            return of_themselves
        known = self.labels >= 0
        counts = np.zeros((int(self.donors.max()) + 1, self.n_classes))
        np.add.at(counts, (self.donors[known], self.labels[known]), 1)
        beside = counts.T @ (counts > 0)  # cells of the label in donors who have the other one
        return (self.child_matrix & (beside <= counts.sum(axis=0)[:, None] / 2)) | of_themselves

    def class_weights(self, split: Split) -> NDArray[np.float32]:
        """Weight of each class by how many training cells it has, `(n_classes,)`."""
        return balanced_class_weights(self.labels[split.train], self.n_classes)


@dataclass(frozen=True)
class ReferenceData(TrainingData):
    """An AnnData, in memory or backed."""

    blocks: Callable[[int], Iterator[sparse.csr_matrix]] = field(repr=False)
    """What :meth:`read` gives."""
    learned: LearnedMatrix | None = None
    """What :attr:`matrix` gives."""

    @property
    def matrix(self) -> LearnedMatrix | None:
        """The matrix of the AnnData."""
        return self.learned

    def read(self, size: int) -> Iterator[sparse.csr_matrix]:
        """The counts of all cells, from where they are."""
        return self.blocks(size)

    @cached_property
    def counts(self) -> sparse.csr_matrix:
        """All counts in memory, `(n_obs, n_vars)`; what learns block by block leaves them where they are."""
        return sparse.vstack(list(self.read(BLOCK_SIZE)), format="csr").astype(np.float32, copy=False)

    def rows(self, cells: NDArray[np.int64]) -> sparse.csr_matrix:
        """Counts of some cells, from memory."""
        return self.counts[cells]

    @property
    def _identity_of_counts(self) -> dict[str, Any]:
        counts = self.counts
        if not counts.has_canonical_format or (counts.data == 0).any():
            counts = counts.copy()
            counts.sum_duplicates()
            counts.eliminate_zeros()
        return {"counts": content_hash(counts.indptr, counts.indices, counts.data)}

    def split(self, settings: CommonSettings) -> Split:
        """Split the cells as :func:`sctab.sampling.split_cells` does."""
        return split_cells(
            self.labels, self.donors, train_size=settings.train_size, by=settings.validation_split, rng=settings.split_rng
        )

    def batches(self, split: Split, batch_size: int, seed: int) -> CountsDataModule:
        """Batches from memory."""

        def of(cells: NDArray[np.int64], shuffle: int | None) -> MemoryBatches:
            return MemoryBatches(self.counts, self.covariates, self.labels, cells, batch_size, seed=shuffle)

        return CountsDataModule(split, of(split.train, seed), of(split.validation, None))


def content_hash(*arrays: NDArray[Any]) -> str:
    """SHA-256 of the numbers in some arrays, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        numbers = np.ascontiguousarray(array, dtype=np.int64 if array.dtype.kind in "iub" else np.float32)
        digest.update(f"{numbers.dtype}{numbers.shape}".encode())
        digest.update(numbers.data)
    return digest.hexdigest()


def summarise(
    settings: CommonSettings, data: TrainingData, result: TrainingResult, history: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """What `model.json` keeps of a training: settings, size of the reference, split, outcome and history."""
    matrix = {} if data.matrix is None else {"matrix": data.matrix.to_json()}
    return (
        data.origin
        | matrix
        | {
            "settings": asdict(settings),
            "n_obs": len(data.labels),
            "n_labeled": int((data.labels >= 0).sum()),
            "cells_per_label": np.bincount(data.labels[data.labels >= 0], minlength=data.n_classes).tolist(),
            "n_donors": None if data.donors is None else len(np.unique(data.donors)),
            "validation": {
                "by": result.split.by,
                "n_train": len(result.split.train),
                "n_validation": len(result.split.validation),
                "macro_f1": result.best_macro_f1,
            },
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "history": {name: [float(value) for value in values.iloc[:, 0]] for name, values in history.items()},
        }
    )
