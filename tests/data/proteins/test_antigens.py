"""Antigens of antibodies."""

from collections import defaultdict

import pytest
from hypothesis import given, strategies as st

from sctab.data import gene_reference
from sctab.data.proteins._antigens import antigen_of, antigens, key_of, spellings


def test_no_name_represents_two_antigens():
    found = defaultdict(set)
    for antigen in antigens():
        for name in (antigen.name, *antigen.names, *antigen.genes):
            for spelling in spellings(name):
                found[key_of(spelling)].add(antigen.name)
    assert {key: names for key, names in found.items() if len(names) > 1} == {}


def test_each_name_represents_its_antigen():
    for antigen in antigens():
        for name in (antigen.name, *antigen.names, *antigen.genes):
            assert antigen_of(name).antigen == antigen.name, name


BOTH_SEX_CHROMOSOMES = {"IL3RA", "CSF2RA", "CD99", "CRLF2", "IL9R"}
"""Genes of the pseudoautosomal regions, which the table of genes leaves out."""


def test_genes_exist():
    symbols = {
        s
        for species in ("human", "mouse")
        for portal in ("cap", "cellxgene")
        for s in gene_reference(species, portal).features.symbols
    }
    assert {gene for antigen in antigens() for gene in (*antigen.genes, *antigen.shares_genes)} - symbols == BOTH_SEX_CHROMOSOMES


@pytest.mark.parametrize(
    ("name", "antigen"),
    [
        ("PD1 (CD279)", "CD279"),
        ("PDCD1", "CD279"),
        ("B7-H1 (PD-L1)", "CD274"),
        ("PD-L1 (CD274)", "CD274"),
        ("CD366 (tim3)", "CD366"),
        ("IL7Ralpha (CD127)", "CD127"),
        ("CD158b (KIR2DL2/L3, NKAT2)", "CD158b"),
        ("CD26 (Adenosine)", "CD26"),
        ("MHCII (HLA-DR)", "HLA-DR"),
        ("B220 (CD45R)", "CD45R"),
        ("HuMs.CD45R_B220", "CD45R"),
        ("CD4-SK3", "CD4"),
        ("CD3 (UCHT1)", "CD3"),
        ("Hu.CD3_UCHT1", "CD3"),
        ("CD3-1", "CD3"),
        ("CD56-2", "CD56"),
        ("CD8-RPA-T8", "CD8"),
        ("CD16-3G8", "CD16"),
        ("CD34-581", "CD34"),
        ("CD45RA-HI100", "CD45RA"),
        ("CD3.1", "CD3"),
    ],
)
def test_antigens(name, antigen):
    assert antigen_of(name).antigen == antigen


@pytest.mark.parametrize(
    "name", ["", "-", "IgG1", "Rat-IgG1-1", "HTO1", "CD41/CD61", "CD8a/CD8b", "CD3-CD19", "nothing", "CD45 (CD45RA)"]
)
def test_no_antigen(name):
    assert antigen_of(name) is None


@given(st.text(max_size=300))
def test_any_name(name):
    antigen_of(name)
