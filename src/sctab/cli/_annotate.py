"""`sctab annotate`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table

import sctab
import sctab.data
import sctab.inference
import sctab.io
import sctab.report
from sctab.cli._dask import connected
from sctab.cli._files import read_names
from sctab.cli._options import Accelerator, DaskScheduler, Debug, LayerOption, Modality, Overwrite, ProteinModality
from sctab.cli._reporting import ends_on_signals, err, out, reports_errors
from sctab.errors import SettingError, listing
from sctab.keys import DEFAULT_KEY_ADDED, DEFAULT_MODEL


@reports_errors
@ends_on_signals
def annotate(
    query: Annotated[
        list[str],
        typer.Argument(
            help="Cells to annotate: `.h5ad`, `.zarr`, `.h5mu`, `.loom`, 10x `.h5`, a folder with `matrix.mtx`, a run of Cell Ranger or "
            "its `outs/`, directories of files, patterns, URLs."
        ),
    ],
    model: Annotated[str, typer.Option(help="Model directory, or name of a packaged model.")] = DEFAULT_MODEL,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            help="Output: a table, `.parquet` or `.csv`; an annotated copy, `.h5ad` or `.zarr`, or `.h5mu` of a MuData; or a directory for "
            "a copy of each input. Can be repeated."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Output table of labels, one row per cell.")] = None,
    genes_table: Annotated[
        Path | None,
        typer.Option(help="Output table of the genes of the model, found or missing, with their importance. `.parquet` or `.csv`."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Report to write as well, `.html`, on the annotated copy: one page that opens offline, see `sctab report`."
        ),
    ] = None,
    layer: LayerOption = None,
    modality: Modality = None,
    protein_modality: ProteinModality = None,
    batch_size: Annotated[int, typer.Option(help="Cells per batch.")] = sctab.inference.BATCH_SIZE,
    block_size: Annotated[int, typer.Option(help="Cells read at a time, and saved when finished.")] = sctab.io.BLOCK_SIZE,
    min_gene_coverage: Annotated[
        float, typer.Option(help="Minimum fraction of total gene importance that the data must cover.")
    ] = 0.1,
    accepted_error: Annotated[
        float | None,
        typer.Option(
            help="Fraction of wrong answers that you accept, such as 0.1: also writes, for each cell, the most specific term of the Cell "
            "Ontology for which that can be promised."
        ),
    ] = None,
    label_hierarchy: Annotated[
        Path | None,
        typer.Option(help="Table of labels and their parents, `.tsv` or `.csv`, to use instead of the Cell Ontology."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Type that can occur, with its subtypes: a label of the model, or a name or id of the Cell Ontology. Can be repeated; "
            "or a `.txt` file with one per line. Cells of other types get no label."
        ),
    ] = None,
    unseen_fdr: Annotated[
        float | None,
        typer.Option(
            help="Accepted false discovery rate, such as 0.1: also reports cells that no label fits. A query is refused if most of its "
            "cells do not fit."
        ),
    ] = None,
    adapt: Annotated[
        str,
        typer.Option(
            help="Refit of a model that keeps a sketch of its reference: to the `genes` of the query, or also to its cells, `query`; "
            "`auto` is `query` where that is expected to help, and `none` uses the model as it is."
        ),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Annotate a query even if no label fits most of its cells.")] = False,
    vote: Annotated[
        str | None,
        typer.Option(
            help="Column of `obs` with clusters: also writes the label of each cluster, and the fraction of its cells that agree."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Precision of the weights: `float32`, or `bfloat16`, which is faster and slightly less accurate.")
    ] = "float32",
    backend: Annotated[
        str,
        typer.Option(
            help="What evaluates the model: `torch`, or `jax` on the devices of JAX, such as TPUs. The environment variable "
            "`JAX_PLATFORMS` chooses these."
        ),
    ] = "torch",
    key_added: Annotated[str, typer.Option(help="Prefix of the output columns.")] = DEFAULT_KEY_ADDED,
    accelerator: Accelerator = "auto",
    dask_scheduler: DaskScheduler = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume an interrupted run. Outputs that the same run has finished are left as they are."),
    ] = False,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Annotate the cells of files of any size.

    Memory does not grow with the number of cells. Finished blocks are kept beside the output until it is written, and `--resume` resumes
    an interrupted run.

    **Examples**

    `sctab annotate query.h5ad --model my-model --output annotated.h5ad --csv labels.csv`

    `sctab annotate query.h5ad --csv labels.csv` uses the packaged model `pbmc`.

    `sctab annotate filtered_feature_bc_matrix.h5 --output annotated.h5ad` reads what Cell Ranger writes.

    `sctab annotate sample/outs --output annotated.h5ad` finds the filtered matrix in the folder of a run.

    `sctab annotate cells.h5mu --model my-cite-model --output annotated.h5mu` uses surface proteins too, where the model learned from them.

    `sctab annotate runs/*.h5ad --model my-model --output labels.parquet --resume`

    `sctab annotate query.h5ad --model my-model --output annotated.h5ad --genes-table genes.csv` lists found and missing genes.

    `sctab annotate query.h5ad --model my-model --output annotated.h5ad --accepted-error 0.1`

    `sctab annotate query.h5ad --model my-model --output annotated.h5ad --vote leiden` labels clusters as well.

    `sctab annotate query.h5ad --model my-model --csv labels.csv --labels "T cell" --labels "B cell"` expects these types only.

    `sctab annotate query.h5ad --output annotated.h5ad --report report.html` writes a report for those who use the labels.

    `sctab annotate 's3://bucket/*.zarr' --model my-model --output labels.parquet --dask-scheduler tcp://10.0.0.1:8786`
    """
    outputs = [*(output or []), *([csv] if csv is not None else [])]
    if not outputs:
        raise SettingError(
            "Nothing would be written. Provide `--output annotated.h5ad`, or `annotated.zarr`, `labels.parquet` or `labels.csv`."
        )
    if csv is not None and csv.suffix != ".csv":
        raise SettingError(f"`--csv {csv}` does not end with `.csv`. Provide another name, or `--output` for another kind of file.")
    if backend == "jax":
        if accelerator != "auto":
            raise SettingError(
                f"`--accelerator {accelerator}` is for PyTorch. With `--backend jax`, set the environment variable `JAX_PLATFORMS`, for "
                "example to `cpu`, and omit `--accelerator`."
            )
        accelerator = "cpu"  # where the weights are read to
    model = str(sctab.zoo.model_path(model))
    copy = None if report is None else _copy_to_report(report, query, outputs, overwrite=overwrite or resume)
    if Path(model).is_dir():
        folders = [place for place in outputs if sctab.tl.is_folder(place)]
        files = [place for place in (*outputs, genes_table, report) if place is not None and place not in folders]
        sctab.io.check_apart(files, [model], folders=folders)
    sctab.io.release_large_arrays()
    with ExitStack() as stack:
        client = None if dask_scheduler is None else stack.enter_context(connected(dask_scheduler))
        done = sctab.tl.annotate_files(
            query,
            sctab.zoo.load_predictor(model, accelerator=accelerator),
            output=outputs,
            layer=layer,
            modality=modality,
            protein_modality=protein_modality,
            batch_size=batch_size,
            block_size=block_size,
            min_gene_coverage=min_gene_coverage,
            accepted_error=accepted_error,
            label_hierarchy=None if label_hierarchy is None else sctab.ontology.read_hierarchy(label_hierarchy),
            labels=_expected(labels),
            unseen_fdr=unseen_fdr,
            adapt=False if adapt == "none" else cast("sctab.inference.Adapt", adapt),  # which is checked there
            force=force,
            vote=vote,
            precision=cast("sctab.nn.Precision", precision),  # which is checked there
            backend=cast("sctab.inference.Backend", backend),  # and so is this
            key_added=key_added,
            genes_table=genes_table,
            client=client,
            resume=resume,
            overwrite=overwrite,
            show_progress=True,
        )
    if resume and not done.runs:
        written = ", ".join(f"`{path}`" for path in done.outputs)
        out.print(
            f"{written} {'is' if len(done.outputs) == 1 else 'are'} finished, by the same run: there is nothing to do.",
            soft_wrap=True,
        )
    else:
        _report(done)
    if report is not None and copy is not None and (done.runs or not report.exists()):
        sctab.report.write(copy, report, model=model, key_added=key_added, command=_command(), overwrite=overwrite or resume)
        out.print(f"Wrote `{report}`.", soft_wrap=True)


def _copy_to_report(report: Path, query: list[str], outputs: list[Path], *, overwrite: bool) -> Path:
    """The annotated copy that a report is on; what would keep it from being written is found before any work is done."""
    copies = [place for place in outputs if place.suffix.lower() in {".h5ad", ".zarr", ".h5mu"}]
    if len(copies) != 1:
        raise SettingError(
            f"A report is on one annotated copy, and {len(copies) or 'none'} would be written. Provide `--output annotated.h5ad`, or run "
            "`sctab report` on each copy afterwards."
        )
    sctab.report.check_outputs(report, None, overwrite=overwrite)
    sctab.io.check_apart([report, *outputs], query)
    return copies[0]


def _command() -> str:
    """The command as it was typed."""
    return shlex.join(["sctab", *sys.argv[1:]])


def _expected(labels: list[str] | None) -> list[str] | None:
    """Types that can occur, those in files included."""
    return [name for each in labels for name in (read_names(Path(each)) if each.endswith(".txt") else [each])] if labels else None


def _trust(run: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on promised terms, and on unseen types where no cell is reported; warnings say the rest."""
    promise, unseen = run.get("promise"), run.get("unseen")
    if promise is not None and promise["is_kept"]:
        of_whom = (
            "cells like those that the model was calibrated on"
            if promise["unit"] == "cell"
            else f"new {promise['unit']}s, on average"
        )
        yield f"At most {promise['accepted_error']:g} of the terms are wrong, for {of_whom}."
    if unseen is not None and not unseen["n_reported"]:
        yield (
            f"None of {unseen['n_cells']:,} cells was reported as unseen (false discovery rate {unseen['fdr']:g}). Types close to those of "
            "the model are rarely found."
        )


def _summary(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines on how many cells of all files have a label, a broader term or none, and how many are of unseen types."""
    promises, unseen = ([run[name] for run in runs if name in run] for name in ("promise", "unseen"))
    if promises:
        n_label, n_broader, n_open = (sum(promise[name] for promise in promises) for name in ("n_label", "n_broader", "n_open"))
        n_cells = n_label + n_broader + n_open
        is_kept = all(promise["is_kept"] for promise in promises)

        def told(n: int) -> str:
            return f"{n:,} ({sctab.data.shown_fraction(n / max(n_cells, 1))})"

        yield (
            f"{'Promised terms' if is_kept else 'Terms, without a promise'}, of {n_cells:,} cells: their label {told(n_label)}, "
            f"a broader term {told(n_broader)}, none {told(n_open)}."
        )
    if unseen:
        yield (
            f"Unseen types: {sum(found['n_reported'] for found in unseen):,} of {sum(found['n_cells'] for found in unseen):,} cells fit no "
            "label."
        )


def _antibodies(proteins: Mapping[str, Any]) -> str:
    """A sentence on the antibodies of the model that were found."""
    table = proteins["antibodies"]
    missing = [name for name, feature in zip(table["antibody"], table["feature"], strict=True) if not feature]
    names = f"; missing: {listing(missing, most=5)}" if missing and proteins["n_matched"] else ""
    return f"{proteins['n_matched']:,} of {proteins['n_model']:,} antibodies of the model found{names}."


def _report(done: sctab.tl.AnnotatedFiles) -> None:
    for path, run in done.runs.items():
        genes = run["genes"]
        where = "" if len(done.runs) == 1 else f"`{path}`: "
        err.print(
            f"{where}Used `{run['matrix']}` ({run['matrix_content']}); {genes['n_matched']:,} of {genes['n_model']:,} model "
            f"genes found ({sctab.data.shown_fraction(genes['coverage'])} of total importance).",
            soft_wrap=True,
        )
        if "proteins" in run:
            err.print(f"{where}{_antibodies(run['proteins'])}", soft_wrap=True)
        for line in _trust(run):
            err.print(f"{where}{line}", soft_wrap=True)
    table = Table("label", "cells", "median confidence", box=None)
    for label, row in done.labels.iterrows():
        table.add_row(str(label), f"{row['n_cells']:.0f}", f"{row['confidence']:.2f}")
    out.print(table)
    for line in _summary([*done.runs.values()]):
        out.print(line, soft_wrap=True)
    for written in done.outputs:
        out.print(f"Wrote `{written}`.", soft_wrap=True)
