"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Reference = Annotated[Path, typer.Argument(help="Annotated cells with counts, `.h5ad` or `.zarr`.")]
OptionalReference = Annotated[
    Path | None, typer.Argument(help="Annotated cells with counts, `.h5ad` or `.zarr`; or give `--corpus`.")
]
OptionalLabelsKey = Annotated[str | None, typer.Option("--labels-key", help="Column of `obs` with cell types.")]
LabelsKey = Annotated[str, typer.Option(help="Column of `obs` with cell types.")]
DonorKey = Annotated[str | None, typer.Option(help="Column of `obs` with donors; whole donors are then held out.")]
CountsLayer = Annotated[str | None, typer.Option(help="Layer with the counts; `X` by default.")]
UnlabeledCategory = Annotated[str | None, typer.Option(help='Value of the label column that means "no label".')]
CovariateKeys = Annotated[
    list[str] | None,
    typer.Option("--covariate-key", help="Column of `obs` to look at besides the genes, such as the tissue; can be repeated."),
]
GeneIdKey = Annotated[str | None, typer.Option(help="Column of `var` with Ensembl ids; found by itself.")]
GeneSymbolKey = Annotated[str | None, typer.Option(help="Column of `var` with symbols; found by itself.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are already there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")]
Accelerator = Annotated[str, typer.Option(help="Where to compute: `auto`, `cpu`, `gpu` or `mps`.")]
LayerOption = Annotated[
    str | None, typer.Option(help="Matrix to use: the name of a layer, `X` or `raw`. By default counts are looked for.")
]
