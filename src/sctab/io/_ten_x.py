"""Matrices of 10x Genomics in HDF5, as Cell Ranger and CellBender write them: one of version 3, or one for each genome of version 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sctab.errors import DataFileError
from sctab.io import integrity
from sctab.io._claims import require_claim
from sctab.io._layout import CellColumns, Choose, Layout, array_of, choose_part, strings
from sctab.io._stored import StoredRows

_MATRIX = "matrix"
_COLUMNS = {"id": "gene_ids", "feature_type": "feature_types"}
"""Arrays of version 3 that have another name in `var`, as in scanpy."""
_NOT_COLUMNS = {"_all_tag_keys", "name"}


class _Matrix:
    """A group that holds the genes of each cell in a row after another: the CSC of genes by cells is the CSR of cells by genes."""

    format = "csr"

    def __init__(self, group: Any, shape: tuple[int, int]) -> None:
        self.group, self.shape = group, shape


def genomes_of(root: Any) -> list[str]:
    """Names of the groups with a matrix, in alphabetical order; empty where the file is another one."""
    return [name for name in sorted(root) if hasattr(root[name], "keys") and {"barcodes", "indptr"} <= set(root[name])]


def read_ten_x(root: Any, path: str, *, part: str | None, choose: Choose | None) -> Layout:
    """Content of a file of 10x Genomics, with names and columns as `scanpy.read_10x_h5` gives them.

    Parameters
    ----------
    root
        Root of the opened file.
    path
        Its name in messages.
    part
        Genome to use; by default that which `choose` finds.
    choose
        See :data:`~sctab.io._layout.Choose`.

    Raises
    ------
    DataFileError
        If an array is missing, has another shape than the others, or claims a size that it cannot have.
    """
    genomes = genomes_of(root)
    tables = {genome: _features(root[genome], genome, path) for genome in genomes}
    named = tables
    if part is not None and genomes == [_MATRIX]:  # its features say the genome
        named = dict.fromkeys(tables[_MATRIX].get("genome", pd.Series([_MATRIX])).unique(), tables[_MATRIX])
    chosen = choose_part(named, part, choose, path, "genome")
    chosen = chosen if named is tables else _MATRIX
    group, var = root[chosen], tables[chosen]
    barcodes = array_of(group, "barcodes", path)
    shape = (int(barcodes.shape[0]), len(var))
    stated = np.asarray(group["shape"][:]).tolist() if "shape" in group else [*reversed(shape)]
    if stated != [*reversed(shape)]:
        raise DataFileError(
            f"`{path}`: `{chosen}/shape` must be the numbers of features and of barcodes, {shape[1]:,} and {shape[0]:,}, and is {stated}. "
            "The file is incomplete or damaged; copy or export it again."
        )
    require_claim(barcodes, f"{chosen}/barcodes", path)
    integrity.require_stored(barcodes, "the barcodes")
    matrix = StoredRows(_Matrix(group, shape), "X", path)
    is_choice = len(genomes) > 1
    return Layout(CellColumns(barcodes), var, matrix, part=chosen if is_choice else None, parts=genomes if is_choice else [])


def _features(group: Any, genome: str, path: str) -> pd.DataFrame:
    if "features" not in group:  # version 2
        ids = array_of(group, "genes", path)
        names = array_of(group, "gene_names", path, ids.shape[0])
        for array in (ids, names):
            integrity.require_stored(array, "the genes")
            require_claim(array, array.name.strip("/"), path)
        found = {"gene_ids": strings(ids[:]), "genome": genome} if genome != _MATRIX else {"gene_ids": strings(ids[:])}
        return pd.DataFrame(found, index=pd.Index(strings(names[:]), dtype=object))
    features = group["features"]
    ids = array_of(features, "id", path)
    names = array_of(features, "name", path, ids.shape[0])
    for array in (ids, names):
        integrity.require_stored(array, "the features")
    usable = {
        name: array
        for name, array in features.items()
        if not hasattr(array, "keys") and array.shape == ids.shape and name != "_all_tag_keys"
    }
    for name, array in usable.items():
        require_claim(array, f"{genome}/features/{name}", path)
    columns = {_COLUMNS.get(name, name): strings(array[:]) for name, array in usable.items() if name not in _NOT_COLUMNS}
    return pd.DataFrame(columns, index=pd.Index(strings(names[:]), dtype=object))
