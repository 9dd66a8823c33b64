"""Genes that portals accept."""

import numpy as np
import pandas as pd
import pytest

from sctab.data import gene_reference


@pytest.mark.parametrize(("species", "prefix", "n_genes"), [("human", "ENSG", 78_000), ("mouse", "ENSMUSG", 78_000)])
@pytest.mark.parametrize("portal", ["cellxgene", "cap"])
def test_ids_are_whole_and_unique(species, prefix, n_genes, portal):
    ids = pd.Series(gene_reference(species, portal).features.ids)
    assert ids.str.fullmatch(rf"{prefix}\d{{11}}").all()
    assert ids.is_unique
    assert ids.is_monotonic_increasing
    assert len(ids) > n_genes


@pytest.mark.parametrize("species", ["human", "mouse"])
def test_a_symbol_is_that_of_one_gene(species):
    symbols = pd.Series(gene_reference(species, "cap").features.symbols)
    assert symbols[symbols != ""].is_unique


def test_genes_are_found_by_id_and_symbol():
    var = pd.DataFrame({"gene_ids": ["ENSG00000167286.11", "", ""]}, index=["anything", "MS4A1", "my_transgene"])
    genes = gene_reference("human", "cellxgene")
    found = [genes.features.ids[position] if position >= 0 else "" for position in genes.match(var).positions]
    assert found == ["ENSG00000167286", "ENSG00000156738", ""]
    mouse = gene_reference("mouse", "cellxgene")
    assert mouse.match(pd.DataFrame(index=["Cd3d", "Ms4a1", "Ptprc"])).n_matched == 3


def test_cap_accepts_older_genes():
    older, newer = (gene_reference("human", portal).features.ids for portal in ("cap", "cellxgene"))
    assert "ENSG00000284571" in older
    assert "ENSG00000284571" not in newer
    assert np.isin(newer, older).mean() > 0.999
