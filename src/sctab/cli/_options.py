"""Options that several commands have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sctab.errors import SettingError, listing, warn

Reference = Annotated[Path, typer.Argument(help="Annotated cells with counts, such as `.h5ad`, `.zarr` or `.h5mu`.")]
OptionalReference = Annotated[
    Path | None, typer.Argument(help="Annotated cells with counts, such as `.h5ad`, `.zarr` or `.h5mu`; or use `--corpus`.")
]
OptionalLabelsKey = Annotated[str | None, typer.Option("--labels-key", help="Column of `obs` with cell types.")]
LabelsKey = Annotated[str, typer.Option(help="Column of `obs` with cell types.")]
DonorKey = Annotated[str | None, typer.Option(help="Column of `obs` with donors; whole donors are then held out.")]
DatasetKey = Annotated[
    str | None, typer.Option(help="Column of `obs` with datasets, such as studies; the model is then calibrated on whole datasets.")
]
CountsLayer = Annotated[str | None, typer.Option(help="Layer with the counts, or `X` or `raw`; `X` by default.")]
UnlabeledCategory = Annotated[str | None, typer.Option(help='Value of the label column that means "no label".')]
LabelMap = Annotated[
    Path | None,
    typer.Option("--label-map", help="Table of labels and their Cell Ontology ids, `.tsv` or `.csv`, two columns or SSSOM."),
]
CovariateKeys = Annotated[
    list[str] | None,
    typer.Option("--covariate-key", help="Column of `obs` used as a covariate, such as the tissue; can be repeated."),
]
GeneIdKey = Annotated[str | None, typer.Option(help="Column of `var` with Ensembl ids; detected by default.")]
GeneSymbolKey = Annotated[str | None, typer.Option(help="Column of `var` with symbols; detected by default.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]
Accelerator = Annotated[str, typer.Option(help="Device to compute on: `auto`, `cpu`, `gpu` or `mps`.")]
LayerOption = Annotated[
    str | None, typer.Option(help="Matrix to use: the name of a layer, `X` or `raw`. By default counts are detected.")
]
Modality = Annotated[
    str | None,
    typer.Option(help="Modality of a `.h5mu`, or genome of a 10x `.h5` of several. By default it is found by its features."),
]
ProteinModality = Annotated[
    str | None,
    typer.Option(
        help="Modality of a `.h5mu` with antibodies, or `none` for gene expression alone. By default it is found by its features."
    ),
]
ProteinLayer = Annotated[str | None, typer.Option(help="Layer with the counts of the antibodies of a `.h5mu`; `X` by default.")]
DaskScheduler = Annotated[
    str | None, typer.Option("--dask-scheduler", help="Address of a Dask scheduler, `tcp://…`; its workers do the work.")
]
OptionalCorpus = Annotated[
    Path | None, typer.Option("--corpus", help="Train on a corpus, built with `sctab corpus build`, instead of a reference.")
]
Fraction = Annotated[float, typer.Option(help="Fraction of the training data of the corpus to use.")]
FractionBy = Annotated[str, typer.Option(help="Unit of the fraction: `donor` or `cell`.")]
OldFraction = Annotated[float | None, typer.Option("--subset", hidden=True, help="Old name of `--fraction`.")]
OldFractionBy = Annotated[str | None, typer.Option("--subset-by", hidden=True, help="Old name of `--fraction-by`.")]


def renamed_option[T](old: str, new: str, given: T | None, value: T) -> T:
    """Return the value of an option, or that of its old name, with a note, where this was used."""
    if given is None:
        return value
    warn(f"`{old}` is deprecated since sctab 0.1 and will be removed in 0.3. Use `{new}`.")
    return given


def check_source(
    reference: Path | None, corpus: Path | None, of_reference: Mapping[str, Any], of_corpus: Mapping[str, bool]
) -> None:
    """Refuse options that do not go together."""
    if (reference is None) == (corpus is None):
        raise SettingError("Provide either a reference or a corpus (`--corpus`).")
    if corpus is None and of_reference["labels_key"] is None:
        raise SettingError("Set `--labels-key`, the column of `obs` with cell types.")
    wrong = [name for name, value in of_reference.items() if corpus is not None and value is not None]
    wrong += [name for name, is_given in of_corpus.items() if corpus is None and is_given]
    if wrong:
        options = listing(f"--{name.replace('label_ids', 'label_map').replace('_', '-')}" for name in wrong)
        raise SettingError(f"{options} cannot be given with a {'reference' if corpus is None else 'corpus'}. Omit it.")
