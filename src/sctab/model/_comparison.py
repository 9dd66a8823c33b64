"""Comparing candidates by the labels that they give to held-out cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.metrics import correct_codes, macro_f1_of_codes
from sctab.ontology import CellOntology, LabelSpace
from sctab.train import subtypes

_RESAMPLES = 200


def compare(
    truth: NDArray[np.object_],
    predicted: Mapping[str, NDArray[np.object_]],
    rng: np.random.Generator,
    label_ids: Mapping[str, str | None] | None = None,
    donors: NDArray[np.object_] | None = None,
) -> pd.DataFrame:
    """Ontology-corrected macro F1 of each candidate, how far it is behind the best, and the standard error of that.

    It is a bootstrap over whole donors, whose cells are alike, or over cells where donors are not given or there is only one.
    """
    units = np.arange(len(truth)) if donors is None else np.unique(donors, return_inverse=True)[1]
    if (n_units := int(units.max()) + 1) == 1:
        units, n_units = np.arange(len(truth)), len(truth)
    names = sorted({*truth, *np.concatenate(list(predicted.values()))})  # a subtype is right even if no held-out cell is of it
    children = subtypes(LabelSpace.from_names(names, CellOntology.embedded(), label_ids=label_ids))
    types = pd.Index(names)
    true = types.get_indexer(truth)
    called = {name: correct_codes(true, types.get_indexer(labels), children) for name, labels in predicted.items()}
    scores = {name: macro_f1_of_codes(true, codes) for name, codes in called.items()}
    best = max(scores, key=lambda name: scores[name])
    behind: dict[str, list[float]] = {name: [] for name in predicted}
    spread = np.sqrt(n_units / (n_units - 1))  # a bootstrap of few donors varies less than donors do
    for _ in range(_RESAMPLES):
        times = np.bincount(rng.integers(n_units, size=n_units), minlength=n_units)[units]
        of_best = macro_f1_of_codes(true, called[best], times)
        for name in predicted:
            behind[name].append(of_best - macro_f1_of_codes(true, called[name], times))
    table = pd.DataFrame(
        {
            "macro_f1": scores,
            "behind": {name: scores[best] - score for name, score in scores.items()},
            "standard_error": {name: spread * float(np.std(values)) for name, values in behind.items()},
        }
    )
    kept = next(name for name in predicted if table.loc[name, "behind"] <= table.loc[name, "standard_error"])
    return table.assign(kept=table.index == kept).rename_axis("model")
