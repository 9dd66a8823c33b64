"""Initial clusters of cells in a latent: a given number by k-means, or communities of a graph of neighbours."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import SparseEfficiencyWarning
from sklearn.cluster import KMeans

from sctab.errors import Parameter, SettingError, require
from sctab.train._cluster_settings import Community

_N_STARTS = 20


def k_means(latent: NDArray[np.floating], n_clusters: int, *, seed: int) -> NDArray[np.int64]:
    """Cluster of each cell, `(n_obs,)`, by k-means from 20 starts.

    Parameters
    ----------
    latent
        `(n_obs, n_latent)`.
    n_clusters
        Their number.
    seed
        Random seed.

    Raises
    ------
    SettingError
        If there are fewer different cells than clusters.
    """
    if (n_different := len(np.unique(latent, axis=0))) < n_clusters:
        raise SettingError(
            Parameter("n_clusters", n_clusters),
            f" is more than there are different cells: the latent of {len(latent):,} cells has {n_different:,} different values. Provide "
            "a smaller number.",
        )
    found = KMeans(n_clusters, n_init=_N_STARTS, random_state=seed).fit_predict(np.asarray(latent, dtype=np.float64))
    return found.astype(np.int64)


def communities(
    latent: NDArray[np.floating], *, n_neighbors: int, resolution: float, community: Community, seed: int
) -> NDArray[np.int64]:
    """Cluster of each cell, `(n_obs,)`, by communities of the graph of nearest neighbours, whose number follows from the cells.

    The graph is that of :func:`scanpy.pp.neighbors`; igraph finds the communities that maximise its weighted modularity.

    Parameters
    ----------
    latent
        `(n_obs, n_latent)`.
    n_neighbors
        Neighbours of each cell, itself included.
    resolution
        Larger values give more clusters.
    community
        `"louvain"` (Blondel et al. 2008) or `"leiden"` (Traag et al. 2019).
    seed
        Random seed.

    Raises
    ------
    SettingError
        If there are not three cells.
    MissingDependencyError
        If `igraph` is not installed.
    """
    igraph = require("igraph", extra="cluster")
    if len(latent) < 3:
        raise SettingError(
            f"The number of clusters is estimated from at least 3 cells, and there {'is' if len(latent) == 1 else 'are'} {len(latent)}. "
            "Provide ",
            Parameter("n_clusters"),
            ".",
        )
    cells = AnnData(obsm={"latent": np.asarray(latent, dtype=np.float32)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*n_neighbors.*")
        warnings.simplefilter("ignore", SparseEfficiencyWarning)  # of scanpy, where cells are equal
        sc.pp.neighbors(cells, n_neighbors=min(n_neighbors, len(latent) - 1), use_rep="latent", random_state=seed)
    graph = cells.obsp["connectivities"].tocoo()
    upper = graph.row < graph.col
    edges = np.column_stack([graph.row[upper], graph.col[upper]])
    network: Any = igraph.Graph(n=len(latent), edges=edges)
    weights = graph.data[upper]
    igraph.set_random_number_generator(random.Random(seed))  # noqa: S311
    try:
        if community == "leiden":
            found = network.community_leiden("modularity", weights=weights, resolution=resolution, n_iterations=-1)
        else:
            found = network.community_multilevel(weights=weights, resolution=resolution)
    finally:
        igraph.set_random_number_generator(random)
    return np.asarray(found.membership, dtype=np.int64)


def by_size(labels: NDArray[np.int64], n_clusters: int) -> NDArray[np.int64]:
    """Order of clusters by the number of their cells, the largest first, `(n_clusters,)`."""
    return np.argsort(-np.bincount(labels, minlength=n_clusters), kind="stable")
