"""Figure of a review: given labels, and what the evidence says instead."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData
from matplotlib.figure import Figure

from sctab import get
from sctab.errors import Parameter, SettingError
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._figures import ShownFigure

_COLOUR = "#0072B2"
_ROW, _LETTER, _BARS = 0.32, 0.075, 3.2
"""Inches: height of a row, width of a letter, width of the bars."""


def review(pairs: AnnData | pd.DataFrame, *, n_pairs: int = 15, key_added: str = DEFAULT_KEY_ADDED) -> Figure:
    """Plot the pairs of given and contradicting labels with the most wrong labels.

    Parameters
    ----------
    pairs
        Cells that :func:`sctab.tl.review` has reviewed, or the table `get.review(adata, "pairs")`.
    n_pairs
        Number of pairs to show, those with the largest expected number of cells.
    key_added
        Prefix of the review.

    Returns
    -------
    The figure. A bar is the expected number of cells whose given label is of the other type; beside it is the fraction of the cells with
    the given label that they are.

    Raises
    ------
    SettingError
        If `n_pairs` is less than one.
    KeyNotFoundError
        If the cells were not reviewed.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("CD8 T", "NK", 200, 10, 0.05, 10.0), ("NK", "CD8 T", 100, 4, 0.04, 4.0)]
    >>> columns = ["given", "suggested", "cells", "confident", "rate", "expected"]
    >>> figure = review(pd.DataFrame(rows, columns=columns))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['CD8 T → NK', 'NK → CD8 T']
    """
    if n_pairs < 1:
        raise SettingError(Parameter("n_pairs", n_pairs), " must be at least 1.")
    table = pairs if isinstance(pairs, pd.DataFrame) else get.review(pairs, "pairs", key_added=key_added)
    rows = table.sort_values("expected", ascending=False, kind="stable").head(n_pairs)
    names = [f"{row.given} → {row.suggested}" for row in rows.itertuples()]
    longest = max(map(len, names), default=20)
    figure = ShownFigure(figsize=(longest * _LETTER + _BARS + 0.8, max(len(rows), 1) * _ROW + 0.9), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(range(len(rows)), rows["expected"], color=_COLOUR)
    axes.bar_label(bars, [f"{rate:.1%}" for rate in rows["rate"]], padding=3)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("Expected cells with a wrong label")
    axes.set_ylabel("Given label → evidence")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if rows.empty:
        axes.text(0.5, 0.5, "No label is contradicted", ha="center", va="center", transform=axes.transAxes)
    return figure
