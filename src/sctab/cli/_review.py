"""`sctab review`: cells and clusters whose given label the evidence contradicts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import sctab
import sctab.io
from sctab.cli._files import check_suffix, check_table_suffix, read_data, write_data, write_table
from sctab.cli._options import Debug, LabelMap, LabelsKey, LayerOption, Modality, Overwrite
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.errors import SettingError
from sctab.keys import DEFAULT_KEY_ADDED, UNS_REVIEW

_MOST_SHOWN = 10


@reports_errors
@ends_on_signals
def review(
    cells: Annotated[Path, typer.Argument(help="Cells with labels and counts, `.h5ad`, `.zarr` or `.h5mu`.")],
    labels_key: LabelsKey,
    model: Annotated[
        str | None, typer.Option(help="Model to review the labels with. By default models of the other cells, in five parts.")
    ] = None,
    annotation_key: Annotated[
        str | None, typer.Option(help="Prefix of an annotation in the file whose probabilities are used instead of a model.")
    ] = None,
    groups: Annotated[str | None, typer.Option(help="Column of `obs` with clusters, to rank these as well.")] = None,
    donor_key: Annotated[
        str | None, typer.Option(help="Column of `obs` with donors, which are then judged by models of the other donors.")
    ] = None,
    modality: Modality = None,
    label_map: LabelMap = None,
    layer: LayerOption = None,
    n_genes: Annotated[int, typer.Option(min=0, help="Genes for and against, for each suspect cell.")] = 5,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    key_added: Annotated[str, typer.Option(help="Prefix of the output columns.")] = DEFAULT_KEY_ADDED,
    csv: Annotated[Path | None, typer.Option(help="Output table of suspect cells, `.csv` or `.parquet`.")] = None,
    pairs_table: Annotated[
        Path | None, typer.Option(help="Output table of the noise of pairs of labels, `.csv` or `.parquet`.")
    ] = None,
    groups_table: Annotated[Path | None, typer.Option(help="Output table of clusters, `.csv` or `.parquet`.")] = None,
    output: Annotated[Path | None, typer.Option(help="Output data with the review, `.h5ad` or `.zarr`.")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Rank cells and clusters whose given label the evidence contradicts, with genes for and against.

    **Examples**

    `sctab review cells.h5ad --labels-key cell_type --csv queue.csv`

    `sctab review cells.h5ad --labels-key cell_type --model my-model --groups leiden --csv queue.csv --groups-table clusters.csv`
    """
    if groups_table is not None and groups is None:
        raise SettingError("`--groups-table` needs `--groups`, a column of `obs` with clusters.")
    if output is not None:
        check_suffix(output)
    tables = {name: path for name, path in (("cells", csv), ("pairs", pairs_table), ("groups", groups_table)) if path is not None}
    for path in tables.values():
        check_table_suffix(path)
    places = [*([output] if output is not None else []), *tables.values()]
    inputs = [cells, *([label_map] if label_map is not None else [])]
    sctab.io.check_apart(places, [*inputs, *([Path(model)] if model is not None and Path(model).is_dir() else [])])
    adata = read_data(cells, modality)
    with ExitStack() as outputs:
        beside = {
            path: outputs.enter_context(sctab.io.written_beside(path, overwrite=overwrite, kind=None if path == output else "file"))
            for path in places
        }
        sctab.tl.review(
            adata,
            labels_key,
            model,
            annotation_key=annotation_key,
            groups=groups,
            donor_key=donor_key,
            label_ids=label_map,
            layer=layer,
            n_genes=n_genes,
            seed=seed,
            key_added=key_added,
            show_progress=True,
        )
        if output is not None:
            write_data(adata, beside[output], target=output)
        for name, path in tables.items():
            write_table(sctab.get.review(adata, name, key_added=key_added), beside[path], path.suffix)  # type: ignore[arg-type]
    found = adata.uns[f"{key_added}_{UNS_REVIEW}"]
    out.print(
        f"Reviewed {found['n_reviewed']:,} cells with {found['evidence']}: {found['n_suspect']:,} are suspect, and {found['n_wrong']:.0f} "
        "labels are estimated to be wrong.",
        soft_wrap=True,
    )
    table = Table("given", "suggested", "cells", "expected wrong", "rate", box=None)
    for row in sctab.get.review(adata, "pairs", key_added=key_added).head(_MOST_SHOWN).itertuples():
        table.add_row(row.given, row.suggested, f"{row.cells:,}", f"{row.expected:.1f}", f"{row.rate:.3f}")
    out.print(table)
    for path in places:
        out.print(f"Wrote `{path}`.", soft_wrap=True)
