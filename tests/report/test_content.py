"""Columns that a report chooses, and why there are no genes."""

import pandas as pd
import pytest
from tests.annotated import annotated

from sctab import KeyNotFoundError
from sctab.report._content import first_of, gather


def content(adata, **kwargs):
    given = {"title": "", "source": "", "n_vars": 3, "key_added": "sctab", "model": None, "sample_key": None, "labels_key": None}
    return gather(adata, adata, n_genes=2, **(given | kwargs))


def test_columns_by_their_names():
    adata = annotated()
    adata.obs["sample"] = "one"
    adata.obs["cell_type"] = pd.Categorical(["B cell", "T cell"] * 10)
    found = content(adata)
    assert found.sample_key == "donor", "one sample is none"
    assert found.labels_key == "cell_type"
    assert found.are_guessed == ["donor", "cell_type"]
    assert content(adata, sample_key="authors").are_guessed == ["cell_type"]
    assert first_of(adata, ["authors"], 3) is None, "more values than that"


def test_the_map_has_the_cells_that_it_shows():
    adata = annotated()
    found = content(adata)
    assert found.embedding.source == "X_umap"
    assert found.cells[["x", "y"]].to_numpy().tolist() == adata.obsm["X_umap"].tolist()


def test_a_review_names_the_labels():
    adata = annotated()
    adata.obs["cell_type"] = pd.Categorical(["B cell", "T cell"] * 10)
    assert content(adata).review is None
    cells = pd.DataFrame({"cell": ["a"], "given": ["B"], "position": [0]})
    adata.uns["sctab_review"] = {"labels_key": "authors", "cells": cells, "groups_table": pd.DataFrame({"group": ["1"]})}
    found = content(adata)
    assert found.labels_key == "authors"
    assert "authors" not in found.are_guessed
    assert list(found.queue) == ["cell", "given"]
    assert found.groups["group"].tolist() == ["1"]
    assert content(adata, labels_key="cell_type").labels_key == "cell_type"


def test_a_column_that_does_not_exist():
    with pytest.raises(KeyNotFoundError):
        content(annotated(), labels_key="nope")
