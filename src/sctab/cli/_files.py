"""Data files of users: read whole, written whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import sctab.data
import sctab.io
from sctab.errors import DataFileError, OutputError, warn

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

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
    find = sctab.data.choose_modality()

    def choose(tables: Mapping[str, pd.DataFrame]) -> str:
        chosen = find(tables)
        warn(sctab.data.note_on_choice(chosen, tables))
        return chosen

    return sctab.io.read_data_file(found[0], modality=modality, choose=choose)


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
