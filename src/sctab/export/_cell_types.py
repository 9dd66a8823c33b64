"""Cell types of an annotation as portals want them: one row per type with its term, its category and what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.errors import KeyNotFoundError, Parameter, SettingError, listing, place
from sctab.get import Annotation, read_annotation
from sctab.inference import Terms
from sctab.keys import (
    OBS_CONFIDENCE,
    OBS_IS_UNSEEN,
    OBS_LABEL,
    OBS_TERM,
    OBS_TERM_ID,
    OBS_VOTE,
    OBS_VOTE_ID,
)
from sctab.ontology import CellOntology, LabelSpace, label_ids_from

Answer = Literal["label", "term", "vote"]
"""Column of an annotation that says what a cell is called."""
ANSWERS: tuple[Answer, ...] = ("label", "term", "vote")
UNKNOWN, NOT_ANNOTATED = "unknown", "NA"
"""Words that the Cell Annotation Schema reserves for cells of an unknown type, and for cells without an annotation."""
_OF_IDS = {"term": OBS_TERM_ID, "vote": OBS_VOTE_ID}
_OF_NAMES = {"label": OBS_LABEL, "term": OBS_TERM, "vote": OBS_VOTE}
_DOUBTFUL = 0.5


@dataclass(frozen=True)
class CellTypes:
    """Types of the cells."""

    answer: Answer
    codes: NDArray[np.intp]
    """Row of `table` for each cell, -1 for a cell without one, `(n_obs,)`."""
    table: pd.DataFrame
    """A row per type that occurs: `name`, `id`, `term`, `category`, `category_id`, `category_term`, `cells`, `confidence`, `doubtful`;
    ids and terms are empty where there is none."""
    is_unknown: NDArray[np.bool_]
    """Cells of an unknown type, `(n_obs,)`: no label fits, or no term can be promised. The others without a type were not annotated."""
    ontology: CellOntology
    notes: list[str]

    def values(self, column: str, *, unknown: str | None = None, missing: str | None = None) -> pd.Categorical:
        """A column of the table for each cell, with words for cells without a type; an empty value is missing."""
        of_types = self.table[column].astype(str).replace("", np.nan).to_numpy(dtype=object)
        values = np.append(of_types, missing if missing is not None else np.nan)[self.codes]
        if unknown is not None:
            values = np.where(self.is_unknown, unknown, values)
        found = pd.Categorical(values)
        return found.set_categories([str(name) for name in found.categories]) if len(found.categories) else found


def cell_types(adata: AnnData, *, answer: Answer | None, label_ids: Any, key_added: str) -> CellTypes:
    """Collect the types of an annotation.

    Parameters
    ----------
    adata
        Results of an annotation.
    answer
        Which column says what a cell is called; by default promised terms where the cells have them, and labels otherwise.
    label_ids
        Ids of labels, as a mapping or a file, instead of those of the model.
    key_added
        Prefix of the annotation.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or do not have this answer.
    SettingError
        If there is no such answer.
    """
    if answer is not None and answer not in ANSWERS:
        raise SettingError(Parameter("answer", answer), f" is not known. Choose one of {listing(ANSWERS)}.")
    read = read_annotation(adata, key_added, None)
    chosen: Answer = answer or ("term" if f"{key_added}_{OBS_TERM}" in adata.obs else "label")
    key = f"{key_added}_{_OF_NAMES[chosen]}"
    if key not in adata.obs:
        made_by = {"term": "Annotate with an accepted error", "vote": "Let clusters vote"}.get(chosen, "Annotate")
        raise KeyNotFoundError(place(f"obs[{key!r}]"), f" not found. {made_by} first, or choose another answer.")
    found = pd.Categorical(adata.obs[key]).remove_unused_categories()
    names = [str(name) for name in found.categories]
    codes = found.codes.astype(np.intp)
    is_unknown = np.zeros(len(codes), dtype=bool)
    unseen = f"{key_added}_{OBS_IS_UNSEEN}"
    if unseen in adata.obs:
        is_unknown = adata.obs[unseen].fillna(value=False).to_numpy(dtype=bool)
    label = f"{key_added}_{OBS_LABEL}"
    if chosen != "label" and label in adata.obs:
        is_unknown = is_unknown | ((codes < 0) & adata.obs[label].notna().to_numpy())
    codes = np.where(is_unknown, -1, codes)
    ontology = CellOntology.embedded()
    terms, notes = _terms(_stored_ids(adata, names, chosen, read, key_added), label_ids, ontology)
    categories = _categories(names, terms, read, adata.uns[key_added], ontology)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    confidence = f"{key_added}_{OBS_CONFIDENCE}"
    of_cells = adata.obs[confidence].to_numpy(dtype=float) if confidence in adata.obs else np.full(len(codes), np.nan)
    table = pd.DataFrame(
        {
            "name": names,
            "id": [terms[name] or "" for name in names],
            "term": [ontology.name(terms[name] or "") or "" for name in names],
            "category": [category for category, _ in categories],
            "category_id": [term or "" for _, term in categories],
            "category_term": [ontology.name(term or "") or "" for _, term in categories],
            "cells": counts,
            "confidence": [_median(of_cells[codes == code]) for code in range(len(names))],
            "doubtful": [_below(of_cells[codes == code]) for code in range(len(names))],
        }
    )
    without = [name for name, count in zip(names, counts, strict=True) if count and not terms[name]]
    if without:
        notes.append(
            f"{len(without)} of {int((counts > 0).sum())} types have no Cell Ontology id: {listing(without)}. Provide ids as a label map."
        )
    return CellTypes(chosen, codes, table, is_unknown, ontology, notes)


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _below(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float((known < _DOUBTFUL).mean()) if len(known) else float("nan")


def _stored_ids(adata: AnnData, names: list[str], answer: Answer, read: Annotation, key_added: str) -> dict[str, str | None]:
    """Id of each type as the annotation has it: of labels in `uns`, and of terms in the column beside theirs."""
    of_labels = {name: term if term != name else None for name, term in zip(read.names, read.terms, strict=True)}
    found: dict[str, str | None] = {name: of_labels.get(name) for name in names}
    beside = f"{key_added}_{_OF_IDS.get(answer, '')}"
    if answer != "label" and beside in adata.obs:
        pairs = pd.DataFrame({"name": adata.obs[f"{key_added}_{_OF_NAMES[answer]}"], "id": adata.obs[beside]}).dropna()
        pairs = pairs.drop_duplicates()
        found |= {str(name): str(term) for name, term in zip(pairs["name"], pairs["id"], strict=True)}
    return found


def _terms(stored: Mapping[str, str | None], label_ids: Any, ontology: CellOntology) -> tuple[dict[str, str | None], list[str]]:
    """Id of each type in the newest release, and notes."""
    terms: dict[str, str | None] = {}
    replaced: list[str] = []
    gone: list[str] = []
    for name, term in stored.items():
        terms[name] = term
        if term is None or ontology.name(term) is not None:
            continue
        terms[name] = ontology.replacement(term)
        (gone if terms[name] is None else replaced).append(f"{name} ({term})")
    notes = []
    if replaced:
        notes.append(f"Obsolete ids of the Cell Ontology were replaced: {listing(replaced)}.")
    if gone:
        notes.append(
            f"Ids that release {ontology.version} of the Cell Ontology does not have were left out: {listing(gone)}. Provide ids as a "
            "label map."
        )
    if label_ids is not None:
        given = label_ids_from(label_ids, ontology)
        terms |= {name: given[name] for name in terms if name in given}
    return terms, notes


def _categories(
    names: list[str], terms: Mapping[str, str | None], read: Annotation, run: Mapping[str, Any], ontology: CellOntology
) -> list[tuple[str, str | None]]:
    """The next broader term of each type: of the back-off chain, else the parent in the Cell Ontology; empty where there is none."""
    of_chain, ids, below = _chain(read, run)
    sizes = below.sum(axis=1)
    position = {name: code for code, name in reversed(list(enumerate(of_chain)))}
    found: list[tuple[str, str | None]] = []
    for name in names:
        code = position.get(name)
        if code is not None:
            above = np.flatnonzero((below >= below[code]).all(axis=1) & (sizes > sizes[code]))
            if len(above):
                best = int(above[np.argmin(sizes[above])])
                term = ids[best]
                current = term if term is None or ontology.name(term) else ontology.replacement(term)
                found.append((of_chain[best], current))
                continue
        parents = sorted(ontology.parents(terms[name] or ""), key=lambda term: (-(ontology.depth(term) or 0), term))
        found.append((str(ontology.name(parents[0])), parents[0]) if parents else ("", None))
    return found


def _chain(read: Annotation, run: Mapping[str, Any]) -> tuple[list[str], list[str | None], NDArray[np.bool_]]:
    """Names and ids of labels and the terms above them, and which labels are below each: as promised, or those of the ontology."""
    promise = run.get("promise", {})
    if "labels_below" in promise and "term_ids" in promise and "terms" in promise:
        names = [str(name) for name in promise["terms"]]
        ids = [str(term) or None for term in promise["term_ids"]]
        below = np.asarray(promise["labels_below"], dtype=bool)
        if len(names) == len(ids) == len(below):
            return names, ids, below
    ids = [None if term == name else term for name, term in zip(read.names, read.terms, strict=True)]
    labels = LabelSpace(read.names, tuple(ids), str(run["model"]["ontology_version"]))
    terms = Terms.of(labels)
    return list(terms.names), list(terms.ids), terms.below
