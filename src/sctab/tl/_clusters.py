"""Clusters of cells, where a dataset has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from sctab.errors import KeyNotFoundError, Parameter, place, require
from sctab.tl._result import latent_key

_N_NEIGHBOURS = 15
_RESOLUTION = 1.0


def clusters_of(adata: AnnData, key_added: str) -> tuple[pd.Categorical, str]:
    """Leiden clusters of all cells, and a phrase on what they were built from. Nothing is written.

    They are built from the graph of neighbours that is there; else from neighbours among the latents of the annotation, or else in `X_pca`.

    Raises
    ------
    KeyNotFoundError
        If there is nothing to build them from.
    MissingDependencyError
        If `igraph` is not installed.
    """
    latent = latent_key(key_added)
    if "connectivities" in adata.obsp:
        graph, source = adata.obsp["connectivities"], "the neighbours in `obsp['connectivities']`"
        kept = np.ones(adata.n_obs, dtype=bool)
    elif found := [key for key in (latent, "X_pca") if key in adata.obsm]:
        values = np.asarray(adata.obsm[found[0]])
        kept = np.isfinite(values).all(axis=1)
        source = f"{_N_NEIGHBOURS} neighbours in `obsm[{found[0]!r}]`"
        require("igraph", extra="cluster")
        graph = _neighbours(values[kept])
    else:
        raise KeyNotFoundError(
            "No ",
            Parameter("groups"),
            " are given, and there is nothing to build clusters from: ",
            place("obs"),
            f" has neither `leiden` nor `louvain`, there are no neighbours, and neither `{latent}` nor `X_pca` is in ",
            place("obsm"),
            ". Cluster the cells with `scanpy.pp.pca`, `scanpy.pp.neighbors` and `scanpy.tl.leiden`, or name a column.",
        )
    require("igraph", extra="cluster")
    cells = AnnData(obs=pd.DataFrame(index=adata.obs_names[kept]))
    sc.tl.leiden(cells, _RESOLUTION, adjacency=graph, flavor="igraph", n_iterations=2, directed=False, random_state=0)
    codes = np.full(adata.n_obs, -1)
    clusters = cells.obs["leiden"].cat
    codes[kept] = clusters.codes
    return pd.Categorical.from_codes(codes, categories=clusters.categories), f"Leiden at resolution {_RESOLUTION:g} on {source}"


def _neighbours(values: Any) -> Any:
    """Graph of neighbours as scanpy makes it, `(n_obs, n_obs)`."""
    cells = AnnData(obsm={"X": values})
    sc.pp.neighbors(cells, n_neighbors=min(_N_NEIGHBOURS, cells.n_obs - 1), use_rep="X", random_state=0)
    return cells.obsp["connectivities"]
