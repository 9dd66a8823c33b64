"""Panels, legends, colours and axes that figures of a benchmark have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from sctab.pl._figures import ShownFigure

_COLOURS = {
    "linear": "#0072B2",
    "mlp": "#E69F00",
    "xgboost": "#009E73",
    "sctab": "#D55E00",
    "logistic_regression": "#56B4E9",
    "celltypist": "#CC79A7",
    "scanvi": "#8C8C8C",
    "scvi_knn": "#BDBDBD",
    "scarches": "#5A5A5A",
}
"""One for each model and peer, after Okabe and Ito, whose colours differ for colour-blind readers too. `auto` and others have the colour
of the text, which is seen on light and on dark paper."""
TYPE_PREFIX, PANEL_WIDTH, ROW_HEIGHT = "type=", 3.6, 0.32
_LEAST_WRITTEN = 0.01
"""Fractions below this are not written into a confusion matrix."""


def in_order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def assign_colours(table: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """A colour per label: that of the model, lighter for each further label of the same model."""
    families = dict(zip(table["model"], table["family"], strict=True))
    found: dict[str, tuple[float, float, float]] = {}
    for model, family in families.items():
        n_before = sum(families[other] == family for other in found)
        own, background = to_rgb(_COLOURS.get(family, rcParams["text.color"])), to_rgb(rcParams["axes.facecolor"])
        paler = 1 - 0.6**n_before
        red, green, blue = (here + (there - here) * paler for here, there in zip(own, background, strict=True))
        found[model] = (red, green, blue)
    return found


def draw_panels(
    table: pd.DataFrame,
    by: str | list[str],
    draw: Callable[[Axes, pd.DataFrame], None],
    *,
    height: float = 3.0,
    width: float = PANEL_WIDTH,
    n_columns: int | None = None,
    share_y: bool = False,
) -> Figure:
    """A panel per group, side by side or in rows of `n_columns`."""
    groups = [(str(name if isinstance(name, str) else name[-1]), rows) for name, rows in table.groupby(by, sort=False)]
    n_columns = min(n_columns or len(groups), len(groups))
    n_rows = -(-len(groups) // n_columns)
    figure = ShownFigure(figsize=(width * n_columns, height * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=share_y)
    for ax, (name, rows) in zip(axes.flat, groups, strict=False):
        draw(ax, rows)
        ax.set_title(name, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    return figure


def add_legend(figure: Figure) -> Figure:
    """One legend beside all panels."""
    handles = {label: handle for ax in figure.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + 0.5 + 0.08 * max(map(len, handles), default=0), height)  # the panels keep their width
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=9)
    return figure


def draw_seeds(
    ax: Axes, values: pd.Series, y: float, colour: tuple[float, float, float], *, area: float, label: str | None = None
) -> None:
    if values.empty:
        return
    ax.scatter(values, np.full(len(values), y), color=[colour], s=area / 4, alpha=0.5, linewidth=0, zorder=2)
    ax.errorbar(values.mean(), y, xerr=values.std() if len(values) > 1 else None, color=colour, linewidth=1.2, zorder=3)
    ax.scatter(values.mean(), y, color=[colour], s=area, zorder=4, label=label, edgecolor=ax.get_facecolor(), linewidth=0.5)


def draw_points(
    ax: Axes,
    x: pd.Series | pd.Index,
    values: pd.DataFrame,
    colour: tuple[float, float, float],
    label: str,
    *,
    linestyle: Literal["-", "none"],
) -> None:
    """Points with `mean` and `sd`, joined by a line or not."""
    ax.errorbar(
        x,
        values["mean"],
        values["sd"].fillna(0),
        color=colour,
        label=label,
        marker="o",
        markersize=4,
        linewidth=1.4,
        linestyle=linestyle,
        capsize=2,
    )


def draw_confusion(ax: Axes, counts: pd.DataFrame, *, with_cells: bool = False) -> AxesImage:
    """Fractions of the cells of each true label, `(n_types, n_predicted)`, right predictions on the diagonal.

    Parameters
    ----------
    counts
        Cells by true label, in rows, and predicted label.
    with_cells
        Write the cells of each true label behind its name.
    """
    columns = [*counts.index, *(name for name in counts.columns if name not in counts.index)]
    n_cells = counts.sum(axis=1)
    fractions = counts.reindex(columns=columns, fill_value=0).div(n_cells, axis=0)
    image = ax.imshow(fractions, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [f"{name} ({n_cells[name]:,})" if with_cells else str(name) for name in counts.index]
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    for (y, x), fraction in np.ndenumerate(fractions.to_numpy()):
        if fraction >= _LEAST_WRITTEN:
            ax.text(x, y, f"{fraction:.2f}", ha="center", va="center", fontsize=8, color="white" if fraction > 0.55 else "black")
    ax.set_xlabel("Predicted label")
    ax.set_ylabel("True label")
    return image


def figure_of(ax: Axes) -> Figure:
    return cast("Figure", ax.get_figure(root=True))


def paper_of(ax: Axes) -> Any:
    """Colour behind the axes; `none` where it is transparent."""
    colour = ax.get_facecolor()
    return colour if to_rgba(colour)[3] else "none"


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="0.5", alpha=0.2)
    ax.set_axisbelow(True)


def scale_logarithmically(ax: Axes) -> None:
    """Horizontal axis in orders of magnitude, with few ticks: 300, 1k, 3k."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_formatter(NullFormatter())


def name_points(ax: Axes, means: pd.DataFrame) -> None:
    """Names of types in a column on the right, in the order of their points and without lying on each other."""
    bottom, top = ax.get_ylim()
    gap = (top - bottom) / 18
    heights = means["f1"].to_numpy().copy()  # sorted; moved apart upwards, and as a whole back below the top
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = min(heights[i], top - gap * (len(heights) - i))
    for (group, row), height in zip(means.iterrows(), heights, strict=True):
        ax.annotate(
            str(group).removeprefix(TYPE_PREFIX),
            (row["n_reference_cells"], row["f1"]),
            xytext=(1.04, height),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": "0.5", "alpha": 0.6, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
        )
