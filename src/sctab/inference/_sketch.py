"""A few cells of its reference that a model keeps, to learn from again where a query is unlike the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import ModelFormatError
from sctab.inference._reference_arrays import Arrays
from sctab.sampling import subsample

_INDPTR, _GENES, _VALUES, _LABELS = (f"sketch.{name}" for name in ("indptr", "genes", "values", "labels"))
_NAMES = (_INDPTR, _GENES, _VALUES, _LABELS)
DAMAGED = "The sketch of the reference that is stored with the model is damaged: {}. Copy the model again."


@dataclass(frozen=True)
class ReferenceSketch:
    """Cells of a reference, without their names and donors."""

    counts: sparse.csr_matrix
    """Values proportional to counts over the model's genes, `(n_cells, n_genes)`."""
    codes: NDArray[np.int64]
    """Label of each cell, `(n_cells,)`."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Arrays to store with the model, each of the smallest type that holds its values."""
        n_genes = self.counts.shape[1]
        return {
            _INDPTR: self.counts.indptr.astype(np.int64),
            _GENES: self.counts.indices.astype(np.uint16 if n_genes <= 2**16 else np.uint32),
            _VALUES: _smallest(self.counts.data),
            _LABELS: self.codes.astype(np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, n_genes: int, n_labels: int) -> Self | None:
        """Read what :meth:`to_arrays` gave; `None` for a model that keeps no sketch.

        Parameters
        ----------
        arrays
            Those of the model.
        n_genes, n_labels
            Genes and labels of the model.

        Raises
        ------
        ModelFormatError
            If the arrays are not those of this model.
        """
        if not is_sketched(arrays):
            return None
        if missing := [name for name in _NAMES if name not in arrays]:
            raise ModelFormatError(DAMAGED.format(f"it has no `{missing[0]}`"))
        indptr, genes, values, labels = (arrays[name] for name in _NAMES)
        with np.errstate(over="ignore"):  # a number too large for single precision is infinite there
            values = values.astype(np.float32) if values.dtype.kind in "uf" else values
        n_values, n_cells = values.size, labels.size
        is_sound = (
            all(array.ndim == 1 for array in (indptr, genes, values, labels))
            and all(array.dtype.kind in "iu" for array in (indptr, genes, labels))
            and values.dtype == np.float32
            and n_cells > 0
            and len(indptr) == n_cells + 1
            and len(genes) == n_values
            and indptr[0] == 0
            and indptr[-1] == n_values
            and bool((indptr[1:] >= indptr[:-1]).all())  # a difference of unsigned integers is never negative
            and (not n_values or (int(genes.min()) >= 0 and int(genes.max()) < n_genes))
            and bool((labels >= 0).all() and (labels < n_labels).all())
            and bool(np.isfinite(values).all() and (values >= 0).all())
        )
        if not is_sound:
            raise ModelFormatError(DAMAGED.format("it does not fit the genes and labels of the model"))
        counts = sparse.csr_matrix((values, genes.astype(np.int32), indptr.astype(np.int64)), shape=(n_cells, n_genes))
        counts.sum_duplicates()
        return cls(counts, labels.astype(np.int64))

    @property
    def n_bytes(self) -> int:
        """Size of the stored arrays."""
        return sum(array.nbytes for array in self.to_arrays().values())


def is_sketched(arrays: Arrays) -> bool:
    """Return whether a model with these arrays keeps a sketch."""
    return any(name in arrays for name in _NAMES)


def choose_sketch(codes: NDArray[np.integer], n_cells: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose the cells of a sketch: half of them like the reference, half of them as many of each type, as far as it has them.

    Rare types are kept, and so is most of what is known about how frequent types are.

    Parameters
    ----------
    codes
        Label of each cell, `(n_obs,)`; negative where there is none.
    n_cells
        Cells to choose; all where there are no more.
    rng
        Source of randomness.

    Returns
    -------
    Positions of the cells, in ascending order.
    """
    labelled = np.flatnonzero(codes >= 0)
    n_types = len(np.unique(codes[labelled]))
    if len(labelled) <= n_cells:
        return labelled
    n_cells = max(n_cells, n_types)
    first = subsample(codes.astype(np.int64), max(n_cells // 2, n_types), how="balanced", rng=rng)
    rest = np.setdiff1d(labelled, first)
    others = rng.choice(rest, n_cells - len(first), replace=False)
    return np.sort(np.concatenate([first, others]))


def _smallest(values: NDArray[np.floating]) -> NDArray[np.generic]:
    """The same values as 8- or 16-bit integers where they are such, and as single precision otherwise."""
    largest = values.max(initial=0)
    for kind in (np.uint8, np.uint16):
        if largest <= np.iinfo(kind).max and (values == values.astype(kind)).all():
            return values.astype(kind)
    return values.astype(np.float32)
