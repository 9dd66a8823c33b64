"""Names of features as positions of genes."""

import numpy as np
import pytest
from tests.genes import IDS, SYMBOLS

from sctab.data.genes._lookup import Lookup

LOOKUP = Lookup(IDS, SYMBOLS, {0: ("ENSG00000999999",)})


def positions(*names):
    """Of names beside those of all genes, which say how symbols are written."""
    return LOOKUP.resolve([*names, *SYMBOLS], np.ones(len(names) + len(SYMBOLS), dtype=bool))[: len(names)].tolist()


@pytest.mark.parametrize("name", [SYMBOLS[0], IDS[0], f"{IDS[0]}.7", "ENSG00000999999"])
def test_exact_names_and_other_ids(name):
    assert positions(name) == [0]


@pytest.mark.parametrize("name", ["", "not a gene", "Cd3d", "HLA-A-x"])
def test_other_names(name):
    assert positions(name) == [-1]


def test_a_suffix_of_a_name_that_is_there_twice():
    assert positions("CD3D-1") == [0]


def test_what_is_no_gene_stands_for_none():
    assert LOOKUP.resolve(SYMBOLS, np.arange(len(SYMBOLS)) > 0).tolist() == [-1, *range(1, len(SYMBOLS))]


def test_counts_in_any_case():
    assert LOOKUP.count(["CD3D", "cd3d", "ENSG00000167286", "mood", ""]) == 3
    assert LOOKUP.count_paralogs(["cd4a", "CD4B", "cd8a", "xa"]) == 2
