"""`sctab export`: an annotation in the format of a portal, or as a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import sctab
import sctab.export
import sctab.io
from sctab.cli._options import Debug, LabelMap, LayerOption, Overwrite
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.keys import DEFAULT_KEY_ADDED


class Format(StrEnum):
    """Formats."""

    CAP = "cap"
    CELLXGENE = "cellxgene"
    TABLE = "table"


class Answer(StrEnum):
    """Columns of an annotation that say what a cell is called."""

    LABEL = "label"
    TERM = "term"
    VOTE = "vote"


@reports_errors
@ends_on_signals
def export(
    annotated: Annotated[str, typer.Argument(help="Output of `sctab annotate`, `.h5ad` or `.zarr`.")],
    format_: Annotated[Format, typer.Option("--format", help="CAP AnnData 1.0, the schema 7.1 of CELLxGENE, or one row per cell.")],
    output: Annotated[
        Path, typer.Option(help="File to write: `.h5ad` for `cap` and `cellxgene`; `.csv`, `.tsv` (also `.gz`) or `.parquet`.")
    ],
    metadata: Annotated[
        Path | None, typer.Option(help="YAML file with the fields that only the laboratory knows; without it, they are listed.")
    ] = None,
    answer: Annotated[
        Answer | None,
        typer.Option(help="What a cell is called. By default the promised term where there are some, and the label otherwise."),
    ] = None,
    set_name: Annotated[
        str | None, typer.Option(help="Name of the set of annotations in CAP; by default `sctab_cell_type`.")
    ] = None,
    label_map: LabelMap = None,
    mappings: Annotated[Path | None, typer.Option(help="File to write as well: labels and their terms as SSSOM, `.tsv`.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model directory, or name of a packaged model, for genes in CAP. By default the one that annotated, found by its name."
        ),
    ] = None,
    n_genes: Annotated[int, typer.Option(min=1, help="Genes per type.")] = 5,
    layer: LayerOption = None,
    key_added: Annotated[str, typer.Option(help="Prefix of the columns that `sctab annotate` wrote.")] = DEFAULT_KEY_ADDED,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write an annotation in the format of a portal, or as a flat table.

    For portals, genes become Ensembl ids, raw counts are found, and types become terms of the Cell Ontology. What only the laboratory
    knows, such as the tissue, is asked for: without `--metadata`, the command says which fields are missing. The matrix is read and
    written in blocks.

    **Examples**

    `sctab export annotated.h5ad --format cap --output cap.h5ad --metadata lab.yaml`

    `sctab export annotated.h5ad --format cellxgene --output cellxgene.h5ad --metadata lab.yaml`

    `sctab export annotated.h5ad --format table --output cells.tsv.gz --mappings labels.sssom.tsv`
    """
    sctab.io.release_large_arrays()
    sctab.export.write(
        annotated,
        output,
        format=format_.value,
        metadata=metadata,
        answer=None if answer is None else answer.value,
        set_name=set_name,
        label_ids=label_map,
        mappings=mappings,
        model=model,
        n_genes=n_genes,
        layer=layer,
        key_added=key_added,
        overwrite=overwrite,
    )
    for path in (output, mappings):
        if path is not None:
            out.print(f"Wrote `{path}`.", soft_wrap=True)
