"""`sctab train`: learn a reference with one model class, or with the one that suits it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import sctab
import sctab.inference
import sctab.io
import sctab.train
from sctab.cli._commands import options_of
from sctab.cli._files import count_antibodies, read_reference
from sctab.cli._loading import without_garbage_collection
from sctab.cli._options import (
    Accelerator,
    CountsLayer,
    CovariateKeys,
    DatasetKey,
    Debug,
    DonorKey,
    Fraction,
    FractionBy,
    GeneIdKey,
    GeneSymbolKey,
    LabelMap,
    Modality,
    OldFraction,
    OldFractionBy,
    OptionalCorpus,
    OptionalLabelsKey,
    OptionalReference,
    Overwrite,
    ProteinLayer,
    ProteinModality,
    UnlabeledCategory,
    check_source,
    renamed_option,
)
from sctab.cli._reporting import err, in_shell, out, reports_errors, show_note
from sctab.errors import OutputExistsError, Parameter, SettingError, listing
from sctab.keys import ENSEMBLE_FILE, SPEC_FILE

if TYPE_CHECKING:
    import pandas as pd

_DEFAULT_MODEL, _ALONE = "auto", "sctab"
"""Model class where none is named: the choice among all, and the one where that cannot choose."""
_TOLD_TO_END = 128 + signal.SIGTERM
_HELD_OUT = {
    "corpus": "those of the corpus",
    "dataset": "whole datasets held out",
    "donor": "whole donors held out",
    "stratified": "a fraction of each type held out",
    "none": "no validation",
}
"""Kinds of splits in words."""


@reports_errors
def train(
    output: Annotated[Path, typer.Option(help="Directory to write the model to.")],
    reference: OptionalReference = None,
    labels_key: OptionalLabelsKey = None,
    corpus: OptionalCorpus = None,
    fraction: Fraction = 1.0,
    fraction_by: FractionBy = "donor",
    subset: OldFraction = None,
    subset_by: OldFractionBy = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"Model class: {', '.join(f'`{name}`' for name in sctab.model.MODEL_NAMES)}; `auto` tries the others on held-out "
            f"cells and keeps the best. By default `{_DEFAULT_MODEL}`; with `--corpus`, `--members` or `--paper-settings` "
            f"`{_ALONE}`, and with `--settings` that of the file."
        ),
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="Settings file, written by `sctab tune` or by hand.")] = None,
    donor_key: DonorKey = None,
    dataset_key: DatasetKey = None,
    layer: CountsLayer = None,
    modality: Modality = None,
    protein_modality: ProteinModality = None,
    protein_layer: ProteinLayer = None,
    unlabeled_category: UnlabeledCategory = None,
    label_map: LabelMap = None,
    covariate_key: CovariateKeys = None,
    gene_id_key: GeneIdKey = None,
    gene_symbol_key: GeneSymbolKey = None,
    max_epochs: Annotated[
        int | None, typer.Option(help="Passes over the reference, or rounds of boosting; the default depends on its size.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Cells per step; the default depends on the size.")] = None,
    validation_split: Annotated[
        str | None, typer.Option(help="Validation split: `donor` holds out whole donors, `stratified` cells of every type.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Loss for labels of mixed granularity: `auto`, `cross-entropy` or `hierarchical`; not for `xgboost`."),
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--no-augment", help="Add differences between donors to training cells.")
    ] = None,
    paper_settings: Annotated[
        bool, typer.Option("--paper-settings", help="Architecture and optimiser of Fischer et al. (2023).")
    ] = False,
    members: Annotated[
        int | None,
        typer.Option(help="Number of models in a deep ensemble; interrupted runs are resumed."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Members, or candidates of `auto`, to train in parallel; by default one member, and a useful number of candidates."
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Directory for curves and checkpoints; by default the name of the output with `.run`."),
    ] = None,
    keep_checkpoints: Annotated[
        str, typer.Option(help="Checkpoints to keep there: `best`, which are the best and the last epoch, or `all`.")
    ] = "best",
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="Whether to write a run directory.")] = True,
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="Whether to calibrate the confidence on held-out cells.")
    ] = True,
    fingerprints: Annotated[
        bool,
        typer.Option(
            "--fingerprints/--no-fingerprints", help="Whether to keep five bytes per cell by which `sctab check` recognises it."
        ),
    ] = True,
    sketch: Annotated[
        int,
        typer.Option(help="Cells of the reference to keep with the model, from which `annotate --adapt` refits it to a query."),
    ] = 0,
    logger: Annotated[str | None, typer.Option(help="Additional logger: `neptune`.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted training from its run directory.")] = False,
    devices: Annotated[str, typer.Option(help="Number of devices, or of processes on a CPU, to train on.")] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="Precision of training, as in Lightning: `bf16-mixed` is fast on a recent GPU.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Random seed; 0 by default.")] = None,
    accelerator: Accelerator = "auto",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Train a model on an annotated reference.

    **Examples**

    `sctab train reference.h5ad --labels-key cell_type --donor-key donor_id --output my-model`

    `sctab train reference.h5ad --labels-key cell_type --model mlp --output my-model --resume`

    `sctab train reference.h5ad --labels-key cell_type --settings tuned.json --output my-model`

    `sctab train reference.h5ad --labels-key cell_type --members 5 --output my-ensemble`

    `sctab train reference.h5mu --labels-key cell_type --model linear --output my-model` learns surface proteins beside gene expression.

    `sctab train atlas.zarr --labels-key cell_type --layer counts --output my-model --accelerator gpu`

    `sctab train --corpus blood.corpus --output my-model --resume`
    """
    fraction = renamed_option("--subset", "--fraction", subset, fraction)
    fraction_by = renamed_option("--subset-by", "--fraction-by", subset_by, fraction_by)
    if keep_checkpoints == "all" and not logs:
        raise SettingError(
            "`--keep-checkpoints all` keeps models in the run directory, which `--no-logs` omits. Provide one of them."
        )
    if run_dir is not None and not logs:
        raise SettingError("`--run-dir` says where logs go and `--no-logs` that there are none. Provide one of them.")
    default = _DEFAULT_MODEL if corpus is None and members is None and not paper_settings else _ALONE
    chosen = _settings(model, settings, paper_settings=paper_settings, default=default)
    if jobs is not None and members is None and chosen.model != "auto":
        raise SettingError(
            "`--jobs` says how many members or candidates to train at a time. Provide `--members` too, or `--model auto`."
        )
    given = {
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "validation_split": validation_split,
        "loss": loss,
        "augment": augment,
        "seed": seed,
    }
    with without_garbage_collection():
        cls = sctab.model.model_by_name(chosen.model)
    if members is not None and cls is sctab.model.AutoClassifier:
        raise SettingError(
            "`--members` needs one model class. Let `auto` choose first, then train an ensemble of what it has kept."
        )
    of_reference: dict[str, Any] = {
        "donor_key": donor_key,
        "dataset_key": dataset_key,
        "layer": layer,
        "unlabeled_category": unlabeled_category,
        "label_ids": label_map,
        "gene_id_key": gene_id_key,
        "gene_symbol_key": gene_symbol_key,
    }
    of_mudata = {"modality": modality, "protein_modality": protein_modality, "protein_layer": protein_layer}
    check_source(reference, corpus, {"labels_key": labels_key, **of_mudata, **of_reference}, {"fraction": fraction != 1})
    if resume and not logs:
        raise SettingError("`--resume` needs a run directory, and `--no-logs` writes none. Omit one of them.")
    is_there = resume and not overwrite and any((output / name).is_file() for name in (SPEC_FILE, ENSEMBLE_FILE))
    if not is_there:
        sctab.inference.require_replaceable(output, overwrite=overwrite)
    if resume and cls is sctab.model.AutoClassifier and not is_there:
        resume = False
        show_note("`auto` trains several models and is not resumed: it starts from the beginning. Name one class with `--model`.")
    directory = (run_dir or _run_directory(output, resumes=members is not None or resume)) if logs else None
    sctab.io.check_apart(
        [output] if directory is None else [output, directory],
        [path for path in (reference, corpus, settings, label_map) if path is not None],
    )
    if corpus is not None:
        from_corpus: Any = cls.from_corpus if members is None else sctab.model.DeepEnsemble.from_corpus
        part = {"fraction": fraction, "fraction_by": fraction_by, "categorical_covariate_keys": covariate_key or []}
        opened = sctab.corpus.Corpus.open(corpus)
        n_types, n_cells, n_antibodies = len(opened.labels), opened.n_obs_of("train"), 0
        classifier = from_corpus(opened, *([] if members is None else [cls, members]), **part, **chosen.model_settings)
    else:
        adata, roles = read_reference(reference, **of_mudata)  # type: ignore[arg-type]
        ensemble = None if members is None else sctab.model.DeepEnsemble(cls, members, **chosen.model_settings)
        setup = (ensemble or cls).setup_mudata if roles else (ensemble or cls).setup_anndata
        setup(adata, str(labels_key), categorical_covariate_keys=covariate_key, **of_reference, **roles)
        obs = adata.obs if labels_key in adata.obs else adata.mod[roles["modalities"]["rna"]].obs
        n_types, n_cells, n_antibodies = obs[labels_key].nunique(), adata.n_obs, count_antibodies(adata, roles)
        classifier = ensemble or cls(adata, **chosen.model_settings)
    of_training = dict(chosen.train_settings) | {key: value for key, value in given.items() if value is not None}
    sctab.model.check_training(classifier, of_training, run_dir=directory, logger=logger, keep_checkpoints=keep_checkpoints)
    left_out: dict[str, Any] = {
        name: False for name, kept in {"calibrate": calibrate, "fingerprints": fingerprints}.items() if not kept
    }
    left_out |= {"sketch": sketch} if sketch else {}
    run = sctab.model.run_hash(classifier, chosen.model_settings, of_training | {"precision": precision} | left_out)
    if is_there:
        _require_same_run(output, run)
        out.print(f"`{output}` is finished, by the same training: there is nothing to do.", soft_wrap=True)
        return
    with (
        sctab.io.written_beside(output, overwrite=overwrite, kind="model")
        if sctab.train.is_first_process()
        else nullcontext(output) as path
    ):
        what = f"`{chosen.model}`" if members is None else f"an ensemble of {members} `{chosen.model}` models"
        of_proteins = f", and {n_antibodies} antibodies," if n_antibodies else ""
        err.print(f"Learning {n_types} cell types from {n_cells} cells{of_proteins} with {what}.")
        if members is not None and directory is not None:
            n_finished = len(list(directory.glob(f"member_*/{SPEC_FILE}")))
            err.print(
                f"{n_finished} of {members} members are finished in `{directory}`. After an interruption, run the same "
                "command again to resume."
            )
        try:
            classifier.train(
                **of_training,
                accelerator=accelerator,
                devices=int(devices) if devices.isdecimal() else devices,
                enable_progress_bar=True,
                run_dir=directory,
                logger=logger,
                keep_checkpoints=keep_checkpoints,
                calibrate=calibrate,
                fingerprints=fingerprints,
                sketch=sketch,
                **({} if jobs is None else {"n_jobs": jobs}),
                **({"resume": True} if resume and members is None else {}),
                **({} if precision is None else {"precision": precision}),
            )
        except SystemExit as ended:
            if ended.code == _TOLD_TO_END and directory is not None:
                err.print(
                    f"Stopped. The state of the training is in `{directory}`: run the same command with `--resume` to continue."
                )
            raise
        sctab.model.keep_run_hash(classifier, run)
        classifier.save(path)
    if not sctab.train.is_first_process():  # the others help, and the first one reports
        return
    if isinstance(classifier, sctab.model.AutoClassifier):
        _report_candidates(classifier.table, classifier.spec.training["selection"])
    _report_training([classifier.spec.training] if members is None else [member.spec.training for member in classifier.members])
    _report_calibration(classifier.predictor.spec.calibration)
    if directory is not None:
        out.print(f"Wrote the curves to `{directory}`: `tensorboard --logdir {directory}` shows them.", soft_wrap=True)
    out.print(f"Wrote `{output}`.", soft_wrap=True)


def _require_same_run(output: Path, run: str) -> None:
    """Refuse to resume a training where the model of another one is finished.

    Raises
    ------
    OutputExistsError
        If the model belongs to another training, or does not hold to which.
    """
    found = sctab.model.stored_run_hash(output)
    if found != run:
        why = "does not say from which training it is" if found is None else "is from another reference, model or settings"
        raise OutputExistsError(
            f"`{output}` already exists and {why}, so it is not resumed. Choose another name, or replace it with ",
            Parameter("overwrite", value=True),
            ".",
        )


def _settings(model: str | None, path: Path | None, *, paper_settings: bool, default: str) -> sctab.tuning.Settings:
    """Model class and settings to train, from options that must agree."""
    if path is not None:
        if paper_settings:
            raise SettingError("`--settings` and `--paper-settings` both say how to train. Provide one of them.")
        found = sctab.tuning.Settings.read(path)
        if model not in (None, found.model):
            raise SettingError(f"`{path}` has settings of `{found.model}`, not of `{model}`. Omit `--model`, or give another file.")
        return found
    name = model or default
    if not paper_settings:
        return sctab.tuning.Settings(name)
    cls = sctab.model.model_by_name(name)
    if cls is sctab.model.AutoClassifier:
        raise SettingError(
            f"`--paper-settings` needs one model class: {listing(name for name in sctab.model.MODEL_NAMES if name != 'auto')}."
        )
    published = cls.paper_settings()
    return sctab.tuning.Settings(name, published["model"], published["train"])


def _run_directory(output: Path, *, resumes: bool) -> Path:
    """A directory beside the output: that of a run that is resumed, or a new one."""
    path = output.with_name(f"{output.name}.run")
    if resumes or not path.exists():
        return path
    return next(name for i in count(1) if not (name := path.with_name(f"{path.name}-{i}")).exists())


def _report_candidates(candidates: pd.DataFrame, selection: Mapping[str, Any]) -> None:
    table = Table("model", "macro F1", "behind the best", "standard error", "seconds", "", box=None)
    for name, row in candidates.iterrows():
        numbers = [f"{row[column]:.3f}" for column in ("macro_f1", "behind", "standard_error")]
        table.add_row(str(name), *numbers, f"{row['seconds']:.0f}", "kept" if row["kept"] else "")
    out.print(table)
    parts = f" in {selection['n_folds']} parts" if selection["n_folds"] > 1 else ""
    out.print(
        f"Compared by {selection['n_held_out']} cells that no candidate had learned{parts} ({_HELD_OUT[selection['held_out_by']]}).",
        soft_wrap=True,
    )


def _report_training(trainings: Sequence[Any]) -> None:
    """Of one model, or of each member of an ensemble."""
    training = trainings[0]
    validation = training["validation"]
    epochs = sorted({each["epochs"] for each in trainings})
    out.print(
        f"Trained for {' to '.join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))} epochs on {validation['n_train']} cells."
    )
    if validation["macro_f1"] is not None:
        values = ", ".join(f"{each['validation']['macro_f1']:.3f}" for each in trainings)
        whose = " of the members" if len(trainings) > 1 else ""
        out.print(f"Validation macro F1{whose} {values} on {validation['n_validation']} cells ({_HELD_OUT[validation['by']]}).")
        if (note := sctab.train.note_on_validation(training)) is not None:
            out.print(in_shell(note, options_of(train)), soft_wrap=True)
        if training["settings"]["refit"]:
            out.print(f"Trained again on all {training['n_labeled']} cells.")


def _report_calibration(calibration: Any) -> None:
    """Print calibration errors, and the smallest error that can be promised."""
    if calibration is None or calibration.calibration_error is None:
        return
    of_cells = calibration.unit == "cell"
    held_out = "held-out cells" if of_cells else f"{calibration.n_units} {calibration.unit}s, each held out"
    out.print(
        f"Calibrated on {held_out}: expected calibration error {calibration.uncalibrated_error:.3f} before and "
        f"{calibration.calibration_error:.3f} after.",
        soft_wrap=True,
    )
    out.print(
        "With `--accepted-error`, promises hold for other cells of this reference, and with `--donor-key` here, for new donors."
        if of_cells
        else f"With `--accepted-error`, {ceil(1000 / (calibration.n_units + 1)) / 1000:g} is the smallest error that can be promised for a "
        f"new {calibration.unit}.",
        soft_wrap=True,
    )
