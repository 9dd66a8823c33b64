"""Representative subsets of cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import (
    Normalization,
    Source,
    gene_expression,
    normalise,
    principal_components,
    require_anndata,
    require_writable,
    target_of,
)
from sctab.errors import Parameter, SettingError, listing, missing_key
from sctab.io import row_blocks
from sctab.keys import DEFAULT_KEY_ADDED, OBS_SKETCH, check_key_added
from sctab.pp._cells import CORESETS, codes, mask, open_source
from sctab.sampling import geometric_sketch, subsample as subsample_types

_N_COMPONENTS = 50
_SKETCHES = ("geosketch", "stratified", "balanced", "k-centre", "herding")


def sketch(
    adata: AnnData,
    size: float,
    *,
    method: Literal["geosketch", "stratified", "balanced", "k-centre", "herding"] = "geosketch",
    labels_key: str | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Choose a small representative subset of cells.

    Parameters
    ----------
    adata
        Cells to choose from, `(n_obs, n_vars)`.
    size
        Number of cells as an integer, or a fraction of them as a float up to 1.0.
    method
        `"geosketch"` samples evenly across the occupied space, which keeps rare states (extra `sketch`). `"stratified"` samples at random
        and keeps the proportions of types, `"balanced"` samples equally many cells per type. `"k-centre"` minimises the distance of every
        cell to its nearest chosen cell, `"herding"` preserves the means; both choose equally many cells per type if `labels_key` is given.
        See :func:`~sctab.sampling.geometric_sketch`, :func:`~sctab.sampling.k_centre` and :func:`~sctab.sampling.herding`.
    labels_key
        Column of `adata.obs` with cell types, which all but geosketch look at. Cells without one (NaN) are not chosen.
    use_rep
        Key of `adata.obsm` in which cells are near or far, such as `"X_sctab"`. By default 50 principal components of log1p of 10,000
        counts per cell.
    layer
        Layer to find the components of, or `"X"` or `"raw"`; by default the matrix that fits best.
    key_added
        Prefix of the result keys.
    seed
        Decides what is drawn at random; `"k-centre"` and `"herding"` draw nothing.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Sets the following fields:

    `adata.obs['{key_added}_sketch']` : bool
        Whether the cell was chosen.
    `adata.uns['{key_added}_sketch']` : dict
        How they were chosen.

    Raises
    ------
    KeyNotFoundError
        If a column, a layer or a key of `obsm` not found.
    SettingError
        If the method is unknown, if it needs labels and has none, or if there are fewer cells than requested.
    InputValueError
        If components are needed and no matrix holds counts or values convertible to counts.
    MissingDependencyError
        If geosketch is not installed.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sctab.pp.sketch(adata, 0.1, use_rep="X_pca")
    >>> int(adata.obs["sctab_sketch"].sum())
    70
    >>> sctab.pp.sketch(adata, 60, method="balanced", labels_key="bulk_labels")
    >>> adata[adata.obs["sctab_sketch"]].obs["bulk_labels"].value_counts().unique().tolist()
    [6]
    """
    check_key_added(key_added)
    require_anndata(adata)
    require_writable(adata, copy=copy)
    if method not in _SKETCHES:
        raise SettingError(Parameter("method", method), f" is not known. Choose one of {listing(_SKETCHES)}.")
    if labels_key is None and method in {"stratified", "balanced"}:
        raise SettingError(Parameter("method", method), " needs to know the types. Name the column of `adata.obs` as `labels_key`.")
    if labels_key is not None and method == "geosketch":
        raise SettingError(
            Parameter("method", "geosketch"), " does not look at types. Omit `labels_key`, or choose another method."
        )
    labels = np.zeros(adata.n_obs, dtype=np.int64) if labels_key is None else codes(adata, labels_key, "labels_key")
    n = _number(size, int((labels >= 0).sum()))
    rng = np.random.default_rng(seed)
    space = ""
    if method == "stratified" or method == "balanced":
        chosen = subsample_types(labels, n, how=method, rng=rng)
    else:
        embedding, space = _embedding(adata, use_rep, layer, seed)
        chosen = geometric_sketch(embedding, n, rng=rng) if method == "geosketch" else CORESETS[method](embedding, labels, n)

    target = target_of(adata, copy=copy)
    target.obs[f"{key_added}_{OBS_SKETCH}"] = mask(chosen, adata.n_obs)
    target.uns[f"{key_added}_{OBS_SKETCH}"] = {
        "method": method,
        "n_cells": len(chosen),
        "labels_key": labels_key or "",
        "space": space,
        "seed": seed,
    }
    return target if copy else None


def _number(size: float, n_available: int) -> int:
    """Number of cells that a number or a fraction asks for."""
    if isinstance(size, (int, np.integer)):
        return int(size)
    if not 0 < size <= 1:
        raise SettingError(Parameter("size", size), " must be a fraction above 0 and up to 1.0, or an integer number of cells.")
    return max(1, round(size * n_available))


def _embedding(adata: AnnData, use_rep: str | None, layer: str | None, seed: int) -> tuple[NDArray[np.floating], str]:
    """Coordinates of cells, `(n_obs, n_components)`, and the name of their space."""
    if use_rep is None:
        source = open_source(adata, layer)
        return components_of(source, seed), f"principal components of {source.name}"
    if use_rep not in adata.obsm:
        raise missing_key("use_rep", use_rep, adata.obsm, where="obsm")
    return np.asarray(adata.obsm[use_rep]), use_rep


def components_of(source: Source, seed: int) -> NDArray[np.float32]:
    """Principal components of log1p of 10,000 counts per cell; the matrix is read in blocks and stays sparse."""
    is_gene = gene_expression(source.var)

    def blocks() -> Iterator[sparse.csr_matrix]:
        for block in row_blocks(source.matrix, name=source.name):
            yield normalise(source.content.to_linear(block)[:, is_gene], Normalization())

    n_genes = int(is_gene.sum())
    found = principal_components(blocks, n_genes, min(_N_COMPONENTS, n_genes), rng=np.random.default_rng(seed))
    return np.concatenate([found.project(block) for block in blocks()])
