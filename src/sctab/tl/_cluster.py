"""Clustering of cells without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import Query, require_anndata, require_writable
from sctab.errors import Parameter, SettingError, listed, missing_key, warn
from sctab.inference import Predictor, predict_cells
from sctab.keys import DEFAULT_CLUSTERS_KEY, check_key_added
from sctab.metrics import cluster_scores
from sctab.model import CLUSTERING_SETTINGS, SCDeepCluster
from sctab.tl._result import describe_run, latent_key, notes_of, probabilities_key
from sctab.train import UnlabeledAnnData


def cluster(
    adata: AnnData,
    model: SCDeepCluster | str | PathLike[str] | None = None,
    *,
    n_clusters: int = 0,
    n_top_genes: int | None = None,
    layer: str | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    key_added: str = DEFAULT_CLUSTERS_KEY,
    **settings: Any,
) -> SCDeepCluster:
    """Cluster cells without labels, with :class:`sctab.model.SCDeepCluster`; or assign cells to clusters that were found before.

    Name the clusters next: :func:`sctab.tl.annotate` the cells with a trained model, and let the cells of each cluster vote with
    :func:`sctab.tl.vote`, see :doc:`/clustering`.

    Parameters
    ----------
    adata
        Cells, `(n_obs, n_vars)`, with raw counts.
    model
        A trained clustering, or its directory, to whose clusters the cells are assigned. By default, one is trained on the cells.
    n_clusters
        Number of clusters; with 0 it is estimated.
    n_top_genes
        Number of genes to use; by default, all that have a count.
    layer
        Layer with raw counts, or `"X"` or `"raw"`; by default `X`, and for a trained `model` the matrix that fits.
    batch_key
        Column of `adata.obs` with batches that clusters need not tell apart. A trained `model` reads the column that it was trained with.
    labels_key
        Column of `adata.obs` with given labels, which are not learned; clusters are compared with them.
    key_added
        Prefix of the result keys.
    **settings
        Settings of :class:`sctab.model.SCDeepCluster` (`n_latent`, `encoder`, `sigma`, `gamma`) and of its
        :meth:`~sctab.model.SCDeepCluster.train` (`pretrain_epochs`, `max_epochs`, `seed`, `n_init`, `resolution`, `accelerator`,
        `run_dir`, `resume`, …).

    Returns
    -------
    The model. Results are written only after everything succeeded:

    `adata.obs['{key_added}']` : categorical
        Cluster, numbered by size from `0`; `NaN` for a cell without a count in the model's genes.
    `adata.obsm['X_{key_added}']` : array `(n_obs, n_latent)`
        The latent.
    `adata.obsm['{key_added}_probabilities']` : frame `(n_obs, n_clusters)`
        Soft assignments.
    `adata.uns['{key_added}']` : dict
        Model and its hash, matrix used, genes found, settings and outcome of the training, sizes of the clusters, agreement with
        `labels_key`, warnings, versions.

    Raises
    ------
    InputTypeError, KeyNotFoundError, LabelError, InputValueError, GeneOverlapError
        As in :meth:`sctab.model.SCDeepCluster.setup_anndata`, or if the cells cannot be assigned.
    ModelNotFoundError, ModelFormatError
        If there is no such model, or if it cannot be trusted.
    SettingError
        If a setting is unknown or invalid, if it is one of a training and a trained model is given, or if `key_added` is the column of
        labels or batches.
    MissingDependencyError
        If the number of clusters is to be estimated and `igraph` is not installed.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sctab
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> counts = rng.poisson(rng.gamma(1, 2, (2, 50)).repeat([60, 20], axis=0)).astype("float32")  # cells of two types
    >>> adata = AnnData(counts, var=pd.DataFrame(index=[f"gene_{i}" for i in range(50)]))
    >>> model = sctab.tl.cluster(adata, n_clusters=2, pretrain_epochs=50, enable_progress_bar=False)
    >>> adata.obs["scdeepcluster"].value_counts().to_dict()
    {'0': 60, '1': 20}
    """
    check_key_added(key_added, labels_key=labels_key, batch_key=batch_key)
    require_anndata(adata)
    require_writable(adata, copy=False)
    if labels_key is not None and labels_key not in adata.obs:
        raise missing_key("labels_key", labels_key, adata.obs.columns)
    if model is None:
        setup = {"layer": layer, "batch_key": batch_key, "labels_key": labels_key}
        model = _trained(adata, setup, {"n_clusters": n_clusters, "n_top_genes": n_top_genes}, settings)
        layer = layer or "X"
    else:
        size = {"n_clusters": n_clusters, "n_top_genes": n_top_genes, "batch_key": batch_key}
        _refuse_training(settings | {name: value for name, value in size.items() if value})
        if not isinstance(model, SCDeepCluster):
            model = SCDeepCluster.load(model)
    predictor = model.predictor
    query = predictor.open_query(adata, layer=layer)
    decision = predict_cells(predictor, adata, query)
    notes = notes_of(query, int((~decision.measured).sum()))
    names = list(predictor.spec.labels.names)
    labels = pd.Categorical.from_codes(decision.codes, categories=names)
    run = _record(predictor, query, notes, np.bincount(decision.codes[decision.measured], minlength=len(names)))
    if labels_key is not None:
        run["agreement"] = {"labels_key": labels_key, **cluster_scores(adata.obs[labels_key], labels)}
    adata.obs[key_added] = labels
    adata.obsm[latent_key(key_added)] = decision.latent
    adata.obsm[probabilities_key(key_added)] = pd.DataFrame(
        decision.column(decision.probabilities), index=adata.obs_names, columns=names
    )
    adata.uns[key_added] = run
    for note in notes:
        warn(note)
    return model


def _trained(
    adata: AnnData, setup: Mapping[str, str | None], size: Mapping[str, int | None], settings: Mapping[str, Any]
) -> SCDeepCluster:
    """A clustering of the cells; nothing is written into them, not even for scvi-tools."""
    of_model = {name: value for name, value in settings.items() if name in CLUSTERING_SETTINGS}
    of_training = {name: value for name, value in settings.items() if name not in CLUSTERING_SETTINGS}
    model = SCDeepCluster.of_cells(UnlabeledAnnData.of(adata, **setup), **size, **of_model)
    model.train(**of_training)
    return model


def _refuse_training(settings: Mapping[str, Any]) -> None:
    if settings:
        raise SettingError(
            *listed(sorted(settings)),
            " cannot be set for a trained ",
            Parameter("model"),
            ", to whose clusters the cells are assigned. Omit it, or omit ",
            Parameter("model"),
            " to train one.",
        )


def _record(predictor: Predictor, query: Query, notes: Sequence[str], sizes: NDArray[np.integer]) -> dict[str, Any]:
    """All about a clustering, for `uns`."""
    spec = predictor.spec
    training = {name: value for name, value in spec.training.items() if name not in ("history", "matrix", "best_epoch")}
    losses = {name: [value for value in values if value is not None] for name, values in spec.training["history"].items()}
    return {
        **describe_run(predictor, query, notes, "float32"),
        "n_cells": sizes,
        "architecture": {name: np.array(value) if isinstance(value, list) else value for name, value in spec.architecture.items()},
        "target_sum": spec.normalization.target_sum,
        "training": training | {"last": {name: values[-1] for name, values in losses.items() if values}},
    }
