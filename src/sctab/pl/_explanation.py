"""Which genes the types rest on."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sctab._errors import SettingError

_COLOURS = colormaps["Blues"]
"""From pale to dark, so that colour-blind readers and grey paper tell it too."""
_WIDTH, _BAR = 2.7, 0.19
"""Inches per panel, and per gene."""
_TITLE_WIDTH = 22
"""Letters per line of a title: no wider than bars beside an Ensembl id."""


def explain(explanation: pd.DataFrame, *, n_top: int = 10, n_columns: int = 4) -> Figure:
    """Draw the genes that carry most of the decision on the cells of each type: a panel per type, a bar per gene.

    Parameters
    ----------
    explanation
        Table that :func:`sctab.get.explanation` gives.
    n_top
        Genes to draw of each type.
    n_columns
        Panels side by side.

    Returns
    -------
    The figure. All panels have the same scale. A bar is the darker the more cells of the type express the gene: of a gene with a long
    pale bar it is the absence that speaks for the type. The number of cells stands behind the name of the type.

    Raises
    ------
    SettingError
        When there is nothing to draw, or when `n_top` or `n_columns` is less than one.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = ["type", "rank", "gene", "weight", "expressed", "cells"]
    >>> rows = [("B cell", 1, "CD79A", 0.2, 0.9, 50), ("B cell", 2, "MS4A1", 0.1, 0.7, 50), ("T cell", 1, "CD3D", 0.3, 0.8, 70)]
    >>> figure = explain(pd.DataFrame(rows, columns=columns))
    >>> [ax.get_title(loc="left") for ax in figure.axes[:2]]
    ['B cell (50)', 'T cell (70)']
    """
    for name, value in (("n_top", n_top), ("n_columns", n_columns)):
        if value < 1:
            raise SettingError(f"`{name}={value}` must be at least 1.")
    table = explanation[explanation["rank"] <= n_top]
    if table.empty:
        raise SettingError("There is no gene in the table, so that there is nothing to draw.")
    panels = {_title(name, rows): rows for name, rows in table.groupby("type", sort=False)}
    n_columns = min(n_columns, len(panels))
    n_rows = -(-len(panels) // n_columns)
    height = 0.4 + 0.16 * max(1 + title.count("\n") for title in panels) + _BAR * table["rank"].max()
    figure = Figure(figsize=(_WIDTH * n_columns + 0.8, height * n_rows + 0.3), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for ax, (title, rows) in zip(axes.flat, panels.items(), strict=False):
        _draw(ax, rows)
        ax.set_title(title, fontsize=8.5, loc="left")
    for ax, above in zip(axes.flat[len(panels) :], axes.flat[len(panels) - n_columns :], strict=False):
        ax.set_visible(False)
        above.tick_params(axis="x", labelbottom=True)
    figure.supxlabel("Share of the decision, mean over cells", fontsize=9)
    bar = figure.colorbar(ScalarMappable(cmap=_COLOURS), ax=axes, aspect=30, shrink=min(1.0, 3 / figure.get_figheight()), pad=0.02)
    bar.set_label("Cells that express it", fontsize=9)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.ax.tick_params(labelsize=8)
    return figure


def _title(name: object, rows: pd.DataFrame) -> str:
    return textwrap.fill(f"{name} ({rows['cells'].iloc[0]:,})", _TITLE_WIDTH, break_on_hyphens=False)


def _draw(ax: Axes, rows: pd.DataFrame) -> None:
    colours = _COLOURS(rows["expressed"].to_numpy())
    ax.barh(rows["rank"], rows["weight"], color=colours, edgecolor=_COLOURS(1.0), linewidth=0.5, height=0.7)
    ax.set_yticks(rows["rank"], rows["gene"], fontsize=8)
    ax.set_ylim(rows["rank"].max() + 0.6, 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
