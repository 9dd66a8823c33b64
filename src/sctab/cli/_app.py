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
from sctab.cli._demo import run_demo
from sctab.cli._files import check_suffix, read_data, write_data, write_labels
from sctab.cli._reporting import err, out, reports_errors

app = typer.Typer(
    name="sctab",
    help="Name the cell types of single-cell RNA-seq data, and say how sure that is.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are already there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")]
Accelerator = Annotated[str, typer.Option(help="Where to compute: `auto`, `cpu`, `gpu` or `mps`.")]
LayerOption = Annotated[
    str | None, typer.Option(help="Matrix to use: the name of a layer, `X` or `raw`. By default counts are looked for.")
]


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


@app.command()
@reports_errors
def train(
    reference: Annotated[Path, typer.Argument(help="Annotated cells with counts, `.h5ad` or `.zarr`.")],
    labels_key: Annotated[str, typer.Option(help="Column of `obs` with cell types.")],
    output: Annotated[Path, typer.Option(help="Directory to write the model to.")],
    donor_key: Annotated[
        str | None, typer.Option(help="Column of `obs` with donors; whole donors are then held out for validation.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer with the counts; `X` by default.")] = None,
    unlabeled_category: Annotated[str | None, typer.Option(help='Value of the label column that means "no label".')] = None,
    gene_id_key: Annotated[str | None, typer.Option(help="Column of `var` with Ensembl ids; found by itself.")] = None,
    gene_symbol_key: Annotated[str | None, typer.Option(help="Column of `var` with symbols; found by itself.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Passes over the reference; by default from its size.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Cells per step; by default from the size.")] = None,
    validation_split: Annotated[str, typer.Option(help="How to validate: `donor` or `stratified`.")] = "donor",
    paper_settings: Annotated[
        bool, typer.Option("--paper-settings", help="Architecture and optimiser of Fischer et al. (2023).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = 0,
    accelerator: Accelerator = "auto",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Learn cell types from an annotated reference.

    **Examples**

    `sctab train reference.h5ad --labels-key cell_type --donor-key donor_id --output my-model`

    `sctab train atlas.zarr --labels-key cell_type --layer counts --output my-model --accelerator gpu`
    """
    adata = read_data(reference)
    settings = sctab.model.SCTAB.paper_settings() if paper_settings else {"model": {}, "train": {}}
    given = {"max_epochs": max_epochs, "batch_size": batch_size}
    sctab.model.SCTAB.setup_anndata(
        adata,
        labels_key,
        donor_key=donor_key,
        layer=layer,
        unlabeled_category=unlabeled_category,
        gene_id_key=gene_id_key,
        gene_symbol_key=gene_symbol_key,
    )
    with written_beside(output, overwrite=overwrite) as directory:
        model = sctab.model.SCTAB(adata, **settings["model"])
        err.print(f"Learning {len(model.spec.labels)} cell types from {adata.n_obs} cells and {len(model.spec.features)} genes.")
        model.train(
            **settings["train"] | {key: value for key, value in given.items() if value is not None},
            validation_split=validation_split,
            seed=seed,
            accelerator=accelerator,
            enable_progress_bar=err.is_terminal,
        )
        model.save(directory)
    _report_training(model.spec.training, output)


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


def _report_training(training: Any, output: Path) -> None:
    validation = training["validation"]
    how = {"donor": "whole donors held out", "stratified": "a share of each type held out", "none": "no validation"}
    out.print(f"Trained for {training['epochs']} epochs on {validation['n_train']} cells.")
    if validation["macro_f1"] is not None:
        out.print(
            f"Validation macro F1 {validation['macro_f1']:.3f} on {validation['n_validation']} cells ({how[validation['by']]})."
        )
    out.print(f"Wrote `{output}`.")


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
