"""The figure of a review."""

import pandas as pd
import pytest
from anndata import AnnData

import sctab
from sctab import KeyNotFoundError, SettingError

COLUMNS = ["given", "suggested", "cells", "confident", "rate", "expected"]
PAIRS = pd.DataFrame(
    [("NK", "CD8 T", 100, 4, 0.04, 4.0), ("CD8 T", "NK", 200, 10, 0.05, 10.0), ("B", "DC", 9, 1, 0.1, 0.9)], columns=COLUMNS
)


def test_bars_are_expected_cells_in_order():
    (axes,) = sctab.pl.review(PAIRS, n_pairs=2).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["CD8 T → NK", "NK → CD8 T"]
    assert [bar.get_width() for bar in axes.patches] == [10.0, 4.0]
    assert [text.get_text() for text in axes.texts] == ["5.0%", "4.0%"]


def test_nothing_is_contradicted():
    (axes,) = sctab.pl.review(PAIRS.iloc[:0]).axes
    assert axes.texts[0].get_text() == "No label is contradicted"


def test_of_an_anndata():
    adata = AnnData(obs=pd.DataFrame(index=["a"]))
    adata.uns["sctab_review"] = {"pairs": PAIRS}
    assert len(sctab.pl.review(adata).axes[0].patches) == 3


def test_refusals():
    with pytest.raises(SettingError, match="`n_pairs=0` must be at least 1"):
        sctab.pl.review(PAIRS, n_pairs=0)
    with pytest.raises(KeyNotFoundError, match="sctab_review"):
        sctab.pl.review(AnnData(obs=pd.DataFrame(index=["a"])))
