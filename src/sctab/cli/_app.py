"""Commands: parse, call, say what happened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

import sctab
from sctab.cli._annotate import annotate
from sctab.cli._benchmark import benchmark_app
from sctab.cli._check import check
from sctab.cli._cluster import ClusterCommand, cluster
from sctab.cli._commands import Command, Group
from sctab.cli._consensus import consensus
from sctab.cli._corpus import corpus_app
from sctab.cli._doctor import doctor
from sctab.cli._evaluate import evaluate
from sctab.cli._export import export
from sctab.cli._import import import_checkpoint
from sctab.cli._models import models_app
from sctab.cli._options import Debug, Overwrite
from sctab.cli._report import report
from sctab.cli._reporting import EXIT_REFUSED, ends_on_signals, err, out, prepare_streams, reports_errors
from sctab.cli._review import review
from sctab.cli._train import train
from sctab.cli._tune import tune
from sctab.io import OFFLINE_VARIABLE

app = typer.Typer(
    name="sctab",
    cls=Group,
    help="Annotate cell types in single-cell RNA-seq data, with per-cell confidence.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before PyTorch reads it: threads that spin keep cores from others
    prepare_streams()
    try:
        app()
    except OSError as error:  # of help, which no command prints
        out.on_broken_pipe()
        err.print(f"Error: The output could not be printed: {error.strerror}.")
        raise SystemExit(EXIT_REFUSED) from error


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"sctab {sctab.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use models and indices that are on this machine alone.")] = False,
) -> None:
    """Annotate cell types in single-cell RNA-seq data, with per-cell confidence."""
    prepare_streams()
    if offline:
        before = os.environ.get(OFFLINE_VARIABLE)
        os.environ[OFFLINE_VARIABLE] = "1"
        context.call_on_close(lambda: os.environ.update({OFFLINE_VARIABLE: before or "0"}))


for command in (annotate, check, evaluate, consensus, review, report, export, train, tune, import_checkpoint, doctor):
    app.command(cls=Command)(command)
app.command(cls=ClusterCommand)(cluster)
app.add_typer(benchmark_app)
app.add_typer(corpus_app)
app.add_typer(models_app)


@app.command(cls=Command)
@reports_errors
@ends_on_signals
def demo(
    output: Annotated[
        Path | None, typer.Option(help="Annotated data to write; by default `sctab-demo.h5ad`, numbered if that exists.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Annotate a real dataset with a packaged model, and compare with the authors' labels.

    700 blood cells of Zheng et al. (2017) that come with scanpy; no network is needed.

    **Example**

    `sctab demo`
    """
    from sctab.cli._demo import run_demo

    run_demo(output, overwrite=overwrite)
