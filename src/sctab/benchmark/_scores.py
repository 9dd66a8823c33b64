"""From predictions to the rows of the table of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.metrics import accuracy, calibration_error, correct_predictions, cross_entropy, macro_f1, scores_per_type, weighted_f1
from sctab.ontology import CellOntology, LabelSpace

TYPE_GROUP = "type"
"""Groups of single types are called `type=B cell`; those of a column of the query by the name of the column."""


def score(
    truth: Sequence[str] | pd.Series,
    predicted: NDArray[np.object_],
    probabilities: pd.DataFrame,
    *,
    types: Sequence[str],
    n_reference: pd.Series,
    groups: pd.Series | None = None,
    label_ids: Mapping[str, str | None] | None = None,
    tissues: Iterable[str] = (),
) -> pd.DataFrame:
    """Scores of all cells, of every type, and of every group, on the cells whose type the reference has.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`.
    probabilities
        `(n_obs, n_types)`, one column per type.
    types
        Types of the reference. Cells of others are not scored.
    n_reference
        Cells of the reference that were learned from, by type.
    groups
        Group of each cell, `(n_obs,)`; its name says what kind of group.
    label_ids
        Cell Ontology ids of labels that are confirmed.
    tissues
        Where the cells are from, see :meth:`sctab.ontology.LabelSpace.from_names`.

    Returns
    -------
    Columns `metric`, `group` (empty for all cells, `type=…`, or `…=…`) and `value`.
    """
    truth = np.asarray(truth, dtype=object)
    known = np.isin(truth.astype(str), list(types))
    truth, predicted, probabilities = truth[known].astype(str), predicted[known], probabilities[known]
    corrected = _corrected(truth, predicted, label_ids, tissues)
    rows = [(metric, "", value) for metric, value in _overall(truth, predicted, corrected).items()]
    rows += [
        ("cross_entropy", "", cross_entropy(truth, probabilities)),
        ("ece", "", calibration_error(truth, predicted, probabilities)),
    ]
    rows += [("n_cells", "", float(len(truth)))]
    for name, scores in scores_per_type(truth, predicted).iterrows():
        group = f"{TYPE_GROUP}={name}"
        rows += [(metric, group, float(scores[metric])) for metric in ("f1", "precision", "recall")]
        rows += [("n_cells", group, float(scores["cells"])), ("n_reference_cells", group, float(n_reference.get(name, 0)))]
    if groups is not None:
        names = groups.to_numpy()[known].astype(str)
        for name in sorted(set(names)):
            here = names == name
            rows += [
                (metric, f"{groups.name}={name}", value)
                for metric, value in _overall(truth[here], predicted[here], corrected[here]).items()
            ]
    return pd.DataFrame(rows, columns=["metric", "group", "value"])


def _corrected(
    truth: NDArray[np.str_],
    predicted: NDArray[np.object_],
    label_ids: Mapping[str, str | None] | None,
    tissues: Iterable[str],
) -> NDArray[np.object_]:
    """Predictions with every right subtype replaced by the truth; labels that the Cell Ontology does not know are only themselves."""
    types = sorted({*truth, *predicted[~pd.isna(predicted)]})
    ontology = CellOntology.embedded()
    labels = LabelSpace.from_names(types, ontology, label_ids=label_ids, tissues=tissues)
    return correct_predictions(truth, predicted, types, labels.child_matrix(ontology))


def _overall(truth: NDArray[np.str_], predicted: NDArray[np.object_], corrected: NDArray[np.object_]) -> dict[str, float]:
    return {
        "accuracy": accuracy(truth, predicted),
        "macro_f1": macro_f1(truth, predicted),
        "macro_f1_corrected": macro_f1(truth, corrected),
        "weighted_f1": weighted_f1(truth, predicted),
    }
