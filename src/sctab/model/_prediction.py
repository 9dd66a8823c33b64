"""Prediction with classifiers and ensembles, which have the same methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Query, reference_source
from sctab.errors import SettingError, warn
from sctab.inference import Decision, Predictor, explain_block, predict_cells, require_batch_size, require_explainable


def predict(
    model: Any, adata: AnnData | None, layer: str | None, *, soft: bool, batch_size: int
) -> NDArray[np.object_] | pd.DataFrame:
    """See :meth:`CellTypeClassifier.predict`."""
    names, decision = _decide(model, adata, layer, batch_size)
    labels = list(model.spec.labels.names)
    if soft:
        return pd.DataFrame(decision.column(decision.probabilities), index=names, columns=labels)
    return decision.labels(labels)


def latent_of(model: Any, adata: AnnData | None, layer: str | None, *, batch_size: int) -> NDArray[np.float32]:
    """See :meth:`CellTypeClassifier.get_latent_representation`."""
    latent = _decide(model, adata, layer, batch_size)[1].latent
    if latent is None:
        raise SettingError(
            f"`{model.spec.model_class}` reads labels from the expression itself: it has no latent space. `MLPClassifier` and `SCTAB` "
            "have one."
        )
    return latent


def explain(model: Any, adata: AnnData | None, layer: str | None, *, batch_size: int) -> sparse.csr_matrix:
    """See :meth:`CellTypeClassifier.explain`."""
    require_batch_size(batch_size)
    predictor = model.predictor
    (network,) = require_explainable(predictor)
    _, query = open_own_or(model, predictor, adata, layer)
    n_features = len(model.spec.feature_names)
    parts = [explain_block(network, block, n_features)[0] for block in query.blocks(batch_size)]
    return sparse.vstack(parts, format="csr")


def open_own_or(model: Any, predictor: Predictor, adata: AnnData | None, layer: str | None) -> tuple[AnnData, Query]:
    """A dataset, by default the reference of the model, and the query that it gives; warns of what should be known about it."""
    chosen, reference = None, model._reference
    if adata is None:
        adata = None if reference is None else reference.adata
        if adata is None:
            why = "was loaded without its reference" if reference is None else "learned from a corpus, which is not in memory"
            raise SettingError(f"The model {why}. Pass the data as `adata`.")
        if layer is None:
            chosen = reference_source(adata, reference.setup["layer"])
    adata = predictor.cells_of(adata)
    query = predictor.open_query(adata, layer=layer, chosen=chosen)
    for note in query.notes:
        warn(note)
    return adata, query


def decide_cells(model: Any, adata: AnnData, query: Query, batch_size: int) -> Decision:
    """Decision on the cells of a query."""
    return predict_cells(model.predictor.suited_to(query), adata, query, batch_size=batch_size)


def _decide(model: Any, adata: AnnData | None, layer: str | None, batch_size: int) -> tuple[pd.Index, Decision]:
    adata, query = open_own_or(model, model.predictor, adata, layer)
    return adata.obs_names, decide_cells(model, adata, query, batch_size)
