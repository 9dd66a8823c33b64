"""Review of given labels: cells and clusters that the evidence contradicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import require_cells, require_writable, target_of
from sctab.errors import LabelError, Parameter, SettingError, listing, missing_key, place, warn
from sctab.inference import HasPredictor
from sctab.keys import DEFAULT_KEY_ADDED, OBS_IS_SUSPECT, OBS_REVIEW_LABEL, OBS_REVIEW_MARGIN, UNS_REVIEW, check_key_added
from sctab.metrics import LabelNoise
from sctab.ontology import label_ids_from, tissues_of
from sctab.tl._comparison import Comparison, compare_labels
from sctab.tl._evidence import Contrast, Evidence, labels_of, of_annotation, of_model, of_other_cells
from sctab.tl._voted import groups_of


def review(
    adata: AnnData,
    labels_key: str,
    model: str | PathLike[str] | HasPredictor | None = None,
    *,
    annotation_key: str | None = None,
    groups: str | None = None,
    donor_key: str | None = None,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
    layer: str | None = None,
    n_genes: int = 5,
    seed: int = 0,
    key_added: str = DEFAULT_KEY_ADDED,
    copy: bool = False,
    show_progress: bool = False,
) -> AnnData | None:
    """Rank cells and clusters whose given label the evidence contradicts.

    The evidence is calibrated probabilities from something that has not learned the given labels of the cells: a `model`, the annotation of
    another model, or, by default, linear models that learn four fifths of the cells and judge the rest. Confident learning (Northcutt et
    al. 2021) estimates how many cells of each given label belong to another type. A label is contradicted neither by its subtypes nor by
    a broader label, see :doc:`/review`.

    Parameters
    ----------
    adata
        Cells with labels; counts are needed unless an annotation is named.
    labels_key
        Column of `adata.obs` with the labels to review.
    model
        Model to review them with, as in :func:`sctab.tl.annotate`. One that was trained on these cells repeats their labels.
    annotation_key
        Prefix of an annotation whose probabilities are the evidence instead; genes are then not given.
    groups
        Column of `adata.obs` with clusters, to rank these as well.
    donor_key
        Column of `adata.obs` with donors. Without a model, whole donors are judged by models of the others.
    label_ids
        Cell Ontology ids of given labels, by label, or a file of them, see :func:`sctab.ontology.read_label_map`.
    layer
        Layer to use, or `"X"` or `"raw"`. By default the best match for a model; without one, counts in `X`.
    n_genes
        Number of genes for and against, for each suspect cell; 0 for none.
    seed
        Random seed of the parts and of the trainings.
    key_added
        Prefix of the results.
    copy
        Return a copy with the results.
    show_progress
        Show progress on stderr.

    Returns
    -------
    `None`, or the copy with `copy=True`. Results are written only after everything succeeded:

    `adata.obs['{key_added}_is_suspect']` : bool
        Whether the cell is confidently of a type that contradicts its given label.
    `adata.obs['{key_added}_review_label']` : categorical
        The most probable contradicting label of suspect cells; `NaN` for others.
    `adata.obs['{key_added}_review_margin']` : float
        Its probability minus that of the given label, from -1 to 1; above 0 where the evidence is against the given label. `NaN` where
        there is nothing to compare.
    `adata.uns['{key_added}_review']` : dict
        Tables, see :func:`sctab.get.review`; what was compared and with what.

    Raises
    ------
    KeyNotFoundError
        If a column, layer or annotation does not exist.
    LabelError
        If no given label can be compared with the evidence, or too few cells have labels to learn from.
    SettingError
        If both a model and an annotation are named, or a setting is invalid.
    ModelNotFoundError, ModelFormatError, InputValueError, GeneOverlapError
        If the model or the cells cannot be used.

    References
    ----------
    Northcutt, Jiang, Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 2021, :doi:`10.1613/jair.1.12125`.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     sctab.tl.review(adata, "bulk_labels", annotation_key="sctab", groups="louvain")
    >>> list(sctab.get.review(adata).columns[:5])
    ['cell', 'given', 'suggested', 'margin', 'p_given']
    """
    check_key_added(key_added)
    require_cells(adata)
    require_writable(adata, copy=copy)
    if model is not None and annotation_key is not None:
        raise SettingError("Provide either ", Parameter("model"), " or ", Parameter("annotation_key"), ", not both.")
    if isinstance(n_genes, bool) or int(n_genes) < 0:
        raise SettingError(Parameter("n_genes", n_genes), " must be 0 or more.")
    for name, key in (("labels_key", labels_key), ("groups", groups), ("donor_key", donor_key)):
        if key is not None and key not in adata.obs:
            raise missing_key(name, key, adata.obs.columns)
    given = labels_of(adata.obs[labels_key])
    if given.isna().all():
        raise LabelError(place(f"obs[{labels_key!r}]"), " has no label to review: all are missing.")
    clusters = None if groups is None else groups_of(adata.obs[groups], Parameter("groups", groups))
    if model is not None:
        evidence = of_model(adata, model, layer=layer, show_progress=show_progress)
    elif annotation_key is not None:
        evidence = of_annotation(adata, annotation_key)
    else:
        evidence = of_other_cells(adata, labels_key, donor_key=donor_key, layer=layer, seed=seed, show_progress=show_progress)
    comparison = compare_labels(
        given,
        given,
        evidence.annotation,
        label_ids=None if label_ids is None else label_ids_from(label_ids, evidence.annotation.ontology),
        tissues=tissues_of(adata.obs),
    )
    accepts = _accepted(comparison, excluding=evidence.labels_exclude)
    noise = LabelNoise.estimate(evidence.probabilities, comparison.truth, accepts)
    notes = [*evidence.notes, *_notes(comparison, accepts, noise, labels_key, from_model=not evidence.labels_exclude)]
    if not noise.n_given.any():
        raise LabelError(
            place(f"obs[{labels_key!r}]"),
            f" has no label that the evidence knows, nor a subtype or a broader type of one. {' '.join(notes)}",
        )
    found = Found(adata, comparison, noise, evidence, clusters, n_genes)
    target = target_of(adata, copy=copy)
    names = list(evidence.annotation.names)
    target.obs[f"{key_added}_{OBS_IS_SUSPECT}"] = noise.is_suspect
    target.obs[f"{key_added}_{OBS_REVIEW_LABEL}"] = pd.Categorical.from_codes(
        np.where(noise.is_suspect, noise.suggested, -1), categories=names
    )
    target.obs[f"{key_added}_{OBS_REVIEW_MARGIN}"] = noise.margin.astype(np.float32)
    target.uns[f"{key_added}_{UNS_REVIEW}"] = {
        "labels_key": labels_key,
        "groups": groups or "",
        "evidence": evidence.source,
        "n_reviewed": int(noise.n_given.sum()),
        "n_suspect": int(noise.is_suspect.sum()),
        "n_wrong": noise.n_wrong,
        "notes": notes,
        "cells": found.cells(),
        "pairs": found.pairs(),
        **({} if clusters is None else {"groups_table": found.groups(clusters)}),
    }
    for note in notes:
        warn(note)
    return target if copy else None


class Found:
    """Tables of a review.

    Parameters
    ----------
    adata
        The cells.
    comparison
        Given labels, and labels of the evidence.
    noise
        Cells that were compared.
    evidence
        Probabilities and genes.
    clusters
        Group of each cell, if there are groups.
    n_genes
        Number of genes for and against.
    """

    def __init__(
        self,
        adata: AnnData,
        comparison: Comparison,
        noise: LabelNoise,
        evidence: Evidence,
        clusters: pd.Categorical | None,
        n_genes: int,
    ) -> None:
        self._adata, self._comparison, self._noise, self._evidence = adata, comparison, noise, evidence
        self._clusters, self._n_genes = clusters, n_genes
        self._given = np.array(comparison.names, dtype=object)
        self._labels = np.array(evidence.annotation.names, dtype=object)

    def cells(self) -> pd.DataFrame:
        """Suspect cells, those with the least probable given label first."""
        noise = self._noise
        at = np.flatnonzero(noise.is_suspect)
        at = at[np.lexsort((-noise.margin[at], noise.own[at]))]
        table: dict[str, Any] = {
            "cell": self._adata.obs_names[at].astype(str),
            "given": self._given[self._comparison.truth[at]],
            "suggested": self._labels[noise.suggested[at]],
            "margin": noise.margin[at],
            "p_given": noise.own[at],
            "p_suggested": noise.other[at],
            "position": at,
        }
        if self._clusters is not None:
            table["group"] = self._clusters.astype(object)[at].astype(str)
        if self._n_genes and (contrast := self._evidence.contrast) is not None:
            table |= self._genes(at, contrast)
        return pd.DataFrame(table)

    def _genes(self, at: NDArray[np.int64], contrast: Contrast) -> dict[str, list[str]]:
        """Genes for the suggested label and against it, as strings."""
        evidence, noise = self._evidence, self._noise
        favoured, rejected = (np.full(self._adata.n_obs, -1) for _ in range(2))
        favoured[at] = noise.suggested[at]
        own = noise.accepts[self._comparison.truth[at]]
        rejected[at] = np.where(own, evidence.probabilities[at], -1).argmax(axis=1)
        found = zip(("genes_for", "genes_against"), contrast(favoured, rejected, self._n_genes), strict=True)
        return {name: [", ".join(evidence.genes[gene] for gene in row if gene >= 0) for row in genes[at]] for name, genes in found}

    def pairs(self) -> pd.DataFrame:
        """Given labels and labels that contradict them, with the estimated fraction of the cells, the largest number first."""
        noise, rates = self._noise, self._noise.rates
        given, label = np.nonzero(rates)
        table = pd.DataFrame(
            {
                "given": self._given[given],
                "suggested": self._labels[label],
                "cells": noise.n_given[given],
                "confident": noise.counts[given, label],
                "rate": rates[given, label],
                "expected": rates[given, label] * noise.n_given[given],
            }
        )
        return table.sort_values("expected", ascending=False, kind="stable").reset_index(drop=True)

    def groups(self, clusters: pd.Categorical) -> pd.DataFrame:
        """Groups by how far their mean probabilities contradict their most frequent given label, the most contradicted first."""
        noise, rows = self._noise, []
        probabilities = np.asarray(self._evidence.probabilities, dtype=np.float64)
        compared = ~np.isnan(noise.own)
        for code, name in enumerate(clusters.categories):
            cells = compared & (clusters.codes == code)
            if not cells.any():
                continue
            counts = np.bincount(self._comparison.truth[cells], minlength=len(self._given))
            major, mean = int(counts.argmax()), probabilities[cells].mean(axis=0)
            own = noise.accepts[major]
            other = np.where(own, -1, mean)
            best = int(other.argmax())
            rows.append(
                {
                    "group": str(name),
                    "cells": int(cells.sum()),
                    "given": self._given[major],
                    "given_share": counts[major] / cells.sum(),
                    "suggested": self._labels[best] if other[best] >= 0 else "",
                    "margin": max(other[best], 0) - mean[own].sum(),
                    "p_given": mean[own].sum(),
                    "p_suggested": max(other[best], 0),
                    "n_suspect": int((noise.is_suspect & cells).sum()),
                }
            )
        columns = ["group", "cells", "given", "given_share", "suggested", "margin", "p_given", "p_suggested", "n_suspect"]
        return pd.DataFrame(rows, columns=columns).sort_values("margin", ascending=False, kind="stable").reset_index(drop=True)


def _accepted(comparison: Comparison, *, excluding: bool) -> NDArray[np.bool_]:
    """Labels of the evidence that do not contradict each given label: itself, its kinds, and broader ones, `(n_given, n_labels)`.

    Labels that one column distinguishes exclude each other.
    """
    columns = comparison.columns
    if excluding:
        return np.arange(len(comparison.names))[:, None] == columns
    return comparison.child_matrix[:, columns] | comparison.child_matrix[columns].T


def _notes(
    comparison: Comparison, accepts: NDArray[np.bool_], noise: LabelNoise, labels_key: str, *, from_model: bool
) -> Sequence[str]:
    """Sentences on how given labels were read, and on those that cannot be compared."""
    notes = list(comparison.notes) if from_model else []
    used = np.unique(comparison.truth[comparison.truth >= 0])
    if from_model and (lost := [code for code in used if not accepts[code].any()]):
        cells = int(np.isin(comparison.truth, lost).sum())
        notes.append(
            f"{cells:,} cells have labels in `obs[{labels_key!r}]` that are neither labels of the model, nor subtypes or broader types "
            f"of any, and are not reviewed: {listing(comparison.names[code] for code in lost)}."
        )
    can_compare = (comparison.truth >= 0) & accepts[comparison.truth].any(axis=1)
    if from_model and (n_without := int((can_compare & np.isnan(noise.own)).sum())):
        notes.append(f"{n_without:,} labelled cells have no probabilities and are not reviewed.")
    return notes
