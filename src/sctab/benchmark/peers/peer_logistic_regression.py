"""Logistic regression of scikit-learn on 10,000 counts per cell, log1p, each gene scaled by its maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from anndata import AnnData

NEEDS = ("sklearn.linear_model", "sklearn.preprocessing")


def annotate(
    reference: AnnData, query: AnnData, *, seed: int, C: float = 1.0, max_iter: int = 2000, class_weight: str | None = None
) -> tuple[pd.Series, pd.DataFrame]:
    """Labels and probabilities of the query; nothing is random."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import MaxAbsScaler

    learned, named = (log_normalised(adata) for adata in (reference, query))
    scaler = MaxAbsScaler().fit(learned)
    model = LogisticRegression(C=C, max_iter=max_iter, class_weight=class_weight, random_state=seed)
    model.fit(scaler.transform(learned), reference.obs["label"].astype(str))
    probabilities = pd.DataFrame(model.predict_proba(scaler.transform(named)), index=query.obs_names, columns=model.classes_)
    return probabilities.idxmax(axis=1), probabilities


def log_normalised(adata: AnnData) -> sparse.csr_matrix:
    """Log of one plus counts per 10,000 of each cell."""
    counts = sparse.csr_matrix(adata.X, dtype=np.float32)
    total = np.asarray(counts.sum(axis=1)).ravel()
    scale = sparse.diags(1e4 / np.where(total > 0, total, 1))
    return (scale @ counts).log1p().tocsr()
