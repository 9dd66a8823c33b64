"""A map of the cells in the plane: the one that the data has, or one that is computed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from sctab.data import choose_source, principal_components
from sctab.errors import SctabError
from sctab.get._expression import inspect_some, layer_of, log_per_10k
from sctab.io import rows_of
from sctab.keys import OBSM_LATENT_PREFIX

_UMAP = "X_umap"
_COMPONENTS, _NEIGHBOURS, _FEWEST = 30, 15, 10


@dataclass(frozen=True)
class Embedding:
    """Coordinates of some cells."""

    rows: NDArray[np.intp]
    """Numbers of these cells, ascending, `(n_shown,)`."""
    coordinates: NDArray[np.floating]
    """`(n_shown, 2)`."""
    source: str
    """`X_umap`, or what a UMAP was computed from: `X_sctab`, `X_pca` or `expression`."""

    @property
    def is_computed(self) -> bool:
        """Return whether the data had none."""
        return self.source != _UMAP


def embedding(
    adata: AnnData, cells: Any, *, key_added: str, max_cells: int = 50_000, max_computed: int = 10_000, seed: int = 0
) -> Embedding | None:
    """The UMAP of the data, or one of some of its cells where it has none; `None` where there are too few cells or nothing to compute from.

    It is computed from latents of the model, else from principal components, else from the expression.

    Parameters
    ----------
    adata
        Results of an annotation.
    cells
        What has the matrices of the same cells: an AnnData or a `DataFile`.
    key_added
        Prefix of the annotation.
    max_cells, max_computed
        Cells to give, and cells to compute one for; they are spread evenly over the data.
    seed
        Of the computation.
    """
    stored = adata.obsm.get(_UMAP)
    if stored is not None and np.ndim(stored) == 2 and np.shape(stored)[1] >= 2:
        finite = np.flatnonzero(np.isfinite(np.asarray(stored)[:, :2]).all(axis=1))
        if len(finite):
            rows = finite[_spread(len(finite), max_cells)]
            return Embedding(rows, np.asarray(stored)[rows, :2], _UMAP)
    rows = _spread(adata.n_obs, max_computed)
    if len(rows) < _FEWEST:
        return None
    for key in (f"{OBSM_LATENT_PREFIX}{key_added}", "X_pca"):
        if key in adata.obsm:
            values = np.asarray(adata.obsm[key], dtype=np.float32)[rows]
            kept = np.isfinite(values).all(axis=1)
            if kept.sum() >= _FEWEST:
                return Embedding(rows[kept], _umap(values[kept], seed), key)
    components = _components(adata, cells, rows, key_added, seed)
    return None if components is None else Embedding(rows, _umap(components, seed), "expression")


def _spread(n_obs: int, most: int) -> NDArray[np.intp]:
    return np.arange(n_obs) if n_obs <= most else np.linspace(0, n_obs - 1, most).astype(np.intp)


def _components(adata: AnnData, cells: Any, rows: NDArray[np.intp], key_added: str, seed: int) -> NDArray[np.floating] | None:
    """Principal components of the expression of some cells; `None` where no matrix can be read."""
    try:
        matrix = layer_of(str(adata.uns.get(key_added, {}).get("matrix", "")))
        source, _ = choose_source(cells, layer=matrix, inspect=inspect_some)
        ranges = [(int(row), int(row) + 1) for row in rows] if len(rows) < adata.n_obs else [(0, adata.n_obs)]
        values = log_per_10k(source, rows_of(source.matrix, ranges, source.name))
    except SctabError:
        return None
    n_components = min(_COMPONENTS, min(values.shape) - 1)
    if n_components < 2:
        return None
    found = principal_components(lambda: iter([values]), values.shape[1], n_components, rng=np.random.default_rng(seed))
    return found.project(sparse.csr_matrix(values))


def _umap(values: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    with warnings.catch_warnings(action="ignore"):  # of what UMAP could do with TensorFlow
        from umap import UMAP  # its import compiles for seconds

        n_neighbours = min(_NEIGHBOURS, len(values) - 1)
        distances, indices = NearestNeighbors(n_neighbors=n_neighbours).fit(values).kneighbors(values)
        model = UMAP(
            n_neighbors=n_neighbours,
            min_dist=0.3,
            init="pca",
            n_epochs=200,
            precomputed_knn=(indices, distances),
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(model.fit_transform(values))
