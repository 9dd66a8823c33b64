"""Quality of probabilities: calibration, and detection of errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sctab.metrics._lengths import require_same_length

_SMALLEST_PROBABILITY = 1e-7
"""Smallest probability in the cross-entropy, so that one cell cannot make it infinite."""


def cross_entropy(truth: ArrayLike, probabilities: pd.DataFrame) -> float:
    r"""Mean of :math:`-\log p` over the cells, where :math:`p` is the probability of the true type.

    A cell without probabilities (`NaN`) counts as if all types were equally probable. A probability below 1e-7, or a type without a
    column, counts as 1e-7. Cells whose `truth` is missing do not count.

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
    return float(surprise(_of_truth(truth, probabilities)[0]).mean())


def brier_score(truth: ArrayLike, probabilities: pd.DataFrame) -> float:
    r"""Mean of :math:`\sum_k (p_k - y_k)^2` over the cells, where :math:`y_k` is 1 for the true type and 0 for all others.

    This is the original score of Brier for several types, between 0 and 2; for two types it is twice the score that looks at one of them.
    A cell without probabilities (`NaN`) counts as if all types were equally probable, and a type without a column as one of probability
    0. Cells whose `truth` is missing do not count.

    Parameters
    ----------
    truth
        Labels, `(n_obs,)`.
    probabilities
        `(n_obs, n_types)`, one column per type.

    References
    ----------
    Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.

    Examples
    --------
    >>> brier_score(["B", "T"], pd.DataFrame({"B": [0.5, 0.0], "T": [0.5, 1.0]}))
    0.25
    """
    return float(squared_error(*_of_truth(truth, probabilities)).mean())


def surprise(of_truth: NDArray[np.floating]) -> NDArray[np.floating]:
    """Cross-entropy of each cell, from the probability of its true type."""
    return -np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, None))


def squared_error(of_truth: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Brier score of each cell, from the probability of its true type and of all types."""
    return np.einsum("ij,ij->i", values, values) - 2 * of_truth + 1


def _of_truth(truth: ArrayLike, probabilities: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of the true type, `(n_known,)`, and of all types, `(n_known, n_types)`, of the cells whose truth is known."""
    require_same_length(truth=truth, probabilities=probabilities)
    known = _is_known(truth)
    values = probabilities.fillna(1 / probabilities.shape[1]).to_numpy(dtype=np.float64)[known]
    column = probabilities.columns.get_indexer(np.asarray(truth)[known].astype(str))
    return np.where(column >= 0, values[np.arange(len(values)), column], 0.0), values


def _is_known(truth: ArrayLike) -> NDArray[np.bool_]:
    return ~np.asarray(pd.isna(np.asarray(truth, dtype=object)))


def calibration_error(truth: ArrayLike, predicted: ArrayLike, probabilities: pd.DataFrame, *, n_bins: int = 15) -> float:
    r"""Expected calibration error: how far confidence is from accuracy, :math:`\sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|`.

    The confidence of a cell is the largest of its probabilities. Cells are binned into intervals of equal width by confidence (Guo et al.
    2017, equation 3). A cell without probabilities (`NaN`) counts as if all types were equally probable.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`. Cells whose `truth` is missing do not count; those whose `predicted` is missing are wrong.
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
    require_same_length(truth=truth, predicted=predicted, probabilities=probabilities)
    known = _is_known(truth)
    confidence = probabilities.fillna(1 / probabilities.shape[1]).to_numpy(dtype=np.float64)[known].max(axis=1)
    right = np.asarray(truth)[known].astype(str) == np.asarray(predicted)[known].astype(str)
    return calibration_error_of(confidence, right, n_bins)


def calibration_error_of(confidence: NDArray[np.floating], right: NDArray[np.bool_], n_bins: int = 15) -> float:
    """Compute :func:`calibration_error` from the confidence of each cell and whether its label is right, `(n_obs,)` each."""
    gap = np.bincount(confidence_bins(confidence, n_bins), weights=right - confidence)
    return float(np.abs(gap).sum() / len(confidence))


def reliability(confidence: NDArray[np.floating], right: NDArray[np.bool_], n_bins: int = 15) -> pd.DataFrame:
    """Confidence and accuracy of the cells of each bin, see :func:`confidence_bins`.

    Parameters
    ----------
    confidence, right
        Confidence of each cell, and whether its label is right, `(n_obs,)` each.
    n_bins
        Number of bins of equal width.

    Returns
    -------
    A row per bin with columns `low`, `high`, `cells`, and the means `confidence` and `accuracy`, which are `NaN` for a bin without cells.
    """
    bins = confidence_bins(confidence, n_bins)
    cells = np.bincount(bins, minlength=n_bins)
    means = {
        name: np.divide(np.bincount(bins, values, minlength=n_bins), cells, out=np.full(n_bins, np.nan), where=cells > 0)
        for name, values in (("confidence", confidence), ("accuracy", right))
    }
    edges = np.linspace(0, 1, n_bins + 1)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "cells": cells, **means})


def abstention(confidence: NDArray[np.floating], right: NDArray[np.bool_], n_points: int = 50) -> pd.DataFrame:
    """Error of the most confident cells, for rising fractions of them that are answered (Geifman and El-Yaniv 2017).

    Parameters
    ----------
    confidence, right
        Confidence of each cell, and whether its label is right, `(n_obs,)` each.
    n_points
        Fractions, evenly spaced. Cells with the same confidence are answered together, so that there can be fewer.

    Returns
    -------
    A row per threshold, the highest first, with columns `threshold`, `cells` with at least this confidence, the fraction of all cells
    that they are, `answered`, and their `error`. The last row has all cells.

    References
    ----------
    Geifman and El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017, :doi:`10.48550/arXiv.1705.08500`.
    """
    n_cells = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    wrong, ranked = np.cumsum(~right[order]), confidence[order]
    asked = np.ceil(np.arange(1, n_points + 1) * n_cells / n_points).astype(np.int64)
    cells = np.unique(np.searchsorted(-ranked, -ranked[asked - 1], side="right"))
    return pd.DataFrame(
        {"threshold": ranked[cells - 1], "cells": cells, "answered": cells / n_cells, "error": wrong[cells - 1] / cells}
    )


def confidence_bins(confidence: NDArray[np.floating], n_bins: int = 15) -> NDArray[np.int64]:
    """Bin of each cell, `(n_obs,)`: bin `b` holds confidences above `b / n_bins` up to `(b + 1) / n_bins`."""
    return np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)


def auroc(is_wrong: ArrayLike, uncertainty: ArrayLike) -> float:
    """Area under the ROC curve of uncertainty for errors: the chance that a wrong label is less certain than a right one.

    It is the area under the receiver operating characteristic, 0.5 where uncertainty says nothing and 1 where all wrong labels are less
    certain than all right ones. Equal uncertainties count half. It is `NaN` where all labels are right, or all wrong.

    Parameters
    ----------
    is_wrong
        Whether the label of a cell is wrong, `(n_obs,)`.
    uncertainty
        How uncertain it is, on any scale, `(n_obs,)`. A cell without (`NaN`) is the least certain.

    Examples
    --------
    >>> auroc([False, False, True, True], [0.1, 0.3, 0.2, 0.9])
    0.75
    """
    require_same_length(is_wrong=is_wrong, uncertainty=uncertainty)
    is_wrong = np.asarray(is_wrong, dtype=bool)
    return auroc_of_ranks(is_wrong, ranks(uncertainty), np.ones(len(is_wrong), dtype=np.int64))


def ranks(uncertainty: ArrayLike) -> NDArray[np.int64]:
    """Number of smaller values that there are, `(n_obs,)`; `NaN` is larger than all."""
    return np.unique(np.nan_to_num(np.asarray(uncertainty, dtype=np.float64), nan=np.inf), return_inverse=True)[1]


def auroc_of_ranks(is_wrong: NDArray[np.bool_], ranks: NDArray[np.int64], times: NDArray[np.integer]) -> float:
    """Compute :func:`auroc` of ranked cells with weights."""
    n_ranks = int(ranks.max()) + 1
    wrong = np.bincount(ranks, times * is_wrong, minlength=n_ranks)
    right = np.bincount(ranks, times * ~is_wrong, minlength=n_ranks)
    n_pairs = wrong.sum() * right.sum()
    return float(wrong @ (right.cumsum() - right / 2) / n_pairs) if n_pairs else np.nan
