"""Data files of users: read whole, written whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sctab.data
import sctab.io
from sctab.errors import DataFileError, OutputError, SettingError, did_you_mean, listing, warn

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

_SUFFIXES = (".h5ad", ".zarr")


def read_data(path: Path, modality: str | None = None) -> AnnData:
    """Read a data file whole; of several modalities or genomes the one that is named, else the one with gene expression, with a note.

    Raises
    ------
    DataFileError
        If it is missing, of another format, compressed with what is not installed, or damaged.
    """
    found = sctab.io.find_data_files([path]) if path.is_dir() else [path]
    if len(found) > 1:
        raise DataFileError(f"`{path}` holds {len(found)} data files. Provide one of them.")
    find = sctab.data.choose_expression()

    def choose(tables: Mapping[str, pd.DataFrame]) -> str:
        chosen = find(tables)
        warn(sctab.data.note_on_choice(chosen, tables))
        return chosen

    return sctab.io.read_data_file(found[0], modality=modality, choose=choose)


def read_reference(
    path: Path, modality: str | None, protein_modality: str | None, protein_layer: str | None
) -> tuple[AnnData | MuData, dict[str, Any]]:
    """Read a reference whole, and give the arguments by which a MuData is set up, which are empty for others.

    Raises
    ------
    DataFileError
        As for :func:`read_data`.
    KeyNotFoundError
        If there is no such modality of antibodies.
    SettingError
        If antibodies are named, and the file is not a MuData.
    """
    mdata = sctab.io.read_mudata(path) if path.is_file() or path.suffix == ".zarr" else None
    if mdata is None:
        for option, value in (("--protein-modality", protein_modality), ("--protein-layer", protein_layer)):
            if value is not None:
                raise SettingError(f"`{option} {value}` is for a MuData, such as a `.h5mu`, and `{path}` is not one. Omit it.")
        return read_data(path, modality), {}
    tables = {name: mdata.mod[name].var for name in sorted(mdata.mod)}  # in the order of files
    if modality is not None and modality not in tables:
        raise DataFileError(f"`{path}` has no modality `{modality}`.{did_you_mean(modality, tables)} Available: {listing(tables)}.")
    rna = modality or sctab.data.choose_known(sctab.data.choose_modality(), None)(tables)
    proteins = sctab.data.choose_proteins(wanted=protein_modality)(tables, rna)
    left_out = [name for name in tables if name not in (rna, proteins)]
    if modality is None and left_out:
        warn(sctab.data.note_on_choice(rna, [name for name in tables if name != proteins]))
    roles = {sctab.data.RNA: rna} | ({} if proteins is None else {sctab.data.PROTEIN: proteins})
    return mdata, {"modalities": roles, "protein_layer": protein_layer}


def count_antibodies(data: AnnData | MuData, roles: Mapping[str, Any]) -> int:
    """Number of antibodies of a reference as :func:`read_reference` gives it."""
    name = roles.get("modalities", {}).get(sctab.data.PROTEIN)
    return 0 if name is None else int(data.mod[name].n_vars)


def write_data(adata: AnnData, path: Path, *, target: Path) -> None:
    """Write `.h5ad` or `.zarr` to `path`, called `target` in messages.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        if target.suffix.lower() == ".h5ad":
            adata.write_h5ad(path)
        else:
            adata.write_zarr(path)
    except OSError:
        raise  # explained by the caller, who knows the path
    except Exception as error:
        raise OutputError(f"`{target}` could not be written: {error}. What was there before is unchanged.") from error


def check_suffix(path: Path) -> None:
    """Refuse what is neither `.h5ad` nor `.zarr`.

    Raises
    ------
    DataFileError
        If it is another type.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise DataFileError(f"`{path}` is neither `.h5ad` nor `.zarr`. Provide one of these.")


def check_table_suffix(path: Path) -> None:
    """Refuse a table that is neither `.csv` nor `.parquet`.

    Raises
    ------
    DataFileError
        If it is another type.
    """
    if path.suffix.lower() not in sctab.io.TABLE_SUFFIXES:
        raise DataFileError(f"`{path}` is neither `.csv` nor `.parquet`. Provide one of these.")


def write_table(table: pd.DataFrame, path: Path, suffix: str, *, index_label: str | None = None) -> None:
    """Write a table to `path`, as its `suffix` says; its index under a label, or not at all."""
    if suffix.lower() == ".csv":
        sctab.io.write_csv(table, path, index_label=index_label)
    else:
        shown = table.rename_axis(index_label) if index_label else table
        shown.to_parquet(path, index=index_label is not None)


def read_names(path: Path) -> list[str]:
    """Names in a text file, one per line; lines that are empty or begin with `#` are left out.

    Raises
    ------
    DataFileError
        If it cannot be read, or has none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataFileError(f"`{path}` is not text in UTF-8. Save it as text, with one name per line.") from error
    except OSError as error:
        raise DataFileError(f"`{path}` cannot be read: {error.strerror}. Check the path.") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DataFileError(f"`{path}` has no names. Provide one per line.")
    return names
