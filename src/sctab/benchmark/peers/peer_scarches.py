"""scArches surgery of scvi-tools (Lotfollahi et al. 2022): scANVI learns the reference alone and is then adapted to the query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import _scvi as steps
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

NEEDS = ("scanpy", "scvi")


def annotate(
    reference: AnnData,
    query: AnnData,
    *,
    seed: int,
    n_top_genes: int = 2000,
    n_layers: int = 2,
    n_latent: int = 30,
    gene_likelihood: str = "nb",
    dropout_rate: float = 0.2,
    max_epochs: int | None = None,
    max_epochs_scanvi: int = 20,
    max_epochs_query: int = 100,
    n_samples_per_label: int = 100,
) -> tuple[pd.Series, pd.DataFrame]:
    """Labels and probabilities of the query: SCVI and scANVI on the reference, then surgery on the query.

    Genes that vary most are chosen on the reference, by batch. Surgery trains the weights of new batches only, without weight decay, so
    that the latent space of the reference stays as it is. Labels in `query.obs["known_label"]` are learned as well. `max_epochs` is that of
    SCVI, `None` leaves it to scvi-tools.
    """
    import scvi

    scvi.settings.seed = seed
    query.layers["counts"] = query.X.copy()
    query.obs["label"] = steps.UNLABELED
    if "known_label" in query.obs:
        known = query.obs["known_label"].isin(reference.obs["label"].unique())
        query.obs["label"] = query.obs["known_label"].where(known, steps.UNLABELED).astype(str)
    pretrained = steps.train_scvi(
        steps.choose_genes(reference, n_top_genes),
        max_epochs=max_epochs,
        n_layers=n_layers,
        n_latent=n_latent,
        gene_likelihood=gene_likelihood,
        dropout_rate=dropout_rate,
        use_layer_norm="both",
        use_batch_norm="none",
        encode_covariates=True,
    )
    trained = steps.train_scanvi(pretrained, max_epochs=max_epochs_scanvi, n_samples_per_label=n_samples_per_label)
    prepared = scvi.model.SCANVI.prepare_query_anndata(query, trained, inplace=False)
    model = scvi.model.SCANVI.load_query_data(prepared, trained, accelerator="cpu")
    model.train(max_epochs=max_epochs_query, plan_kwargs={"weight_decay": 0.0}, **steps.OPTIONS)
    probabilities = model.predict(soft=True)
    probabilities.index = query.obs_names
    return probabilities.idxmax(axis=1), probabilities
