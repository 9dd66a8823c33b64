"""Calibration on labelled cells of other data, and what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.errors import LabelError, agreeing, listing, place, warn
from sctab.inference import Calibration, HeldOutCells, Predictor
from sctab.metrics import calibration_error_of
from sctab.model._crossfit import evaluate_fold, join_folds
from sctab.ontology import LabelSpace, tissues_of
from sctab.train import MemoryReference

if TYPE_CHECKING:
    from mudata import MuData

_NOTABLE = 0.01
"""Difference of calibration errors that a warning names."""


def evaluate_unseen(
    predictor: Predictor,
    adata: AnnData | MuData,
    labels_key: str,
    donor_key: str | None,
    dataset_key: str | None,
    layer: str | None,
) -> HeldOutCells:
    """Evaluate labelled cells of other data than a model was trained on, and warn of cells that do not count.

    A label that the model does not have counts as the closest one above it in the Cell Ontology.

    Raises
    ------
    KeyNotFoundError, LabelError, InputValueError, GeneOverlapError
        If the cells cannot be used.
    LabelError
        If no label is one of the model, or below one.
    """
    adata = predictor.cells_of(adata)
    reference = MemoryReference.of(adata, labels_key, donor_key=donor_key, dataset_key=dataset_key, layer=layer)
    labels = predictor.spec.labels
    called = dict(labels_of_model(reference.label_names, labels, tissues_of(adata.obs)))
    if not called:
        raise LabelError(
            "No label in ",
            place(f"obs[{labels_key!r}]"),
            f" is one of the model, or below one in the Cell Ontology. Its labels are {listing(labels.names)}. Rename them.",
        )
    if without := [name for name in reference.label_names if name not in called]:
        n_without = int(adata.obs[labels_key].astype(str).isin(without).sum())
        warn(
            f"{n_without} of {adata.n_obs} cells {agreeing(n_without, 'does', 'do')} not count: {listing(without)} "
            f"{agreeing(len(without), 'is neither a label', 'are neither labels')} of the model nor below one in the Cell Ontology. Rename "
            "the labels to use these cells."
        )
    output = evaluate_fold(reference.all_held_out(), predictor)
    truth = pd.Series(output.truth).map(called).to_numpy(dtype=object)
    return join_folds([replace(output, truth=truth, learned=labels.names)], predictor.spec)


def labels_of_model(names: Sequence[str], labels: LabelSpace, tissues: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a label and the label of a model that it counts as: the same, that of its id, or the closest one above it.

    Parameters
    ----------
    names
        Labels of cells.
    labels
        Those of the model.
    tissues
        Where the cells are from.
    """
    others = [name for name in names if name not in labels.names]
    yield from ((name, name) for name in names if name in labels.names)
    ontology, n_labels = labels.ontology, len(labels)
    found = LabelSpace.from_names(others, ontology, tissues=tissues)
    below = ontology.child_matrix((*labels.ids, *found.ids))
    for row, name in enumerate(others, start=n_labels):
        above = np.flatnonzero(below[:n_labels, row])
        closest = [label for label in above if below[np.ix_(above, [label])].all()]  # all others are above it
        if len(closest) == 1:
            yield name, labels.names[closest[0]]


def warn_of_changes(before: Calibration | None, after: Calibration | None, cells: HeldOutCells, labels: LabelSpace) -> None:
    """Warn where a new calibration promises for other units than the one before, or is further off on its own cells.

    Parameters
    ----------
    before, after
        The calibrations; `None` for a model without one.
    cells
        Those that the new one is from.
    labels
        Those of the model.
    """
    if before is None or after is None:
        return
    if before.unit != after.unit:
        held, holds = ("other cells of the same data" if unit == "cell" else f"new {unit}s" for unit in (before.unit, after.unit))
        warn(f"Promises of this model held for {held}, and now hold for {holds}.")
    if after.calibration_error is None:
        return
    probabilities = before.probabilities(cells.members)
    is_right = labels.child_matrix(labels.ontology)[cells.truth, probabilities.argmax(axis=1)]
    error = calibration_error_of(probabilities.max(axis=1), is_right)
    if after.calibration_error > error + _NOTABLE:
        warn(
            f"The new calibration has a smaller log loss on these {after.n_obs} cells but a larger expected calibration error, "
            f"{after.calibration_error:.3f}, than the one before, {error:.3f}. More labelled cells would help."
        )
