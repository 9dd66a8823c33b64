"""Types as a tree of the Cell Ontology."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sctab import get
from sctab.errors import SettingError
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._colours import colours_of, plain
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import figure_of, paper_of

_ROW, _STEP, _LETTER = 0.25, 0.28, 0.075
"""Inches: height of a row, width of a step of the tree and of a letter."""
_SMALLEST, _LARGEST = 26.0, 150.0
"""Areas of dots in square points."""


def ontology(
    ontology: AnnData | pd.DataFrame,
    *,
    groupby: str | None = None,
    palette: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> Figure:
    """Plot the types that occur as a tree of the Cell Ontology, with the number of cells at each term and below it.

    Parameters
    ----------
    ontology
        Annotated cells, or the table `get.ontology(adata)`.
    groupby
        Column of `adata.obs` with types; by default the labels of the annotation.
    palette
        Colours of types. By default those of `adata.uns['…_colors']`, and others for what these do not have.
    ax
        Axes to draw into; by default those of a new figure.
    key_added
        Prefix of the annotation.

    Returns
    -------
    The figure. The area of a dot is the number of cells at the term and below it; terms that only group others have rings. A term with
    cells of its own and others below it has both numbers.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or the column does not exist.
    SettingError
        If there is no type.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = ["term", "name", "parent", "depth", "cells", "cells_below", "fraction"]
    >>> rows = [
    ...     ("1", "lymphocyte", "", 0, 0, 30, 1.0),
    ...     ("2", "B cell", "1", 1, 10, 10, 1 / 3),
    ...     ("3", "T cell", "1", 1, 20, 20, 2 / 3),
    ... ]
    >>> figure = ontology(pd.DataFrame(rows, columns=columns))
    >>> print(*figure.axes[0].get_ylim())
    2.6 -0.6
    """
    stored: dict[str, str] = {}
    if isinstance(ontology, pd.DataFrame):
        table = ontology
    else:
        table = get.ontology(ontology, groupby=groupby, key_added=key_added)
        stored = get.stored_colours(ontology, groupby, key_added=key_added)
    if table.empty:
        raise SettingError("There is no cell with a type, so there is nothing to draw.")
    table = table.reset_index(drop=True)
    own = table[table["cells"] > 0].sort_values("cells", ascending=False, kind="stable")["name"]
    colours = colours_of(own, {**stored, **(palette or {})})
    texts = [
        _text(name, int(cells), int(below))
        for name, cells, below in zip(table["name"], table["cells"], table["cells_below"], strict=True)
    ]
    depth = table["depth"].to_numpy(dtype=int)
    if ax is None:
        width = 0.6 + max(_STEP * step + _LETTER * len(text) for step, text in zip(depth, texts, strict=True))
        figure = ShownFigure(figsize=(max(width, 3.0), 0.3 + _ROW * len(table)), layout="constrained")
        ax = figure.subplots()
    line = ax.xaxis.label.get_color()
    row_of = {term: row for row, term in enumerate(table["term"])}
    for row, parent in enumerate(table["parent"]):
        if parent in row_of:
            start = depth[row] - 1
            ax.plot([start, start, depth[row]], [row_of[parent], row, row], color=line, alpha=0.35, linewidth=0.9, zorder=1)
    share = table["cells_below"].to_numpy(dtype=float) / max(float(table["cells_below"].max()), 1)
    areas = _SMALLEST + (_LARGEST - _SMALLEST) * share
    is_own = (table["cells"] > 0).to_numpy()
    paper = paper_of(ax)
    if (~is_own).any():
        groups = np.flatnonzero(~is_own)
        ax.scatter(depth[groups], groups, s=areas[groups], facecolor=paper, edgecolor=line, linewidth=0.9, alpha=0.75, zorder=2)
    types = np.flatnonzero(is_own)
    ax.scatter(depth[types], types, s=areas[types], color=[colours[name] for name in table["name"][types]], linewidth=0, zorder=3)
    for row, text in enumerate(texts):
        ax.annotate(
            text,
            (depth[row], row),
            xytext=(3.5 + np.sqrt(areas[row]) / 2, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=line,
            alpha=1 if is_own[row] else 0.75,
        )
    ax.set(xticks=[], yticks=[], ylim=(len(table) - 0.4, -0.6))
    ends = (step + _LETTER * len(text) / _STEP + 0.5 for step, text in zip(depth, texts, strict=True))
    ax.set_xlim(-0.4, max(ends))
    ax.spines[:].set_visible(False)
    return figure_of(ax)


def _text(name: str, cells: int, below: int) -> str:
    numbers = f"{below:,}" if cells in {0, below} else f"{below:,}, {cells:,} of them its own"
    return f"{plain(name, longest=60)}  {numbers}"
