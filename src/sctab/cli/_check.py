"""`sctab check`."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

import sctab
import sctab.io
from sctab.cli._commands import options_of
from sctab.cli._options import Accelerator, Debug, LayerOption, Modality, Overwrite, ProteinModality
from sctab.cli._reporting import ends_on_signals, in_shell, out, reports_errors
from sctab.keys import DEFAULT_MODEL

EXIT_UNSEEN = 3
"""No label fits most of the cells."""


@reports_errors
@ends_on_signals
def check(
    query: Annotated[
        str, typer.Argument(help="Cells to check: a file in any format that `sctab annotate` reads, also behind a URL.")
    ],
    model: Annotated[str, typer.Option(help="Model directory, or name of a packaged model.")] = DEFAULT_MODEL,
    json: Annotated[Path | None, typer.Option(help="File to write the findings to, as JSON.")] = None,
    layer: LayerOption = None,
    modality: Modality = None,
    protein_modality: ProteinModality = None,
    min_gene_coverage: Annotated[
        float, typer.Option(help="Minimum fraction of total gene importance that the data must cover.")
    ] = 0.1,
    accepted_error: Annotated[
        float | None,
        typer.Option(
            help="Fraction of wrong answers that you would accept: checks whether it can be promised. By default 0.1, or the smallest that "
            "can be."
        ),
    ] = None,
    unseen_fdr: Annotated[float, typer.Option(help="Accepted false discovery rate for cells that no label fits.")] = 0.1,
    labels_key: Annotated[
        str | None, typer.Option(help="Column of obs with labels of some cells, if you know them: says whether to train on them.")
    ] = None,
    accelerator: Accelerator = "auto",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Check a file against a model before it is annotated, on one page.

    It shows which matrix is used, species, genes and types that these cannot tell apart, empty cells, depth, cells that fit no label,
    cells that the model was trained on, and whether an accepted error can be promised. Nothing is annotated, and memory does not grow with
    the number of cells. The exit code is 0, also with warnings; 2 if the file cannot be annotated; 3 if no label fits most of its cells.

    **Examples**

    `sctab check query.h5ad --model my-model`

    `sctab check query.h5ad --model my-model --json check.json`
    """
    model = str(sctab.zoo.model_path(model))
    if json is not None:
        sctab.io.check_free(json, overwrite=overwrite)
        sctab.io.check_apart([json], [query, *([model] if Path(model).is_dir() else [])])
    sctab.io.release_large_arrays()
    found = sctab.pp.check_file(
        query,
        sctab.zoo.load_predictor(model, accelerator=accelerator),
        layer=layer,
        modality=modality,
        protein_modality=protein_modality,
        min_gene_coverage=min_gene_coverage,
        accepted_error=accepted_error,
        unseen_fdr=unseen_fdr,
        labels_key=labels_key,
        show_progress=True,
    )
    options = options_of(check)
    out.print(found.to_text(lambda message: in_shell(message, options)), soft_wrap=True)
    if json is not None:
        with sctab.io.written_beside(json, overwrite=overwrite) as beside:
            beside.write_text(dumps(found.to_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
        out.print(f"\nWrote `{json}`.", soft_wrap=True)
    if found.is_refused:
        raise typer.Exit(EXIT_UNSEEN)
