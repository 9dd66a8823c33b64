"""Two columns of labels of the same cells, as a heat map along the Cell Ontology."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sctab import get
from sctab.errors import KeyNotFoundError, Parameter, SettingError, listing
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.ontology import CellOntology
from sctab.pl._colours import plain
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import figure_of

_LETTER = 0.066
"""Inches: width of a letter."""
_FEW = 16
"""Columns up to which fractions are written into the squares."""


def comparison(
    comparison: AnnData | pd.DataFrame,
    labels_key: str | None = None,
    other_key: str | None = None,
    *,
    ax: Axes | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    ontology: CellOntology | None = None,
) -> Figure:
    """Plot how often each two labels of two columns meet, as fractions of the cells of each label of the first one.

    Parameters
    ----------
    comparison
        Annotated cells, or the table `get.comparison(adata, labels_key)`.
    labels_key
        Column of `adata.obs` with labels, such as those of the authors: the rows.
    other_key
        Another one, the columns; by default the labels of the annotation.
    ax
        Axes to draw into; by default those of a new figure.
    key_added
        Prefix of the annotation.
    ontology
        As in :func:`sctab.get.comparison`.

    Returns
    -------
    The figure. Rows and columns are in the order of the Cell Ontology, so that related types are neighbours, and rows sum to one. The
    number of cells stands behind each label.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column does not exist.
    SettingError
        If there is no cell.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("B cell", "B cell", 8), ("B cell", "T cell", 2), ("T cell", "T cell", 5)]
    >>> figure = comparison(pd.DataFrame(rows, columns=["label", "other", "cells"]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['B cell (10)', 'T cell (5)']
    """
    names = ("Given label", "Label of the annotation")
    if isinstance(comparison, pd.DataFrame):
        table = comparison
    else:
        if labels_key is None:
            raise KeyNotFoundError(
                "Name the given labels with ",
                Parameter("labels_key"),
                f", a column of `adata.obs`: {listing(comparison.obs.columns)}.",
            )
        table = get.comparison(comparison, labels_key, other_key, key_added=key_added, ontology=ontology)
        names = (labels_key, other_key or f"{key_added}_label")
    if table.empty:
        raise SettingError("There is no cell, so there is nothing to draw.")
    rows, columns = (_in_order(table[name]) for name in ("label", "other"))
    table = table.astype({"label": str, "other": str})
    counts = table.pivot_table(index="label", columns="other", values="cells", aggfunc="sum", fill_value=0)
    counts = counts.reindex(index=rows, columns=columns, fill_value=0)
    fractions = counts.to_numpy(dtype=float) / counts.sum(axis=1).to_numpy(dtype=float)[:, None]
    side = float(np.clip(9 / max(len(rows), len(columns)), 0.19, 0.36))
    size = float(np.clip(side * 25, 5, 8.5))
    named = [[f"{plain(name, longest=46)} ({int(total):,})" for name, total in counts.sum(axis=axis).items()] for axis in (1, 0)]
    if ax is None:
        letter = _LETTER * size / 8
        width = 1.9 + letter * max(map(len, named[0])) + side * len(columns)
        height = 0.9 + 0.75 * letter * max(map(len, named[1])) + side * len(rows)
        figure = ShownFigure(figsize=(max(width, 4.5), max(height, 2.6)), layout="constrained")
        ax = figure.subplots()
    image = ax.imshow(fractions, cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    ax.set_xticks(range(len(columns)), named[1], rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    ax.set_yticks(range(len(rows)), named[0], fontsize=size)
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="0.5", alpha=0.25, linewidth=0.5)
    ax.tick_params(which="minor", length=0)
    if len(columns) <= _FEW:
        for (y, x), fraction in np.ndenumerate(fractions):
            if fraction >= 0.01:
                colour = "white" if fraction > 0.55 else "black"
                ax.text(x, y, f"{fraction:.2f}".lstrip("0"), ha="center", va="center", fontsize=min(size, 7), color=colour)
    ax.set_xlabel(plain(names[1]), fontsize=9)
    ax.set_ylabel(plain(names[0]), fontsize=9)
    bar = ax.figure.colorbar(image, ax=ax, shrink=min(1.0, 2.4 / (side * len(rows) + 0.1)), pad=0.02, aspect=14)
    bar.set_label("Cells of a row", fontsize=8)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure_of(ax)


def _in_order(names: pd.Series) -> list[str]:
    """Names in the order of their categories, or in which they occur."""
    own = getattr(names, "cat", None)
    found = {*map(str, names)}
    return [name for name in (map(str, own.categories) if own is not None else dict.fromkeys(map(str, names))) if name in found]
