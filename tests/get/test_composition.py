"""`get.composition`: types in each sample."""

import pandas as pd
import pytest
from tests.annotated import annotated

import sctab
from sctab import KeyNotFoundError


def test_counts_are_those_of_a_cross_table():
    adata = annotated(n_without=3)
    table = sctab.get.composition(adata, "donor")
    wide = table.pivot_table(index="sample", columns="type", values="cells", aggfunc="sum")
    label = adata.obs["sctab_label"].cat.add_categories("no label").fillna("no label").astype(str)
    pd.testing.assert_frame_equal(wide, pd.crosstab(adata.obs["donor"].astype(str), label), check_names=False)
    assert table.groupby("sample")["fraction"].sum().tolist() == pytest.approx([1, 1])
    assert table["type"].iloc[0] == "CD4-positive, alpha-beta T cell", "the most frequent one first"


def test_cells_without_a_sample_are_left_out():
    adata = annotated()
    adata.obs["donor"] = adata.obs["donor"].astype(object).where(adata.obs["donor"] == "a", None)
    assert sctab.get.composition(adata, "donor")["sample"].unique().tolist() == ["a"]


def test_another_column():
    table = sctab.get.composition(annotated(), "donor", groupby="authors")
    assert "B CELL" in set(table["type"])
    with pytest.raises(KeyNotFoundError, match="sample_key='nope'"):
        sctab.get.composition(annotated(), "nope")
    with pytest.raises(KeyNotFoundError, match="groupby='nope'"):
        sctab.get.composition(annotated(), "donor", groupby="nope")
