"""Agreement of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sctab.metrics._lengths import require_same_length


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
    require_same_length(truth=truth, predicted=predicted)
    known = ~np.asarray(pd.isna(np.asarray(truth, dtype=object)))
    truth, predicted = np.asarray(truth)[known].astype(str), np.asarray(predicted)[known].astype(str)
    types = sorted(set(truth)) if types is None else list(types)
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, cells = precision_recall_fscore_support(truth, predicted, labels=types, zero_division=0)
    return pd.DataFrame(
        {"precision": precision, "recall": recall, "f1": f1, "cells": cells.astype(np.int64)}, index=pd.Index(types, name="type")
    )


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
    """Compute :func:`macro_f1` for types that are numbered, many times faster.

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
    require_same_length(truth=truth, predicted=predicted, times=times)
    f1, cells = f1_of_codes(truth, predicted, times)
    return float(f1[cells > 0].mean())


def f1_of_codes(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], times: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F1 of every type that is numbered, zero for a missing one, and how many cells it has."""
    n_types = int(max(truth.max(), predicted.max())) + 1
    is_right, is_one = truth == predicted, predicted >= 0
    right = np.bincount(truth[is_right], times[is_right], minlength=n_types)
    of_type = np.bincount(truth, times, minlength=n_types)
    as_type = np.bincount(predicted[is_one], times[is_one], minlength=n_types)
    return 2 * right / np.maximum(of_type + as_type, 1), of_type


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
    """Fraction of the cells whose label is right. Cells without a truth do not count; those without a prediction are wrong.

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


def confusion(truth: ArrayLike, predicted: ArrayLike) -> pd.DataFrame:
    """Number of cells for each true and predicted type: a row per true type, a column per type, in alphabetical order.

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
    require_same_length(truth=truth, predicted=predicted)
    known = ~np.asarray(pd.isna(np.asarray(truth, dtype=object)))
    truth, predicted = np.asarray(truth)[known].astype(str), np.asarray(predicted)[known].astype(str)
    types = sorted({*truth, *predicted})
    table = pd.crosstab(pd.Series(truth, name="truth"), pd.Series(predicted, name="predicted"))
    return table.reindex(index=sorted(set(truth)), columns=types, fill_value=0)


def scores_per_group(truth: ArrayLike, predicted: ArrayLike, groups: ArrayLike) -> pd.DataFrame:
    """Accuracy, macro F1 and weighted F1 of every group of cells, such as tissues, donors or assays.

    The F1 of a group are means over the types that are in the `truth` of that group, so that groups with other types are not comparable
    by macro F1.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`. Cells whose `truth` is missing do not count; those whose `predicted` is missing are wrong.
    groups
        Group of each cell, `(n_obs,)`. Cells without one do not count.

    Returns
    -------
    One row per group, in alphabetical order, with columns `accuracy`, `macro_f1`, `weighted_f1` and `cells`.

    Examples
    --------
    >>> scores_per_group(["B", "T", "B", "T"], ["B", "T", "T", "T"], ["lung", "lung", "liver", "liver"])
           accuracy  macro_f1  weighted_f1  cells
    group
    liver       0.5  0.333333     0.333333      2
    lung        1.0  1.000000     1.000000      2
    """
    require_same_length(truth=truth, predicted=predicted, groups=groups)
    table = pd.DataFrame({"truth": np.asarray(truth, dtype=object), "predicted": np.asarray(predicted, dtype=object)})
    table["group"] = np.asarray(groups, dtype=object)
    rows = {}
    for group, cells in table.dropna(subset=["truth", "group"]).groupby("group", sort=False, observed=True):
        scores = scores_per_type(cells["truth"], cells["predicted"])
        rows[str(group)] = {
            "accuracy": np.average(scores["recall"], weights=scores["cells"]),
            "macro_f1": scores["f1"].mean(),
            "weighted_f1": np.average(scores["f1"], weights=scores["cells"]),
            "cells": len(cells),
        }
    columns = ["accuracy", "macro_f1", "weighted_f1", "cells"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("group").sort_index()
    return table.astype(dict.fromkeys(columns, float) | {"cells": int})
