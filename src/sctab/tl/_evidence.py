"""Evidence on given labels: probabilities by a model, of an annotation, or by cross-fitting, and the genes that they rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import joined
from sctab.errors import KeyNotFoundError, LabelError, Parameter, place
from sctab.get import Annotation, read_annotation
from sctab.inference import (
    Fingerprints,
    HasPredictor,
    ModelSpec,
    can_contrast,
    contrast_query,
    count_cells,
    predict_cells,
)
from sctab.keys import OBSM_PROBABILITIES
from sctab.model import out_of_fold
from sctab.ontology import label_values
from sctab.zoo import load_predictor

FEWEST_CELLS = 10
"""Cells that a label must have for a model of the other cells to learn it."""
N_FOLDS = 5
_MANY_LEARNED = 0.01
"""Fraction of the cells that are recognised as training cells of a model from which a note says so."""

Contrast = Callable[[NDArray[np.integer], NDArray[np.integer], int], tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Evidence:
    """Probabilities of labels for the cells, from something that has not learned their given labels."""

    annotation: Annotation
    """Labels, and the ontology."""
    probabilities: NDArray[np.floating]
    """Probabilities of the labels, `(n_obs, n_labels)`; NaN for cells without any."""
    source: str
    """Phrase on where they are from."""
    notes: tuple[str, ...]
    genes: tuple[str, ...] = ()
    """Names of the genes that ``contrast`` counts."""
    labels_exclude: bool = False
    """True if labels of the evidence are those of one column of the cells, so that each contradicts the others."""
    contrast: Contrast | None = None
    """From favoured labels, rejected labels and a number to genes for and against, see ``contrast_query``."""


def of_model(adata: AnnData, model: str | PathLike[str] | HasPredictor, *, layer: str | None, show_progress: bool) -> Evidence:
    """Evaluate the cells by a model.

    Parameters
    ----------
    adata, model, layer, show_progress
        As in :func:`sctab.tl.annotate`; errors are those of it.
    """
    predictor = load_predictor(model)
    cells = predictor.cells_of(adata)
    query = predictor.open_query(cells, layer=layer, min_gene_coverage=0.1)
    predictor = predictor.suited_to(query)
    decision = predict_cells(predictor, cells, query, show_progress=show_progress)
    notes = list(query.notes)
    fingerprints = Fingerprints.from_arrays(predictor.arrays, n_genes=len(predictor.spec.features))
    if fingerprints is not None:
        learned = count_cells(query, fingerprints).is_learned
        if learned is not None and len(learned) and (fraction := float(learned.mean())) > _MANY_LEARNED:
            notes.append(
                f"{fraction:.0%} of the cells are recognised as cells that the model has learned. It repeats the labels that it learned "
                "them with, right or wrong. Omit the model to review them by models of the other cells."
            )
    if predictor.spec.calibration is None:
        notes.append("The model is not calibrated: its probabilities are those of its training, and may be too sure.")

    def contrast(
        favoured: NDArray[np.integer], rejected: NDArray[np.integer], n_top: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return contrast_query(predictor, query, favoured, rejected, n_top=n_top)

    is_explained = can_contrast(predictor)
    if not is_explained:
        notes.append("The model has no gradients, so that no genes are given.")
    return Evidence(
        _annotation_of(predictor.spec),
        decision.column(decision.probabilities),
        f"model `{predictor.name or predictor.spec.model_class}`",
        tuple(notes),
        predictor.spec.feature_names,
        contrast=contrast if is_explained else None,
    )


def of_annotation(adata: AnnData, key: str) -> Evidence:
    """Take the probabilities of an annotation.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        Prefix of the annotation.

    Raises
    ------
    KeyNotFoundError
        If there is none, or if its probabilities were deleted.
    """
    annotation = read_annotation(adata, key, None)
    if annotation.probabilities is None:
        raise KeyNotFoundError(
            "A review needs the probabilities of all labels, and ",
            place(f"obsm['{key}_{OBSM_PROBABILITIES}']"),
            " no longer exists. Annotate the cells again.",
        )
    name = str(adata.uns[key]["model"]["name"] or adata.uns[key]["model"]["class"])
    notes = [annotation.note] if annotation.note else []
    return Evidence(annotation, annotation.probabilities, f"annotation under `{key}` by the model `{name}`", tuple(notes))


def of_other_cells(
    adata: AnnData,
    labels_key: str,
    *,
    donor_key: str | None,
    layer: str | None,
    seed: int,
    show_progress: bool,
) -> Evidence:
    """Evaluate each part of the cells by linear models that learned the others with their given labels.

    Parameters
    ----------
    adata, labels_key, donor_key, layer
        Cells as a reference, see :func:`sctab.model.out_of_fold`.
    seed, show_progress
        Random seed, and whether progress is shown.

    Raises
    ------
    LabelError
        If fewer than two labels have enough cells.
    """
    given = labels_of(adata.obs[labels_key])
    counts = given.value_counts()
    rare = sorted(counts[counts < FEWEST_CELLS].index)
    kept = given.where(~given.isin(rare))
    if kept.nunique() < 2:
        raise LabelError(
            place(f"obs[{labels_key!r}]"),
            f" has {kept.nunique()} labels with at least {FEWEST_CELLS} cells, and models of the other cells need two. Provide a ",
            Parameter("model"),
            " that knows the types.",
        )
    columns = {labels_key: pd.Categorical(kept)} | ({} if donor_key is None else {donor_key: adata.obs[donor_key].to_numpy()})
    cells = joined(adata.to_memory() if adata.isbacked else adata)
    obs = pd.DataFrame(columns, index=[f"{position}" for position in range(cells.n_obs)])
    learned = AnnData(cells.X, obs=obs, var=cells.var, layers=dict(cells.layers))
    if layer == "raw" and cells.raw is not None:
        learned, layer = AnnData(cells.raw.X, obs=obs, var=cells.raw.var), None
    found = out_of_fold(
        learned,
        labels_key,
        donor_key=donor_key,
        layer=layer,
        n_folds=N_FOLDS,
        seed=seed,
        show_progress=show_progress,
    )

    def contrast(
        favoured: NDArray[np.integer], rejected: NDArray[np.integer], n_top: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        genes = tuple(np.full((len(favoured), n_top), -1, dtype=np.int64) for _ in range(2))
        for fold in found.folds:
            query = fold.predictor.open_query(fold.part, layer=fold.layer)
            of_fold = contrast_query(fold.predictor, query, favoured[fold.cells], rejected[fold.cells], n_top=n_top)
            for every, own in zip(genes, of_fold, strict=True):
                every[fold.cells] = own
        return genes[0], genes[1]

    notes = []
    if rare:
        notes.append(
            f"{int(counts[rare].sum())} cells of {len(rare)} labels with fewer than {FEWEST_CELLS} cells are neither learned nor reviewed: "
            f"{label_values.counted(rare, counts)}."
        )
    return Evidence(
        _annotation_of(found.spec),
        found.probabilities,
        f"linear models of the other cells ({N_FOLDS} parts by {found.by})",
        tuple(notes),
        tuple(found.spec.features.names),
        labels_exclude=True,
        contrast=contrast,
    )


def labels_of(values: pd.Series) -> pd.Series:
    """Given labels as strings; missing ones, such as `nan`, are NaN.

    Parameters
    ----------
    values
        Column of `obs`.
    """
    labels = values.astype(object).where(values.notna(), None)
    found = {label: str(label) for label in labels.dropna().unique() if not label_values.is_missing(str(label))}
    return labels.map(found).astype(object)


def _annotation_of(spec: ModelSpec) -> Annotation:
    names, ids = spec.labels.names, spec.labels.ids
    return Annotation(
        names=names,
        terms=tuple(term or name for name, term in zip(names, ids, strict=True)),
        probabilities=None,
        ontology=spec.labels.ontology,
        note="",
    )
