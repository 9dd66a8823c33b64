"""`sctab corpus`: one training store from many files."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import sctab
import sctab.io
from sctab.cli._commands import Command, Group
from sctab.cli._dask import connected
from sctab.cli._options import DaskScheduler, Debug
from sctab.cli._reporting import ends_on_signals, err, out, reports_errors
from sctab.errors import DataFileError

if TYPE_CHECKING:
    import pandas as pd

corpus_app = typer.Typer(
    name="corpus",
    cls=Group,
    help="Build one training corpus from many files.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_STAGES = {"inspect": "Inspecting sources", "read": "Reading sources", "write": "Writing the store"}

Declaration = Annotated[Path, typer.Argument(help="YAML file that declares the corpus.")]
Store = Annotated[Path, typer.Argument(help="Directory of a corpus.")]


Features = Annotated[
    str | None, typer.Option(help="Genes to use instead of those in the file: `union`, `intersection`, a table, or a model.")
]


@corpus_app.command(cls=Command)
@reports_errors
def plan(config: Declaration, features: Features = None, debug: Debug = False) -> None:
    """Preview a corpus without writing anything: cells that each rule removes, and cells left in each split.

    **Example**

    `sctab corpus plan blood.yaml`
    """
    _show_plan(sctab.corpus.plan(_declared(config, features)))


@corpus_app.command(cls=Command)
@reports_errors
@ends_on_signals
def build(
    config: Declaration,
    output: Annotated[
        Path | None, typer.Option(help="New directory; by default named after the file, for example `blood.corpus`.")
    ] = None,
    features: Features = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume interrupted work; a finished corpus is left as it is.")] = False,
    skip_damaged: Annotated[bool, typer.Option("--skip-damaged", help="Skip unreadable sources instead of stopping.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Sources to read in parallel.")] = 2,
    dask_scheduler: DaskScheduler = None,
    debug: Debug = False,
) -> None:
    """Build a corpus. After an interruption, `--resume` continues with the first unfinished source.

    **Example**

    `sctab corpus build blood.yaml --output blood.corpus`
    """
    target = output if output is not None else Path(f"{config.stem}.corpus")
    is_there = resume and target.exists()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        nullcontext() if dask_scheduler is None else connected(dask_scheduler),
        Progress(*columns, console=err, transient=True) as progress,
    ):
        tasks = {stage: progress.add_task(words, total=None, visible=False) for stage, words in _STAGES.items()}
        corpus = sctab.corpus.build(
            _declared(config, features),
            target,
            resume=resume,
            skip_damaged=skip_damaged,
            n_jobs=jobs,
            on_progress=lambda stage, done, total: progress.update(tasks[stage], completed=done, total=total, visible=True),
        )
    if is_there:
        out.print(f"`{target}` is finished, of the same declaration and sources: there is nothing to do.", soft_wrap=True)
        return
    _show_corpus(corpus)


@corpus_app.command(cls=Command)
@reports_errors
def info(corpus: Store, debug: Debug = False) -> None:
    """Describe a corpus: sources, splits, genes and cell types.

    **Example**

    `sctab corpus info blood.corpus`
    """
    _show_corpus(sctab.corpus.Corpus.open(corpus))


@corpus_app.command(cls=Command)
@reports_errors
def verify(
    corpus: Store,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also check whether the sources, including those on servers, have changed.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Read every cell of a corpus and check it against its hash.

    **Example**

    `sctab corpus verify blood.corpus`
    """
    opened = sctab.corpus.Corpus.open(corpus)
    if problems := opened.verify(sources=sources):
        raise DataFileError(f"`{corpus}` is damaged. {' '.join(problems)} Build it again.")
    out.print(f"{opened.n_obs:,} cells are as they were built.")


def _declared(path: Path, features: str | None) -> sctab.corpus.CorpusConfig:
    config = sctab.corpus.CorpusConfig.read(path)
    return config if features is None else replace(config, features=str(sctab.io.as_path(features)))


def _show_plan(plan: sctab.corpus.CorpusPlan) -> None:
    _show(plan.sources_table(), "Sources")
    _show(plan.steps_table(), f"Rules: {plan.n_found:,} cells, {plan.n_found - plan.n_obs:,} removed")
    _show(plan.splits_table(), f"Splits by {plan.config.split.by}")
    _show(plan.types_table(), f"{len(plan.labels)} types")
    out.print(f"{plan.n_obs:,} cells × {plan.n_vars:,} genes. {_duplicates(plan.n_duplicated)}")


def _show_corpus(corpus: sctab.corpus.Corpus) -> None:
    import pandas as pd

    manifest = corpus.manifest
    table = pd.DataFrame(manifest["sources"])
    table["content"] = table["content"].fillna("not read")  # where the rules have left no cell
    table.index = pd.Index([Path(path).name for path in table["path"]], name="source")
    _show(table[["n_found", "n_obs", "n_genes", "content"]].set_axis(["cells", "kept", "genes", "content"], axis=1), "Sources")
    _show(pd.Series(manifest["splits"]).to_frame("cells").rename_axis("split"), f"Splits by {manifest['split_by']}")
    found = manifest["duplicates"]
    out.print(
        f"{corpus.n_obs:,} cells × {corpus.n_vars:,} genes, {len(corpus.labels)} types, {corpus.size / 1e6:,.0f} MB. "
        f"{_duplicates(found['barcode'])} {found['expression']:,} cells have the same expression as another."
    )


def _duplicates(n: int) -> str:
    return f"{n:,} duplicate barcodes within datasets." if n else "No duplicate barcodes."


def _show(frame: pd.DataFrame, title: str) -> None:
    table = Table(str(frame.index.name or ""), title=title, title_justify="left", box=None)
    for column in frame.columns:
        table.add_column(str(column), justify="left" if frame[column].dtype == object else "right")
    for name, values in zip(frame.index, frame.to_numpy(), strict=True):
        table.add_row(str(name), *(f"{value:,}" if isinstance(value, Integral) else str(value) for value in values))
    out.print(table)
    out.print()
