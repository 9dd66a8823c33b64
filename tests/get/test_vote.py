"""`get.vote`: the table of groups."""

import pytest
from tests.votes import CD4, B, annotated

import sctab
from sctab import KeyNotFoundError


def test_a_copy_of_the_table():
    adata = annotated([CD4, B], groups=["x", "y"])
    sctab.tl.vote(adata)
    table = sctab.get.vote(adata)
    assert table["label"].tolist() == [CD4, B]
    table["label"] = "changed"
    assert sctab.get.vote(adata)["label"].tolist() == [CD4, B]


def test_no_votes():
    with pytest.raises(KeyNotFoundError, match=r"`adata.uns\['mine_vote'\]` not found. Call `sctab.tl.vote"):
        sctab.get.vote(annotated([CD4]), key_added="mine")
