"""Probabilities of every cell of a dataset by models that have not seen it, for a review of its own labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.errors import SctabWarning
from sctab.inference import Calibration, Members, ModelSpec, Predictor, fit_calibration
from sctab.io import ProgressReport
from sctab.model._base import new_model
from sctab.model._linear import LinearClassifier
from sctab.train import MemoryReference

_UNLABELED = "(no label)"
"""Category of cells without a label, in a copy of the column."""


@dataclass(frozen=True)
class Fold:
    """A model, and the cells that it has not seen."""

    predictor: Predictor
    cells: NDArray[np.int64]
    """Positions of the cells that were held out, `(n_held_out,)`."""
    part: AnnData
    """These cells, in this order."""
    layer: str
    """Matrix of them."""


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities of the labels of a dataset by models of its other cells."""

    probabilities: NDArray[np.float32]
    """`(n_obs, n_labels)`; NaN for cells without a label or without a count in the models' genes."""
    spec: ModelSpec
    """Genes and labels of the models."""
    calibration: Calibration
    folds: tuple[Fold, ...]
    by: str
    """Unit that was held out whole: `"donor"`, or `"cell"`."""


def out_of_fold(
    adata: AnnData,
    labels_key: str,
    *,
    donor_key: str | None = None,
    layer: str | None = None,
    n_folds: int = 5,
    seed: int = 0,
    show_progress: bool = False,
) -> OutOfFold:
    """Cross-fit linear models: each part of the cells is evaluated by a model of the other parts, and all are calibrated together.

    Parameters
    ----------
    adata
        Cells; those without a label are left out.
    labels_key, donor_key, layer
        As for a reference. With donors, whole donors are held out where there are enough of them.
    n_folds
        Number of parts.
    seed
        Of the parts and the trainings.
    show_progress
        Show progress on stderr.

    Raises
    ------
    KeyNotFoundError, LabelError, InputValueError, SettingError
        If the cells cannot be learned from.
    """
    columns = [labels_key] if donor_key is None else [labels_key, donor_key]
    names = [f"{position}" for position in range(adata.n_obs)]
    cells = AnnData(adata.X, obs=adata.obs[columns].set_axis(names), var=adata.var, layers=dict(adata.layers))
    labels = cells.obs[labels_key].astype(object)
    cells.obs[labels_key] = labels.where(labels.notna(), _UNLABELED)
    unlabeled = _UNLABELED if labels.isna().any() else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SctabWarning)  # of a model that is not kept
        reference = MemoryReference.of(cells, labels_key, donor_key=donor_key, layer=layer, unlabeled_category=unlabeled)
        spec = new_model(reference, LinearClassifier, {}).spec
        found = list(reference.folds(n_folds, by="donor" if donor_key else "cell", seed=seed))
        logits = np.full((adata.n_obs, len(spec.labels)), np.nan, dtype=np.float32)
        folds = []
        with ProgressReport(len(found), "Cross-fitting", unit="trainings", shown=show_progress) as progress:
            for held_out in found:
                model = LinearClassifier._with(held_out.reference, spec, register=False)
                model.train(seed=seed, calibrate=False, accelerator="cpu", enable_progress_bar=False)
                evaluation, parts = held_out.evaluate(model.predictor), list(held_out.parts())
                positions = np.array([int(name) for part in parts for name in part.obs_names])
                own = np.full((len(positions), len(spec.labels)), -np.inf, dtype=np.float32)
                columns_of = pd.Index(spec.labels.names).get_indexer(pd.Index(model.spec.labels.names))
                own[:, columns_of] = evaluation.logits[:, 0]
                logits[positions[evaluation.measured]] = own[evaluation.measured]
                starts = np.cumsum([0, *(part.n_obs for part in parts)])
                folds += [
                    Fold(model.predictor, positions[start : start + part.n_obs], part, held_out.layer)
                    for start, part in zip(starts[:-1], parts, strict=True)
                ]
                progress.advance()
    calibration, probabilities = _calibrated(logits, labels, spec)
    return OutOfFold(probabilities, spec, calibration, tuple(folds), "donor" if found[0].by == "donor" else "cell")


def _calibrated(logits: NDArray[np.float32], labels: pd.Series, spec: ModelSpec) -> tuple[Calibration, NDArray[np.float32]]:
    """A temperature for all held-out cells, and their probabilities."""
    truth = pd.Index(spec.labels.names).get_indexer(pd.Index(labels.astype(object))).astype(np.int64)
    known = (truth >= 0) & ~np.isnan(logits).any(axis=1)
    members = Members.of(logits[known][:, None])
    is_right = spec.labels.child_matrix(spec.labels.ontology)
    calibration = fit_calibration(members, truth[known], is_right, unit="cell", n_units=int(known.sum()))
    probabilities = np.full(logits.shape, np.nan, dtype=np.float32)
    probabilities[known] = calibration.probabilities(members)
    return calibration, probabilities
