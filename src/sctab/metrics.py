"""How well labels agree, and how well probabilities tell how well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_fscore_support

_SMALLEST_PROBABILITY = 1e-7
"""What a probability of zero counts as, so that one cell does not make the cross-entropy infinite."""


def scores_per_type(truth: ArrayLike, predicted: ArrayLike, *, types: Sequence[str] | None = None) -> pd.DataFrame:
    r"""Precision, recall and :math:`F_1 = 2 \mathrm{tp} / (2 \mathrm{tp} + \mathrm{fp} + \mathrm{fn})` of every type.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`. Cells whose `truth` is missing do not count; those whose `predicted` is missing are wrong.
    types
        Types to score; by default those that are in `truth`.

    Returns
    -------
    One row per type, with columns `precision`, `recall`, `f1` and `cells` (how many of `truth`).
    """
    if len(np.asarray(truth)) != len(np.asarray(predicted)):
        raise ValueError(f"`truth` and `predicted` have inconsistent numbers of samples: {len(truth)} and {len(predicted)}.")  # type: ignore[arg-type]
    known = ~np.asarray(pd.isna(np.asarray(truth, dtype=object)))
    truth, predicted = np.asarray(truth)[known].astype(str), np.asarray(predicted)[known].astype(str)
    types = sorted(set(truth)) if types is None else list(types)
    precision, recall, f1, cells = precision_recall_fscore_support(truth, predicted, labels=types, zero_division=0)
    return pd.DataFrame({"precision": precision, "recall": recall, "f1": f1, "cells": cells}, index=pd.Index(types, name="type"))


def macro_f1(truth: ArrayLike, predicted: ArrayLike, *, types: Sequence[str] | None = None) -> float:
    """Mean of the types' F1, each type weighing the same; see :func:`scores_per_type`.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`.
    types
        Types to average over; by default those that are in `truth`.

    Examples
    --------
    >>> round(macro_f1(["B", "B", "T"], ["B", "T", "T"]), 3)
    0.667
    """
    return float(scores_per_type(truth, predicted, types=types)["f1"].mean())


def macro_f1_of_codes(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], times: NDArray[np.integer] | None = None
) -> float:
    """The same as :func:`macro_f1` for types that are numbered, many times faster.

    Parameters
    ----------
    truth
        Type of each cell, from 0, `(n_obs,)`.
    predicted
        The same as predicted; negative for none of them.
    times
        How often each cell counts, `(n_obs,)`; once by default.

    Examples
    --------
    >>> round(macro_f1_of_codes(np.array([0, 0, 1]), np.array([0, 1, 1])), 3)
    0.667
    """
    times = np.ones(len(truth), dtype=np.int64) if times is None else times
    n_types = int(max(truth.max(), predicted.max())) + 1
    is_right, is_one = truth == predicted, predicted >= 0
    right = np.bincount(truth[is_right], times[is_right], minlength=n_types)
    of_type = np.bincount(truth, times, minlength=n_types)
    as_type = np.bincount(predicted[is_one], times[is_one], minlength=n_types)
    there = of_type > 0
    return float((2 * right[there] / (of_type + as_type)[there]).mean())


def weighted_f1(truth: ArrayLike, predicted: ArrayLike, *, types: Sequence[str] | None = None) -> float:
    """Mean of the types' F1, each weighing as much as it has cells; see :func:`scores_per_type`.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`.
    types
        Types to average over; by default those that are in `truth`.

    Examples
    --------
    >>> round(weighted_f1(["B", "B", "B", "T"], ["B", "B", "T", "T"]), 3)
    0.767
    """
    scores = scores_per_type(truth, predicted, types=types)
    return float(np.average(scores["f1"], weights=scores["cells"]))


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of the cells whose label is right. Cells without a truth do not count; those without a prediction are wrong.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`.

    Examples
    --------
    >>> accuracy(["B", "B", "T", "T"], ["B", "T", "T", "T"])
    0.75
    """
    scores = scores_per_type(truth, predicted)
    return float(np.average(scores["recall"], weights=scores["cells"]))


def cross_entropy(truth: ArrayLike, probabilities: pd.DataFrame) -> float:
    r"""Mean of :math:`-\log p` over the cells, where :math:`p` is the probability of the true type.

    A cell without probabilities (`NaN`) counts as if all types were equally probable. A probability below 1e-7, or a type without a
    column, counts as 1e-7.

    Parameters
    ----------
    truth
        Labels, `(n_obs,)`.
    probabilities
        `(n_obs, n_types)`, one column per type.

    Examples
    --------
    >>> round(cross_entropy(["B", "T"], pd.DataFrame({"B": [0.5, 0.75], "T": [0.5, 0.25]})), 3)
    1.04
    """
    values = probabilities.fillna(1 / probabilities.shape[1]).to_numpy(dtype=np.float64)
    column = probabilities.columns.get_indexer(np.asarray(truth).astype(str))
    of_truth = np.where(column >= 0, values[np.arange(len(values)), column], 0.0)
    return float(-np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, None)).mean())


def calibration_error(truth: ArrayLike, predicted: ArrayLike, probabilities: pd.DataFrame, *, n_bins: int = 15) -> float:
    r"""Expected calibration error: how far confidence is from accuracy, :math:`\sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|`.

    The confidence of a cell is the largest of its probabilities. Cells are put into bins of equal width by confidence (Guo et al. 2017,
    equation 3). A cell without probabilities (`NaN`) counts as if all types were equally probable.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`.
    probabilities
        `(n_obs, n_types)`, one column per type.
    n_bins
        Number of bins; 15 as in the paper.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017, :doi:`10.48550/arXiv.1706.04599`.

    Examples
    --------
    >>> sure = pd.DataFrame({"B": [0.9, 0.9, 0.9, 0.9], "T": [0.1, 0.1, 0.1, 0.1]})
    >>> round(calibration_error(["B", "B", "B", "T"], ["B"] * 4, sure), 3)
    0.15
    """
    confidence = probabilities.fillna(1 / probabilities.shape[1]).to_numpy(dtype=np.float64).max(axis=1)
    right = np.asarray(truth).astype(str) == np.asarray(predicted).astype(str)
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)  # bin b holds (b / n_bins, (b + 1) / n_bins]
    gap = np.bincount(bins, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(confidence))


def confusion(truth: ArrayLike, predicted: ArrayLike) -> pd.DataFrame:
    """How many cells of each type are called what: a row per true type, a column per type, in alphabetical order.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`. Cells without a truth do not count; a missing prediction is called `nan`.

    Examples
    --------
    >>> confusion(["B", "B", "T"], ["B", "T", "T"])
    predicted  B  T
    truth
    B          1  1
    T          0  1
    """
    known = ~np.asarray(pd.isna(np.asarray(truth, dtype=object)))
    truth, predicted = np.asarray(truth)[known].astype(str), np.asarray(predicted)[known].astype(str)
    types = sorted({*truth, *predicted})
    table = pd.crosstab(pd.Series(truth, name="truth"), pd.Series(predicted, name="predicted"))
    return table.reindex(index=sorted(set(truth)), columns=types, fill_value=0)
