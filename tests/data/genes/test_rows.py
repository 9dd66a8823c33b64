"""Genes in rows are told wherever the data is: in memory, on disk, as counts or not."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import sctab
from sctab import GeneOverlapError
from sctab.data.genes._match import require_genes_in_columns
from sctab.io._data_file import DataFile
from sctab.model import LinearClassifier


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
        classifier.predictor.open_query(adata, min_gene_coverage=0.1)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_in_a_file(classifier, turned, tmp_path, suffix):
    path = tmp_path / f"turned{suffix}"
    turned.write_h5ad(path) if suffix == ".h5ad" else turned.write_zarr(path)
    with pytest.raises(GeneOverlapError, match=MESSAGE):
        classifier.predictor.open_query(DataFile(path), min_gene_coverage=0.1)


@pytest.mark.parametrize("write", [str, str.capitalize, str.lower, "GRCh38_{}".format])
def test_in_a_reference(turned, write):
    adata = turned.copy()
    adata.obs_names = [write(name) for name in adata.obs_names]
    adata.obs["label"] = ["B cell" if i % 2 else "T cell" for i in range(adata.n_obs)]
    example = write("HES4")
    for key in ("label", "labels that are in `var`"):
        with pytest.raises(GeneOverlapError, match=f"^The genes are in the rows: `{example}`"):
            LinearClassifier.setup_anndata(adata, key)


def test_in_a_reference_by_id(turned):
    adata = turned.copy()
    adata.obs_names = [f"ENSMUSG{i:011d}.2" for i in range(adata.n_obs)]
    with pytest.raises(GeneOverlapError, match="^The genes are in the rows: `ENSMUSG00000000000.2`"):
        LinearClassifier.setup_anndata(adata, "label")


@pytest.mark.parametrize("place", ["index", "a column"])
@pytest.mark.parametrize("names", ["symbols", "ids"])
def test_a_reference_of_cells_that_are_called_as_genes_is_accepted(place, names):
    """Cells in which a gene was switched off may be called after it."""
    adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    genes = list(adata.var_names) if names == "symbols" else [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    adata.obs_names = genes[: adata.n_obs]
    adata.var = pd.DataFrame({"gene": genes}, index=list(map(str, range(adata.n_vars))) if place == "a column" else genes)
    LinearClassifier.setup_anndata(adata, "bulk_labels")


@pytest.mark.parametrize("names", [[f"CD{i}" for i in range(40)], [f"IL{i}" for i in range(40)], list(map(str, range(40)))])
def test_patients_are_no_genes(names):
    require_genes_in_columns(pd.DataFrame(index=["probe_1", "probe_2"]), lambda: names)


def test_the_fix_that_is_named_works(classifier, turned):
    assert classifier.predictor.open_query(turned.T, min_gene_coverage=0.01).match.n_matched > 300
