"""Checks of an AnnData that a user gives, and the copy that results are written into."""

from __future__ import annotations

import os
from typing import Any

from anndata import AnnData, Raw as _Raw

from sctab.errors import InputTypeError, InputValueError, listing

_CELL_DATA = ("n_obs", "n_vars", "raw", "layers", "var", "obs")


def require_anndata(adata: object, *, files: str = "", fix: str = "") -> None:
    """Refuse everything that is not an AnnData, with a sentence on what to pass instead.

    Parameters
    ----------
    adata
        What a user passed.
    files
        The function that does the same for files, where there is one.
    fix
        What to do with a MuData; by default to pass one of its modalities.

    Raises
    ------
    InputTypeError
        If it is something else.
    """
    if not isinstance(adata, AnnData):
        raise InputTypeError(_explain(adata, files) if not fix or not is_mudata(adata) else f"An AnnData is needed. {fix}")


def require_cells(data: object, *, files: str = "") -> None:
    """Refuse everything that is neither an AnnData nor a MuData; parameters and errors as for :func:`require_anndata`."""
    if not is_mudata(data):
        require_anndata(data, files=files)


def is_mudata(data: object) -> bool:
    """Return whether an object is a MuData."""
    return type(data).__module__.split(".")[0] == "mudata" and hasattr(data, "mod") and not isinstance(data, type)


def require_cell_data(cells: object) -> None:
    """Refuse what is neither an AnnData nor has all that is read of one, as an open file has.

    Raises
    ------
    InputTypeError
        If it is something else.
    """
    if isinstance(cells, AnnData):
        return
    if isinstance(cells, type) or not all(hasattr(cells, name) for name in _CELL_DATA):
        raise InputTypeError(_explain(cells, ""))


def require_writable(adata: AnnData, *, copy: bool) -> None:
    """Refuse a view of a backed AnnData, to which nothing can be written, before the work and not after it.

    Raises
    ------
    InputValueError
        If it is one, and results are to be written into it.
    """
    if adata.isbacked and adata.is_view and not copy:
        raise InputValueError(
            "The data is a view of a backed AnnData, which is read-only. Read it into memory with `adata.to_memory()`, or "
            "pass `copy=True`, which does that."
        )


def target_of(adata: AnnData, *, copy: bool) -> AnnData:
    """Target of results: the AnnData itself, or a copy, which is in memory if the AnnData is backed."""
    if not copy:
        return adata
    return adata.to_memory() if adata.isbacked else adata.copy()


def _explain(given: Any, files: str) -> str:
    rule = "An AnnData is needed"
    kind = type(given)
    package = kind.__module__.split(".")[0]
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        reader = "read_zarr" if str(path).rstrip("/").endswith(".zarr") else "read_h5ad"
        also = f", or annotate the file itself with `{files}`" if files else ""
        return f"{rule}, and {path!r} is a string, such as a path. Read the file first{also}: `anndata.{reader}({path!r})`."
    if package == "mudata":
        names = list(getattr(given, "mod", {}))
        example = next((name for name in names if name.lower() in {"rna", "gex"}), names[0] if names else "rna")
        return (
            f"{rule}, and this is a MuData with the modalities {listing(names)}. Pass the one that holds gene expression, for example "
            f"`mdata[{example!r}]`."
        )
    if package == "spatialdata":
        names = list(getattr(given, "tables", {}))
        example = names[0] if names else "table"
        return f"{rule}, and this is a SpatialData with the tables {listing(names)}. Pass one, for example `sdata.tables[{example!r}]`."
    if isinstance(given, _Raw):
        return f"{rule}, and this is the `raw` of one. Pass the AnnData itself, or `adata.raw.to_adata()`."
    if isinstance(given, type):
        return f"{rule}, and this is the class `{given.__name__}`. Pass an object."
    if isinstance(given, dict | list | tuple | set) or (package == "builtins" and hasattr(given, "__next__")):
        return f"{rule}, and this is a {kind.__name__}. Pass one AnnData at a time, or merge them with `sctab.pp.merge`."
    if hasattr(given, "shape") and len(given.shape) == 2:
        make = (
            "anndata.AnnData(frame)"
            if hasattr(given, "columns")
            else "anndata.AnnData(matrix, var=pandas.DataFrame(index=gene_names))"
        )
        return f"{rule}, and this is a {kind.__name__}. Convert it, with cells as rows and genes as columns: `{make}`."
    return f"{rule}, and this is {'`None`' if given is None else f'a {kind.__name__}'}. Pass the cells as an `anndata.AnnData`."
