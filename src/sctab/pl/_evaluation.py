"""Figures of an evaluation: which types are confused, and how well each is recognised."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sctab import get
from sctab.data import is_mudata
from sctab.errors import Parameter, SettingError, listing
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import draw_confusion, name_rows

Level = Literal["shared", "as labelled", "corrected"]
Table = Literal["confusion", "types", "reliability", "abstention", "promise", "unseen"]
"""Tables of an evaluation that are drawn."""
_COLOURS = {"precision": "#0072B2", "recall": "#E69F00", "f1": "#000000"}
"""After Okabe and Ito; F1 has the colour of the text."""
_MARKERS = {"precision": "<", "recall": ">", "f1": "o"}
_TITLES = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
_ROW, _CELL, _LETTER = 0.3, 0.38, 0.075
"""Inches: height of a row of scores, side of a cell of a confusion matrix, and width of a letter."""


def confusion(evaluation: AnnData | pd.DataFrame, *, level: Level = "shared", key_added: str = DEFAULT_KEY_ADDED) -> Figure:
    """Plot which types are predicted as which, as fractions of the cells of each true type.

    Parameters
    ----------
    evaluation
        Cells that :func:`sctab.tl.evaluate` has scored, or the table `get.evaluation(adata, "confusion")`.
    level
        Labels to compare: `"shared"`, at the level of detail that both sides share; `"as labelled"`; or `"corrected"`, where a subtype of
        the true label counts as that.
    key_added
        Prefix of the evaluation.

    Returns
    -------
    The figure. A row is a true label, with its cells in brackets, and sums to one; right predictions are on the diagonal. Labels that no
    cell has come last.

    Raises
    ------
    SettingError
        If there is no such level, or the table is another one.
    KeyNotFoundError
        If the cells were not evaluated.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("shared", "B cell", "B cell", 8), ("shared", "B cell", "T cell", 2), ("shared", "T cell", "T cell", 5)]
    >>> figure = confusion(pd.DataFrame(rows, columns=["level", "type", "predicted", "cells"]))
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('Predicted label', 'True label')
    """
    rows = at_level(level, evaluation, "confusion", ["type", "predicted", "cells"], key_added=key_added)
    counts = rows.pivot_table(index="type", columns="predicted", values="cells", aggfunc="sum", fill_value=0)
    n_types, n_columns = len(counts), len({*counts.index, *counts.columns})
    longest = max(map(len, map(str, [*counts.index, *counts.columns])))
    size = 2.2 + _LETTER * longest + _CELL * n_columns, 0.9 + 0.75 * _LETTER * longest + _CELL * n_types
    figure = ShownFigure(figsize=size, layout="constrained")
    ax = figure.subplots()
    image = draw_confusion(ax, counts, with_cells=True)
    figure.colorbar(image, ax=ax, label="Fraction of the cells of a true label", shrink=min(1, 3 / (_CELL * n_types)))
    return figure


def type_scores(evaluation: AnnData | pd.DataFrame, *, level: Level = "shared", key_added: str = DEFAULT_KEY_ADDED) -> Figure:
    """Plot precision, recall and F1 of every type, the worst F1 on top.

    Parameters
    ----------
    evaluation
        Cells that :func:`sctab.tl.evaluate` has scored, or the table `get.evaluation(adata, "types")`.
    level, key_added
        As in :func:`confusion`.

    Returns
    -------
    The figure. The number of cells stands behind the name of a type; types without a cell are left out.

    Raises
    ------
    SettingError
        If there is no such level, or the table is another one.
    KeyNotFoundError
        If the cells were not evaluated.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("shared", "B cell", 10, 0.9, 0.8, 0.85), ("shared", "T cell", 5, 0.6, 0.7, 0.65)]
    >>> figure = type_scores(pd.DataFrame(rows, columns=["level", "type", "cells", "precision", "recall", "f1"]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['T cell (5)', 'B cell (10)']
    """
    rows = at_level(level, evaluation, "types", ["type", "cells", *_TITLES], key_added=key_added)
    rows = rows[rows["cells"] > 0].sort_values("f1", kind="stable")
    figure = ShownFigure(figsize=(7.0, 1.0 + _ROW * max(len(rows), 2)), layout="constrained")
    ax = figure.subplots()
    text = ax.xaxis.label.get_color()
    positions = np.arange(len(rows))
    ax.hlines(
        positions, rows[["precision", "recall"]].min(axis=1), rows[["precision", "recall"]].max(axis=1), color=text, alpha=0.35
    )
    for metric in ("precision", "recall", "f1"):
        colour = text if metric == "f1" else _COLOURS[metric]
        ax.scatter(rows[metric], positions, color=colour, marker=_MARKERS[metric], s=34, zorder=3, label=_TITLES[metric])
    name_rows(ax, [f"{name} ({cells:,})" for name, cells in zip(rows["type"], rows["cells"], strict=True)])
    _tidy(ax)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _tidy(ax: Axes) -> None:
    ax.set_xlim(-0.03, 1.03)
    ax.set_xlabel("Score")
    ax.set_ylabel("True label (cells)")
    ax.spines[["top", "right"]].set_visible(False)


def table_of(evaluation: AnnData | pd.DataFrame, table: Table, columns: Collection[str], *, key_added: str) -> pd.DataFrame:
    """A table of an evaluation, as :func:`sctab.get.evaluation` gives it.

    Parameters
    ----------
    evaluation
        Evaluated cells, or the table.
    table
        Its name.
    columns
        Columns that it must have.
    key_added
        Prefix of the evaluation.

    Raises
    ------
    SettingError
        If it is another table, or empty.
    KeyNotFoundError
        If the cells were not evaluated.
    """
    rows = (
        get.evaluation(evaluation, table, key_added=key_added)
        if isinstance(evaluation, AnnData) or is_mudata(evaluation)
        else evaluation
    )
    if not isinstance(rows, pd.DataFrame) or not {*columns} <= {*rows.columns}:
        raise SettingError(
            Parameter("evaluation"),
            f" must be an AnnData, or the table `sctab.get.evaluation(adata, {table!r})`, and is a `{type(rows).__name__}`"
            f"{' without its columns' if isinstance(rows, pd.DataFrame) else ''}.",
        )
    if rows.empty:
        raise SettingError(Parameter("evaluation"), " has no rows, so there is nothing to draw.")
    return rows


def at_level(
    level: str, evaluation: AnnData | pd.DataFrame, table: Table, columns: Collection[str], *, key_added: str
) -> pd.DataFrame:
    """Rows of one level of a table of an evaluation; errors are those of :func:`table_of`."""
    rows = table_of(evaluation, table, ["level", *columns], key_added=key_added)
    found = rows[rows["level"] == level]
    if found.empty:
        raise SettingError(Parameter("level", level), f" is not in the evaluation. Available: {listing(rows['level'].unique())}.")
    return found
