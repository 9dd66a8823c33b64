"""Embeddings that portals show."""

import numpy as np
import pandas as pd
import pytest
from tests.blood import blood

from sctab.errors import InputValueError
from sctab.export import _embeddings as module
from sctab.export._counts import find_counts
from sctab.export._embeddings import find_embeddings


def found_of(adata):
    return find_embeddings(adata, adata, find_counts(adata, layer=None, portal="cap"), key_added="sctab")


def test_only_what_portals_take_is_kept():
    adata = blood(60)
    infinite = np.ones((60, 2))
    infinite[3, 1] = np.inf
    others = {
        "X_pca": np.ones((60, 5), dtype=np.float32),
        "X_bad": infinite,
        "X_1st": np.ones((60, 2)),
        "X_spatial": np.ones((60, 2)),
        "spatial": np.ones((60, 2)),
        "X_frame": pd.DataFrame({"a": range(60), "b": range(60)}, index=adata.obs_names),
        "X_one": np.ones((60, 1)),
    }
    for key, values in others.items():
        adata.obsm[key] = values
    found, notes = found_of(adata)
    assert sorted(found) == ["X_pca", "X_umap"]
    assert "X_bad" in notes[0]


def test_two_components_of_many_cells(monkeypatch):
    monkeypatch.setattr(module, "_MOST_FOR_UMAP", 50)
    adata = blood(200)
    del adata.obsm["X_umap"]
    found, notes = found_of(adata)
    assert found["X_pca"].shape == (200, 2)
    assert "two principal components were computed and written as `X_pca`" in notes[0]
    assert found["X_pca"].std(axis=0)[0] >= found["X_pca"].std(axis=0)[1] > 0
    adata.obsm["X_pca"] = np.ones((200, 5))
    assert "X_pca_2d" in found_of(adata)[0]


def test_too_few_cells():
    adata = blood(2)
    del adata.obsm["X_umap"]
    with pytest.raises(InputValueError, match="2 cells are too few to compute one. Add one to `obsm`"):
        found_of(adata)
