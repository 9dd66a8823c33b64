"""Blood cells of scanpy with counts: those that their normalised values were computed from."""

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from sctab.data import gene_reference

LAB = {
    "title": "Blood of a donor",
    "assay_ontology_term_id": "EFO:0009899",
    "disease_ontology_term_id": "normal",
    "tissue_ontology_term_id": "blood",
    "tissue_type": "tissue",
    "donor_id": "donor_1",
    "sex_ontology_term_id": "unknown",
    "development_stage_ontology_term_id": "HsapDv:0000258",
    "self_reported_ethnicity_ontology_term_id": "unknown",
    "suspension_type": "cell",
    "is_primary_data": False,
}
"""What CELLxGENE asks for."""
CAP = {name: LAB[name] for name in ("assay_ontology_term_id", "disease_ontology_term_id", "tissue_ontology_term_id")}
"""What CAP asks for."""


def counts_of(values):
    """Counts from log1p of normalised counts: the smallest value of a cell is that of one count, and others are multiples of it."""
    linear = sparse.csr_matrix(values, dtype=np.float64, copy=True)
    linear.data = np.expm1(linear.data)
    smallest = np.minimum.reduceat(linear.data, linear.indptr[:-1])
    counts = sparse.csr_matrix(sparse.diags(1 / smallest) @ linear).astype(np.float32)
    counts.data = np.round(counts.data)
    return counts


def blood(n_obs=700):
    """Cells of scanpy's `pbmc68k_reduced` with counts in `X`, and its UMAP."""
    adata = sc.datasets.pbmc68k_reduced()
    found = AnnData(
        counts_of(adata.raw.X),
        obs=adata.obs[["bulk_labels", "louvain"]],
        var=adata.raw.var[[]],
        obsm={"X_umap": adata.obsm["X_umap"]},
    )
    return found[:n_obs].copy()


def as_mouse(adata):
    """The same cells with symbols of mouse, where the reference has the symbol in title case."""
    known = set(gene_reference("mouse", "cellxgene").features.symbols)
    names = [name.title() for name in adata.var_names]
    found = adata[:, [name in known for name in names]].copy()
    found.var_names = [name for name in names if name in known]
    return found
