"""What a benchmark has found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from sctab.errors import SettingError, listing

_COLOURS = {
    "linear": "#0072B2",
    "mlp": "#E69F00",
    "xgboost": "#009E73",
    "sctab": "#D55E00",
    "auto": "#000000",
    "logistic_regression": "#56B4E9",
    "celltypist": "#CC79A7",
    "scanvi": "#8C8C8C",
}
"""One for each model and peer, after Okabe and Ito, whose colours differ for colour-blind readers too."""
_TITLES = {
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy",
    "weighted_f1": "Weighted F1",
    "cross_entropy": "Cross-entropy",
    "ece": "Expected calibration error",
    "train_loss": "Training loss",
    "validation_loss": "Validation loss",
    "validation_macro_f1": "Validation macro F1",
}
_TYPE, _WIDTH, _ROW = "type=", 3.6, 0.32


def benchmark_models(scores: pd.DataFrame, *, metric: str = "macro_f1") -> Figure:
    """Compare models: a panel per task, a row per model, its mean, its standard deviation and its seeds.

    Parameters
    ----------
    scores
        Table of scores, `sctab.benchmark.read_results(directory).scores`.
    metric
        Which metric, of all cells.

    Raises
    ------
    SettingError
        When there is nothing to draw.
    """
    table = _of_all_cells(scores, metric)
    table = _some(table[table["fraction"] == 1], f"`{metric}` of a whole reference")
    models, colours = _in_order(table["model"]), _colours(scores)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        for y, model in enumerate(models):
            _draw_seeds(ax, rows.loc[rows["model"] == model, "value"], y, colours[model], area=40)
        _name_rows(ax, models)
        ax.set_xlabel(_TITLES.get(metric, metric))

    return _panels(table, "task", draw, height=1.1 + _ROW * len(models), share_y=True)


def benchmark_groups(scores: pd.DataFrame, *, metric: str = "macro_f1") -> Figure:
    """Compare models group by group, for example donor by donor: a panel per task, a row per group, a dot per model.

    Parameters
    ----------
    scores
        Table of scores, `sctab.benchmark.read_results(directory).scores`.
    metric
        Which metric.

    Raises
    ------
    SettingError
        When no task has groups.
    """
    is_group = (scores["group"] != "") & ~scores["group"].str.startswith(_TYPE)
    table = _some(scores[is_group & (scores["metric"] == metric) & (scores["fraction"] == 1)], f"`{metric}` by group")
    n_rows = table.groupby("task")["group"].nunique().max() * table["model"].nunique()
    models, colours = _in_order(table["model"]), _colours(scores)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        groups = sorted(rows["group"].unique())
        for i, model in enumerate(models):
            for y, group in enumerate(groups):
                values = rows.loc[(rows["model"] == model) & (rows["group"] == group), "value"]
                _draw_seeds(ax, values, y + 0.7 * ((i + 0.5) / len(models) - 0.5), colours[model], area=22, label=model)
        _name_rows(ax, [group.split("=", 1)[1] for group in groups])
        for y in range(1, len(groups)):
            ax.axhline(y - 0.5, color="0.9", linewidth=0.8, zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlabel(_TITLES.get(metric, metric))

    return _with_legend(_panels(table, "task", draw, height=1.1 + 0.14 * n_rows, width=_WIDTH + 0.6))


def benchmark_types(scores: pd.DataFrame, *, model: str) -> Figure:
    """F1 of every type against the cells that it was learned from: a panel per task.

    Parameters
    ----------
    scores
        Table of scores, `sctab.benchmark.read_results(directory).scores`.
    model
        Label of the model.

    Raises
    ------
    SettingError
        When there is no such model.
    """
    of_types = scores[(scores["model"] == model) & (scores["fraction"] == 1) & scores["group"].str.startswith(_TYPE)]
    table = _some(of_types, f"scores by type of `{model}`")
    colour = _colours(scores)[model]

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        means = rows.pivot_table(index="group", columns="metric", values="value").sort_values("f1")
        ax.scatter(means["n_reference_cells"], means["f1"], color=[colour], s=26, zorder=3)
        _scale_logarithmically(ax)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel("Cells in the reference")
        ax.set_ylabel("F1")
        ax.margins(x=0.1)
        _name_points(ax, means)

    return _panels(table, "task", draw, height=3.6, width=5.2)


def benchmark_curves(curves: pd.DataFrame, *, shown: Sequence[str] = ("validation_loss", "validation_macro_f1")) -> Figure:
    """Training curves of the models: a row of panels per curve, a panel per task; the mean of the seeds and their range.

    Parameters
    ----------
    curves
        Table of curves, `sctab.benchmark.read_results(directory).curves`.
    shown
        Curves to draw.

    Raises
    ------
    SettingError
        When there is none of them.
    """
    table = curves[(curves["fraction"] == 1) & curves["curve"].isin(shown)]
    table = _some(table, f"curve {listing(shown)}").sort_values(
        "curve", key=lambda names: names.map(list(shown).index), kind="stable"
    )
    colours = _colours(curves)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        for model, of_model in rows.groupby("model", sort=False):
            over_seeds = of_model.groupby("epoch")["value"].agg(["mean", "min", "max"])
            colour = colours[str(model)]
            ax.plot(over_seeds.index, over_seeds["mean"], color=colour, label=model, linewidth=1.4)
            ax.fill_between(over_seeds.index, over_seeds["min"], over_seeds["max"], color=colour, alpha=0.15, linewidth=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("Epoch")
        ax.set_ylabel(_TITLES.get(rows["curve"].iloc[0], rows["curve"].iloc[0]))

    return _with_legend(_panels(table, ["curve", "task"], draw, n_columns=table["task"].nunique()))


def benchmark_scaling(scores: pd.DataFrame, *, by: str = "donors", metric: str = "macro_f1") -> Figure:
    """How models gain from more donors or more cells: a panel per task with nested parts of its reference.

    Parameters
    ----------
    scores
        Table of scores, `sctab.benchmark.read_results(directory).scores`.
    by
        `"donors"` or `"cells"`: what the parts were made of, and the axis below.
    metric
        Which metric, of all cells.

    Raises
    ------
    SettingError
        When no task has such parts.
    """
    table = _of_all_cells(scores, metric)
    table = _some(table[table["subset"] == by], f"parts of a reference by {by}")
    colours = _colours(scores)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        size = "n_donors" if by == "donors" else "n_reference"
        for model, of_model in rows.groupby("model", sort=False):
            parts = of_model.groupby("fraction").agg(size=(size, "mean"), mean=("value", "mean"), sd=("value", "std"))
            _draw_points(ax, parts["size"], parts, colours[str(model)], str(model), linestyle="-")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlabel("Donors" if by == "donors" else "Cells in the reference")
        ax.set_ylabel(_TITLES.get(metric, metric))

    return _with_legend(_panels(table, "task", draw))


def benchmark_sizes(scores: pd.DataFrame, *, metric: str = "macro_f1") -> Figure:
    """How networks gain from more parameters: a panel per task, a colour per kind of model that was compared in several sizes.

    Each label is a point: labels of the same size may differ in other settings.

    Parameters
    ----------
    scores
        Table of scores, `sctab.benchmark.read_results(directory).scores`.
    metric
        Which metric, of all cells.

    Raises
    ------
    SettingError
        When no kind of model was compared in several sizes.
    """
    table = _of_all_cells(scores, metric)
    table = table[(table["fraction"] == 1) & table["n_parameters"].notna()]
    in_sizes = table.groupby(["task", "family"])["n_parameters"].transform("nunique") > 1
    table = _some(table[in_sizes], "kind of model in several sizes")
    colours = _colours(table.assign(model=table["family"]))

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        for family, of_family in rows.groupby("family", sort=False):
            labels = of_family.groupby(["n_parameters", "model"])["value"].agg(mean="mean", sd="std")
            sizes = labels.index.get_level_values("n_parameters")
            _draw_points(ax, sizes, labels, colours[str(family)], str(family), linestyle="none")
        _scale_logarithmically(ax)
        ax.set_xlabel("Parameters")
        ax.set_ylabel(_TITLES.get(metric, metric))

    return _with_legend(_panels(table, "task", draw))


def benchmark_confusion(confusion: pd.DataFrame, *, model: str) -> Figure:
    """What cells of each type were called, as shares of the type over all seeds: a panel per task.

    Parameters
    ----------
    confusion
        Table of counts, `sctab.benchmark.read_results(directory).confusion`.
    model
        Label of the model.

    Raises
    ------
    SettingError
        When there is no such model.
    """
    table = _some(confusion[(confusion["model"] == model) & (confusion["fraction"] == 1)], f"confusion of `{model}`")
    n_types = table.groupby("task")["truth"].nunique().max()

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        counts = rows.pivot_table(index="truth", columns="predicted", values="cells", aggfunc="sum", fill_value=0)
        columns = [*counts.index, *(name for name in counts.columns if name not in counts.index)]
        shares = counts.reindex(columns=columns, fill_value=0).div(counts.sum(axis=1), axis=0)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        ax.set_yticks(range(len(shares)), shares.index, fontsize=8)
        for (y, x), share in np.ndenumerate(shares.to_numpy()):
            if share >= 0.01:
                ax.text(x, y, f"{share:.2f}", ha="center", va="center", fontsize=7, color="white" if share > 0.55 else "black")
        ax.set_xlabel("Called")
        ax.set_ylabel("Is")

    return _panels(table, "task", draw, height=2.2 + 0.36 * n_types, width=2.6 + 0.42 * n_types)


# ---------------------------------------------------------------------------------------------------------- parts


def _of_all_cells(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return _some(scores[(scores["metric"] == metric) & (scores["group"] == "")], f"`{metric}`")


def _some(table: pd.DataFrame, what: str) -> pd.DataFrame:
    if table.empty:
        raise SettingError(f"There is no {what} in the table, so that there is nothing to draw.")
    return table


def _in_order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _colours(table: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """A colour per label: that of the model, lighter for each further label of the same model."""
    families = dict(zip(table["model"], table["family"], strict=True))
    found: dict[str, tuple[float, float, float]] = {}
    for model, family in families.items():
        n_before = sum(families[other] == family for other in found)
        red, green, blue = to_rgb(_COLOURS.get(family, "#3C3C3C"))
        paler = 1 - 0.6**n_before
        found[model] = (red + (1 - red) * paler, green + (1 - green) * paler, blue + (1 - blue) * paler)
    return found


def _panels(
    table: pd.DataFrame,
    by: str | list[str],
    draw: Callable[[Axes, pd.DataFrame], None],
    *,
    height: float = 3.0,
    width: float = _WIDTH,
    n_columns: int | None = None,
    share_y: bool = False,
) -> Figure:
    """A panel per group, side by side or in rows of `n_columns`."""
    groups = [(str(name if isinstance(name, str) else name[-1]), rows) for name, rows in table.groupby(by, sort=False)]
    n_columns = n_columns or len(groups)
    n_rows = -(-len(groups) // n_columns)
    figure = Figure(figsize=(width * n_columns, height * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=share_y)
    for ax, (name, rows) in zip(axes.flat, groups, strict=False):
        draw(ax, rows)
        ax.set_title(name, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    return figure


def _with_legend(figure: Figure) -> Figure:
    """One legend beside all panels."""
    handles = {label: handle for ax in figure.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + 0.5 + 0.08 * max(map(len, handles), default=0), height)  # the panels keep their width
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=9)
    return figure


def _draw_seeds(
    ax: Axes, values: pd.Series, y: float, colour: tuple[float, float, float], *, area: float, label: str | None = None
) -> None:
    if values.empty:
        return
    ax.scatter(values, np.full(len(values), y), color=[colour], s=area / 4, alpha=0.5, linewidth=0, zorder=2)
    ax.errorbar(values.mean(), y, xerr=values.std() if len(values) > 1 else None, color=colour, linewidth=1.2, zorder=3)
    ax.scatter(values.mean(), y, color=[colour], s=area, zorder=4, label=label, edgecolor="white", linewidth=0.5)


def _draw_points(
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


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)


def _scale_logarithmically(ax: Axes) -> None:
    """Horizontal axis in orders of magnitude, with few ticks: 300, 1k, 3k."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _name_points(ax: Axes, means: pd.DataFrame) -> None:
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
            str(group).removeprefix(_TYPE),
            (row["n_reference_cells"], row["f1"]),
            xytext=(1.04, height),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "0.8", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
        )
