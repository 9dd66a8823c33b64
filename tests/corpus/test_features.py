"""Genes of several sources brought together: only of one species, whatever tells it."""

import json

import numpy as np
import pandas as pd
import pytest

from sctab import GeneOverlapError
from sctab.corpus import join_genes
from sctab.data import FeatureSpace
from sctab.zoo._packaged import packaged_path

GENES = json.loads((packaged_path("pbmc") / "model.json").read_text(encoding="utf-8"))["features"]
SYMBOLS, IDS = GENES["symbols"], GENES["ids"]
N = len(IDS)


def space(index, /, **columns):
    return FeatureSpace.from_var(pd.DataFrame(columns, index=pd.Index(list(index))))


def ids_of(code):
    return [f"{code}{i:011d}" for i in range(N)]


HUMAN = {
    "symbols": space(SYMBOLS),
    "ids": space(IDS),
    "ids of GENCODE and symbols": space([f"{name}.2" for name in IDS], gene_name=SYMBOLS),
    "orthologs of mouse beside": space(SYMBOLS, gene_ids=IDS, mouse_ortholog_id=ids_of("ENSMUSG")),
    "symbols in a column": space(range(N), feature_name=SYMBOLS),
}
OTHERS = {
    "macaque": (space(ids_of("ENSMMUG"), feature_name=SYMBOLS), "rhesus macaque"),
    "marmoset beside symbols": (space(SYMBOLS, gene_ids=ids_of("ENSCJAG")), "marmoset"),
    "mouse in capitals": (space(SYMBOLS, gene_ids=ids_of("ENSMUSG")), "mouse"),
    "rabbit": (space(ids_of("ENSOCUG"), symbol=SYMBOLS), "rabbit"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("one", ["symbols", "ids", "symbols in a column"])
def test_sources_of_two_species_are_refused(one, other):
    foreign, species = OTHERS[other]
    with pytest.raises(GeneOverlapError, match=f"^`study` is human and `atlas` is {species}\\. Build a corpus from one species"):
        join_genes([HUMAN[one], foreign], "union", names=["study", "atlas"])


def test_every_pair_is_compared():
    """The first source tells nothing certain, so that neither of the others contradicts it."""
    unsure = space([symbol for symbol in SYMBOLS if not symbol.startswith(("HLA-", "LINC", "RP"))])
    assert not unsure.species.is_certain
    with pytest.raises(GeneOverlapError, match="^`b` is human and `c` is rhesus macaque"):
        join_genes([unsure, HUMAN["ids"], OTHERS["macaque"][0]], "union", names=["a", "b", "c"])


def test_genes_that_are_given_have_a_species_too():
    with pytest.raises(GeneOverlapError, match="^`features` is human and `atlas` is rhesus macaque"):
        join_genes([OTHERS["macaque"][0]], HUMAN["ids of GENCODE and symbols"], names=["atlas"])


def test_human_sources_have_one_set_of_genes():
    joined = join_genes(list(HUMAN.values()), "union")
    assert len(joined.features) == N
    assert np.array_equal(joined.is_measured, np.ones((len(HUMAN), N), dtype=bool))
