"""scANVI of scvi-tools (Xu et al. 2021) as its tutorial does: the query is there from the beginning, without labels."""

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
    max_epochs: int | None = None,
    max_epochs_scanvi: int = 20,
    n_samples_per_label: int = 100,
) -> tuple[pd.Series, pd.DataFrame]:
    """Labels and probabilities of the query: SCVI on both, then scANVI from it.

    Genes that vary most are chosen on both, by batch; `max_epochs` is that of SCVI, `None` leaves it to scvi-tools.
    """
    import scvi

    scvi.settings.seed = seed
    both, is_query = steps.join(reference, query)
    both = steps.choose_genes(both, n_top_genes)
    pretrained = steps.train_scvi(
        both, max_epochs=max_epochs, n_layers=n_layers, n_latent=n_latent, gene_likelihood=gene_likelihood
    )
    model = steps.train_scanvi(pretrained, max_epochs=max_epochs_scanvi, n_samples_per_label=n_samples_per_label)
    probabilities = model.predict(both[is_query].copy(), soft=True)
    probabilities.index = query.obs_names
    return probabilities.idxmax(axis=1), probabilities
