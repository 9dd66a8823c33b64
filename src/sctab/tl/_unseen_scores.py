"""Scores of reports of unseen types: what is reported of each true type."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from sctab.errors import InputTypeError, place
from sctab.keys import OBS_IS_UNSEEN, OBS_UNSEEN
from sctab.metrics import auroc
from sctab.tl._comparison import Comparison

KNOWN, UNKNOWN, TYPE = "known types", "unknown types", "type"
"""Kinds of rows of the table."""
_QUANTILES = {"lowest": 0.05, "low": 0.25, "median": 0.5, "high": 0.75, "highest": 0.95}


def score_unseen(obs: pd.DataFrame, comparison: Comparison, cells: NDArray[np.bool_], key_added: str) -> pd.DataFrame | None:
    """Score the reports of cells that no label fits.

    A type that is a label of the model, or that is above or below one, is known to it.

    Parameters
    ----------
    obs
        Annotated cells.
    comparison
        Known labels.
    cells
        Those that are scored, `(n_obs,)`.
    key_added
        Prefix of the annotation.

    Returns
    -------
    The table, see :func:`sctab.get.evaluation`; `None` for an annotation without these reports.
    """
    columns = [f"{key_added}_{name}" for name in (OBS_UNSEEN, OBS_IS_UNSEEN)]
    if not set(columns) <= set(obs):
        return None
    truth = comparison.truth[cells]
    is_known = (comparison.is_known | comparison.is_finer)[truth]
    found = pd.DataFrame({name: numbers_of(obs, key)[cells] for name, key in zip(("p_value", "reported"), columns, strict=True)})
    rows = []
    for kind, chosen in ((KNOWN, is_known), (UNKNOWN, ~is_known)):
        if chosen.any():
            rows.append({"over": kind, "name": "", "id": "", "is_known": kind == KNOWN, **_row(found, chosen, is_known)})
    for code in np.unique(truth):
        chosen = truth == code
        about = {"over": TYPE, "name": comparison.names[code], "id": comparison.ids[code], "is_known": bool(is_known[chosen][0])}
        rows.append({**about, **_row(found, chosen, is_known)})
    return pd.DataFrame(rows)


def numbers_of(obs: pd.DataFrame, key: str) -> NDArray[np.float64]:
    """Numbers of a column that an annotation has written, `(n_obs,)`; NaN for missing ones.

    Raises
    ------
    InputTypeError
        If the column holds something else, as after a text table was read.
    """
    values = obs[key]
    if not is_numeric_dtype(values):  # true for booleans
        raise InputTypeError(place(f"obs[{key!r}]"), f" must hold numbers, and holds `{values.dtype}`. Annotate the cells again.")
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _row(found: pd.DataFrame, chosen: NDArray[np.bool_], is_known: NDArray[np.bool_]) -> dict[str, float]:
    """Numbers of some cells; how well p-values tell them from cells of known types, where they are of none."""
    own = found[chosen]
    measured = own["p_value"].dropna().to_numpy()
    quantiles = np.quantile(measured, list(_QUANTILES.values())) if len(measured) else np.full(len(_QUANTILES), np.nan)
    both = (chosen | is_known) & found["p_value"].notna().to_numpy()
    is_unknown = ~is_known[both]
    area = auroc(is_unknown, -found["p_value"].to_numpy()[both]) if not is_known[chosen].any() and both.any() else np.nan
    return {
        "cells": len(own),
        **dict(zip(_QUANTILES, quantiles.tolist(), strict=True)),
        "reported": float(own["reported"].mean()),
        "auroc": area,
    }
