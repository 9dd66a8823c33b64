"""How well labels agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_fscore_support


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
