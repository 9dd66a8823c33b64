"""scANVI of scvi-tools (Xu et al. 2021) as its tutorial does: the query is there from the beginning, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

NEEDS = ("scanpy", "scvi")
UNLABELED = "__unlabelled__"


def annotate(
    reference: AnnData,
    query: AnnData,
    *,
    seed: int,
    n_top_genes: int = 2000,
    n_layers: int = 2,
    n_latent: int = 30,
    gene_likelihood: str = "nb",
    max_epochs: int | None = None,
    max_epochs_scanvi: int = 20,
    n_samples_per_label: int = 100,
) -> tuple[pd.Series, pd.DataFrame]:
    """Labels and probabilities of the query: SCVI on both, then scANVI from it.

    Genes that vary most are chosen on both, by batch; `max_epochs` is that of SCVI, `None` leaves it to scvi-tools.
    """
    import anndata as ad
    import scanpy as sc
    import scvi

    scvi.settings.seed = seed
    query.obs["label"] = UNLABELED
    both = ad.concat({"reference": reference, "query": query}, label="part", index_unique="-")
    both.layers["counts"] = both.X.copy()
    sc.pp.normalize_total(both, target_sum=1e4)
    sc.pp.log1p(both)
    if n_top_genes < both.n_vars:
        sc.pp.highly_variable_genes(both, n_top_genes=n_top_genes, batch_key="batch", subset=True)
    scvi.model.SCVI.setup_anndata(both, layer="counts", batch_key="batch")
    pretrained = scvi.model.SCVI(both, n_layers=n_layers, n_latent=n_latent, gene_likelihood=gene_likelihood)
    options = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    pretrained.train(max_epochs=max_epochs, **options)
    model = scvi.model.SCANVI.from_scvi_model(pretrained, unlabeled_category=UNLABELED, labels_key="label")
    model.train(max_epochs=max_epochs_scanvi, n_samples_per_label=n_samples_per_label, **options)
    is_query = (both.obs["part"] == "query").to_numpy()
    probabilities = model.predict(both[is_query].copy(), soft=True)
    probabilities.index = query.obs_names
    return probabilities.idxmax(axis=1), probabilities
