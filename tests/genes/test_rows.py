"""Genes in rows are told wherever the data is: in memory, on disk, as counts or not."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import sctab
from sctab import GeneOverlapError
from sctab.corpus._data_file import DataFile


@pytest.fixture(scope="module")
def classifier():
    return sctab.zoo.load("pbmc")


@pytest.fixture(scope="module")
def turned():
    adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    return ad.AnnData(sparse.csr_matrix(adata.X.T), obs=adata.var[[]], var=adata.obs[[]])


MESSAGE = r"^The genes are in the rows: `HES4`, `TNFRSF4`, `SSU72` are names in `obs`"


@pytest.mark.parametrize("values", ["as they are", "counts", "scaled"])
def test_in_memory(classifier, turned, values):
    adata = turned.copy()
    if values == "counts":
        adata.X = adata.X.ceil()
    elif values == "scaled":
        adata.X = adata.X.toarray() - np.float32(1.5)
    with pytest.raises(GeneOverlapError, match=MESSAGE):
        classifier.open_query(adata, min_gene_coverage=0.1)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_in_a_file(classifier, turned, tmp_path, suffix):
    path = tmp_path / f"turned{suffix}"
    turned.write_h5ad(path) if suffix == ".h5ad" else turned.write_zarr(path)
    with pytest.raises(GeneOverlapError, match=MESSAGE):
        classifier.open_query(DataFile(path), min_gene_coverage=0.1)


def test_the_fix_that_is_named_works(classifier, turned):
    assert classifier.open_query(turned.T, min_gene_coverage=0.01).match.n_matched > 300
