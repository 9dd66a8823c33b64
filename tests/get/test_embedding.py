"""The map of the cells: that of the data, or a computed one."""

import numpy as np
from scipy import sparse
from tests.annotated import annotated

from sctab.get import embedding


def test_the_umap_of_the_data():
    adata = annotated()
    adata.obsm["X_umap"][3] = np.nan
    found = embedding(adata, adata, key_added="sctab", max_cells=7)
    assert not found.is_computed
    assert len(found.rows) == 7
    assert 3 not in found.rows
    np.testing.assert_array_equal(found.coordinates, adata.obsm["X_umap"][found.rows])


def test_computed_from_the_latent_space():
    adata = annotated(sizes=(15, 15, 15, 15))
    del adata.obsm["X_umap"]
    found = embedding(adata, adata, key_added="sctab", max_computed=40)
    assert found.source == "X_sctab"
    assert found.coordinates.shape == (40, 2)
    assert np.isfinite(found.coordinates).all()


def test_computed_from_the_expression(rng):
    adata = annotated(sizes=(10, 10, 10, 10))
    from anndata import AnnData

    cells = AnnData(sparse.csr_matrix(rng.poisson(2.0, size=(40, 50)).astype(np.float32)), obs=adata.obs, uns=adata.uns)
    found = embedding(cells, cells, key_added="sctab")
    assert found.source == "expression"
    assert np.isfinite(found.coordinates).all()


def test_too_few_cells():
    adata = annotated(sizes=(1, 1, 1, 1))
    del adata.obsm["X_umap"]
    assert embedding(adata, adata, key_added="sctab") is None
