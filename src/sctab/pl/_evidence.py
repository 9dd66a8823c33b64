"""Genes that speak for each type, as a dot plot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sctab import get
from sctab.errors import Parameter, SettingError
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._colours import plain
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import figure_of

_ROW, _COLUMN, _LETTER = 0.24, 0.2, 0.066
"""Inches: height of a row, width of a column and of a letter."""
_DOT = 95.0
"""Area of the dot of a gene that all cells express, in square points."""
_MOST_COLUMNS = 60
_GENES = 4
"""Genes of each type, unless these are more than that many columns."""


def evidence(
    evidence: AnnData | pd.DataFrame,
    model: Any = None,
    *,
    n_genes: int | None = None,
    groupby: str | None = None,
    ax: Axes | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> Figure:
    """Plot the genes that speak for each type as a dot plot: where they are expressed, by which fraction of the cells, and how much.

    Parameters
    ----------
    evidence
        Annotated cells, or the table `get.evidence(adata, table="expression")`.
    model
        As in :func:`sctab.get.evidence`.
    n_genes
        Genes of each type; by default four, and fewer where that would be more than 60 columns.
    groupby
        Column of `adata.obs` with types; by default the labels of the annotation.
    ax
        Axes to draw into; by default those of a new figure.
    key_added
        Prefix of the annotation.

    Returns
    -------
    The figure. A row is a type; a column is a gene, below the number of the row that it speaks for. The area of a dot is the fraction of
    the cells that express the gene; its colour the mean expression, from 0 to 1 between the types with the least and the most. Dots that
    speak for their type have a ring.

    Raises
    ------
    KeyNotFoundError, ModelNotFoundError, SettingError, InputValueError
        As in :func:`sctab.get.evidence`; also if `n_genes` is less than one, or no gene speaks for any type.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = ["type", "rank", "gene", "group", "cells", "mean", "expressed"]
    >>> rows = [("B cell", 1, "CD79A", "B cell", 9, 2.0, 0.9), ("B cell", 1, "CD79A", "T cell", 9, 0.1, 0.1)]
    >>> rows += [("T cell", 1, "CD3D", "B cell", 9, 0.2, 0.1), ("T cell", 1, "CD3D", "T cell", 9, 1.8, 0.8)]
    >>> figure = evidence(pd.DataFrame(rows, columns=columns))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['CD79A', 'CD3D']
    """
    if n_genes is not None and n_genes < 1:
        raise SettingError(Parameter("n_genes", n_genes), " must be at least 1.")
    if isinstance(evidence, pd.DataFrame):
        table = evidence
    else:
        table = get.evidence(evidence, model, table="expression", groupby=groupby, n_genes=n_genes or _GENES, key_added=key_added)
    if table.empty:
        raise SettingError("There is no gene in the table, so there is nothing to draw.")
    groups = list(dict.fromkeys(table["group"]))
    kept = n_genes or int(np.clip(_MOST_COLUMNS // table["type"].nunique(), 1, _GENES))
    table = table[table["rank"] <= kept]
    columns = list(dict.fromkeys(zip(table["type"], table["gene"], strict=True)))
    at_row = table["group"].map({name: row for row, name in enumerate(groups)}).to_numpy()
    at_column = np.array([{key: x for x, key in enumerate(columns)}[key] for key in zip(table["type"], table["gene"], strict=True)])
    by_gene = table.groupby("gene")["mean"]
    low, high = by_gene.transform("min").to_numpy(), by_gene.transform("max").to_numpy()
    means = table["mean"].to_numpy()
    scaled = np.divide(means - low, high - low, out=np.ones_like(means), where=high > low)
    sizes = dict(zip(table["group"], table["cells"], strict=True))
    rows = [f"{plain(name)} ({sizes[name]:,})  {number}" for number, name in enumerate(groups, start=1)]
    if ax is None:
        width = 1.7 + _LETTER * max(map(len, rows)) + _COLUMN * len(columns)
        height = 1.0 + _ROW * len(groups) + 0.06 * max(len(gene) for _, gene in columns)
        figure = ShownFigure(figsize=(width, max(height, 2.5)), layout="constrained")
        ax = figure.subplots()
    line = ax.xaxis.label.get_color()
    is_own = (table["type"] == table["group"]).to_numpy()
    colours = ScalarMappable(Normalize(0, 1), "Reds")
    ax.scatter(
        at_column,
        at_row,
        s=np.maximum(table["expressed"].to_numpy() * _DOT, 0.3),
        c=colours.to_rgba(scaled),
        edgecolor=line,
        linewidth=np.where(is_own, 0.9, 0.15),
        zorder=3,
    )
    ax.set_xticks(range(len(columns)), [plain(gene) for _, gene in columns], rotation=90, fontsize=7.5, style="italic")
    ax.set_yticks(range(len(groups)), rows, fontsize=8)
    ax.set(xlim=(-0.7, len(columns) - 0.3), ylim=(len(groups) - 0.3, -0.7))
    ax.tick_params(length=2)
    ax.grid(color="0.5", alpha=0.12, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    number_of = {name: number for number, name in enumerate(groups, start=1)}
    _name_blocks(ax, [number_of.get(name, 0) for name, _ in columns], line)
    _add_keys(ax, colours, line)
    return figure_of(ax)


def _name_blocks(ax: Axes, numbers: list[int], line: Any) -> None:
    """Write above each block of genes the number of the row that they speak for."""
    starts = [x for x, number in enumerate(numbers) if x == 0 or number != numbers[x - 1]]
    for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
        above = ax.get_xaxis_transform()
        ax.plot([start - 0.35, stop - 0.65], [1.01, 1.01], transform=above, color=line, linewidth=0.9, clip_on=False)
        ax.text((start + stop - 1) / 2, 1.02, str(numbers[start]), transform=above, ha="center", va="bottom", fontsize=7.5)
        if start:
            ax.axvline(start - 0.5, color=line, alpha=0.12, linewidth=0.6)


def _add_keys(ax: Axes, colours: ScalarMappable, line: Any) -> None:
    """Scales of areas and of colours, on the right."""
    marks = [
        Line2D([], [], marker="o", linestyle="none", color=line, alpha=0.6, markersize=np.sqrt(share * _DOT), label=f"{share:.0%}")
        for share in (0.1, 0.5, 1.0)
    ]
    ax.legend(
        handles=marks,
        title="Expressed in",
        title_fontsize=8,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        borderaxespad=0,
        labelspacing=0.7,
        alignment="left",
    )
    bar = ax.figure.colorbar(colours, ax=ax, location="bottom", shrink=0.25, aspect=16, pad=0.01, anchor=(1.0, 0.5), ticks=[0, 1])
    bar.set_label("Mean expression, scaled by gene", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
