"""Training data of an AnnData, in memory or backed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import LearnedMatrix
from sctab.io import BLOCK_SIZE, require_sound_cells
from sctab.keys import SCVI_KEYS
from sctab.sampling import Split, split_cells
from sctab.train._batches import CountsDataModule, MemoryBatches
from sctab.train._reference import TrainingData
from sctab.train._settings import CommonSettings


@dataclass(frozen=True)
class MemoryData(TrainingData):
    """An AnnData, in memory or backed."""

    blocks: Callable[[int], Iterator[sparse.csr_matrix]] = field(repr=False)
    """Source of :meth:`read`."""
    content: Callable[[], str] = field(repr=False)
    """Gives the hash of the content of the reference."""
    learned: LearnedMatrix | None = None
    """Source of :attr:`matrix`."""

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
        # The hash is that of the reference, computed once; the sum reveals that the matrix was changed after it was computed.
        return {"content": self.content(), "sum": float(self.counts.sum(dtype=np.float64))}

    def split(self, settings: CommonSettings) -> Split:
        """Split the labelled cells by donor or stratified by type."""
        return split_cells(
            self.labels, self.donors, train_size=settings.train_size, by=settings.validation_split, rng=settings.split_rng
        )

    def batches(self, split: Split, batch_size: int, seed: int) -> CountsDataModule:
        """Batches from memory."""

        def of(cells: NDArray[np.int64], shuffle: int | None) -> MemoryBatches:
            return MemoryBatches(self.counts, self.covariates, self.labels, cells, batch_size, seed=shuffle)

        return CountsDataModule(split, of(split.train, seed), of(split.validation, None))


def own_copy(adata: AnnData, cells: NDArray[np.int64]) -> AnnData:
    """Some cells of a reference, in memory, that scvi-tools does not take for the reference itself."""
    require_sound_cells(adata)
    copy = adata[cells].to_memory()
    if adata.isbacked:
        copy = copy.copy()  # what was read through a view holds on to the open file, and cannot go to another process
    for key in SCVI_KEYS:
        copy.uns.pop(key, None)
    return copy
