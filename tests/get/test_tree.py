"""`get.ontology`: the tree with counts."""

import pytest
from tests.annotated import annotated, sixty_names

import sctab
from sctab import KeyNotFoundError


def test_numbers_by_hand():
    adata = annotated(names=("B cell", "naive B cell", "my own", "platelet"), sizes=(5, 3, 2, 0), n_without=4)
    tree = sctab.get.ontology(adata)
    assert tree[["name", "depth", "cells", "cells_below"]].to_numpy().tolist() == [
        ["B cell", 0, 5, 8],
        ["naive B cell", 1, 3, 3],
        ["my own", 0, 2, 2],
    ]
    assert tree["parent"].tolist() == ["", "CL:0000236", ""]
    assert tree["fraction"].tolist() == pytest.approx([0.8, 0.3, 0.2])


def test_sixty_types():
    names = sixty_names()
    adata = annotated(names=names, sizes=range(1, len(names) + 1))
    tree = sctab.get.ontology(adata)
    assert tree["cells"].sum() == adata.n_obs
    assert tree.loc[tree["depth"] == 0, "cells_below"].sum() == adata.n_obs
    for term, below in zip(tree["term"], tree["cells_below"], strict=True):
        own = tree.loc[tree["term"] == term, "cells"].item()
        assert below == own + tree.loc[tree["parent"] == term, "cells_below"].sum()


def test_two_names_of_one_term_are_one():
    adata = annotated()
    adata.obs["given"] = ["T cell", "T lymphocyte"] * 10
    tree = sctab.get.ontology(adata, groupby="given")
    assert tree[["name", "cells"]].to_numpy().tolist() == [["T cell", 20]]


def test_no_type_at_all():
    assert sctab.get.ontology(annotated(sizes=(0, 0, 0, 0), n_without=3)).empty
    with pytest.raises(KeyNotFoundError, match="groupby='nope'"):
        sctab.get.ontology(annotated(), groupby="nope")
