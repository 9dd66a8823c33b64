"""Checks of whole datasets: of an AnnData before parts of it are copied, and of a file before it is read into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anndata import AnnData
from anndata.io import sparse_dataset
from scipy import sparse

from sctab.errors import warn
from sctab.io import integrity
from sctab.io._stored import StoredRows, TransposedRows

_SLOTS = ("obsm", "varm", "obsp", "varp")


def require_sound_cells(adata: AnnData, path: str | None = None) -> None:
    """Refuse an AnnData with a sparse matrix, in any place, of which SciPy cannot copy rows or columns.

    Parameters
    ----------
    adata
        The cells.
    path
        The file that they were read from.

    Raises
    ------
    InputValueError
        If indices of a matrix in memory point outside of it.
    DataFileError
        The same of a backed matrix, or with `path`.
    """
    for name, matrix in _matrices(adata):
        if hasattr(matrix, "group"):
            rows = StoredRows(matrix, name, path)
            if rows.kind == "csc":  # which is read whole
                rows.values(slice(0, rows.shape[1]))
            else:
                _ = rows.indptr
        elif sparse.issparse(matrix) and (problem := integrity.sparse_problem(matrix)):
            raise integrity.refuse(name, problem, path)


def require_sound_view(adata: Any) -> None:
    """Refuse a view of an AnnData of which SciPy cannot copy rows or columns; anything else is checked when it is read."""
    if getattr(adata, "is_view", False):
        require_sound_cells(adata._adata_ref)


def _matrices(adata: AnnData) -> Iterator[tuple[str, Any]]:
    yield "X", adata.X
    if adata.raw is not None:
        yield "raw.X", adata.raw.X
    yield from ((f"layers[{key!r}]", matrix) for key, matrix in adata.layers.items() if key is not None)
    for slot in _SLOTS:
        yield from ((f"{slot}[{key!r}]", value) for key, value in getattr(adata, slot).items())


def stored_rows(elem: Any, name: str, path: str) -> StoredRows | TransposedRows:
    """A sparse matrix of a file from which rows can be read, checked as they are.

    Raises
    ------
    DataFileError
        If its arrays do not belong together.
    """
    dataset = sparse_dataset(elem)
    return (StoredRows if dataset.format == "csr" else TransposedRows)(dataset, name, path)


def require_whole(root: Any, path: str) -> None:
    """Refuse an opened file of which a part of a sparse matrix is missing; warn where one of a dense matrix or of a column may be.

    Raises
    ------
    DataFileError
        If it is missing, or the matrix is not valid.
    """
    for name, elem in _stored_matrices(root):
        if not hasattr(elem, "keys"):
            if elem.shape and (remark := integrity.dense_remark(elem, name)):
                warn(f"`{path}`: {remark}")
        elif "indptr" in elem:
            stored_rows(elem, name, path).require_whole()
    obs = root["obs"]
    for key in obs if hasattr(obs, "keys") else ():
        if remark := integrity.column_remark(obs[key], key):
            warn(f"`{path}`: {remark}")


def _stored_matrices(root: Any) -> Iterator[tuple[str, Any]]:
    if "X" in root:
        yield "X", root["X"]
    raw, layers = root.get("raw"), root.get("layers")
    if hasattr(raw, "keys") and "X" in raw:
        yield "raw.X", raw["X"]
    if hasattr(layers, "keys"):
        yield from ((f"layers[{key!r}]", layers[key]) for key in layers)
