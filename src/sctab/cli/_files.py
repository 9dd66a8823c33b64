"""Data files of users: read whole, written whole."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
from anndata import AnnData

from sctab._errors import DataFileError, OutputError

_SUFFIXES = (".h5ad", ".zarr")


def read_data(path: Path) -> AnnData:
    """Read `.h5ad` or `.zarr`.

    Raises
    ------
    DataFileError
        When it is missing, of another type, or damaged.
    """
    check_suffix(path)
    if not path.exists():
        raise DataFileError(f"`{path}` is not there. Check the path.")
    try:
        return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)
    except MemoryError:
        raise
    except Exception as error:  # HDF5, Zarr and anndata raise many kinds of errors on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataFileError(
            f"`{path}` cannot be read as {path.suffix}: {reason.rstrip('.')}. "
            "It may be incomplete or damaged; copy or export it again."
        ) from error


def write_data(adata: AnnData, path: Path, *, target: Path) -> None:
    """Write `.h5ad` or `.zarr` to `path`, which stands for `target` in messages.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    try:
        if target.suffix == ".h5ad":
            adata.write_h5ad(path)
        else:
            adata.write_zarr(path)
    except OSError:
        raise  # explained by whoever gave the path
    except Exception as error:
        raise OutputError(f"`{target}` could not be written: {error}. What was there before is unchanged.") from error


def check_suffix(path: Path) -> None:
    """Refuse what is neither `.h5ad` nor `.zarr`.

    Raises
    ------
    DataFileError
        When it is another type.
    """
    if path.suffix not in _SUFFIXES:
        raise DataFileError(f"`{path}` is neither `.h5ad` nor `.zarr`. Give one of these.")
