"""Loom files: a dense matrix of genes by cells, and attributes of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sctab.errors import DataFileError, listing
from sctab.io import integrity
from sctab.io._claims import require_claim
from sctab.io._layout import CellColumns, Layout, StoredColumns, strings, values

_CELL_NAMES = ("CellID", "cell_names", "obs_names", "barcode", "barcodes", "Cell")
_GENE_NAMES = ("Gene", "var_names", "gene_names", "Genes", "gene", "Accession")


def is_loom(root: Any) -> bool:
    """Return whether an HDF5 file has the groups of a Loom file."""
    return {"row_attrs", "col_attrs", "matrix"} <= set(root)


def read_loom(root: Any, path: str) -> Layout:
    """Content of a Loom file, with names as `scanpy.read_loom` takes them: `Gene` and `CellID`.

    Raises
    ------
    DataFileError
        If the matrix, or the names of genes or cells, are missing or have another shape than the others, or if something claims a size
        that it cannot have.
    """
    matrix = root["matrix"]
    if hasattr(matrix, "keys") or (problem := integrity.shape_problem(matrix.shape) or integrity.dtype_problem(matrix.dtype)):
        raise integrity.refuse("matrix", "must be an array" if hasattr(matrix, "keys") else str(problem), path)
    n_vars, n_obs = matrix.shape
    genes, cells = _attributes(root, "row_attrs", n_vars, path), _attributes(root, "col_attrs", n_obs, path)
    gene_key = _key_of(genes, _GENE_NAMES, "row_attrs", "Gene", path)
    cell_key = _key_of(cells, _CELL_NAMES, "col_attrs", "CellID", path)
    integrity.require_stored(cells[cell_key], "the names of the cells")
    integrity.require_stored(genes[gene_key], "the names of the genes")
    columns = {key: values(array) for key, array in genes.items() if key != gene_key}
    var = pd.DataFrame(columns, index=pd.Index(strings(genes[gene_key][:]), dtype=object))
    obs = CellColumns(cells[cell_key], {key: array for key, array in cells.items() if key != cell_key})
    layers = {}
    for name, layer in list(root["layers"].items()) if "layers" in root else ():
        if problem := integrity.shape_problem(layer.shape[::-1], (n_obs, n_vars)):
            raise integrity.refuse(f"layers[{name!r}]", problem, path)
        if name:  # velocyto writes the matrix again under an empty name
            layers[name] = StoredColumns(layer)
    return Layout(obs, var, StoredColumns(matrix), layers)


def _attributes(root: Any, name: str, n: int, path: str) -> dict[str, Any]:
    """Attributes with a value for each gene or cell; others, such as embeddings, are left out."""
    found = root[name]
    arrays = {key: array for key, array in found.items() if not hasattr(array, "keys")} if hasattr(found, "keys") else {}
    usable = {key: array for key, array in arrays.items() if array.shape == (n,)}
    for key, array in usable.items():  # that of a gene is read whole, and that of a cell where it is wanted
        require_claim(array, f"{name}/{key}", path)
    if wrong := [key for key, array in arrays.items() if not array.shape or array.shape[0] != n]:
        raise DataFileError(
            f"`{path}`: `{name}/{wrong[0]}` must have a value for each of the {n:,} {'genes' if name == 'row_attrs' else 'cells'} of the "
            f"matrix, and has the shape {arrays[wrong[0]].shape}. The file is incomplete or damaged; copy or export it again."
        )
    return usable


def _key_of(attributes: dict[str, Any], known: Sequence[str], where: str, usual: str, path: str) -> str:
    key = next((key for key in known if key in attributes), None)
    if key is None:
        raise DataFileError(
            f"`{path}` must have names in `{where}/{usual}`, and holds {listing(sorted(attributes))} there. Write this "
            "attribute with loompy."
        )
    return key
