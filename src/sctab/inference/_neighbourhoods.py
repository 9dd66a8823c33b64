"""Neighbourhoods among the cells of a query, learned on some of them, for which memory does not grow with the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from sctab.io import compiled

N_NEIGHBOURS = 20
"""Cells of a neighbourhood, its landmark included."""
MOST_CELLS = 10_000
"""Cells that neighbourhoods are learned on."""
_MOST_LANDMARKS = 2_000
_MOST_GENES = 500
_N_COMPONENTS = 20
_ROWS_AT_A_TIME = 1_024
_CELLS_AT_A_TIME = 128
"""Cells whose distances to all landmarks stay in the cache of a core."""


@dataclass(frozen=True)
class Neighbourhoods:
    """Landmarks in the principal components of a query. A cell belongs to the nearest one.

    Landmarks are cells drawn at random from the cells that were learned on: all of them in a small query, so that each cell then has its
    own neighbourhood. Principal components are those of the genes that vary most in the query, whatever the model looks at: cells that the
    model cannot tell apart can be apart in them.

    Products of matrices are those of PyTorch, which uses one thread where its caller says so: that of NumPy has threads of its own, which
    cost more processor time than they save for products of this size.
    """

    rows: NDArray[np.int32]
    """Row of the loadings for each input of the model, -1 for none, `(n_inputs,)`."""
    loadings: NDArray[np.float32]
    """`(n_genes, n_components)`."""
    landmarks: NDArray[np.float32]
    """`(n_landmarks, n_components)`."""

    @classmethod
    def learn(cls, values: sparse.csr_matrix, *, n_genes: int, seed: int = 0) -> Self:
        """Learn principal components, and draw landmarks.

        Parameters
        ----------
        values
            Input of the model for some cells, `(n_cells, n_inputs)`, at least one.
        n_genes
            Genes among the inputs, which come first; the others, covariates, are left out.
        seed
            Seed of the landmarks.
        """
        genes = _most_variable(values, n_genes)
        dense = values[:, genes].toarray()
        dense -= dense.mean(axis=0)
        centred = torch.from_numpy(dense)
        vectors = torch.linalg.eigh((centred.T @ centred).double()).eigenvectors.numpy()  # ascending
        loadings = np.ascontiguousarray(vectors[:, ::-1][:, :_N_COMPONENTS], dtype=np.float32)
        rows = np.full(values.shape[1], -1, dtype=np.int32)
        rows[genes] = np.arange(len(genes))
        n_cells = values.shape[0]
        chosen = np.sort(np.random.default_rng(seed).permutation(n_cells)[:_MOST_LANDMARKS])
        return cls(rows, loadings, _project(values[chosen], rows, loadings))

    def __len__(self) -> int:
        return len(self.landmarks)

    def project(self, values: sparse.csr_matrix) -> NDArray[np.float32]:
        """Principal components of cells, not centred, `(n_obs, n_components)`.

        Parameters
        ----------
        values
            Input of the model, `(n_obs, n_inputs)`.
        """
        return _project(values, self.rows, self.loadings)

    def assign(self, values: sparse.csr_matrix) -> NDArray[np.int32]:
        """The nearest landmark of each cell, `(n_obs,)`.

        Parameters
        ----------
        values
            Input of the model, `(n_obs, n_inputs)`.
        """
        components = self.project(values)
        nearest = np.empty(len(components), dtype=np.int32)
        for start in range(0, len(components), _CELLS_AT_A_TIME):
            part = slice(start, start + _CELLS_AT_A_TIME)
            nearest[part] = _closeness(components[part], self.landmarks).argmax(axis=1)
        return nearest

    def mean(self, values: sparse.csr_matrix, expression: sparse.csr_matrix) -> NDArray[np.float64]:
        """Mean expression of the cells nearest to each landmark, `(n_landmarks, n_vars)`.

        Parameters
        ----------
        values
            Input of the model for the cells that were learned on, `(n_cells, n_inputs)`.
        expression
            What to average, `(n_cells, n_vars)`.
        """
        n_cells = values.shape[0]
        n_neighbours = min(N_NEIGHBOURS, n_cells)
        components = self.project(values)
        means = np.empty((len(self), expression.shape[1]))
        for start in range(0, len(self), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            closeness = _closeness(self.landmarks[part], components)
            members = np.argpartition(-closeness, n_neighbours - 1, axis=1)[:, :n_neighbours]
            n_landmarks = len(members)
            averaging = sparse.csr_matrix(
                (
                    np.full(members.size, 1 / n_neighbours, dtype=np.float64),
                    members.ravel(),
                    np.arange(0, members.size + 1, n_neighbours),
                ),
                shape=(n_landmarks, n_cells),
            )
            means[part] = (averaging @ expression).toarray()
        return means


def _closeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the squared distance of each point of `a` to each point of `b`, negative, and without the part that is equal for all `b`."""
    points = torch.from_numpy(b)
    return torch.addmm(-(points**2).sum(dim=1) / 2, torch.from_numpy(a), points.T).numpy()


def _most_variable(values: sparse.csr_matrix, n_genes: int) -> NDArray[np.intp]:
    """Genes with the largest variance, in order of their positions. Constant ones are left out: no decomposition converges on many."""
    n_cells = values.shape[0]
    sums, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for start in range(0, n_cells, _ROWS_AT_A_TIME):
        part = slice(values.indptr[start], values.indptr[min(start + _ROWS_AT_A_TIME, n_cells)])
        data = values.data[part].astype(np.float64)
        sums += np.bincount(values.indices[part], weights=data, minlength=len(sums))
        squares += np.bincount(values.indices[part], weights=data**2, minlength=len(sums))
    variance = (squares / n_cells - (sums / n_cells) ** 2)[:n_genes]
    n_kept = max(1, min(_MOST_GENES, int((variance > 0).sum())))
    return np.sort(np.argsort(-variance, kind="stable")[:n_kept])


def _project(values: sparse.csr_matrix, rows: NDArray[np.int32], loadings: NDArray[np.float32]) -> NDArray[np.float32]:
    components = np.zeros((values.shape[0], loadings.shape[1]), dtype=np.float32)
    _add_projections(values.indptr, values.indices, values.data, rows, loadings, components)
    return components


@compiled
def _add_projections(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    rows: NDArray[np.int32],
    loadings: NDArray[np.float32],
    components: NDArray[np.float32],
) -> None:
    """Add the loadings of the genes of each cell, times their values."""
    n_components = components.shape[1]
    for i in range(components.shape[0]):
        for k in range(indptr[i], indptr[i + 1]):
            row = rows[indices[k]]
            if row < 0:
                continue
            value = data[k]
            for j in range(n_components):
                components[i, j] += value * loadings[row, j]
