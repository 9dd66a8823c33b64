"""Figures of the genes that types rest on."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sctab.errors import Parameter, SettingError
from sctab.pl._figures import ShownFigure

_COLOURS = colormaps["Blues"]
"""From pale to dark, so that colour-blind readers and grey paper tell it too."""
_COLUMNS = ("type", "rank", "gene", "weight", "expressed", "cells")
_PANEL, _GENE, _LINE, _NUMBERS = 1.75, 0.19, 0.16, 0.3
"""Inches: width of a panel; height of a gene, of a line of a title, and of the numbers below a panel."""
_GAP, _LEGEND = 0.2, 1.1
"""Inches: between a panel and the names of the next one, and for the scale of colours on the right."""
_GENE_SIZE = 8
"""Points of the letters of a gene."""
_ID = re.compile(r"ENS[A-Z]*G\d+(\.\d+)?")
"""Ids are upright, symbols of genes in italics."""
_TITLE_WIDTH = 22
"""Letters per line of a title: no wider than a panel."""


def explain(explanation: pd.DataFrame, *, n_top: int = 10, n_columns: int = 4, min_expressed: float = 0.05) -> Figure:
    """Plot the top genes of each type: a panel per type, a bar per gene.

    Parameters
    ----------
    explanation
        Table that :func:`sctab.get.explanation` gives.
    n_top
        Genes to draw of each type.
    n_columns
        Panels side by side.
    min_expressed
        Smallest fraction of the cells of a type that express a gene to be drawn; with 0, genes whose absence speaks for the type are drawn
        too. One such gene can have the largest weight in every type, and would make all other bars short.

    Returns
    -------
    The figure. All panels have the same scale. A bar is the darker the more cells of the type express the gene: of a gene with a long
    pale bar it is the absence that speaks for the type. The number of cells stands behind the name of the type, and below the bars how
    many genes were left out. A type whose genes are all below `min_expressed` has all of them.

    Raises
    ------
    SettingError
        If `explanation` is not such a table or has nothing to draw, or if `n_top` or `n_columns` is less than one.

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
            raise SettingError(Parameter(name, value), " must be at least 1.")
    if not isinstance(explanation, pd.DataFrame) or not {*_COLUMNS} <= {*explanation.columns}:
        raise SettingError(
            f"`explanation` must be the table that `sctab.get.explanation(adata)` gives, and is a `{type(explanation).__name__}`"
            f"{' without its columns' if isinstance(explanation, pd.DataFrame) else ''}. Call `sctab.tl.explain(adata)`, then "
            "`sctab.pl.explain(sctab.get.explanation(adata))`."
        )
    if explanation.empty:
        raise SettingError("There is no gene in the table, so there is nothing to draw.")
    panels = {_title(name, rows): _expressed(rows, min_expressed, n_top) for name, rows in explanation.groupby("type", sort=False)}
    table = pd.concat(panels.values())
    figure, axes = _grid(table, panels, min(n_columns, len(panels)))
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        _draw(ax, rows)
        if n_left_out := rows.attrs["n_left_out"]:
            ax.annotate(
                f"{n_left_out} not expressed", (1, 0), xycoords="axes fraction", ha="right", va="bottom", fontsize=7.5, alpha=0.75
            )
        ax.set_title(title, fontsize=8.5, loc="left")
    return figure


def _grid(table: pd.DataFrame, panels: Collection[str], n_columns: int) -> tuple[Figure, list[Axes]]:
    """A panel for each title, all of one size and at one distance, with the scale of colours on the right."""
    n_rows = -(-len(panels) // n_columns)
    names = max(TextPath((0, 0), gene, size=_GENE_SIZE).get_extents().width for gene in table["gene"].unique()) / 72 + _GAP
    titles = _LINE * (1 + max(1 + title.count("\n") for title in panels))
    genes = _GENE * table["rank"].max()
    width, height = n_columns * (names + _PANEL) + _LEGEND, n_rows * (titles + genes + _NUMBERS) + _NUMBERS
    figure = ShownFigure(figsize=(width, height))
    left, right, bottom, top = names / width, 1 - _LEGEND / width, 2 * _NUMBERS / height, 1 - titles / height
    spaces = {"wspace": names / _PANEL, "hspace": (titles + _NUMBERS) / genes}
    axes = figure.subplots(
        n_rows,
        n_columns,
        squeeze=False,
        sharex=True,
        gridspec_kw={"left": left, "right": right, "bottom": bottom, "top": top} | spaces,
    ).ravel()
    for ax in axes[len(panels) :]:
        ax.remove()
    figure.supxlabel("Fraction of the decision, mean over cells", fontsize=9, x=(left + right) / 2, y=0.08 / height, va="bottom")
    length = min(3 / height, top - bottom)
    place = figure.add_axes((right + _GAP / width, (top + bottom - length) / 2, 0.12 / width, length))
    bar = figure.colorbar(ScalarMappable(cmap=_COLOURS), cax=place)
    bar.set_label("Cells that express it", fontsize=9)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.ax.tick_params(labelsize=8)
    return figure, list(axes[: len(panels)])


def _expressed(rows: pd.DataFrame, min_expressed: float, n_top: int) -> pd.DataFrame:
    """The top genes of a type that enough of its cells express, numbered again; all where there is none."""
    kept = rows[rows["expressed"] >= min_expressed]
    kept = (rows if kept.empty else kept).sort_values("rank").head(n_top)
    is_before = (rows["rank"] < kept["rank"].max()) & (rows["expressed"] < min_expressed)
    n_left_out = int(is_before.sum()) if (kept["expressed"] >= min_expressed).all() else 0
    kept = kept.assign(rank=range(1, len(kept) + 1))
    kept.attrs["n_left_out"] = n_left_out
    return kept


def _title(name: object, rows: pd.DataFrame) -> str:
    return textwrap.fill(f"{name} ({rows['cells'].iloc[0]:,})", _TITLE_WIDTH, break_on_hyphens=False)


def _draw(ax: Axes, rows: pd.DataFrame) -> None:
    colours = _COLOURS(rows["expressed"].to_numpy())
    ax.barh(rows["rank"], rows["weight"], color=colours, edgecolor=_COLOURS(1.0), linewidth=0.5, height=0.7)
    ax.set_yticks(rows["rank"], rows["gene"], fontsize=_GENE_SIZE)
    for label in ax.get_yticklabels():
        label.set_fontstyle("normal" if _ID.fullmatch(label.get_text()) else "italic")
    ax.set_ylim(rows["rank"].max() + 0.6, 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(axis="x", labelsize=8, labelbottom=True)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
