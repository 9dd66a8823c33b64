"""Report of a benchmark, as Markdown."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sctab.benchmark._files import REPORT_FILE
from sctab.benchmark._results import Results
from sctab.benchmark._scores import TYPE_GROUP
from sctab.errors import SettingError, listing
from sctab.io import as_path, written_beside

METRICS: dict[str, tuple[str, bool]] = {
    "macro_f1": ("Macro F1", True),
    "macro_f1_corrected": ("Macro F1 along the Cell Ontology: a subtype is right", True),
    "accuracy": ("Accuracy", True),
    "weighted_f1": ("Weighted F1", True),
    "cross_entropy": ("Cross-entropy", False),
    "ece": ("Expected calibration error, 15 bins", False),
}
"""Metrics of a report: how they are called, and whether more is better."""
SCALING_METRICS = ("macro_f1", "cross_entropy")
"""Those that are also shown by the fraction of a reference that was learned from."""


def comparison(scores: pd.DataFrame, metric: str = "macro_f1") -> pd.DataFrame:
    """Mean and spread of a metric over the seeds.

    Parameters
    ----------
    scores
        Of :class:`Results`; runs on a part of a reference do not count.
    metric
        Which metric, of all cells.

    Returns
    -------
    One row per model and task, with `mean`, `sd` (`NaN` with one seed) and `seeds`, in the order of the benchmark.
    """
    groups = _whole(scores, metric).groupby(["model", "task"], sort=False)["value"]
    return groups.agg(mean="mean", sd="std", seeds="size")


def best_label(scores: pd.DataFrame, metric: str = "macro_f1") -> str | None:
    """Label with the best mean over the tasks, of those that have done them all; `None` where there is none.

    Parameters
    ----------
    scores
        Of :class:`Results`; runs on a part of a reference do not count.
    metric
        Which metric, of all cells.
    """
    by_task = comparison(scores, metric)["mean"].unstack("task")  # noqa: PD010 - it has no columns to pivot by
    complete = by_task.mean(axis=1, skipna=False).dropna()
    if complete.empty:
        return None
    return str(complete.idxmax() if METRICS[metric][1] else complete.idxmin())


def paired_differences(scores: pd.DataFrame, baseline: str | None = None, *, metric: str = "macro_f1") -> pd.DataFrame:
    """Difference of each model from a baseline, on the same task with the same seed.

    Parameters
    ----------
    scores
        Of :class:`Results`; runs on a part of a reference do not count.
    baseline
        Label of a model; by default the one with the best mean over the tasks, of those that have done them all.
    metric
        Which metric, of all cells.

    Returns
    -------
    One row per model and task, with `mean` and `sd` of the differences, `pairs` and `baseline`; the task `""` represents all of them. Empty
    where no model has done all tasks.

    Raises
    ------
    SettingError
        If `baseline` has no result.
    """
    table = _whole(scores, metric).pivot_table(index=["task", "seed"], columns="model", values="value", sort=False)
    if baseline is None and (baseline := best_label(scores, metric)) is None:
        return pd.DataFrame(columns=["mean", "sd", "pairs", "baseline"])
    if baseline not in table:
        raise SettingError(f"`{baseline}` has no result to compare with. There are results of {listing(table.columns) or 'none'}.")
    differences = table.sub(table[baseline], axis=0).drop(columns=baseline)
    tidy = differences.reset_index().melt(["task", "seed"], var_name="model", value_name="difference").dropna()
    tidy = pd.concat([tidy, tidy.assign(task="")])
    found = tidy.groupby(["model", "task"], sort=False)["difference"].agg(mean="mean", sd="std", pairs="size")
    return found.assign(baseline=baseline)


def write_report(results: Results, directory: str | os.PathLike[str], *, figures: Mapping[str, str] | None = None) -> Path:
    """Write `report.md`: tables with mean and spread, paired differences, costs, and what is missing and why.

    Parameters
    ----------
    results
        Of :func:`read_results`.
    directory
        Where to.
    figures
        Files of figures, relative to `directory`, by what they show.

    Returns
    -------
    The path of the report.
    """
    with written_beside(as_path(directory) / REPORT_FILE, overwrite=True) as path:
        path.write_text("\n\n".join(_sections(results, figures or {})) + "\n", encoding="utf-8")
    return as_path(directory) / REPORT_FILE


def _sections(results: Results, figures: Mapping[str, str]) -> list[str]:
    scores = results.scores
    seeds = sorted({int(seed) for seed in scores["seed"]})
    parts = [
        "# Benchmark",
        f"Mean ± standard deviation over {len(seeds)} seeds. Each run is a process of its own with one thread. Every class of the "
        "reference is learned, and the cells of the query whose class the reference has are scored. The best of a column is bold.",
    ]
    for metric, (title, more_is_better) in METRICS.items():
        table = comparison(scores, metric)
        if not table.empty:
            parts += [f"## {title}", _markdown(_shown(table, "task", more_is_better=more_is_better))]
    parts += _differences(results)
    parts += _kept(scores)
    parts += _costs(scores)
    parts += _groups(scores)
    parts += _scaling(scores)
    parts += [f"## {title}\n\n![{title}]({file})" for title, file in figures.items()]
    parts += _unfinished(results.unfinished)
    return parts


def _whole(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return scores[(scores["metric"] == metric) & (scores["group"] == "") & (scores["fraction"] == 1)]


def _shown(table: pd.DataFrame, column: str, *, more_is_better: bool) -> pd.DataFrame:
    """Models as rows and, for example, tasks as columns, `mean ± sd` in the cells."""
    best = table["mean"].groupby(column).transform("max" if more_is_better else "min")
    cells = _mean_and_spread(table["mean"], table["sd"])
    cells = cells.where(table["mean"].round(3) != best.round(3), "**" + cells + "**")
    order = table.index.get_level_values(column).unique()
    return _wide(cells, column).reindex(columns=order)


def _wide(cells: pd.Series, column: str = "task") -> pd.DataFrame:
    """Models as rows and tasks as columns, both in the order in which they come."""
    return cells.unstack(column, sort=False).fillna("")  # noqa: PD010 - `pivot_table` would sort


def _mean_and_spread(mean: pd.Series, sd: pd.Series, *, signed: bool = False) -> pd.Series:
    number = "{:+.3f}" if signed else "{:.3f}"
    return pd.Series(
        [number.format(m) + ("" if pd.isna(s) else f" ± {s:.3f}") for m, s in zip(mean, sd, strict=True)],
        index=mean.index,
        dtype=object,
    )


def _differences(results: Results) -> list[str]:
    if results.baseline is not None and results.baseline not in set(_whole(results.scores, "macro_f1")["model"]):
        return ["## Paired differences", f"`{results.baseline}`, with which the others are to be compared, has no result."]
    table = paired_differences(results.scores, results.baseline)
    if table.empty:
        return []
    cells = _wide(_mean_and_spread(table["mean"], table["sd"], signed=True))
    tasks = [task for task in cells.columns if task]
    cells = cells[[*tasks, ""]].rename(columns={"": "all tasks"})
    cells["pairs"] = table["pairs"].xs("", level="task").reindex(cells.index).astype(str)
    baseline = table["baseline"].iloc[0]
    note = f"Macro F1 minus that of `{baseline}` on the same task with the same seed: mean ± standard deviation of the pairs."
    return ["## Paired differences", note, _markdown(cells)]


def _kept(scores: pd.DataFrame) -> list[str]:
    whole = _whole(scores, "macro_f1")
    runs = whole[whole["kept"] != ""]
    if runs.empty:
        return []
    cells = runs.groupby(["model", "task"], sort=False)["kept"].agg(
        lambda names: ", ".join(f"{name} {times}×" for name, times in names.value_counts().items())
    )
    return ["## Models that were kept", "Model classes that were kept, with the number of runs.", _markdown(_wide(cells))]


def _costs(scores: pd.DataFrame) -> list[str]:
    whole = _whole(scores, "macro_f1")
    if whole.empty:
        return []
    groups = whole.groupby(["model", "task"], sort=False)
    seconds = _wide(groups["seconds"].mean().map("{:.1f}".format))
    memory = _wide((groups["peak_memory"].max() / 1e9).map("{:.2f}".format))
    return [
        "## Seconds",
        "To train and to predict, without reading files and loading libraries; mean over the seeds.",
        _markdown(seconds),
        "## Peak memory",
        "The whole process, with its libraries and the data, in GB; the maximum over the seeds.",
        _markdown(memory),
    ]


def _groups(scores: pd.DataFrame) -> list[str]:
    is_group = (scores["group"] != "") & ~scores["group"].str.startswith(f"{TYPE_GROUP}=")
    chosen = scores[is_group & (scores["metric"] == "macro_f1") & (scores["fraction"] == 1)]
    parts = []
    for task, rows in chosen.groupby("task", sort=False):
        table = rows.groupby(["model", "group"], sort=False)["value"].agg(mean="mean", sd="std")
        parts += [f"## Macro F1 by group: {task}", _markdown(_shown(table, "group", more_is_better=True))]
    return parts


def _scaling(scores: pd.DataFrame) -> list[str]:
    chosen = scores[scores["metric"].isin(SCALING_METRICS) & (scores["group"] == "") & (scores["subset"] != "")]
    parts = []
    for (task, by, metric), rows in chosen.groupby(["task", "subset", "metric"], sort=False):
        title, more_is_better = METRICS[metric]
        rows = rows.sort_values("fraction", kind="stable").assign(part=lambda frame: frame["fraction"].map("{:.0%}".format))
        table = rows.groupby(["model", "part"], sort=False)["value"].agg(mean="mean", sd="std")
        parts += [f"## {title} by fraction of the {by}s: {task}", _markdown(_shown(table, "part", more_is_better=more_is_better))]
    return parts


def _unfinished(unfinished: pd.DataFrame) -> list[str]:
    if unfinished.empty:
        return []
    groups = unfinished.groupby(["model", "state", "reason"], sort=False)
    rows = [
        [model, state, str(len(rows)), ", ".join(rows["task"].unique()), reason.replace("|", "\\|")]
        for (model, state, reason), rows in groups
    ]
    return ["## Without a result", _table(["model", "state", "runs", "tasks", "reason"], rows)]


def _markdown(table: pd.DataFrame) -> str:
    return _table(
        ["model", *map(str, table.columns)],
        [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
