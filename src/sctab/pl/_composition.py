"""Types in each sample, as bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sctab import get
from sctab.errors import KeyNotFoundError, Parameter, SettingError, listing
from sctab.get import NO_LABEL
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._colours import NO_TYPE, OTHER, colours_of, plain
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import figure_of, name_rows, paper_of

_ROW, _LETTER, _LEGEND_ROW = 0.28, 0.068, 0.175
"""Inches: height of a row, width of a letter, height of a row of the legend."""


def composition(
    composition: AnnData | pd.DataFrame,
    sample_key: str | None = None,
    *,
    groupby: str | None = None,
    n_types: int = 20,
    palette: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> Figure:
    """Plot which fraction of each sample every type is, as a bar per sample.

    Parameters
    ----------
    composition
        Annotated cells, or the table `get.composition(adata, sample_key)`.
    sample_key
        Column of `adata.obs` with samples, such as donors.
    groupby
        Column of `adata.obs` with types; by default the labels of the annotation.
    n_types
        Types that have a colour; if there are more, the rarest ones are summed as `other types`.
    palette
        Colours of types. By default those of `adata.uns['…_colors']`, and others for what these do not have.
    ax
        Axes to draw into; by default those of a new figure.
    key_added
        Prefix of the annotation.

    Returns
    -------
    The figure. The number of cells stands behind the name of a sample.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column does not exist.
    SettingError
        If `n_types` is less than one, or if there is no cell.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("donor 1", "B cell", 8), ("donor 1", "T cell", 2), ("donor 2", "B cell", 1), ("donor 2", "T cell", 3)]
    >>> figure = composition(pd.DataFrame(rows, columns=["sample", "type", "cells"]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['donor 1 (10)', 'donor 2 (4)']
    """
    if n_types < 1:
        raise SettingError(Parameter("n_types", n_types), " must be at least 1.")
    stored: dict[str, str] = {}
    if isinstance(composition, pd.DataFrame):
        table = composition
    else:
        if sample_key is None:
            raise KeyNotFoundError(
                "Name the samples with ", Parameter("sample_key"), f", a column of `adata.obs`: {listing(composition.obs.columns)}."
            )
        table = get.composition(composition, sample_key, groupby=groupby, key_added=key_added)
        stored = get.stored_colours(composition, groupby, key_added=key_added)
    counts = table.pivot_table(index="sample", columns="type", values="cells", aggfunc="sum", fill_value=0, sort=False)
    counts = counts.loc[:, counts.sum() > 0]
    if counts.empty:
        raise SettingError("There is no cell with a sample, so there is nothing to draw.")
    by_size = counts.sum().sort_values(ascending=False, kind="stable").index
    named = [name for name in by_size if name != NO_LABEL]
    colours = {**colours_of(named, {**stored, **(palette or {})}), NO_LABEL: NO_TYPE}
    kept = named if len(named) <= n_types else named[: n_types - 1] if n_types > 1 else named[:1]
    rest = [name for name in named if name not in kept]
    shown = {name: counts[name] for name in kept}
    if rest:
        shown[f"other types ({len(rest)})"] = counts[rest].sum(axis=1)
    if NO_LABEL in counts:
        shown[NO_LABEL] = counts[NO_LABEL]
    totals = counts.sum(axis=1)
    rows = [f"{plain(name, longest=28)} ({int(total):,})" for name, total in totals.items()]
    if ax is None:
        longest = max(min(len(str(name)), 56) for name in shown)
        width = 4.6 + _LETTER * (max(map(len, rows)) + longest) + 0.5
        height = max(0.75 + _ROW * len(rows), 0.4 + _LEGEND_ROW * len(shown))
        figure = ShownFigure(figsize=(width, height), layout="constrained")
        ax = figure.subplots()
    left, positions = np.zeros(len(counts)), np.arange(len(counts))
    edge = paper_of(ax)
    for name, values in shown.items():
        share = (values / totals).to_numpy(dtype=float)
        colour = colours.get(name, OTHER)
        ax.barh(positions, share, left=left, height=0.78, color=colour, label=plain(name), edgecolor=edge, linewidth=0.4)
        left += share
    name_rows(ax, rows)
    ax.set(xlim=(0, 1), xlabel=f"Cells of each {sample_key}" if sample_key else "Cells of the sample")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.tick_params(labelsize=8)
    ax.xaxis.label.set_fontsize(9)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=8,
        handlelength=0.9,
        handleheight=0.9,
        labelspacing=0.35,
        borderaxespad=0,
    )
    return figure_of(ax)
