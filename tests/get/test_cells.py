"""`get.annotation`: a row per cell."""

import numpy as np
import pytest
from tests.annotated import annotated

import sctab
from sctab import InputTypeError, InputValueError, KeyNotFoundError


def test_columns_without_prefix():
    adata = annotated(n_without=2, key="mine")
    table = sctab.get.annotation(adata, basis="umap", columns=["donor"], key_added="mine")
    assert list(table.columns) == ["x", "y", "label", "confidence", "term", "unseen", "is_unseen", "donor"]
    assert table.index.equals(adata.obs_names)
    np.testing.assert_array_equal(table[["x", "y"]], adata.obsm["X_umap"])
    np.testing.assert_array_equal(table["confidence"], adata.obs["mine_confidence"])
    assert table["label"].isna().sum() == 2
    assert table["donor"].tolist() == adata.obs["donor"].tolist()


def test_only_what_was_computed():
    assert list(sctab.get.annotation(annotated(unseen=False, terms=False)).columns) == ["label", "confidence"]


def test_a_whole_key_is_a_basis_too():
    adata = annotated()
    assert "x" in sctab.get.annotation(adata, basis="X_sctab")


def test_errors():
    adata = annotated()
    del adata.obsm["X_umap"]
    with pytest.raises(
        KeyNotFoundError, match=r"`adata.obsm\['X_umap'\]` not found. Run `sc.pp.neighbors\(adata, use_rep='X_sctab'\)`"
    ):
        sctab.get.annotation(adata, basis="umap")
    with pytest.raises(KeyNotFoundError, match="columns='nope'"):
        sctab.get.annotation(adata, columns=["nope"])
    adata.obsm["X_line"] = np.zeros((adata.n_obs, 1))
    with pytest.raises(InputValueError, match="two coordinates or more; its shape is"):
        sctab.get.annotation(adata, basis="line")
    adata.obsm["X_nan"] = np.full((adata.n_obs, 2), np.nan)
    with pytest.raises(InputValueError, match="no finite coordinate"):
        sctab.get.annotation(adata, basis="nan")
    with pytest.raises(KeyNotFoundError, match=r"`adata.obs\['other_label'\]` not found. Run `sctab.tl.annotate"):
        sctab.get.annotation(adata, key_added="other")
    with pytest.raises(InputTypeError):
        sctab.get.annotation("query.h5ad")
