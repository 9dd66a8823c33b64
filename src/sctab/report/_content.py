"""Everything that a report shows, gathered from the tables of `get`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab import get, pl
from sctab.errors import ModelFormatError, ModelNotFoundError, SctabError, missing_key
from sctab.get import NO_LABEL, Embedding
from sctab.keys import OBS_LABEL, UNS_REVIEW

SAMPLES = (
    *("sample", "sample_id", "Sample", "donor_id", "donor", "patient", "patient_id", "individual", "subject", "batch"),
    *("library_id", "orig.ident"),
)
"""Columns of `obs` that are taken as samples, the first one that has several."""
LABELS = ("cell_type", "celltype", "cell_types", "CellType", "author_cell_type", "labels", "annotation")
"""Columns of `obs` that are taken as given labels."""
_MOST_SAMPLES, _MOST_LABELS = 100, 200


@dataclass(frozen=True, kw_only=True)
class Content:
    """Tables and facts of a report."""

    title: str
    source: str
    """Name of the file; empty for an object in memory."""
    n_obs: int
    n_vars: int
    key_added: str
    run: Mapping[str, Any]
    types: pd.DataFrame
    cells: pd.DataFrame
    """`get.annotation` of the cells on the map, with their coordinates."""
    confidence: Mapping[str, float]
    """Median confidence, and the fraction of cells below 0.5; empty without it."""
    embedding: Embedding | None
    tree: pd.DataFrame
    genes: pd.DataFrame
    expression: pd.DataFrame
    no_evidence: str
    """Reason why there are no genes."""
    sample_key: str | None
    composition: pd.DataFrame | None
    labels_key: str | None
    comparison: pd.DataFrame | None
    are_guessed: Sequence[str]
    """Columns that were chosen by their names."""
    scores: pd.DataFrame | None
    """Overall scores of an evaluation, where there is one."""
    review: Mapping[str, Any] | None
    """Facts of a review of given labels, where there is one."""
    queue: pd.DataFrame | None
    """Cells whose given label is contradicted, where they were looked for."""
    groups: pd.DataFrame | None
    """Clusters by how far their given label is contradicted, where they were ranked."""
    palette: Mapping[str, str]
    sample_palette: Mapping[str, str] = field(default_factory=dict)


def gather(
    adata: AnnData,
    cells: Any,
    *,
    title: str,
    source: str,
    n_vars: int,
    key_added: str,
    model: Any,
    sample_key: str | None,
    labels_key: str | None,
    n_genes: int,
) -> Content:
    """Collect what a report shows.

    Parameters
    ----------
    adata
        Results of an annotation.
    cells
        What has the matrices of the same cells: an AnnData or a `DataFile`.
    title, source, n_vars, key_added, model, sample_key, labels_key, n_genes
        As for :func:`sctab.report.write`.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column does not exist.
    """
    types = get.types(adata, key_added=key_added)
    for parameter, key in (("sample_key", sample_key), ("labels_key", labels_key)):
        if key is not None and key not in adata.obs:
            raise missing_key(parameter, key, adata.obs.columns)
    chosen_sample = sample_key or first_of(adata, SAMPLES, _MOST_SAMPLES)
    review = adata.uns.get(f"{key_added}_{UNS_REVIEW}")
    reviewed_labels = None if review is None or review["labels_key"] not in adata.obs else str(review["labels_key"])
    chosen_labels = labels_key or reviewed_labels or first_of(adata, LABELS, _MOST_LABELS)
    found = get.embedding(adata, cells, key_added=key_added)
    table = get.annotation(adata, columns=[chosen_sample] if chosen_sample else [], key_added=key_added)
    known = table["confidence"].to_numpy(dtype=float) if "confidence" in table else np.array([])
    known = known[np.isfinite(known)]
    genes, expression, no_evidence = _evidence(adata, cells, model, n_genes, key_added)
    label_key = f"{key_added}_{OBS_LABEL}"
    named = [name for name in types["type"] if name != NO_LABEL]
    sample_palette = {}
    if chosen_sample:
        sample_palette = pl.colours_of(table[chosen_sample].cat.categories, get.stored_colours(adata, chosen_sample))
    on_map = table.iloc[:0] if found is None else table.iloc[found.rows]
    if found is not None:
        on_map = on_map.assign(x=found.coordinates[:, 0], y=found.coordinates[:, 1])
    return Content(
        title=title,
        source=source,
        n_obs=adata.n_obs,
        n_vars=n_vars,
        key_added=key_added,
        run=adata.uns[key_added],
        types=types,
        cells=on_map,
        confidence={"median": float(np.median(known)), "doubtful": float((known < 0.5).mean())} if len(known) else {},
        embedding=found,
        tree=get.ontology(adata, key_added=key_added),
        genes=genes,
        expression=expression,
        no_evidence=no_evidence,
        sample_key=chosen_sample,
        composition=get.composition(adata, chosen_sample, key_added=key_added) if chosen_sample else None,
        labels_key=chosen_labels,
        comparison=get.comparison(adata, chosen_labels, key_added=key_added) if chosen_labels else None,
        are_guessed=[
            key
            for key, given in ((chosen_sample, sample_key), (chosen_labels, labels_key or reviewed_labels))
            if key and given is None
        ],
        scores=_or_none(lambda: get.evaluation(adata, key_added=key_added)),
        review=review,
        queue=_or_none(lambda: get.review(adata, key_added=key_added).drop(columns="position")),
        groups=_or_none(lambda: get.review(adata, "groups", key_added=key_added)),
        palette=pl.colours_of(named, get.stored_colours(adata, label_key)),
        sample_palette=sample_palette,
    )


def first_of(adata: AnnData, names: Sequence[str], most: int) -> str | None:
    """The first of some columns of `obs` that exists and has two values or more, and not too many."""
    for name in names:
        if name in adata.obs and 2 <= adata.obs[name].nunique() <= most:
            return name
    return None


def _or_none(read: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
    try:
        return read()
    except SctabError:
        return None


def _evidence(adata: AnnData, cells: Any, model: Any, n_genes: int, key_added: str) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Genes of each type, their expression, and the reason where there are none."""
    try:
        genes, expression = get.evidence_tables(adata, cells, model, n_genes=n_genes, key_added=key_added)
    except (ModelNotFoundError, ModelFormatError) as error:
        if model is not None:
            raise
        return pd.DataFrame(), pd.DataFrame(), str(error)
    except SctabError as error:
        return pd.DataFrame(), pd.DataFrame(), str(error)
    return genes, expression, "" if len(genes) else "No gene speaks for any type in these cells."
