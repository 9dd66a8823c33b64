"""`sctab benchmark`: compare models and other programs, and show the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import sctab
import sctab.io
from sctab.cli._commands import Command, Group
from sctab.cli._options import Debug
from sctab.cli._reporting import err, out, reports_errors, show_note
from sctab.errors import SettingError

benchmark_app = typer.Typer(
    name="benchmark",
    cls=Group,
    help="Compare models and other programs on declared tasks.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@benchmark_app.command(cls=Command)
@reports_errors
def run(
    config: Annotated[Path, typer.Argument(help="YAML file that declares the benchmark.")],
    output: Annotated[
        Path | None, typer.Option(help="Directory for results; by default named after the file, for example `blood-benchmark`.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files; by default the one in the file.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Parallel runs; by default one per processor.")] = None,
    dask_scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to use.")] = None,
    environments: Annotated[Path | None, typer.Option(help="Folder for the environments of other programs.")] = None,
    debug: Debug = False,
) -> None:
    """Execute the remaining runs of a benchmark, and write its report.

    Finished runs are kept: after an interruption, the same command resumes.

    **Examples**

    `sctab benchmark run benchmarks/blood.yaml --output blood`

    `sctab benchmark run benchmarks/blood.yaml --output blood --dask-scheduler tcp://127.0.0.1:8786`
    """
    directory = output if output is not None else Path(f"{config.stem}-benchmark")
    sctab.benchmark.run_benchmark(
        sctab.benchmark.read_config(config, data=data),
        directory,
        n_jobs=jobs,
        dask_scheduler=dask_scheduler,
        environments=environments,
        on_progress=_show_progress,
    )
    _write_all(directory)


@benchmark_app.command(cls=Command)
@reports_errors
def report(
    directory: Annotated[Path, typer.Argument(help="Directory that `sctab benchmark run` writes; it may still run.")],
    debug: Debug = False,
) -> None:
    """Write tables and figures of the results so far.

    **Example**

    `sctab benchmark report blood`
    """
    _write_all(directory)


def _show_progress(progress: sctab.benchmark.Progress) -> None:
    run = progress.run
    part = "" if run.fraction == 1 else f", {run.fraction:.0%} of the {run.describe()['subset']}s"
    why = f": {progress.reason}" if progress.reason else ""
    text = f"{progress.n_ended}/{progress.n_runs} {run.task.name}{part}, {run.entry.label}, seed {run.seed}: {progress.state}{why}"
    err.print(text, soft_wrap=True)


def _write_all(directory: Path) -> None:
    results = sctab.benchmark.read_results(directory)
    path = sctab.benchmark.write_report(results, directory, figures=_draw_figures(results, directory))
    table = Table("model", "task", "macro F1", "± sd", "seeds", box=None)
    for (model, task), row in sctab.benchmark.comparison(results.scores).iterrows():
        table.add_row(model, task, f"{row['mean']:.3f}", "" if row.isna()["sd"] else f"{row['sd']:.3f}", str(int(row["seeds"])))
    out.print(table)
    for (state, reason), runs in results.unfinished.groupby(["state", "reason"], sort=False):
        models = ", ".join(runs["model"].unique())
        show_note(f"{len(runs)} runs of {models} have no result: {state}. {reason}")
    out.print(f"Wrote `{path}`.", soft_wrap=True)


def _draw_figures(results: sctab.benchmark.Results, directory: Path) -> dict[str, str]:
    """Draw what there is something to draw of; files by title, relative to the directory.

    Types and confusion are drawn for every model; those of the one that the others are compared with are for the report.
    """
    scores = results.scores
    shown = results.baseline or sctab.benchmark.best_label(scores)
    files = _draw(_figures(results), directory)
    for label in dict.fromkeys(scores.loc[scores["fraction"] == 1, "model"]):
        of_label = _draw(_figures_of(label, results), directory)
        files |= of_label if label == shown else {}
    return files


def _draw(figures: dict[str, tuple[str, Callable[[], Any]]], directory: Path) -> dict[str, str]:
    files = {}
    for name, (title, draw) in figures.items():
        try:
            figure = draw()
        except SettingError:  # nothing to draw: no groups, no parts, no curves
            continue
        files[title] = f"{sctab.benchmark.FIGURES_FOLDER}/{name}.svg"
        with sctab.io.written_beside(directory / files[title], overwrite=True) as path:
            figure.savefig(path)
    return files


def _figures(results: sctab.benchmark.Results) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Titles and drawings by name of the file."""
    scores = results.scores
    scaling = {
        f"scaling_by_{by}_{metric}": (
            f"Scaling by {by}s: {sctab.benchmark.METRICS[metric][0]}",
            partial(sctab.pl.benchmark_scaling, scores, by=by, metric=metric),
        )
        for by in sctab.benchmark.SUBSETS
        for metric in sctab.benchmark.SCALING_METRICS
    }
    return {
        "models": ("Comparison of models", lambda: sctab.pl.benchmark_models(scores)),
        "groups": ("Macro F1 by group, drawn", lambda: sctab.pl.benchmark_groups(scores)),
        "curves": ("Training curves", lambda: sctab.pl.benchmark_curves(results.curves)),
        **scaling,
        "sizes": ("Scaling by model size", lambda: sctab.pl.benchmark_sizes(scores)),
    }


def _figures_of(label: str, results: sctab.benchmark.Results) -> dict[str, tuple[str, Callable[[], Any]]]:
    """The same of one model."""
    name = re.sub(r"\W+", "_", label)
    return {
        f"types_{name}": (f"F1 by type: {label}", lambda: sctab.pl.benchmark_types(results.scores, model=label)),
        f"confusion_{name}": (f"Confusion: {label}", lambda: sctab.pl.benchmark_confusion(results.confusion, model=label)),
    }
