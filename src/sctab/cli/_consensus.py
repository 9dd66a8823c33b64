"""`sctab consensus`: labels of several tools, compared along the Cell Ontology."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

import sctab
import sctab.io
from sctab.cli._files import check_suffix, check_table_suffix, read_data, write_data, write_table
from sctab.cli._options import Debug, LabelMap, Modality, Overwrite
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.keys import DEFAULT_KEY_ADDED, OBS_AGREEMENT, OBS_CONSENSUS

if TYPE_CHECKING:
    from anndata import AnnData

_MOST_SHOWN = 10
_BESIDE = ("", "_id", "_ontology_term_id")


@reports_errors
@ends_on_signals
def consensus(
    annotated: Annotated[Path, typer.Argument(help="Cells with labels of several tools, `.h5ad`, `.zarr` or `.h5mu`.")],
    key: Annotated[list[str], typer.Option(help="Column of `obs` with the labels of one tool; repeat it for each.")],
    modality: Modality = None,
    label_map: LabelMap = None,
    max_labels_below: Annotated[
        int | None,
        typer.Option(min=1, help="Terms that an answer may leave open at most. By default half of those that occur, for siblings."),
    ] = None,
    key_added: Annotated[str, typer.Option(help="Prefix of the output columns.")] = DEFAULT_KEY_ADDED,
    output: Annotated[Path | None, typer.Option(help="Output data with the consensus, `.h5ad` or `.zarr`.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Output table of the consensus, one row per cell, `.csv` or `.parquet`.")] = None,
    labels_table: Annotated[
        Path | None, typer.Option(help="Output table of all labels, and how they were mapped, `.csv` or `.parquet`.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Compare the labels of several tools, and write the lowest common term of each cell.

    Labels are mapped to the Cell Ontology; those that are not certain are listed with the nearest names, and do not count.

    **Examples**

    `sctab consensus cells.h5ad --key azimuth_fine --key predicted_labels --key sctab_label --csv consensus.csv`

    `sctab consensus cells.h5ad --key author_label --key sctab_label --label-map ids.tsv --output cells_consensus.h5ad`
    """
    if output is not None:
        check_suffix(output)
    tables = [path for path in (csv, labels_table) if path is not None]
    for path in tables:
        check_table_suffix(path)
    sctab.io.check_apart(
        [path for path in (output, *tables) if path is not None], [path for path in (annotated, label_map) if path is not None]
    )
    adata = _read_labels(annotated, key, modality) if output is None else read_data(annotated, modality)
    with ExitStack() as outputs:
        beside = {
            path: outputs.enter_context(sctab.io.written_beside(path, overwrite=overwrite, kind=None if path == output else "file"))
            for path in (output, *tables)
            if path is not None
        }
        sctab.tl.consensus(adata, key, label_ids=label_map, max_labels_below=max_labels_below, key_added=key_added)
        if output is not None:
            write_data(adata, beside[output], target=output)
        if csv is not None:
            columns = [
                name for name in adata.obs if name.startswith((f"{key_added}_{OBS_CONSENSUS}", f"{key_added}_{OBS_AGREEMENT}"))
            ]
            write_table(
                adata.obs[[*key, *(name for name in columns if name not in key)]], beside[csv], csv.suffix, index_label="cell"
            )
        if labels_table is not None:
            write_table(sctab.get.consensus(adata, "labels", key_added=key_added), beside[labels_table], labels_table.suffix)
    _report(adata, key_added)
    for path in beside:
        out.print(f"Wrote `{path}`.", soft_wrap=True)


def _read_labels(path: Path, keys: list[str], modality: str | None) -> AnnData:
    """Cells of a file with their labels alone."""
    from anndata import AnnData

    found = sctab.io.find_data_files([path]) if path.is_dir() else [str(path)]
    if len(found) > 1:
        return read_data(path, modality)  # which refuses it
    wanted = [f"{key}{suffix}" for key in keys for suffix in _BESIDE]
    with closing(
        sctab.io.DataFile(found[0], [*wanted, "tissue"], modality=modality, choose=sctab.data.choose_expression())
    ) as file:
        obs = file.obs.copy()
        obs.index = file.names(0, file.n_obs)
        return AnnData(obs=obs)


def _report(adata: AnnData, key_added: str) -> None:
    """Print the kinds of agreement, and the most frequent combinations in conflict."""
    table = Table("agreement", "cells", "fraction", box=None)
    for row in sctab.get.consensus(adata, key_added=key_added).itertuples():
        if row.cells:
            table.add_row(row.agreement, f"{row.cells:,}", f"{row.fraction:.3f}")
    out.print(table)
    rows = sctab.get.consensus(adata, "combinations", key_added=key_added)
    conflicts = rows[rows["agreement"] == "conflict"].head(_MOST_SHOWN)
    if len(conflicts):
        keys = list(rows.columns[: rows.columns.get_loc("cells")])
        table = Table(*keys, "cells in conflict", box=None)
        for row in conflicts.to_dict("records"):
            table.add_row(*(row[key] for key in keys), f"{row['cells']:,}")
        out.print()
        out.print(table)
