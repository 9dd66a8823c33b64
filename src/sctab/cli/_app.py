"""Commands: parse, call, say what happened."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import sctab
from sctab._atomic import written_beside
from sctab._constants import DEFAULT_KEY_ADDED, DEFAULT_MODEL
from sctab._errors import SettingError
from sctab.cli._benchmark import benchmark_app
from sctab.cli._demo import run_demo
from sctab.cli._evaluate import evaluate
from sctab.cli._files import check_suffix, read_data, write_data, write_labels
from sctab.cli._import import import_checkpoint
from sctab.cli._options import Accelerator, Debug, LayerOption, Overwrite
from sctab.cli._reporting import err, out, reports_errors
from sctab.cli._train import train
from sctab.cli._tune import tune

app = typer.Typer(
    name="sctab",
    help="Name the cell types of single-cell RNA-seq data, and say how sure that is.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"sctab {sctab.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Name the cell types of single-cell RNA-seq data, and say how sure that is."""


app.command()(evaluate)
app.command()(train)
app.command()(tune)
app.command()(import_checkpoint)
app.add_typer(benchmark_app)


@app.command()
@reports_errors
def annotate(
    query: Annotated[Path, typer.Argument(help="Cells to annotate, `.h5ad` or `.zarr`.")],
    model: Annotated[str, typer.Option(help="Model directory, or name of a packaged model.")] = DEFAULT_MODEL,
    output: Annotated[Path | None, typer.Option(help="Annotated data to write, `.h5ad` or `.zarr`.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Table of labels to write, one row per cell.")] = None,
    layer: LayerOption = None,
    batch_size: Annotated[int, typer.Option(help="Cells evaluated at a time.")] = 512,
    min_gene_coverage: Annotated[float, typer.Option(help="Share of what the model looks at that the data must have.")] = 0.1,
    key_added: Annotated[str, typer.Option(help="Prefix of the columns that are written.")] = DEFAULT_KEY_ADDED,
    accelerator: Accelerator = "auto",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Name the cell type of every cell of a dataset.

    **Examples**

    `sctab annotate query.h5ad --model my-model --output annotated.h5ad --csv labels.csv`

    `sctab annotate query.h5ad --csv labels.csv` uses the packaged model `pbmc`.
    """
    if output is None and csv is None:
        raise SettingError("Nothing would be written. Give `--output annotated.h5ad`, `--csv labels.csv`, or both.")
    if output is not None:
        check_suffix(output)
    classifier = sctab.zoo.load(model, accelerator=accelerator)
    adata = read_data(query)
    with ExitStack() as outputs:
        data_path = outputs.enter_context(written_beside(output, overwrite=overwrite)) if output else None
        table_path = outputs.enter_context(written_beside(csv, overwrite=overwrite)) if csv else None
        sctab.tl.annotate(
            adata,
            classifier,
            layer=layer,
            batch_size=batch_size,
            min_gene_coverage=min_gene_coverage,
            key_added=key_added,
            show_progress=err.is_terminal,
        )
        if data_path is not None and output is not None:
            write_data(adata, data_path, target=output)
        if table_path is not None:
            write_labels(adata, table_path, key_added=key_added)
    _report_annotation(adata, key_added, [path for path in (output, csv) if path is not None])


@app.command()
@reports_errors
def models(debug: Debug = False) -> None:
    """List the models that can be named.

    **Example**

    `sctab models`
    """
    table = Table("name", "types", "genes", "description", box=None)
    for model in sctab.zoo.list_models():
        table.add_row(model.name, str(model.n_labels), str(model.n_genes), model.description)
    out.print(table)


@app.command()
@reports_errors
def demo(
    output: Annotated[
        Path | None, typer.Option(help="Annotated data to write; by default `sctab-demo.h5ad`, numbered if that is there.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Annotate a real dataset with a packaged model, and compare with what its authors said.

    700 blood cells of Zheng et al. (2017) that come with scanpy; no network is needed.

    **Example**

    `sctab demo`
    """
    run_demo(output, overwrite=overwrite)


def _report_annotation(adata: Any, key_added: str, written: list[Path]) -> None:
    run = adata.uns[key_added]
    genes = run["genes"]
    err.print(
        f"Used `{run['matrix']}` ({run['matrix_content']}); {genes['n_matched']} of {genes['n_model']} genes found, "
        f"which carry {genes['coverage']:.0%} of what the model looks at."
    )
    counts = adata.obs[f"{key_added}_label"].value_counts(dropna=False)
    confidence = adata.obs.groupby(f"{key_added}_label", observed=False, dropna=False)[f"{key_added}_confidence"].median()
    table = Table("label", "cells", "median confidence", box=None)
    for label, n_cells in counts[counts > 0].items():
        table.add_row(str(label), str(n_cells), f"{confidence[label]:.2f}")
    out.print(table)
    for path in written:
        out.print(f"Wrote `{path}`.")
