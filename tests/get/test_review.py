"""Tables of a review."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sctab
from sctab import KeyNotFoundError, SettingError


@pytest.fixture
def adata():
    adata = AnnData(np.zeros((2, 1)))
    adata.uns["sctab_review"] = {"cells": pd.DataFrame({"cell": ["a"]}, index=[7]), "pairs": pd.DataFrame({"given": []})}
    return adata


def test_tables(adata):
    assert sctab.get.review(adata).index.tolist() == [0]
    assert sctab.get.review(adata, "pairs").empty


def test_what_does_not_exist(adata):
    with pytest.raises(KeyNotFoundError, match="not of clusters. Call `sctab.tl.review` with `groups`"):
        sctab.get.review(adata, "groups")
    with pytest.raises(KeyNotFoundError, match=r"Call `sctab.tl.review\(adata, labels_key, key_added='other'\)` first"):
        sctab.get.review(adata, key_added="other")
    with pytest.raises(SettingError, match="is not one of `cells`, `pairs`, `groups`"):
        sctab.get.review(adata, "noise")
