"""Clusters that `tl.vote` builds where a dataset has none."""

import importlib
import warnings

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse
from tests.votes import CD4, B, annotated

import sctab
from sctab import KeyNotFoundError, MissingDependencyError, SctabWarning

N_OBS = 40


def cells():
    return annotated([CD4] * (N_OBS // 2) + [B] * (N_OBS // 2))


def two_clouds(adata):
    rng = np.random.default_rng(0)
    return rng.normal(size=(adata.n_obs, 3)) + 50 * (np.arange(adata.n_obs) >= N_OBS // 2)[:, None]


def test_neighbours_in_latents():
    """Those of the annotation come before principal components; a cell that was not measured is in no cluster."""
    adata = cells()
    adata.obsm["X_sctab"] = two_clouds(adata)
    adata.obsm["X_sctab"][0] = np.nan
    adata.obsm["X_pca"] = np.zeros((N_OBS, 2))
    with pytest.warns(SctabWarning, match=r"Built \d+ clusters: Leiden at resolution 1 on 15 neighbours in `obsm\['X_sctab'\]`"):
        sctab.tl.vote(adata)
    assert adata.obs["sctab_clusters"].isna().tolist() == [True, *[False] * (N_OBS - 1)]
    assert adata.obs["sctab_vote"].tolist()[1:] == [CD4] * (N_OBS // 2 - 1) + [B] * (N_OBS // 2)
    assert set(sctab.get.vote(adata)["share"]) == {1.0}
    assert list(adata.obsp) == []

    adata = cells()
    adata.obsm["X_pca"] = two_clouds(adata)
    with pytest.warns(SctabWarning, match=r"15 neighbours in `obsm\['X_pca'\]`"):
        sctab.tl.vote(adata)
    assert set(sctab.get.vote(adata)["share"]) == {1.0}


def test_the_graph_that_is_there():
    """Two cliques are two clusters, as scanpy finds them."""
    adata = cells()
    half = np.ones((N_OBS // 2, N_OBS // 2)) - np.eye(N_OBS // 2)
    adata.obsp["connectivities"] = sparse.csr_matrix(np.kron(np.eye(2), half))
    adata.obsm["X_pca"] = np.zeros((N_OBS, 2))
    with pytest.warns(SctabWarning, match=r"Built 2 clusters: .* on the neighbours in `obsp\['connectivities'\]`.*sctab_clusters"):
        sctab.tl.vote(adata)
    with warnings.catch_warnings(action="ignore"):
        sc.tl.leiden(adata, adjacency=adata.obsp["connectivities"], flavor="igraph", n_iterations=2, directed=False, random_state=0)
    assert adata.obs["sctab_clusters"].tolist() == adata.obs["leiden"].tolist()


def test_nothing_to_build_them_from():
    adata = cells()
    with pytest.raises(KeyNotFoundError, match="neither `leiden` nor `louvain`.*neither `X_sctab` nor `X_pca` is in"):
        sctab.tl.vote(adata)
    assert "sctab_vote" not in adata.uns


def test_without_igraph(monkeypatch):
    adata = cells()
    adata.obsp["connectivities"] = sparse.csr_matrix(np.eye(N_OBS))
    found = importlib.import_module

    def missing(name, *args):
        if name == "igraph":
            raise ImportError(name)
        return found(name, *args)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"needs `igraph`.*sctab\[cluster\]"):
        sctab.tl.vote(adata)
    assert "sctab_clusters" not in adata.obs
