"""Sequencing depth of the cells that a model has learned from, with which that of a query is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import ModelFormatError

_PREFIX = "depth."
_N_QUANTILES = 101


@dataclass(frozen=True, eq=False)
class Depth:
    """Counts and detected genes of the training cells, over the genes of the model."""

    counts: NDArray[np.float32]
    """Quantiles of the sum of counts of a cell, from 0 to 100 %, `(101,)`; `(0,)` where the reference had no counts."""
    detected: NDArray[np.float32]
    """The same of the number of genes that a cell shows, `(101,)`."""
    mean_counts: NDArray[np.float32]
    """Mean counts of each gene, or what is proportional to them, `(n_genes,)`."""
    mean_detected: NDArray[np.float32]
    """Fraction of the cells that show each gene, `(n_genes,)`."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, n_genes: int) -> Self | None:
        """Read what :meth:`to_arrays` gave; `None` for a model that keeps none.

        Raises
        ------
        ModelFormatError
            If the arrays are incomplete or do not fit the model.
        """
        found = {name.removeprefix(_PREFIX): values for name, values in arrays.items() if name.startswith(_PREFIX)}
        if not found:
            return None
        of_cells, of_genes = (_N_QUANTILES,), (n_genes,)
        shapes = {"counts": [(0,), of_cells], "detected": [of_cells], "mean_counts": [of_genes], "mean_detected": [of_genes]}
        for name, known in shapes.items():
            values = found.get(name)
            if values is None or values.shape not in known or not (np.isfinite(values).all() and (values >= 0).all()):
                raise ModelFormatError(
                    f"What the model keeps of the depth of its training cells (`{name}`) was changed. Copy the complete model again."
                )
        return cls(**{name: found[name].astype(np.float32) for name in shapes})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays to store with the model."""
        return {f"{_PREFIX}{name}": values for name, values in vars(self).items()}

    def expected_counts(self, found: NDArray[np.bool_]) -> float | None:
        """Median sum of counts of a training cell over some of the genes; `None` where the reference had no counts.

        Parameters
        ----------
        found
            Genes of the model that the data has, `(n_genes,)`.
        """
        return None if not len(self.counts) else _median(self.counts) * _share(self.mean_counts, found)

    def expected_detected(self, found: NDArray[np.bool_]) -> float:
        """Median number of genes that a training cell shows among some of the genes; parameters as for :meth:`expected_counts`."""
        return _median(self.detected) * _share(self.mean_detected, found)


class DepthSums:
    """Depth of a reference of any size, which goes through block by block.

    Parameters
    ----------
    n_genes
        Genes of the model.
    """

    def __init__(self, n_genes: int) -> None:
        self._counts, self._shown = np.zeros(n_genes), np.zeros(n_genes)
        self._of_cells: list[NDArray[np.float32]] = []
        self._detected: list[NDArray[np.int32]] = []
        self._are_counts = True

    def add(self, values: sparse.csr_matrix) -> None:
        """Add cells.

        Parameters
        ----------
        values
            Counts, or values proportional to them, `(n_obs, n_genes)`.
        """
        shown = values.data > 0
        n_genes = len(self._counts)
        self._counts += np.bincount(values.indices, weights=values.data, minlength=n_genes)
        self._shown += np.bincount(values.indices[shown], minlength=n_genes)
        self._of_cells.append(np.asarray(values.sum(axis=1), dtype=np.float32).ravel())
        cells = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))[shown]
        self._detected.append(np.bincount(cells, minlength=values.shape[0]).astype(np.int32))
        self._are_counts &= bool((values.data == np.round(values.data)).all())

    def depth(self) -> Depth | None:
        """Depth of the cells that were added; `None` where there are none."""
        n_cells = sum(map(len, self._detected))
        if not n_cells:
            return None
        levels = np.linspace(0, 1, _N_QUANTILES)
        counts, detected = (np.quantile(np.concatenate(each), levels) for each in (self._of_cells, self._detected))
        return Depth(
            counts.astype(np.float32) if self._are_counts else np.zeros(0, dtype=np.float32),
            detected.astype(np.float32),
            (self._counts / n_cells).astype(np.float32),
            (self._shown / n_cells).astype(np.float32),
        )


def _median(quantiles: NDArray[np.floating]) -> float:
    return float(quantiles[_N_QUANTILES // 2])


def _share(of_genes: NDArray[np.floating], found: NDArray[np.bool_]) -> float:
    total = float(of_genes.sum(dtype=np.float64))
    return float(of_genes[found].sum(dtype=np.float64)) / total if total > 0 else 0.0
