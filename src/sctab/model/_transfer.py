"""Going on from a reference model: a query in its genes, and its weights in a model with more types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from torch import nn

from sctab._matrix import BLOCK_SIZE
from sctab.genes import FeatureSpace
from sctab.model._query import Query
from sctab.model._setup import SCVI_KEYS
from sctab.model._spec import ModelSpec
from sctab.ontology import CellOntology, LabelSpace


def in_model_genes(adata: AnnData, query: Query, features: FeatureSpace) -> AnnData:
    """A new AnnData over the genes of a model, see `prepare_query_anndata`."""
    return AnnData(
        X=sparse.vstack(list(query.counts(BLOCK_SIZE)), format="csr").astype(np.float32),
        obs=adata.obs.copy(),
        var=pd.DataFrame(
            {"gene_id": features.ids, "gene_symbol": features.symbols, "in_query": query.match.found},
            index=pd.Index(features.names),
        ),
        obsm={key: value.copy() for key, value in adata.obsm.items()},
        uns={key: value for key, value in adata.uns.items() if key not in SCVI_KEYS},
    )


def setup_for_query(reference: ModelSpec, adata: AnnData, labels_key: str | None) -> dict[str, Any]:
    """Arguments of `setup_anndata` for a query that was brought into the genes of a reference model."""
    setup = dict(reference.setup) | {"layer": None, "gene_id_key": "gene_id", "gene_symbol_key": "gene_symbol"}
    setup["labels_key"] = labels_key or setup["labels_key"]
    if setup["donor_key"] not in adata.obs:
        setup["donor_key"] = None
    setup["categorical_covariate_keys"] = [
        key for key in setup["categorical_covariate_keys"] if key in adata.obs and adata.obs[key].notna().any()
    ]
    return setup


def spec_for_query(reference: ModelSpec, label_names: Iterable[str], setup: Mapping[str, Any]) -> ModelSpec:
    """The reference's description with the types that only the query has behind its own."""
    known = reference.labels.names
    names = (*known, *sorted(set(label_names) - {setup["unlabeled_category"]} - set(known)))
    labels = LabelSpace.from_names(names, CellOntology.embedded())
    return replace(reference, labels=labels, setup=dict(setup), description="", training={}, versions={})


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights but trees; rows of types that `source` does not have keep what is in `target`."""
    fresh = target.state_dict()
    for name, tensor in source.state_dict().items():
        if not fresh[name].numel():
            continue  # trees, which grow anew
        (fresh[name][: len(tensor)] if tensor.ndim else fresh[name]).copy_(tensor)
    target.load_state_dict(fresh)
