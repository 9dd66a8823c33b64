"""`get.evidence`: genes that speak for types, and where they are expressed."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from tests.annotated import annotated

import sctab
from sctab import KeyNotFoundError, ModelNotFoundError, SettingError


@pytest.fixture(scope="module")
def cells():
    adata = sc.datasets.pbmc68k_reduced()
    with warnings.catch_warnings(action="ignore"):
        sctab.tl.annotate(adata, "pbmc")
    return adata


def test_expression_is_that_of_the_cells(cells):
    """Against plain NumPy on the matrix that was annotated."""
    genes = sctab.get.evidence(cells, n_genes=3)
    raw = np.asarray(cells.raw.X.todense(), dtype=np.float64)
    counts = np.expm1(raw)
    shown = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    label = cells.obs["sctab_label"].astype(str).to_numpy()
    assert len(genes) > 10
    for row in genes.itertuples():
        column, own = cells.raw.var_names.get_loc(row.gene), label == row.type
        assert row.expressed == pytest.approx((raw[own, column] > 0).mean())
        assert row.expressed_elsewhere == pytest.approx((raw[~own, column] > 0).mean())
        assert row.mean == pytest.approx(shown[own, column].mean(), rel=1e-4)
        assert row.mean_elsewhere == pytest.approx(shown[~own, column].mean(), rel=1e-4)
        assert row.mean > row.mean_elsewhere
        assert row.expressed >= 0.1


def test_known_markers(cells):
    genes = sctab.get.evidence(cells, n_genes=5)
    by_type = genes.groupby("type")["gene"].agg(set)
    assert {"CD79A", "CD79B"} & by_type["B cell"]
    assert {"NKG7", "GNLY", "GZMB"} & by_type["natural killer cell"]
    assert {"S100A8", "S100A9", "LYZ", "CST3"} & by_type["CD14-positive monocyte"]
    assert set(genes["source"]) == {"explanation"}
    assert genes.groupby("type")["rank"].apply(lambda ranks: list(ranks) == list(range(1, len(ranks) + 1))).all()


def test_the_table_of_a_dot_plot(cells):
    table = sctab.get.evidence(cells, table="expression", n_genes=2)
    genes = sctab.get.evidence(cells, n_genes=2)
    n_types = cells.obs["sctab_label"].nunique()
    assert len(table) == len(genes) * n_types
    own = table[table["type"] == table["group"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        own[["type", "rank", "gene", "mean", "expressed"]], genes[["type", "rank", "gene", "mean", "expressed"]]
    )


def test_what_was_explained_is_used(cells):
    adata = cells.copy()
    with warnings.catch_warnings(action="ignore"):
        sctab.tl.explain(adata, "pbmc", n_top=20)
    adata.uns["sctab"]["model"]["name"] = "gone"
    genes = sctab.get.evidence(adata, n_genes=2)
    explained = sctab.get.explanation(adata).set_index(["type", "gene"])["weight"]
    for row in genes.itertuples():
        assert (row.type, row.gene) in explained.index
    with pytest.raises(
        ModelNotFoundError, match="The model `gone` that annotated the cells is not found under this name. Provide it as `model`"
    ):
        sctab.get.evidence(adata, groupby="louvain")


def test_clusters(cells):
    genes = sctab.get.evidence(cells, groupby="louvain", n_genes=1)
    assert set(genes["type"]) <= set(cells.obs["louvain"].astype(str))


def test_another_model_of_the_same_name(cells):
    adata = cells.copy()
    adata.uns["sctab"]["model"]["sha256"] = "0" * 64
    with pytest.raises(ModelNotFoundError, match="is another one than that which annotated"):
        sctab.get.evidence(adata)
    assert len(sctab.get.evidence(adata, "pbmc"))


def test_one_type_has_no_other_cells(cells):
    adata = cells[cells.obs["sctab_label"] == "B cell"].copy()
    genes = sctab.get.evidence(adata)
    assert len(genes) == 5
    assert genes["mean_elsewhere"].isna().all()


def test_errors(cells):
    for wrong in ({"n_genes": 0}, {"max_cells": 0}, {"min_expressed": 1.5}, {"table": "nope"}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            sctab.get.evidence(cells, **wrong)
    with pytest.raises(KeyNotFoundError, match="no annotation"):
        sctab.get.evidence(cells, key_added="other")
    empty = annotated()
    del empty.uns["sctab"]["labels"]
    with pytest.raises(KeyNotFoundError):
        sctab.get.evidence(empty)
