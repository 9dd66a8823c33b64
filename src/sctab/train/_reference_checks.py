"""Checks of an AnnData that is to be learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.data import reference_source, require_anndata, require_cells_in_rows
from sctab.errors import InputValueError, LabelError, Message, Parameter, SettingError, missing_key, place, warn
from sctab.train._labels import check_labels, label_ids_in

if TYPE_CHECKING:
    from mudata import MuData


def check_reference(adata: AnnData, setup: Mapping[str, Any]) -> str | None:
    """Refuse what cannot be learned from, and give the label that means "no label"; errors as in `setup_anndata`."""
    labels_key = setup["labels_key"]
    categorical_covariate_keys: Sequence[str] = setup["categorical_covariate_keys"]
    _check_cells(adata, "reference")
    unlabeled_category = check_labels(
        _obs_column(adata, labels_key, "labels_key"),
        labels_key,
        unlabeled_category=setup["unlabeled_category"],
        label_ids=label_ids_in(setup),
    )
    for unit in ("donor", "dataset"):
        key = setup[f"{unit}_key"]
        if key is not None and (n_without := int(_obs_column(adata, key, f"{unit}_key").isna().sum())):
            raise LabelError(
                place(f"obs[{key!r}]"),
                f" has no {unit} (NaN) for {n_without} of {adata.n_obs} cells. Fill them in, or omit ",
                Parameter(f"{unit}_key"),
                ".",
            )
    if isinstance(categorical_covariate_keys, str):
        raise SettingError(
            Parameter("categorical_covariate_keys", categorical_covariate_keys),
            f" must be a list: write `[{categorical_covariate_keys!r}]`.",
        )
    for key in categorical_covariate_keys:
        if key == labels_key:
            raise SettingError(
                Parameter("categorical_covariate_keys"), f" has the labels, `{key}`, which a query does not have. Omit them."
            )
        if _obs_column(adata, key, "categorical_covariate_keys").dropna().empty:
            raise LabelError(
                place(f"obs[{key!r}]"),
                " has no value in any cell. Remove it from ",
                Parameter("categorical_covariate_keys"),
                ".",
            )
        if (n_values := adata.obs[key].nunique()) > max(adata.n_obs / 2, 2):
            raise LabelError(
                place(f"obs[{key!r}]"),
                f" has {n_values} different values in {adata.n_obs} cells: these are not categories. Group them, or remove the column "
                "from ",
                Parameter("categorical_covariate_keys"),
                ".",
            )
    _check_matrix(adata, setup)
    return unlabeled_category


def check_unlabeled(adata: AnnData, setup: Mapping[str, Any], batch_key: str | None) -> None:
    """Refuse cells that cannot be clustered; errors as in :meth:`sctab.model.SCDeepCluster.setup_anndata`."""
    _check_cells(adata, "data")
    if setup["labels_key"] is not None:
        _obs_column(adata, setup["labels_key"], "labels_key")
    if batch_key is not None:
        batches = _obs_column(adata, batch_key, "batch_key")
        if n_without := int(batches.isna().sum()):
            raise LabelError(
                place(f"obs[{batch_key!r}]"),
                f" has no batch (NaN) for {n_without} of {adata.n_obs} cells. Fill them in, or omit ",
                Parameter("batch_key"),
                ".",
            )
        if (n_values := batches.nunique()) > max(adata.n_obs / 2, 2):
            raise LabelError(
                place(f"obs[{batch_key!r}]"),
                f" has {n_values} different values in {adata.n_obs} cells: these are not batches. Choose another ",
                Parameter("batch_key"),
                ".",
            )
    _check_matrix(adata, setup)


def _check_cells(adata: AnnData, what: str) -> None:
    require_anndata(adata)
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise InputValueError(f"The {what} has {adata.n_obs} cells and {adata.n_vars} genes: there is nothing to learn from.")
    if adata.is_view:
        call = "to_memory" if adata.isbacked else "copy"
        raise InputValueError(f"The {what} is a view of another AnnData. Call `adata = adata.{call}()` first.")
    require_cells_in_rows(adata)


def _check_matrix(adata: AnnData, setup: Mapping[str, Any]) -> None:
    source, _ = reference_source(adata, setup["layer"])
    if source.content.remark:
        warn(source.content.remark)
    for parameter in ("gene_id_key", "gene_symbol_key"):
        if (key := setup[parameter]) is not None and key not in source.var:
            raise missing_key(parameter, key, source.var.columns, where="raw.var" if source.name == "raw.X" else "var")


def require_paired(mdata: MuData, modalities: Mapping[str, str]) -> None:
    """Refuse a reference that scvi-tools would refuse: a view, and cells that one of the modalities does not have."""
    if mdata.is_view:
        raise InputValueError("The reference is a view of another MuData. Call `mdata = mdata.copy()` first.")
    for name in modalities.values():
        if n_without := int(np.sum(~mdata.obs_names.isin(mdata.mod[name].obs_names))):
            raise InputValueError(
                f"{n_without} of {mdata.n_obs} cells are not in `mod[{name!r}]`. Keep those of all modalities: "
                "`muon.pp.intersect_obs(mdata)`, or add rows of NaN for proteins that were not measured."
            )


def note_on_validation(training: Mapping[str, Any]) -> Message | None:
    """Sentence on a validation score that is optimistic, since the cells are of donors that were learned; `None` where it is not.

    Parameters
    ----------
    training
        Summary of a training, see :func:`~sctab.train.summarise`.
    """
    if training["validation"]["by"] != "stratified" or training["validation"]["macro_f1"] is None:
        return None
    beginning = "Donors of these cells were learned, too, so expect less on new donors. "
    if "corpus" in training:
        return Message(beginning, "A corpus with a donor of each cell holds out whole donors.")
    if training["n_donors"] is None:
        return Message(beginning, Parameter("donor_key"), " holds out whole donors.")
    if training["settings"]["validation_split"] == "stratified":
        return Message(beginning, Parameter("validation_split", "donor"), " holds out whole donors.")
    return Message(beginning, f"Whole donors could not be held out of {training['n_donors']}.")


def _obs_column(adata: AnnData, key: str, parameter: str) -> pd.Series:
    if key not in adata.obs:
        raise missing_key(parameter, key, adata.obs.columns)
    return adata.obs[key]
