"""`sctab import-checkpoint`: published checkpoints of scTab as models."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

import sctab
from sctab.cli._options import Debug, Overwrite
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.errors import DataFileError, listing


@reports_errors
@ends_on_signals
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A `.ckpt`, the folder of a run, or a tar archive of runs.")],
    genes: Annotated[Path, typer.Option(help="Genes in the order of the model: `var.parquet`.")],
    labels: Annotated[Path, typer.Option(help="Labels in the order of its outputs: `cell_type.parquet`.")],
    output: Annotated[Path, typer.Option(help="Directory to write the model to.")],
    hparams: Annotated[
        Path | None,
        typer.Option(help="Hyperparameters, `hparams.yaml`; by default those in the folder of the run or in the checkpoint."),
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="Folder in the archive whose runs to import, if it holds several models.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="One-line description of the model.")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Convert a published scTab checkpoint to a model, or several runs to an ensemble. Code in the files is never run.

    **Examples**

    `sctab import-checkpoint run5/best.ckpt --hparams run5/hparams.yaml --genes var.parquet --labels cell_type.parquet --output published`

    `sctab import-checkpoint scTab-checkpoints.tar.gz --folder scTab --genes var.parquet --labels cell_type.parquet --output published`
    """
    read = {"": checkpoint, "--genes ": genes, "--labels ": labels, "--hparams ": hparams}
    if missing := [f"{option}{path}" for option, path in read.items() if path is not None and not path.exists()]:
        raise DataFileError(f"{listing(missing)} not found. Check the path{'s' if len(missing) > 1 else ''}.")
    model = sctab.zoo.import_checkpoint(
        checkpoint,
        genes=genes,
        labels=labels,
        hparams=hparams,
        folder=folder,
        output=output,
        overwrite=overwrite,
        description=description,
    )
    members = model.members if isinstance(model, sctab.model.DeepEnsemble) else (model,)
    for member in members:
        out.print(f"Imported `{member.spec.training['source']}`.", soft_wrap=True)
    spec = model.spec
    out.print(
        f"{'Each is ' if len(members) > 1 else ''}{spec.model_class} with {len(spec.labels)} cell types and {len(spec.features):,} genes."
    )
    out.print(f"Wrote `{output}`. Annotate cells with it:", soft_wrap=True)
    out.print(f"  sctab annotate query.h5ad --model {shlex.quote(str(output))} --output annotated.h5ad", soft_wrap=True)
