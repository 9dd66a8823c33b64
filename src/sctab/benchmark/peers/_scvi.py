"""Steps that the peers of scvi-tools share: choice of genes, SCVI, and scANVI from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

UNLABELED = "__unlabelled__"
OPTIONS: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
"""Of every training."""


def join(reference: AnnData, query: AnnData) -> tuple[AnnData, NDArray[np.bool_]]:
    """Both in one object, the query without labels, and which rows are the query."""
    import anndata as ad

    query.obs["label"] = UNLABELED
    both = ad.concat({"reference": reference, "query": query}, label="part", index_unique="-")
    return both, (both.obs["part"] == "query").to_numpy()


def choose_genes(adata: AnnData, n_top_genes: int) -> AnnData:
    """Genes that vary most, by batch, with counts in the layer `counts`."""
    import scanpy as sc

    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    if n_top_genes < adata.n_vars:
        sc.pp.highly_variable_genes(adata, n_top_genes=n_top_genes, batch_key="batch", subset=True)
    return adata


def train_scvi(adata: AnnData, *, max_epochs: int | None, **settings: Any) -> Any:
    """Train SCVI on the counts, with `obs["batch"]` as batches; `max_epochs=None` leaves their number to scvi-tools."""
    import scvi

    scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    model = scvi.model.SCVI(adata, **settings)
    model.train(max_epochs=max_epochs, **OPTIONS)
    return model


def train_scanvi(pretrained: Any, *, max_epochs: int, n_samples_per_label: int) -> Any:
    """Train scANVI with `obs["label"]`, from the weights of SCVI."""
    import scvi

    model = scvi.model.SCANVI.from_scvi_model(pretrained, unlabeled_category=UNLABELED, labels_key="label")
    model.train(max_epochs=max_epochs, n_samples_per_label=n_samples_per_label, **OPTIONS)
    return model
