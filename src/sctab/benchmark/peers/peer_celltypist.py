"""CellTypist (Domínguez Conde et al. 2022) on 10,000 counts per cell, log1p, as its tutorial does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

NEEDS = ("celltypist", "scanpy")


def annotate(reference: AnnData, query: AnnData, *, seed: int, **settings: Any) -> tuple[pd.Series, pd.DataFrame]:
    """Labels and probabilities of the query; `settings` are those of `celltypist.train`.

    CellTypist gives a probability per type that does not know of the other types; they are divided by their sum.
    """
    import celltypist  # type: ignore[import-not-found]
    import scanpy as sc

    np.random.seed(seed)  # noqa: NPY002 - CellTypist draws from the global generator
    for adata in (reference, query):
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    model = celltypist.train(reference, labels="label", check_expression=False, n_jobs=1, **settings)
    result = celltypist.annotate(query, model=model, majority_voting=False)
    probabilities = result.probability_matrix
    return result.predicted_labels["predicted_labels"], probabilities.div(probabilities.sum(axis=1), axis=0)
