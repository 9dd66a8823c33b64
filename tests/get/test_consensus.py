"""Tables of a consensus."""

import pandas as pd
import pytest
from anndata import AnnData

import sctab
from sctab import KeyNotFoundError, SettingError


@pytest.fixture(scope="module")
def adata():
    adata = AnnData(obs=pd.DataFrame({"a": ["T cell", "B cell"], "b": ["T cells", "T cells"]}, index=["x", "y"]))
    sctab.tl.consensus(adata, ["a", "b"])
    return adata


def test_tables(adata):
    assert sctab.get.consensus(adata).set_index("agreement")["cells"]["same"] == 1
    assert sctab.get.consensus(adata, "combinations")["cells"].tolist() == [1, 1]
    assert sctab.get.consensus(adata, "labels")["label"].tolist() == ["B cell", "T cell", "T cells"]


def test_there_is_none(adata):
    with pytest.raises(KeyNotFoundError, match=r"sctab.tl.consensus\(adata, keys, key_added='other'\)"):
        sctab.get.consensus(adata, key_added="other")
    with pytest.raises(SettingError, match="`table='pairs'` is not one of `agreement`"):
        sctab.get.consensus(adata, "pairs")
