"""Transfer from a reference model: a query in its genes, and its weights in a model with more types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from torch import nn

from sctab.corpus import Corpus
from sctab.data import FeatureSpace, LearnedMatrix, Query, is_mudata
from sctab.errors import SettingError
from sctab.inference import ModelSpec, Predictor
from sctab.io import BLOCK_SIZE
from sctab.keys import SCVI_KEYS
from sctab.ontology import CellOntology, label_ids_from
from sctab.train import CorpusReference, MemoryReference, Reference, alike_in, ids_of

if TYPE_CHECKING:
    from mudata import MuData


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


def setup_for_query(
    reference: ModelSpec,
    adata: AnnData,
    labels_key: str | None,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
) -> dict[str, Any]:
    """Arguments of `setup_anndata` for a query mapped onto the genes of a reference model."""
    setup = dict(reference.setup) | {"layer": None, "gene_id_key": "gene_id", "gene_symbol_key": "gene_symbol"}
    setup["labels_key"] = labels_key or setup["labels_key"]
    ontology = CellOntology.embedded()
    setup["label_ids"] = {} if label_ids is None else label_ids_from(label_ids, ontology)
    if setup["labels_key"] in adata.obs:
        labels = set(adata.obs[setup["labels_key"]].dropna().astype(str).unique())
        known = ids_of(reference.labels, ontology).items()
        setup["label_ids"] |= {label: term for label, term in known if label in labels}
        if not alike_in(setup["unlabeled_category"], labels):
            setup["unlabeled_category"] = None  # all cells of the query have a label
    for key in ("donor_key", "dataset_key"):
        if setup.get(key) not in adata.obs:
            setup[key] = None
    setup["categorical_covariate_keys"] = [
        key for key in setup["categorical_covariate_keys"] if key in adata.obs and adata.obs[key].notna().any()
    ]
    return setup


def reference_of(data: AnnData | MuData | Corpus, spec: ModelSpec) -> Reference:
    """Reference of an AnnData, a MuData or a corpus, for a model to be trained on; errors as in `setup_anndata`.

    Raises
    ------
    SettingError
        If the model learned from proteins, which a corpus does not have.
    """
    if isinstance(data, Corpus):
        _require_genes_alone(spec)
        return CorpusReference(data)
    known = spec.setup.get("modalities")
    if is_mudata(data) and not (known and set(known.values()) <= set(data.mod)):
        return MemoryReference.of(data, **{**spec.setup, "modalities": None})
    return MemoryReference.of(data, **spec.setup)


def _require_genes_alone(spec: ModelSpec) -> None:
    """Refuse to train a model of proteins on cells of which none has any: what it knows of antibodies would no longer fit the rest."""
    if spec.proteins is not None:
        raise SettingError(
            f"The model learned from {len(spec.proteins)} antibodies, and a corpus holds gene expression alone: what it has learned of "
            "proteins would no longer fit. Train on a MuData, or train a new model on the corpus."
        )


def query_reference(
    data: AnnData | MuData | Corpus,
    predictor: Predictor,
    labels_key: str | None,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None,
) -> Reference:
    """Reference for the transfer of a model: a corpus, or an AnnData over the genes of the model, with proteins; see `load_query_data`."""
    if isinstance(data, Corpus):
        _require_genes_alone(predictor.spec)
        return CorpusReference(data)
    cells = predictor.cells_of(data)
    setup = setup_for_query(predictor.spec, cells, labels_key, label_ids)
    opened = predictor.open_query(cells)
    reference = MemoryReference.of(in_model_genes(cells, opened, predictor.spec.features), **setup)
    return replace(reference, matrix=LearnedMatrix.of(opened.source))


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights but trees; rows of types that `source` does not have keep what is in `target`."""
    fresh = target.state_dict()
    for name, tensor in source.state_dict().items():
        if not fresh[name].numel():
            continue  # trees, which grow from scratch
        (fresh[name][: len(tensor)] if tensor.ndim else fresh[name]).copy_(tensor)
    target.load_state_dict(fresh)
