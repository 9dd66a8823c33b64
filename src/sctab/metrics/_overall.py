"""All scores of an annotation at once, each with an interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sctab.metrics._corrected import correct_codes, correct_probabilities
from sctab.metrics._intervals import bootstrap_interval
from sctab.metrics._lengths import require_same_length
from sctab.metrics._probabilities import auroc_of_ranks, confidence_bins, ranks, squared_error, surprise
from sctab.metrics._scores import f1_of_codes

METRICS = ("accuracy", "macro_f1", "weighted_f1", "cross_entropy", "brier", "ece", "auroc")
OF_PROBABILITIES = ("cross_entropy", "brier", "ece")


class SharedLevel(NamedTuple):
    """The level of detail at which two sets of labels are compared, where neither need be finer than the other."""

    codes: NDArray[np.integer]
    """Type as which each type is compared, `(n_types,)`."""
    is_right: NDArray[np.bool_]
    """`[i, j]` is true where type `j` is right for cells of type `i`, `(n_types, n_types)`; `[i, i]` always is."""

    def correct(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Truth and predictions at this level; negative predictions stay as they are."""
        at_level = self.codes[truth]
        is_right = (predicted >= 0) & self.is_right[truth, predicted]
        return at_level, np.where(is_right, at_level, predicted)


def overall_scores(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    child_matrix: NDArray[np.bool_],
    *,
    probabilities: NDArray[np.floating] | None,
    columns: NDArray[np.integer],
    uncertainty: NDArray[np.floating],
    shared: SharedLevel | None = None,
    donors: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Every score of an annotation, as it is and corrected along the ontology, with 95 % intervals, and at a level that both sides share.

    The corrected scores follow :func:`correct_predictions`: a subtype of the truth counts as the truth.

    Parameters
    ----------
    truth
        Type of each cell, from 0, `(n_obs,)`.
    predicted
        The same as predicted; negative for none of them.
    child_matrix
        `[i, j]` is true where type `j` is type `i` or one of its subtypes, `(n_types, n_types)`.
    probabilities
        Probability of each label of the model, `(n_obs, n_labels)`; a row of `NaN` counts as if all were equally probable.
        `None` where they are not known, and `cross_entropy`, `brier` and `ece` are left out.
    columns
        Type of each label of the model, `(n_labels,)`.
    uncertainty
        How uncertain each prediction is, `(n_obs,)`.
    shared
        The level that both sides share; by default there are no scores at it.
    donors
        Donor of each cell, `(n_obs,)`, see :func:`bootstrap_interval`.
    n_bootstrap
        Number of draws for the intervals.
    rng
        Random seed of the draws.

    Returns
    -------
    A row per score, with columns

    `metric`
        `accuracy`, `macro_f1`, `weighted_f1`, `cross_entropy`, `brier`, `ece` (see :func:`calibration_error`) and `auroc`.
    `corrected`
        Whether subtypes of the truth count as the truth; missing at the shared level, whose rows come first.
    `value`, `low`, `high`
        The score, and the ends of its interval.
    `cells`
        How many cells it is over: `cross_entropy` and `brier` are over those whose type is a label of the model or, where corrected, has a
        subtype that is one.
    """
    optional = {"probabilities": probabilities, "donors": donors}
    require_same_length(
        truth=truth,
        predicted=predicted,
        uncertainty=uncertainty,
        **{name: found for name, found in optional.items() if found is not None},
    )
    given = np.full((len(truth), len(columns)), np.nan) if probabilities is None else probabilities
    values = np.where(np.isnan(given), 1 / len(columns), given)
    of_types = values @ np.eye(len(child_matrix), dtype=values.dtype)[columns]
    common = {"confidence": values.max(axis=1), "uncertainty": uncertainty}

    def scorer(right: NDArray[np.bool_], at_level: NDArray[np.integer], called: NDArray[np.integer]) -> _Scorer:
        merged = correct_probabilities(truth, of_types, right)
        of_truth = merged[np.arange(len(truth)), truth]
        return _Scorer(
            truth=at_level,
            predicted=called,
            of_truth=of_truth,
            squared_error=squared_error(of_truth, merged),
            has_label=right[:, columns].any(axis=1)[truth],
            **common,
        )

    scorers = {
        False: scorer(np.eye(len(child_matrix), dtype=bool), truth, predicted),
        True: scorer(child_matrix, truth, correct_codes(truth, predicted, child_matrix)),
    }
    if shared is not None:
        scorers = {pd.NA: scorer(shared.is_right, *shared.correct(truth, predicted)), **scorers}

    def score(times: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.stack([one(times) for one in scorers.values()])

    low, high = bootstrap_interval(score, len(truth), donors=donors, n_bootstrap=n_bootstrap, rng=rng)
    table = pd.DataFrame(
        {
            "metric": METRICS * len(scorers),
            "corrected": pd.array(np.repeat(np.array(list(scorers), dtype=object), len(METRICS)), dtype="boolean"),
            "value": score(np.ones(len(truth), dtype=np.int64)).ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "cells": np.ravel([one.n_cells for one in scorers.values()]),
        }
    )
    if shared is None:
        table["corrected"] = table["corrected"].astype(bool)
    return table if probabilities is not None else table[~table["metric"].isin(OF_PROBABILITIES)].reset_index(drop=True)


class _Scorer:
    """The scores of any sample of the cells, from what is the same in every sample."""

    def __init__(
        self,
        *,
        truth: NDArray[np.integer],
        predicted: NDArray[np.integer],
        of_truth: NDArray[np.floating],
        squared_error: NDArray[np.floating],
        has_label: NDArray[np.bool_],
        confidence: NDArray[np.floating],
        uncertainty: NDArray[np.floating],
    ) -> None:
        self.truth, self.predicted, self.has_label = truth, predicted, has_label
        self.is_right = truth == predicted
        self.surprise, self.squared_error = surprise(of_truth), squared_error
        self.bins, self.confidence = confidence_bins(confidence), confidence
        self.ranks = ranks(uncertainty)

    @property
    def n_cells(self) -> list[int]:
        n_labels = int(self.has_label.sum())
        return [n_labels if metric in {"cross_entropy", "brier"} else len(self.truth) for metric in METRICS]

    def __call__(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        f1, cells = f1_of_codes(self.truth, self.predicted, times)
        of_labels = times * self.has_label
        return np.array(
            [
                _mean(self.is_right, times),
                f1[cells > 0].mean(),
                _mean(f1, cells),
                _mean(self.surprise, of_labels),
                _mean(self.squared_error, of_labels),
                np.abs(np.bincount(self.bins, times * (self.is_right - self.confidence))).sum() / times.sum(),
                auroc_of_ranks(~self.is_right, self.ranks, times),
            ]
        )


def _mean(values: NDArray[Any], times: NDArray[Any]) -> float:
    """Weighted mean of values; `NaN` if there are none."""
    return float(values @ times / times.sum()) if times.any() else np.nan
