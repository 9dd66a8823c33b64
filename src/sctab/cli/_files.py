"""Data files of users: read whole, written whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sctab.io
from sctab.errors import DataFileError, OutputError

if TYPE_CHECKING:
    from anndata import AnnData

_SUFFIXES = (".h5ad", ".zarr")


def read_data(path: Path) -> AnnData:
    """Read `.h5ad` or `.zarr`.

    Raises
    ------
    DataFileError
        If it is missing, of another format, compressed with what is not installed, or damaged.
    """
    return sctab.io.read_data_file(path)


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
