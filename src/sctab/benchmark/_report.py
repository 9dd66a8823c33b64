"""What a benchmark has found, as Markdown."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sctab._atomic import written_beside
from sctab.benchmark._files import REPORT_FILE
from sctab.benchmark._results import Results
from sctab.benchmark._scores import TYPE_GROUP

METRICS: dict[str, tuple[str, bool]] = {
    "macro_f1": ("Macro F1", True),
    "accuracy": ("Accuracy", True),
    "weighted_f1": ("Weighted F1", True),
    "cross_entropy": ("Cross-entropy", False),
    "ece": ("Expected calibration error, 15 bins", False),
}
"""Metrics of a report: how they are called, and whether more is better."""


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


def paired_differences(scores: pd.DataFrame, baseline: str | None = None, *, metric: str = "macro_f1") -> pd.DataFrame:
    """How much each model is above a baseline, on the same task with the same seed.

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
    One row per model and task, with `mean` and `sd` of the differences, `pairs` and `baseline`; the task `""` stands for all of them.
    """
    table = _whole(scores, metric).pivot_table(index=["task", "seed"], columns="model", values="value", sort=False)
    if table.empty:
        return pd.DataFrame(columns=["mean", "sd", "pairs", "baseline"])
    if baseline not in table:
        complete = table.groupby("task").mean().mean(skipna=False).dropna()
        if complete.empty:
            return pd.DataFrame(columns=["mean", "sd", "pairs", "baseline"])
        baseline = str(complete.idxmax() if METRICS[metric][1] else complete.idxmin())
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
    with written_beside(Path(directory) / REPORT_FILE, overwrite=True) as path:
        path.write_text("\n\n".join(_sections(results, figures or {})) + "\n", encoding="utf-8")
    return Path(directory) / REPORT_FILE


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
            parts += [f"## {title}", _markdown(_shown(table, more_is_better=more_is_better))]
    parts += _differences(results)
    parts += _costs(scores)
    parts += _groups(scores)
    parts += _scaling(scores)
    parts += [f"## {title}\n\n![{title}]({file})" for title, file in figures.items()]
    parts += _unfinished(results.unfinished)
    return parts


def _whole(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return scores[(scores["metric"] == metric) & (scores["group"] == "") & (scores["fraction"] == 1)]


def _shown(table: pd.DataFrame, *, more_is_better: bool) -> pd.DataFrame:
    """Models as rows and tasks as columns, `mean ± sd` in the cells."""
    best = table["mean"].groupby("task").transform("max" if more_is_better else "min")
    texts = _mean_and_spread(table["mean"], table["sd"])
    texts = texts.where(table["mean"].round(3) != best.round(3), "**" + texts + "**")
    order = table.index.get_level_values("task").unique()
    return _wide(texts).reindex(columns=order)


def _wide(texts: pd.Series) -> pd.DataFrame:
    """Models as rows and tasks as columns, both in the order in which they come."""
    return texts.unstack("task", sort=False).fillna("")  # noqa: PD010 - `pivot_table` would sort


def _mean_and_spread(mean: pd.Series, sd: pd.Series, *, signed: bool = False) -> pd.Series:
    number = "{:+.3f}" if signed else "{:.3f}"
    return pd.Series(
        [number.format(m) + ("" if pd.isna(s) else f" ± {s:.3f}") for m, s in zip(mean, sd, strict=True)],
        index=mean.index,
        dtype=object,
    )


def _differences(results: Results) -> list[str]:
    table = paired_differences(results.scores, results.baseline)
    if table.empty:
        return []
    texts = _wide(_mean_and_spread(table["mean"], table["sd"], signed=True))
    tasks = [task for task in texts.columns if task]
    texts = texts[[*tasks, ""]].rename(columns={"": "all tasks"})
    texts["pairs"] = table["pairs"].xs("", level="task").reindex(texts.index).astype(str)
    baseline = table["baseline"].iloc[0]
    note = f"Macro F1 minus that of `{baseline}` on the same task with the same seed: mean ± standard deviation of the pairs."
    return ["## Paired differences", note, _markdown(texts)]


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
        "Of the whole process, in GB, with its libraries and the data; the largest over the seeds.",
        _markdown(memory),
    ]


def _groups(scores: pd.DataFrame) -> list[str]:
    is_group = (scores["group"] != "") & ~scores["group"].str.startswith(f"{TYPE_GROUP}=")
    chosen = scores[is_group & (scores["metric"] == "macro_f1") & (scores["fraction"] == 1)]
    parts = []
    for task, rows in chosen.groupby("task", sort=False):
        table = rows.groupby(["model", "group"], sort=False)["value"].agg(mean="mean", sd="std").rename_axis(["model", "task"])
        parts += [f"## Macro F1 by group: {task}", _markdown(_shown(table, more_is_better=True))]
    return parts


def _scaling(scores: pd.DataFrame) -> list[str]:
    chosen = scores[(scores["metric"] == "macro_f1") & (scores["group"] == "") & (scores["subset"] != "")]
    parts = []
    for (task, by), rows in chosen.groupby(["task", "subset"], sort=False):
        rows = rows.sort_values("fraction", kind="stable").assign(part=lambda frame: frame["fraction"].map("{:.0%}".format))
        table = rows.groupby(["model", "part"], sort=False)["value"].agg(mean="mean", sd="std").rename_axis(["model", "task"])
        parts += [f"## Macro F1 by share of the {by}: {task}", _markdown(_shown(table, more_is_better=True))]
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
