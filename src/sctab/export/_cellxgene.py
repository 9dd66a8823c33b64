"""Columns and entries of `uns` of the schema of CELLxGENE, 7.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sctab.errors import Parameter, SettingError, listing
from sctab.export._cell_types import UNKNOWN, CellTypes
from sctab.export._fields import ORGANISM, TAXA
from sctab.export._lab import LabValues
from sctab.ontology import find_metadata_term

SCHEMA_VERSION = "7.1.0"
_NOT_ALLOWED = ("CL:0000255", "CL:0000257", "CL:0000548")
"""Eukaryotic cell, Eumycetozoan cell and animal cell: too broad to say anything."""
_SPATIAL = ("EFO:0010961", "EFO:0920001")


def columns_of_cellxgene(types: CellTypes, lab: LabValues) -> tuple[dict[str, Any], list[str]]:
    """Columns of `obs`, and notes.

    Raises
    ------
    SettingError
        If the assay is spatial.
    """
    assays = lab.columns["assay_ontology_term_id"]
    spatial = [
        each for each in pd.Categorical(assays).categories if (term := find_metadata_term(each, ())) and term.is_kind_of(_SPATIAL)
    ]
    if spatial:
        raise SettingError(
            Parameter("metadata"),
            f": {listing(spatial)} is a spatial assay, for which the format needs images and positions. These are not exported.",
        )
    notes = []
    table = types.table.copy()
    broad = table["id"].isin(_NOT_ALLOWED) & (table["cells"] > 0)
    if broad.any():
        notes.append(f"Terms that the format does not take were written as `{UNKNOWN}`: {listing(table.loc[broad, 'name'])}.")
        table.loc[broad, "id"] = ""
    ids = table["id"].replace("", UNKNOWN).to_numpy(dtype=object)
    values = pd.Categorical([*ids, UNKNOWN], categories=sorted({*ids, UNKNOWN}))[types.codes].remove_unused_categories()
    n_unknown = int((values == UNKNOWN).sum())
    if n_unknown:
        notes.append(
            f"{n_unknown:,} of {len(values):,} cells have `{UNKNOWN}` as their cell type: they have no term of the Cell Ontology."
        )
    return {"cell_type_ontology_term_id": values, **lab.columns}, notes


def uns_of_cellxgene(lab: LabValues, species: str) -> Mapping[str, Any]:
    """Entries of `uns`."""
    return {**lab.dataset, ORGANISM: TAXA[species][0], "X_approximate_distribution": "normal"}
