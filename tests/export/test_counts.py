"""Counts over the genes of a portal."""

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tests.blood import blood

from sctab.errors import GeneOverlapError, InputValueError
from sctab.export import _counts as module
from sctab.export._counts import find_counts, write_matrices


def test_versions_duplicates_antibodies_and_unknown_genes():
    adata = blood(60)[:, :40].copy()
    extra = sparse.csr_matrix(np.full((60, 4), 3, dtype=np.float32))
    var = pd.DataFrame(index=[*adata.var_names, "ENSG00000167286.11", "CD3D", "CD3_TotalSeqB", "my_transgene"])
    found = find_counts(AnnData(sparse.hstack([adata.X, extra], format="csr"), var=var), layer=None, portal="cellxgene")
    block = next(found.blocks())
    assert block[0, found.ids.index("ENSG00000167286")] == 6 + (adata[0, "CD3D"].X.sum() if "CD3D" in adata.var_names else 0)
    assert any("`my_transgene`" in note and "left out" in note for note in found.notes)
    assert any("added to others of the same gene" in note for note in found.notes)
    assert any("1 features that are not gene expression" in note for note in found.notes)
    assert found.reference.species == "human"


def test_names_of_genes_without_a_symbol_are_those_of_the_data():
    adata = blood(40)
    adata.var["ids"] = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    found = find_counts(adata, layer=None, portal="cap")
    assert dict(zip(found.ids, found.symbols, strict=True))["ENSG00000167286"] == "CD3D"


def test_other_species_and_other_names():
    adata = blood(40)
    adata.var_names = [f"ENSDARG{i:011d}" for i in range(adata.n_vars)]
    with pytest.raises(InputValueError, match="look like those of zebrafish"):
        find_counts(adata, layer=None, portal="cap")
    adata.var_names = [f"{'ABCDEFGH'[i % 8]}XQ{i}Z" for i in range(adata.n_vars)]
    with pytest.raises((GeneOverlapError, InputValueError), match="Ensembl ids or symbols"):
        find_counts(adata, layer=None, portal="cap")


def test_values_are_checked_as_they_are_written(tmp_path, monkeypatch):
    adata = blood(40)
    found = find_counts(adata, layer=None, portal="cap")
    var = pd.DataFrame(index=found.ids)
    for value, message in ((1.5, "holds values that are not counts"), (-1, "not counts"), (2.0**25, "counts above 16,777,216")):
        wrong = adata.X.copy()
        wrong.data[-1] = value
        source = module.Source(found.source.name, wrong, found.source.var, found.source.content)
        counts = module.ExportedCounts(source, found.reference, found.selection, found.ids, found.symbols, [])
        with h5py.File(tmp_path / "a.h5", "w") as file, pytest.raises(InputValueError, match=message):
            write_matrices(file, counts, var, has_filter=False, takes_each_once=False)
