"""`sctab tune`: settings that do well on donors or cells that were held out."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import sctab
import sctab.io
from sctab.cli._files import read_reference
from sctab.cli._options import (
    Accelerator,
    CountsLayer,
    CovariateKeys,
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
from sctab.cli._reporting import err, out, reports_errors, show_note
from sctab.errors import OutputExistsError, Parameter

if TYPE_CHECKING:
    import pandas as pd

_N_SHOWN = 5
"""Trials beside that of the defaults: as many as a terminal of 80 columns has room for."""
_FIGURES = ("history.png", "importance.png")
_DOTS_PER_INCH = 150


@reports_errors
def tune(
    output: Annotated[Path, typer.Option(help="Settings file to write, for `sctab train --settings`.")],
    reference: OptionalReference = None,
    labels_key: OptionalLabelsKey = None,
    corpus: OptionalCorpus = None,
    fraction: Fraction = 1.0,
    fraction_by: FractionBy = "donor",
    subset: OldFraction = None,
    subset_by: OldFractionBy = None,
    model: Annotated[str, typer.Option(help="Model class to tune: `linear`, `mlp`, `xgboost` or `sctab`.")] = "mlp",
    donor_key: DonorKey = None,
    layer: CountsLayer = None,
    modality: Modality = None,
    protein_modality: ProteinModality = None,
    protein_layer: ProteinLayer = None,
    unlabeled_category: UnlabeledCategory = None,
    label_map: LabelMap = None,
    covariate_key: CovariateKeys = None,
    gene_id_key: GeneIdKey = None,
    gene_symbol_key: GeneSymbolKey = None,
    train_size: Annotated[
        float | None, typer.Option(help="Fraction of the cells to train on; the others are held out. By default 0.75.")
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option(help="Passes over the cells in each trial; the default depends on their number.")
    ] = None,
    n_trials: Annotated[int, typer.Option(help="Total number of trials, including earlier ones.")] = 50,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no new trial starts.")] = None,
    storage: Annotated[
        Path | None, typer.Option(help="SQLite file of the study, resumed if it exists; by default beside the output.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Directory for `history.png` and `importance.png`.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave the settings of a finished study as they are. Interrupted studies always resume."),
    ] = False,
    accelerator: Accelerator = "auto",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Search for settings that beat the defaults on held-out donors, or on held-out cells if there are no donors.

    Settings for a corpus are scored on its validation cells.

    **Examples**

    `sctab tune reference.h5ad --labels-key cell_type --donor-key donor_id --model mlp --output settings.json`

    `sctab train reference.h5ad --labels-key cell_type --settings settings.json --output my-model`

    `sctab tune --corpus blood.corpus --fraction 0.15 --model mlp --output settings.json`
    """
    fraction = renamed_option("--subset", "--fraction", subset, fraction)
    fraction_by = renamed_option("--subset-by", "--fraction-by", subset_by, fraction_by)
    of_reference = {
        "donor_key": donor_key,
        "layer": layer,
        "unlabeled_category": unlabeled_category,
        "label_ids": label_map,
        "gene_id_key": gene_id_key,
        "gene_symbol_key": gene_symbol_key,
        **({} if train_size is None else {"train_size": train_size}),
    }
    of_mudata = {"modality": modality, "protein_modality": protein_modality, "protein_layer": protein_layer}
    check_source(reference, corpus, {"labels_key": labels_key, **of_mudata, **of_reference}, {"fraction": fraction != 1})
    is_there = resume and not overwrite and output.is_file()
    if not is_there:
        sctab.io.check_free(output, overwrite=overwrite, kind="file")
    storage = output.with_suffix(".study.db") if storage is None else storage
    pictures = [] if figures is None else [figures / name for name in _FIGURES]
    sctab.io.check_apart([output, storage, *pictures], [path for path in (reference, corpus, label_map) if path is not None])
    for path in [] if is_there else pictures:
        sctab.io.check_free(path, overwrite=overwrite)
    if is_there and not storage.is_file():
        raise _other(output)
    with nullcontext(output) if is_there else sctab.io.written_beside(output, overwrite=overwrite, kind="file") as settings_path:
        study: Any
        if corpus is not None:
            part: dict[str, Any] = {"fraction": fraction, "fraction_by": fraction_by}
            study = partial(sctab.tuning.tune_from_corpus, corpus, **part)
        else:
            adata, roles = read_reference(reference, **of_mudata)  # type: ignore[arg-type]
            study = partial(sctab.tuning.tune, adata, labels_key, **of_reference, **roles)  # type: ignore[arg-type]
        if not is_there:
            err.print(f"The study is in `{storage}`. When it is interrupted, the same command continues it.")
        found: sctab.tuning.TuningResult = study(
            model=model,
            train_settings={} if max_epochs is None else {"max_epochs": max_epochs},
            categorical_covariate_keys=covariate_key or [],
            n_trials=n_trials,
            timeout=0 if is_there else timeout,  # looks at the study, and adds no trial
            storage=storage,
            seed=seed,
            accelerator=accelerator,
            show_progress=not is_there,
        )
        if is_there:
            if len(found.trials) < n_trials or sctab.tuning.Settings.read(output) != found.best:
                raise _other(output)
            drawn = [path for path in pictures if path.name != "importance.png" or not found.importance_note]
            pictures = [path for path in drawn if not path.exists()]
            done = f"`{output}` is finished, by the same study"
            out.print(f"{done}." if pictures else f"{done}: there is nothing to do.", soft_wrap=True)
        else:
            found.best.write(settings_path)
    if not is_there:
        _report(found)
        out.print(f"Wrote `{output}`.", soft_wrap=True)
    for path in pictures:
        if path.name == "importance.png" and found.importance_note:
            show_note(f"`{path}` was not drawn. {found.importance_note}")
            continue
        with sctab.io.written_beside(path, overwrite=overwrite) as picture:
            _draw(found, picture)
        out.print(f"Wrote `{path}`.", soft_wrap=True)


def _other(output: Path) -> OutputExistsError:
    return OutputExistsError(
        f"`{output}` already exists and is not that of this study with all its trials, so it is not resumed. Choose another name, or "
        "replace it with ",
        Parameter("overwrite", value=True),
        ".",
    )


def _draw(found: sctab.tuning.TuningResult, path: Path) -> None:
    ax = sctab.pl.tuning_history(found.trials) if path.name == "history.png" else sctab.pl.tuning_importance(found.importance)
    ax.figure.savefig(path, dpi=_DOTS_PER_INCH)  # type: ignore[union-attr]


def _report(found: sctab.tuning.TuningResult) -> None:
    how = {
        "donor": "whole donors held out",
        "stratified": "a fraction of each type held out",
        "corpus": "the validation cells of the corpus",
    }
    trials = found.trials
    n_pruned = int((trials["state"] == "pruned").sum())
    out.print(_table(trials))
    out.print(
        f"{len(trials)} trials, {n_pruned} of them ended early. Macro F1 on {found.n_held_out} cells ({how[found.split]}): "
        f"best {found.best_value:.3f}, default {found.default_value:.3f}."
    )


def _table(trials: pd.DataFrame) -> Table:
    """The defaults and the best trials side by side, the best first."""
    import pandas as pd

    complete = trials[trials["state"] == "complete"]
    default, others = complete[complete["is_default"]], complete[~complete["is_default"]]
    shown = pd.concat([default.head(1), others.sort_values("value", ascending=False, kind="stable").head(_N_SHOWN)])
    settings = list(trials.columns[trials.columns.get_loc("seconds") + 1 :])
    table = Table("", *("default" if row.is_default else f"trial {row.Index}" for row in shown.itertuples()), box=None)
    table.add_row("macro F1", *(f"{value:.3f}" for value in shown["value"]))
    table.add_row("seconds", *(f"{seconds:.1f}" for seconds in shown["seconds"]))
    for setting in settings:
        table.add_row(setting, *(_shown(value) for value in shown[setting]))
    return table


def _shown(value: object) -> str:
    if value is None or value != value:  # NaN: the setting has no default
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
