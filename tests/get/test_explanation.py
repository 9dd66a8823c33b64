"""The table of an explanation."""

import pandas as pd
import pytest
from anndata import AnnData

from sctab import KeyNotFoundError, get


def test_is_a_copy_of_what_was_written():
    types = pd.DataFrame({"type": ["B cell"], "rank": [1], "gene": ["CD79A"], "weight": [0.5]}, index=["0"])
    adata = AnnData(uns={"mine_explanation": {"types": types}})
    table = get.explanation(adata, key_added="mine")
    assert table.to_dict("records") == types.to_dict("records")
    assert table.index.tolist() == [0]
    table["weight"] = 0.0
    assert types["weight"].tolist() == [0.5]


def test_there_must_be_one():
    with pytest.raises(KeyNotFoundError, match=r"`adata.uns\['sctab_explanation'\]` not found. Call `sctab.tl.explain"):
        get.explanation(AnnData())
