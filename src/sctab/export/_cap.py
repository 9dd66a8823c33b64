"""Columns and entries of `uns` of CAP AnnData 1.0, the format of the Cell Annotation Platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.errors import KeyNotFoundError, ModelFormatError, ModelNotFoundError, Parameter, SctabError, SettingError, listing, place
from sctab.export._cell_types import NOT_ANNOTATED, UNKNOWN, CellTypes
from sctab.export._counts import ExportedCounts
from sctab.export._fields import ORGANISM, TAXA
from sctab.export._lab import LabValues
from sctab.get import evidence_tables
from sctab.inference import library_versions
from sctab.keys import OBS_TERM, OBS_VOTE

SCHEMA_VERSION = "1.0.0"
REPOSITORY = "https://github.com/scverse/sctab"
_LONGEST_TITLE = 200


def default_set(key_added: str) -> str:
    """Name of the set of annotations, where none is given."""
    return f"{key_added}_cell_type"


def check_set(name: str, columns: pd.Index) -> None:
    """Refuse a name of a set that columns of the data have.

    Raises
    ------
    SettingError
        If it is empty, has `--` or `/` in it, or is the name of a column.
    """
    if not name.strip() or "--" in name or "/" in name or not name.isprintable():
        raise SettingError(
            Parameter("set_name", name), " cannot be the name of a set of annotations. Choose one such as `cell_type`."
        )
    taken = [str(column) for column in columns if str(column) == name or str(column).startswith(f"{name}--")]
    if taken:
        raise SettingError(
            Parameter("set_name", name), f" is in use: the data has the columns {listing(taken, most=3)}. Choose another name."
        )


def marker_genes(
    adata: AnnData, cells: Any, types: CellTypes, counts: ExportedCounts, *, model: Any, n_genes: int, key_added: str
) -> tuple[dict[str, str], list[str]]:
    """Genes that speak for each type, separated by commas, and notes.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If a model was named and is not found, or cannot be read.
    """
    if not types.table["cells"].any():
        return {}, []
    column = {"term": f"{key_added}_{OBS_TERM}", "vote": f"{key_added}_{OBS_VOTE}"}.get(types.answer)
    try:
        genes, _ = evidence_tables(adata, cells, model, groupby=column, n_genes=n_genes, key_added=key_added)
    except (ModelNotFoundError, ModelFormatError) as error:
        if model is not None:
            raise
        return {}, [f"`marker_gene_evidence` is empty: {error}"]
    except SctabError as error:
        return {}, [f"`marker_gene_evidence` is empty: {error}"]
    by_id = dict(zip(counts.ids, counts.symbols, strict=True))
    known = set(counts.symbols)
    found: dict[str, list[str]] = {}
    for name, gene, gene_id in zip(genes["type"], genes["gene"], genes["gene_id"], strict=True):
        shown = by_id.get(str(gene_id)) or (str(gene) if gene in known else None)
        if shown is not None:
            found.setdefault(str(name), []).append(shown)
    return {name: ", ".join(dict.fromkeys(markers)) for name, markers in found.items()}, []


def rationale(row: Mapping[str, Any], types: CellTypes, run: Mapping[str, Any], markers: str) -> str:
    """Sentences on how the cells of a type got its name."""
    model, promise = run["model"], run.get("promise", {})
    text = f"Annotated by sctab with the model {model['name']}"
    text += f" (SHA-256 {str(model['sha256'])[:12]})" if model.get("sha256") else ""
    text += f": {int(row['cells']):,} cells"
    if np.isfinite(row["confidence"]):
        text += f", median confidence {row['confidence']:.2f}, {row['doubtful']:.0%} of them below 0.5"
    text += "."
    if types.answer == "term" and "accepted_error" in promise:
        text += f" The term is the most specific one for which an error of {float(promise['accepted_error']):.0%} is promised."
    if types.answer == "vote":
        text += " The label is that of most cells of a cluster."
    return text + (f" Genes that speak for it: {markers}." if markers else "")


def columns_of_cap(
    types: CellTypes, markers: Mapping[str, str], lab: LabValues, run: Mapping[str, Any], species: str, name: str
) -> dict[str, Any]:
    """Columns of `obs`: what describes the dataset, and the set of annotations."""
    taxon, latin = TAXA[species]
    n_obs = len(types.codes)
    columns: dict[str, Any] = dict(lab.columns)
    columns |= {key: values for key, values in lab.names.items() if values is not None}
    columns[ORGANISM] = pd.Categorical.from_codes([0] * n_obs, categories=[taxon])
    columns["organism"] = pd.Categorical.from_codes([0] * n_obs, categories=[latin])
    table = types.table
    table["markers"] = [markers.get(type_, "") for type_ in table["name"]]
    table["fullname"] = [term or type_ for type_, term in zip(table["name"], table["term"], strict=True)]
    table["synonyms"] = [", ".join(_without_commas(types.ontology.synonyms(term))) if term else "" for term in table["id"]]
    table["rationale"] = [rationale(row, types, run, row["markers"]) for row in table.to_dict("records")]
    words = {"unknown": UNKNOWN, "missing": NOT_ANNOTATED}

    def exists(column: str) -> np.ndarray:
        return np.append(table[column].to_numpy() != "", False)[types.codes]

    return columns | {
        name: types.values("name", **words),
        f"{name}--cell_fullname": types.values("fullname", **words),
        f"{name}--cell_ontology_exists": exists("id"),
        f"{name}--cell_ontology_term_id": types.values("id"),
        f"{name}--cell_ontology_term": types.values("term"),
        f"{name}--rationale": types.values("rationale"),
        f"{name}--marker_gene_evidence": types.values("markers"),
        f"{name}--synonyms": types.values("synonyms"),
        f"{name}--category_fullname": types.values("category"),
        f"{name}--category_cell_ontology_exists": exists("category_id"),
        f"{name}--category_cell_ontology_term_id": types.values("category_id"),
        f"{name}--category_cell_ontology_term": types.values("category_term"),
    }


def _without_commas(synonyms: tuple[str, ...]) -> list[str]:
    """Synonyms that can stand in a list with commas."""
    return sorted(word for word in synonyms if "," not in word)


def uns_of_cap(types: CellTypes, lab: LabValues, run: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Entries of `uns`.

    Raises
    ------
    SettingError
        If a title is too long.
    """
    for key in ("title", "cap_publication_title"):
        if len(lab.dataset.get(key, "")) > _LONGEST_TITLE:
            raise SettingError(
                Parameter("metadata"), f": `{key}` has {len(lab.dataset[key])} characters, and CAP takes {_LONGEST_TITLE}."
            )
    model = run["model"]
    what = {
        "label": "the most probable label",
        "term": "the most specific term that can be promised",
        "vote": "the label of its cluster",
    }
    sources = str(model["name"])
    return {
        **lab.dataset,
        "cellannotation_schema_version": SCHEMA_VERSION,
        "cellannotation_metadata": {
            name: {
                "description": (
                    f"Cell types by sctab with the model {sources}: of each cell {what[types.answer]}. Cells that no label fits, and cells "
                    f"of which nothing can be promised, are `{UNKNOWN}`; cells without a count in the genes of the model are "
                    f"`{NOT_ANNOTATED}`."
                ),
                "annotation_method": "algorithmic",
                "algorithm_name": "sctab",
                "algorithm_version": str(run.get("versions", {}).get("sctab") or library_versions().get("sctab", "")),
                "algorithm_repo_url": REPOSITORY,
                "reference_description": f"Training data of the model {sources}, see its model card.",
            }
        },
    }


def require_annotated(adata: AnnData, key_added: str) -> Mapping[str, Any]:
    """The record of a run.

    Raises
    ------
    KeyNotFoundError
        If there is none.
    """
    run = adata.uns.get(key_added)
    if not isinstance(run, Mapping) or "model" not in run:
        raise KeyNotFoundError(
            place(f"uns[{key_added!r}]"), ", the record of the annotation, does not exist. Annotate the cells again."
        )
    return run
