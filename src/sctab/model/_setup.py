"""What a reference must be, and what scvi-tools registers of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scvi.data._constants import _MANAGER_UUID_KEY as MANAGER_UUID_KEY, _SCVI_UUID_KEY as ADATA_UUID_KEY
from scvi.data.fields import BaseAnnDataField, CategoricalObsField, LabelsWithUnlabeledObsField, LayerField
from scvi.model._utils import parse_device_args

from sctab.data import (
    CORRECT,
    FeatureSpace,
    LearnedMatrix,
    Normalization,
    Query,
    find_covariates,
    one_hot,
    reference_source,
    require_anndata,
    require_cells_in_rows,
    resolve,
    stated_species,
    var_of,
)
from sctab.errors import InputValueError, KeyNotFoundError, LabelError, SettingError, listing, warn
from sctab.inference import ModelSpec
from sctab.io import require_sound_cells
from sctab.keys import REGISTRY_DONOR, REGISTRY_LABELS, REGISTRY_X
from sctab.ontology import CellOntology, LabelSpace, tissues_of
from sctab.train import ReferenceData, check_labels, label_ids_in, most_variable_genes, subtypes, warn_about_types

SCVI_KEYS = (ADATA_UUID_KEY, MANAGER_UUID_KEY)
"""What scvi-tools knows an AnnData by, in `uns`; a copy that has it is taken for the same."""


def own_copy(adata: AnnData, cells: NDArray[np.int64]) -> AnnData:
    """Some cells of a reference, in memory, that scvi-tools does not take for the reference itself."""
    require_sound_cells(adata)
    copy = adata[cells].to_memory()
    if adata.isbacked:
        copy = copy.copy()  # what was read through a view holds on to the open file, and cannot go to another process
    for key in SCVI_KEYS:
        copy.uns.pop(key, None)
    return copy


def check_reference(
    adata: AnnData,
    labels_key: str,
    *,
    layer: str | None,
    donor_key: str | None,
    unlabeled_category: str | None,
    categorical_covariate_keys: Sequence[str],
    var_keys: Sequence[str],
    label_ids: Mapping[str, str | None] | None = None,
) -> str | None:
    """Refuse what cannot be learned from, and give the label that means "no label"; parameters and errors as in `setup_anndata`."""
    require_anndata(adata)
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise InputValueError(f"The reference has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to learn from.")
    if adata.is_view:
        call = "to_memory" if adata.isbacked else "copy"
        raise InputValueError(f"The reference is a view of another AnnData. Call `adata = adata.{call}()` first.")
    require_cells_in_rows(adata)
    unlabeled_category = check_labels(
        _obs_column(adata, labels_key, "labels_key"), labels_key, unlabeled_category=unlabeled_category, label_ids=label_ids
    )
    if donor_key is not None and (donors := _obs_column(adata, donor_key, "donor_key")).isna().any():
        raise LabelError(
            f"`adata.obs[{donor_key!r}]` has no donor (NaN) for {int(donors.isna().sum())} of {adata.n_obs} cells. Fill them in, "
            "or leave `donor_key` out."
        )
    if isinstance(categorical_covariate_keys, str):
        raise SettingError(
            f"`categorical_covariate_keys={categorical_covariate_keys!r}` must be a list: write `[{categorical_covariate_keys!r}]`."
        )
    for key in categorical_covariate_keys:
        if key == labels_key:
            raise SettingError(
                f"`categorical_covariate_keys` has the labels, `{key}`, which a query does not have. Leave them out."
            )
        if _obs_column(adata, key, "categorical_covariate_keys").dropna().empty:
            raise LabelError(f"`adata.obs[{key!r}]` has no value in any cell. Leave it out of `categorical_covariate_keys`.")
        if (n_values := adata.obs[key].nunique()) > max(adata.n_obs / 2, 2):
            raise LabelError(
                f"`adata.obs[{key!r}]` has {n_values} different values in {adata.n_obs} cells: these are no categories. Group them, or "
                "leave the column out of `categorical_covariate_keys`."
            )
    source, _ = reference_source(adata, layer)
    if source.content.remark:
        warn(source.content.remark)
    for key in var_keys:
        if key not in source.var:
            table = "adata.raw.var" if source.name == "raw.X" else "adata.var"
            raise KeyNotFoundError(f"`{key}` is not a column of `{table}`. Columns: {listing(source.var.columns)}.")
    return unlabeled_category


def reference_fields(
    adata: AnnData, labels_key: str, *, layer: str | None, donor_key: str | None, unlabeled_category: str | None
) -> list[BaseAnnDataField]:
    """Where scvi-tools finds counts, labels and donors.

    It knows `X` and layers. Training reads the matrix itself, so that where that is in `raw`, any other will do.
    """
    is_layer = layer is not None and resolve(adata, layer) == f"layers[{layer!r}]"
    fields: list[BaseAnnDataField] = [
        LayerField(REGISTRY_X, layer if is_layer else None, is_count_data=False),  # looked at above, from all rows
        CategoricalObsField(REGISTRY_LABELS, labels_key)
        if unlabeled_category is None
        else LabelsWithUnlabeledObsField(REGISTRY_LABELS, labels_key, unlabeled_category),
    ]
    if donor_key is not None:
        fields.append(CategoricalObsField(REGISTRY_DONOR, donor_key))
    return fields


def describe_reference(
    adata: AnnData,
    setup: Mapping[str, Any],
    model_class: str,
    *,
    n_top_genes: int | str | None,
    architecture: Mapping[str, Any],
) -> ModelSpec:
    """A model of a reference that was set up, untrained; warns of labels that will be hard to use."""
    names = adata.obs[setup["labels_key"]].astype(str)
    names = names[names != setup["unlabeled_category"]]
    labels = LabelSpace.from_names(
        sorted(set(names)), CellOntology.embedded(), label_ids=label_ids_in(setup), tissues=tissues_of(adata.obs)
    )
    warn_about_types(names, labels)
    features = FeatureSpace.from_var(
        var_of(adata, setup["layer"]), gene_id_key=setup["gene_id_key"], gene_symbol_key=setup["gene_symbol_key"]
    )
    for note in stated_species(adata).notes(features.species, owner="the reference", fix=CORRECT):
        warn(note)
    spec = ModelSpec(
        model_class=model_class,
        covariates=find_covariates(adata.obs, setup["categorical_covariate_keys"]),
        architecture=architecture,
        features=features,
        labels=labels,
        normalization=Normalization(),
        setup=setup,
    )
    if not isinstance(n_top_genes, int) or n_top_genes >= len(spec.features):
        return spec
    return replace(spec, features=most_variable_genes(training_data(adata, spec).counts, spec, n_top_genes))


def training_data(adata: AnnData, spec: ModelSpec, learned: LearnedMatrix | None = None) -> ReferenceData:
    """Counts over the genes of a model, labels and donors of a reference; `learned` is the matrix that it was made from, if any."""
    setup = spec.setup
    source, _ = reference_source(adata, setup["layer"])
    match = spec.features.match(source.var, gene_id_key=setup["gene_id_key"], gene_symbol_key=setup["gene_symbol_key"])
    covariates = one_hot(adata.obs, spec.covariates)
    query = Query(source=source, match=match, normalization=spec.normalization, notes=(), covariates=covariates)
    donors = None if setup["donor_key"] is None else pd.factorize(adata.obs[setup["donor_key"]].astype(str))[0]
    return ReferenceData(
        blocks=query.counts,
        learned=learned or LearnedMatrix.of(source),
        labels=pd.Index(spec.labels.names).get_indexer(adata.obs[setup["labels_key"]].astype(str)).astype(np.int64),
        donors=None if donors is None else donors.astype(np.int64),
        n_classes=len(spec.labels),
        covariates=covariates,
        child_matrix=subtypes(spec.labels),
    )


def _obs_column(adata: AnnData, key: str, parameter: str) -> pd.Series:
    if key not in adata.obs:
        raise KeyNotFoundError(f"`{parameter}={key!r}` is not in `adata.obs`. Columns: {listing(adata.obs.columns)}.")
    return adata.obs[key]


def single_device(accelerator: str, device: int | str) -> torch.device:
    """The device that scvi-tools chooses for these."""
    _, _, chosen = parse_device_args(accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True)
    return chosen
