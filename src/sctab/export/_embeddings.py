"""Embeddings that a portal shows: those of the data, or one that is computed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Normalization, normalise, principal_components
from sctab.errors import InputValueError, SctabError
from sctab.export._counts import ExportedCounts
from sctab.get import embedding
from sctab.io import DataFile

_KEY = re.compile(r"X_[a-zA-Z][a-zA-Z0-9_.-]*")
_RESERVED = "x_spatial"
_MOST_FOR_UMAP = 10_000
"""Cells up to which a UMAP is computed; of more, two principal components of the expression."""
_FEWEST = 3


def find_embeddings(
    adata: AnnData, cells: Any, counts: ExportedCounts, *, key_added: str
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Embeddings of the data that can be exported, with one in two dimensions, and notes.

    Parameters
    ----------
    adata
        Results of the annotation.
    cells
        What has the matrices and embeddings of the same cells: an AnnData or a `DataFile`.
    counts
        Their counts.
    key_added
        Prefix of the annotation.

    Raises
    ------
    InputValueError
        If there is none, and too few cells to compute one.
    """
    found, left_out = {}, []
    for key, stored in _stored(cells).items():
        if not key.startswith("X_") or not _KEY.fullmatch(key) or key.lower() == _RESERVED:
            continue
        values = _as_array(stored, adata.n_obs)
        if values is None:
            left_out.append(key)
        else:
            found[key] = values
    notes = [f"Embeddings with values that are not numbers were left out: {', '.join(left_out)}."] if left_out else []
    if any(values.shape[1] == 2 for values in found.values()):
        return found, notes
    key, values, how = _computed(adata, cells, counts, found, key_added)
    return {key: values, **found}, [*notes, how]


def _stored(cells: Any) -> Mapping[str, Any]:
    if not isinstance(cells, DataFile):
        return {str(key): cells.obsm[key] for key in cells.obsm}
    group = cells.group.get("obsm", {})
    return {key: group[key] for key in group}


def _as_array(stored: Any, n_obs: int) -> NDArray[Any] | None:
    """A dense array of numbers with two columns or more, without infinities; `None` for anything else."""
    if hasattr(stored, "keys") or hasattr(stored, "columns") or sparse.issparse(stored) or getattr(stored, "ndim", 0) != 2:
        return None
    if stored.shape[0] != n_obs or stored.shape[1] < 2 or stored.dtype.kind not in "iuf":
        return None
    values = np.asarray(stored[...])
    return values if not np.isinf(values).any() and not np.isnan(values).all() else None


def _computed(
    adata: AnnData, cells: Any, counts: ExportedCounts, found: Mapping[str, NDArray[Any]], key_added: str
) -> tuple[str, NDArray[Any], str]:
    """A new embedding, its key, and a note."""
    if adata.n_obs <= _MOST_FOR_UMAP:
        try:
            made = embedding(adata, cells, key_added=key_added, max_computed=_MOST_FOR_UMAP)
        except SctabError:
            made = None
        if made is not None and len(made.rows) == adata.n_obs and "X_umap" not in found:
            return (
                "X_umap",
                made.coordinates.astype(np.float32),
                f"The data has no embedding in two dimensions: a UMAP of `{made.source}` was computed.",
            )
    if adata.n_obs < _FEWEST or len(counts.ids) < _FEWEST:
        raise InputValueError(
            f"The format needs an embedding in two dimensions, and {adata.n_obs} cells are too few to compute one. Add one to `obsm`."
        )

    def blocks() -> Any:
        return (normalise(block, Normalization()) for block in counts.blocks())

    directions = principal_components(blocks, len(counts.ids), 2, rng=np.random.default_rng(0))
    values = np.concatenate([directions.project(block) for block in blocks()])
    key = next(key for key in ("X_pca", "X_pca_2d", "X_pca_sctab") if key not in found)
    return (
        key,
        values,
        f"The data has no embedding in two dimensions: two principal components were computed and written as `{key}`.",
    )
