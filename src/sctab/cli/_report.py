"""`sctab report`: one HTML file on an annotation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sctab
import sctab.io
import sctab.report
from sctab.cli._options import Debug, Overwrite
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.keys import DEFAULT_KEY_ADDED


@reports_errors
@ends_on_signals
def report(
    annotated: Annotated[str, typer.Argument(help="Output of `sctab annotate`, `.h5ad` or `.zarr`.")],
    output: Annotated[Path, typer.Option(help="Page to write, `.html`.")] = Path("report.html"),
    model: Annotated[
        str | None,
        typer.Option(help="Model directory, or name of a packaged model. By default the one that annotated, found by its name."),
    ] = None,
    sample_key: Annotated[
        str | None, typer.Option(help="Column of `obs` with samples. By default one that is named like samples or donors.")
    ] = None,
    labels_key: Annotated[
        str | None,
        typer.Option(help="Column of `obs` with given labels to compare with. By default one that is named like cell types."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page; by default the name of the file.")] = None,
    n_genes: Annotated[int, typer.Option(min=1, help="Genes per type.")] = 4,
    multiqc: Annotated[
        Path | None, typer.Option(help="File to write for MultiQC as well, whose name ends with `_mqc.json`.")
    ] = None,
    key_added: Annotated[str, typer.Option(help="Prefix of the columns that `sctab annotate` wrote.")] = DEFAULT_KEY_ADDED,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write a report of an annotation: one HTML file that opens offline.

    It has a summary, a table of types, a map of the cells, the genes that speak for each type, the tree of types, samples, agreement with
    given labels, known limits, and what it takes to repeat it. Matrices are read in parts, so that memory does not grow with them.

    **Examples**

    `sctab report annotated.h5ad --output report.html`

    `sctab report annotated.h5ad --output report.html --sample-key donor_id --multiqc sctab_mqc.json`
    """
    sctab.io.release_large_arrays()
    sctab.report.write(
        annotated,
        output,
        model=model,
        sample_key=sample_key,
        labels_key=labels_key,
        title=title,
        n_genes=n_genes,
        multiqc=multiqc,
        key_added=key_added,
        overwrite=overwrite,
    )
    for path in (output, multiqc):
        if path is not None:
            out.print(f"Wrote `{path}`.", soft_wrap=True)
