"""Flat tables: one row per cell, and mappings of labels to the Cell Ontology."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sctab.errors import SettingError, listing
from sctab.export._cell_types import CellTypes
from sctab.io import write_csv
from sctab.keys import (
    OBS_CONFIDENCE,
    OBS_EXCLUDED,
    OBS_EXPECTED_ENTROPY,
    OBS_IS_UNSEEN,
    OBS_LABEL,
    OBS_LABEL_ID,
    OBS_MUTUAL_INFORMATION,
    OBS_N_LABELS_BELOW,
    OBS_TERM,
    OBS_TERM_ID,
    OBS_UNCERTAINTY,
    OBS_UNSEEN,
    OBS_VOTE,
    OBS_VOTE_ID,
    OBS_VOTE_SHARE,
)
from sctab.ontology import CellOntology

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_COLUMNS = (
    *(
        OBS_LABEL,
        OBS_LABEL_ID,
        OBS_CONFIDENCE,
        OBS_UNCERTAINTY,
        OBS_TERM,
        OBS_TERM_ID,
        OBS_N_LABELS_BELOW,
        OBS_UNSEEN,
        OBS_IS_UNSEEN,
    ),
    *(OBS_EXCLUDED, OBS_EXPECTED_ENTROPY, OBS_MUTUAL_INFORMATION, OBS_VOTE, OBS_VOTE_ID, OBS_VOTE_SHARE),
)


def suffix_of_table(path: Path) -> str:
    """Suffix of a table, in lower case.

    Raises
    ------
    SettingError
        If it is none of those that are written.
    """
    name = path.name.lower()
    found = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    if not found:
        raise SettingError(f"`{path}` is not the name of a table. Choose one that ends with {listing(SUFFIXES)}.")
    return max(found, key=len)


def cell_table(obs: pd.DataFrame, names: Iterable[str], *, key_added: str) -> pd.DataFrame:
    """One row per cell with all columns of an annotation, without their prefix, and the names of the terms of labels.

    Parameters
    ----------
    obs
        Columns of the data, `(n_obs, …)`.
    names
        Names of the cells.
    key_added
        Prefix of the annotation.
    """
    ontology = CellOntology.embedded()
    columns: dict[str, Any] = {"cell": pd.Series([str(name) for name in names], dtype=object)}
    for name in _COLUMNS:
        key = f"{key_added}_{name}"
        if key not in obs:
            continue
        columns[name] = obs[key].array
        if name == OBS_LABEL_ID:
            ids = pd.Categorical(obs[key])
            of_terms = [ontology.name(str(term)) for term in ids.categories]
            columns["label_term"] = pd.Categorical(np.array([*of_terms, None], dtype=object)[ids.codes])
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path, suffix: str) -> None:
    """Write a table; text that a spreadsheet would run is marked in CSV and TSV."""
    if suffix == ".parquet":
        table.to_parquet(path, index=False)
        return
    separator = "\t" if suffix.startswith(".tsv") else ","
    write_csv(table, path, separator=separator, is_gzip=suffix.endswith(".gz"))


def mapping_table(types: CellTypes) -> pd.DataFrame:
    """Mappings of types to the Cell Ontology, as rows of SSSOM.

    A type whose name is that of its term, or an exact synonym, is an exact match. For others the relation is `broadMatch`: the label is the
    term or a kind of it, and what the name says is not known to the ontology.
    """
    rows = []
    for row in types.table.to_dict("records"):
        if not row["cells"]:
            continue
        term = row["id"]
        found = types.ontology.find(row["name"]) if term else None
        is_exact = bool(term) and found == term
        rows.append(
            {
                "subject_label": row["name"],
                "subject_type": "rdfs literal",
                "predicate_id": "skos:exactMatch" if is_exact or not term else "skos:broadMatch",
                "object_id": term or "sssom:NoTermFound",
                "object_label": row["term"],
                "mapping_justification": "semapv:LexicalMatching" if is_exact or not term else "semapv:ManualMappingCuration",
                "mapping_tool": "sctab",
            }
        )
    return pd.DataFrame(rows, columns=_SSSOM)


_SSSOM = [
    *("subject_label", "subject_type", "predicate_id", "object_id", "object_label", "mapping_justification", "mapping_tool"),
]


def write_mappings(types: CellTypes, path: Path, *, source: str) -> None:
    """Write mappings as SSSOM TSV, with metadata in front."""
    about = {
        "curie_map": {
            "CL": "http://purl.obolibrary.org/obo/CL_",
            "semapv": "https://w3id.org/semapv/vocab/",
            "skos": "http://www.w3.org/2004/02/skos/core#",
            "sssom": "https://w3id.org/sssom/",
            "obo": "http://purl.obolibrary.org/obo/",
        },
        "mapping_set_id": "https://w3id.org/sssom/mappings/sctab-labels",
        "mapping_set_description": f"Labels of {source} and terms of the Cell Ontology",
        "license": "https://creativecommons.org/publicdomain/zero/1.0/",
        "object_source": "obo:cl.owl",
        "object_source_version": types.ontology.version,
        "sssom_version": "1.1",
    }
    header = "".join(f"#{line}\n" for line in yaml.safe_dump(about, sort_keys=False, allow_unicode=True).splitlines())
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        mapping_table(types).to_csv(file, sep="\t", index=False, lineterminator="\n")
