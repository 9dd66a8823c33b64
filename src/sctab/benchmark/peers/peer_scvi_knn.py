"""SCVI of scvi-tools (Lopez et al. 2018) on reference and query together, then nearest neighbours in its latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import _scvi as steps
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

NEEDS = ("scanpy", "scvi", "sklearn")


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
    n_neighbors: int = 15,
) -> tuple[pd.Series, pd.DataFrame]:
    """Labels and probabilities of the query: each type has the fraction of the nearest reference cells that are of it.

    Genes that vary most are chosen on both, by batch; `max_epochs=None` leaves their number to scvi-tools.
    """
    import scvi
    from sklearn.neighbors import KNeighborsClassifier

    scvi.settings.seed = seed
    both, is_query = steps.join(reference, query)
    both = steps.choose_genes(both, n_top_genes)
    model = steps.train_scvi(both, max_epochs=max_epochs, n_layers=n_layers, n_latent=n_latent, gene_likelihood=gene_likelihood)
    latent = model.get_latent_representation()
    neighbors = KNeighborsClassifier(n_neighbors=min(n_neighbors, reference.n_obs))
    neighbors.fit(latent[~is_query], reference.obs["label"].astype(str).to_numpy())
    values = neighbors.predict_proba(latent[is_query])
    probabilities = pd.DataFrame(values, index=query.obs_names, columns=neighbors.classes_)
    return probabilities.idxmax(axis=1), probabilities
