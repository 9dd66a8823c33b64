"""Options that several commands have."""

from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are already there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")]
Accelerator = Annotated[str, typer.Option(help="Where to compute: `auto`, `cpu`, `gpu` or `mps`.")]
LayerOption = Annotated[
    str | None, typer.Option(help="Matrix to use: the name of a layer, `X` or `raw`. By default counts are looked for.")
]
