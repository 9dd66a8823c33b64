"""Cells in the plane, coloured by what an annotation says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sctab import get
from sctab.errors import Parameter, SettingError, listing
from sctab.get import NO_LABEL
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._colours import NO_TYPE, OTHER, colours_of, plain
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import figure_of

_PANEL, _TITLE, _LETTER, _LEGEND_ROWS = 3.9, 0.32, 0.062, 20
"""Inches: side of a panel, height of its title, width of a letter of a legend; and rows of a column of a legend."""
_REPORTED = "#D55E00"
_RASTER = 2000
"""Points from which a panel is an image inside of a vector graphic."""
_TITLES = {"label": "Label", "confidence": "Confidence", "unseen": "Unseen types", "term": "Promised term"}
_DEFAULT = ("label", "confidence", "unseen")


def annotation(
    annotation: AnnData | pd.DataFrame,
    panels: Sequence[str] | None = None,
    *,
    basis: str = "umap",
    palette: Mapping[str, str] | None = None,
    size: float | None = None,
    numbers: bool = True,
    ax: Axes | Sequence[Axes] | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> Figure:
    """Plot label, confidence and unseen types of every cell in one figure, side by side.

    Parameters
    ----------
    annotation
        Annotated cells with an embedding, or the table `get.annotation(adata, basis="umap")`.
    panels
        Columns of that table, or of `adata.obs`, to draw: columns of strings by category, numbers from 0 to 1 on a scale of colours. By
        default `"label"`, `"confidence"` and, where it was tested, `"unseen"`, which marks the cells that are reported.
    basis
        Embedding in `adata.obsm`: `"umap"` for `X_umap`, or its whole key.
    palette
        Colours of categories. By default those of `adata.uns['…_colors']`, and others for what these do not have.
    size
        Area of a point in square points; by default smaller for more cells.
    numbers
        Write the number that a type has in the legend into the middle of its cells, for readers who cannot tell all colours.
    ax
        Axes to draw into, one for each panel; by default those of a new figure.
    key_added
        Prefix of the annotation.

    Returns
    -------
    The figure. Legends are beside the panels; a category has the number of its cells in brackets, and the most frequent one comes first.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or have no such embedding or column.
    SettingError
        If there is no panel, no such column, or another number of axes.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"x": [0, 1, 5], "y": [0, 1, 5], "label": ["B cell", "B cell", "T cell"], "confidence": [0.9, 0.8, 1]})
    >>> figure = annotation(table)
    >>> [ax.get_title(loc="left") for ax in figure.axes[:2]]
    ['Label', 'Confidence']
    """
    stored: dict[str, dict[str, str]] = {}
    if isinstance(annotation, pd.DataFrame):
        table = annotation
    else:
        known = {*_DEFAULT, "term", "is_unseen"}
        own = [name for name in panels or () if name not in known]
        table = get.annotation(annotation, basis=basis, columns=own, key_added=key_added)
        stored = {name: get.stored_colours(annotation, name) for name in own}
        stored["label"] = get.stored_colours(annotation, key_added=key_added)
    chosen = list(panels) if panels is not None else [name for name in _DEFAULT if _column(name) in table]
    if missing := [name for name in [*chosen, "x", "y"] if _column(name) not in table]:
        raise SettingError(Parameter("panels", missing[0]), f" is not in the annotation. Available: {listing(table.columns)}.")
    if not chosen:
        raise SettingError(Parameter("panels", []), " has nothing to draw. Choose one or several.")
    table = table[np.isfinite(table["x"].to_numpy(dtype=float)) & np.isfinite(table["y"].to_numpy(dtype=float))]
    figure, axes = _axes(table, chosen, ax)
    area = size if size is not None else float(np.clip(20_000 / max(len(table), 1), 0.6, 18))
    for name, each in zip(chosen, axes, strict=True):
        if name == "unseen":
            _draw_reported(each, table, area)
        elif pd.api.types.is_float_dtype(table[name]):
            _draw_numbers(each, table, name, area)
        else:
            _draw_categories(each, table, name, area, {**stored.get(name, {}), **(palette or {})}, numbers=numbers)
        each.set_title(_TITLES.get(name, plain(name)), loc="left", fontsize=10)
        _empty(each, table)
    return figure


def _column(name: str) -> str:
    return "is_unseen" if name == "unseen" else name


def _categories(table: pd.DataFrame, name: str) -> pd.Series:
    """Category of each cell, `no label` for none."""
    values = table[name].astype(object)
    return values.where(values.notna(), NO_LABEL).astype(str)


def _axes(table: pd.DataFrame, panels: Sequence[str], ax: Axes | Sequence[Axes] | None) -> tuple[Figure, list[Axes]]:
    if ax is not None:
        given = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
        if len(given) != len(panels):
            raise SettingError(f"`ax` must have {len(panels)} axes, one for each of {listing(panels)}; it has {len(given)}.")
        return figure_of(given[0]), given
    sides = [_side(table, name) for name in panels]
    width, height = len(panels) * _PANEL + sum(sides), _PANEL + _TITLE
    figure = ShownFigure(figsize=(width, height))
    axes, left = [], 0.0
    for side in sides:
        axes.append(figure.add_axes((left / width, 0.0, _PANEL / width, _PANEL / height)))
        left += _PANEL + side
    return figure, axes


def _side(table: pd.DataFrame, name: str) -> float:
    """Inches that a legend takes beside its panel."""
    if name == "unseen":
        return 1.6
    if pd.api.types.is_float_dtype(table[name]):
        return 0.85
    names = list(map(plain, _categories(table, name).unique())) or [""]
    return 0.35 + -(-len(names) // _LEGEND_ROWS) * (0.35 + _LETTER * (max(map(len, names)) + 12))


def _draw_categories(ax: Axes, table: pd.DataFrame, name: str, area: float, palette: Mapping[str, str], *, numbers: bool) -> None:
    values = _categories(table, name)
    counts = values.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    order = [each for each in counts.index if each != NO_LABEL] + [each for each in counts.index if each == NO_LABEL]
    colours = {**colours_of((each for each in counts.index if each != NO_LABEL), palette), NO_LABEL: NO_TYPE}
    mixed = np.random.default_rng(0).permutation(len(table))  # no category covers the others
    ax.scatter(
        table["x"].to_numpy()[mixed],
        table["y"].to_numpy()[mixed],
        c=values.map(colours).to_numpy()[mixed],
        s=area,
        linewidths=0,
        rasterized=len(table) > _RASTER,
    )
    handles = []
    for number, each in enumerate(order, start=1):
        shown = f"{number}  {plain(each)} ({counts[each]:,})" if numbers else f"{plain(each)} ({counts[each]:,})"
        handles.append(Line2D([], [], marker="o", linestyle="none", color=colours[each], markersize=5.5, label=shown))
        if numbers and len(order) > 1:
            middle = table[(values == each).to_numpy()][["x", "y"]].median()
            text = ax.annotate(str(number), (middle["x"], middle["y"]), ha="center", va="center", fontsize=7.5, color="black")
            text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=-(-len(order) // _LEGEND_ROWS),
        frameon=False,
        fontsize=7.5,
        handletextpad=0.1,
        borderaxespad=0.2,
        labelspacing=0.35,
        columnspacing=0.8,
    )


def _draw_numbers(ax: Axes, table: pd.DataFrame, name: str, area: float) -> None:
    values = table[name].to_numpy(dtype=float)
    order = np.argsort(-values, kind="stable")[: np.isfinite(values).sum()]  # doubtful cells on top, since they are few
    points = ax.scatter(
        table["x"].to_numpy()[order],
        table["y"].to_numpy()[order],
        c=values[order],
        s=area,
        cmap="viridis",
        vmin=0,
        vmax=1,
        linewidths=0,
        rasterized=len(table) > _RASTER,
    )
    bar = ax.figure.colorbar(points, cax=ax.inset_axes((1.03, 0.3, 0.035, 0.4)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)


def _draw_reported(ax: Axes, table: pd.DataFrame, area: float) -> None:
    reported = table["is_unseen"].astype(bool).to_numpy()
    for cells, colour, label, times in ((~reported, OTHER, "fits a label", 1.0), (reported, _REPORTED, "reported", 1.6)):
        points = table[cells]
        ax.scatter(
            points["x"],
            points["y"],
            color=colour,
            s=area * times,
            linewidths=0,
            label=f"{label} ({len(points):,})",
            rasterized=len(table) > _RASTER,
        )
    handles = ax.get_legend_handles_labels()
    marks = [Line2D([], [], marker="o", linestyle="none", color=colour, markersize=5.5) for colour in (OTHER, _REPORTED)]
    ax.legend(
        marks,
        handles[1],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=7.5,
        handletextpad=0.1,
        borderaxespad=0.2,
    )


def _empty(ax: Axes, table: pd.DataFrame) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if len(table):
        for limits, values in ((ax.set_xlim, table["x"]), (ax.set_ylim, table["y"])):
            low, high = float(values.min()), float(values.max())
            margin = 0.03 * ((high - low) or 1.0)
            limits(low - margin, high + margin)
