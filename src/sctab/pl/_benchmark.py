"""Figures of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sctab.errors import SettingError, listing
from sctab.pl._panels import (
    PANEL_WIDTH,
    ROW_HEIGHT,
    TYPE_PREFIX,
    add_legend,
    assign_colours,
    draw_confusion,
    draw_panels,
    draw_points,
    draw_seeds,
    in_order,
    name_points,
    name_rows,
    scale_logarithmically,
)

_N_COLUMNS = 2
"""Panels side by side where text is dense: more would make it small on a page."""
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
        If the table has no matching rows.
    """
    table = _of_all_cells(scores, metric)
    table = _some(table[table["fraction"] == 1], f"`{metric}` of a whole reference")
    models, colours = in_order(table["model"]), assign_colours(scores)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        for y, model in enumerate(models):
            draw_seeds(ax, rows.loc[rows["model"] == model, "value"], y, colours[model], area=40)
        name_rows(ax, models)
        ax.set_xlabel(_TITLES.get(metric, metric))

    return draw_panels(table, "task", draw, height=1.1 + ROW_HEIGHT * len(models), share_y=True)


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
        If no task has groups.
    """
    is_group = (scores["group"] != "") & ~scores["group"].str.startswith(TYPE_PREFIX)
    table = _some(scores[is_group & (scores["metric"] == metric) & (scores["fraction"] == 1)], f"`{metric}` by group")
    n_rows = table.groupby("task")["group"].nunique().max() * table["model"].nunique()
    models, colours = in_order(table["model"]), assign_colours(scores)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        groups = sorted(rows["group"].unique())
        for i, model in enumerate(models):
            for y, group in enumerate(groups):
                values = rows.loc[(rows["model"] == model) & (rows["group"] == group), "value"]
                draw_seeds(ax, values, y + 0.7 * ((i + 0.5) / len(models) - 0.5), colours[model], area=22, label=model)
        name_rows(ax, [group.split("=", 1)[1] for group in groups])
        for y in range(1, len(groups)):
            ax.axhline(y - 0.5, color="0.5", alpha=0.3, linewidth=0.8, zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlabel(_TITLES.get(metric, metric))

    figure = draw_panels(table, "task", draw, height=1.1 + 0.17 * n_rows, width=PANEL_WIDTH + 0.6, n_columns=_N_COLUMNS)
    return add_legend(figure)


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
        If there is no such model.
    """
    of_types = scores[(scores["model"] == model) & (scores["fraction"] == 1) & scores["group"].str.startswith(TYPE_PREFIX)]
    table = _some(of_types, f"scores by type of `{model}`")
    colour = assign_colours(scores)[model]

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        means = rows.pivot_table(index="group", columns="metric", values="value").sort_values("f1")
        ax.scatter(means["n_reference_cells"], means["f1"], color=[colour], s=26, zorder=3)
        scale_logarithmically(ax)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel("Cells in the reference")
        ax.set_ylabel("F1")
        ax.margins(x=0.1)
        name_points(ax, means)

    return draw_panels(table, "task", draw, height=4.2, width=5.2, n_columns=_N_COLUMNS)


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
        If there is none of them.
    """
    table = curves[(curves["fraction"] == 1) & curves["curve"].isin(shown)]
    table = _some(table, f"curve {listing(shown)}").sort_values(
        "curve", key=lambda names: names.map(list(shown).index), kind="stable"
    )
    colours = assign_colours(curves)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        for model, of_model in rows.groupby("model", sort=False):
            over_seeds = of_model.groupby("epoch")["value"].agg(["mean", "min", "max"])
            colour = colours[str(model)]
            ax.plot(over_seeds.index, over_seeds["mean"], color=colour, label=model, linewidth=1.4)
            ax.fill_between(over_seeds.index, over_seeds["min"], over_seeds["max"], color=colour, alpha=0.15, linewidth=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("Epoch")
        ax.set_ylabel(_TITLES.get(rows["curve"].iloc[0], rows["curve"].iloc[0]))

    return add_legend(draw_panels(table, ["curve", "task"], draw, n_columns=table["task"].nunique()))


def benchmark_scaling(scores: pd.DataFrame, *, by: str = "donor", metric: str = "macro_f1") -> Figure:
    """Scores over nested subsets of the reference, by donors or by cells: a panel per task.

    Parameters
    ----------
    scores
        Table of scores, `sctab.benchmark.read_results(directory).scores`.
    by
        `"donor"` or `"cell"`: unit of the parts, and the horizontal axis.
    metric
        Which metric, of all cells.

    Raises
    ------
    SettingError
        If no task has such parts.
    """
    table = _of_all_cells(scores, metric)
    table = _some(table[table["subset"] == by], f"parts of a reference by {by}")
    colours = assign_colours(scores)

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        size = "n_donors" if by == "donor" else "n_reference"
        for model, of_model in rows.groupby("model", sort=False):
            parts = of_model.groupby("fraction").agg(size=(size, "mean"), mean=("value", "mean"), sd=("value", "std"))
            draw_points(ax, parts["size"], parts, colours[str(model)], str(model), linestyle="-")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlabel("Donors" if by == "donor" else "Cells in the reference")
        ax.set_ylabel(_TITLES.get(metric, metric))

    return add_legend(draw_panels(table, "task", draw))


def benchmark_sizes(scores: pd.DataFrame, *, metric: str = "macro_f1") -> Figure:
    """Scores over the number of parameters: a panel per task, a colour per kind of model that was compared in several sizes.

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
        If no kind of model was compared in several sizes.
    """
    table = _of_all_cells(scores, metric)
    table = table[(table["fraction"] == 1) & table["n_parameters"].notna()]
    in_sizes = table.groupby(["task", "family"])["n_parameters"].transform("nunique") > 1
    table = _some(table[in_sizes], "kind of model in several sizes")
    colours = assign_colours(table.assign(model=table["family"]))

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        for family, of_family in rows.groupby("family", sort=False):
            labels = of_family.groupby(["n_parameters", "model"])["value"].agg(mean="mean", sd="std")
            sizes = labels.index.get_level_values("n_parameters")
            draw_points(ax, sizes, labels, colours[str(family)], str(family), linestyle="none")
        scale_logarithmically(ax)
        ax.set_xlabel("Parameters")
        ax.set_ylabel(_TITLES.get(metric, metric))

    return add_legend(draw_panels(table, "task", draw))


def benchmark_confusion(confusion: pd.DataFrame, *, model: str) -> Figure:
    """Confusion of types, as fractions of the cells of each type over all seeds: a panel per task.

    Parameters
    ----------
    confusion
        Table of counts, `sctab.benchmark.read_results(directory).confusion`.
    model
        Label of the model.

    Raises
    ------
    SettingError
        If there is no such model.
    """
    table = _some(confusion[(confusion["model"] == model) & (confusion["fraction"] == 1)], f"confusion of `{model}`")
    n_types = table.groupby("task")["truth"].nunique().max()

    def draw(ax: Axes, rows: pd.DataFrame) -> None:
        draw_confusion(ax, rows.pivot_table(index="truth", columns="predicted", values="cells", aggfunc="sum", fill_value=0))

    return draw_panels(table, "task", draw, height=2.2 + 0.36 * n_types, width=2.6 + 0.42 * n_types, n_columns=_N_COLUMNS)


def _of_all_cells(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return _some(scores[(scores["metric"] == metric) & (scores["group"] == "")], f"`{metric}`")


def _some(table: pd.DataFrame, what: str) -> pd.DataFrame:
    if table.empty:
        raise SettingError(f"There is no {what} in the table, so there is nothing to draw.")
    return table
