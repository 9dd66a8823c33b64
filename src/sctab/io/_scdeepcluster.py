"""Files of the published scDeepCluster: counts of cells by genes in `X`, and where there are any, labels in `Y` and batches in `B`."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import DataFileError, listing
from sctab.io import integrity
from sctab.io._claims import require_claim
from sctab.io._layout import CellColumns, Layout, strings
from sctab.io._rows import RowReader, row_ranges
from sctab.io._stored import StoredRows, TransposedRows

LABELS, BATCHES = "Y", "batch"
"""Columns of `obs` with the labels and the batches of a file."""
_COUNTS, _ONE_HOT = "X", "B"
_CELL_NAMES = ("cell_names", "obs_names", "barcodes")
_GENE_NAMES = ("gene_names", "var_names", "genes")
_MOST_GENES = 2**24
"""Columns of a matrix beyond which no names are made for them."""
_ANOTHER = "Export the file again, with counts of cells by genes in `X`."


def is_scdeepcluster(root: Any) -> bool:
    """Return whether an HDF5 file has arrays named as the published program reads them, and no table of an AnnData.

    Examples
    --------
    >>> is_scdeepcluster({"X": np.eye(2), "Y": np.arange(2)}), is_scdeepcluster({"X": np.eye(2), "obs": {}})
    (True, False)
    """
    names = set(root)
    return bool(names & {_COUNTS, LABELS, _ONE_HOT}) and not names & {"obs", "var", "mod"}


def read_scdeepcluster(root: Any, path: str) -> Layout:
    """Content of a file of the published scDeepCluster: labels are the column `Y` of `obs`, and batches the column `batch`.

    Cells are called by their numbers, `"0"`, `"1"`, …, and genes `"gene_0"`, `"gene_1"`, …, unless the file has names: cells in
    `cell_names`, `obs_names` or `barcodes`, genes in `gene_names`, `var_names` or `genes`.

    Parameters
    ----------
    root
        Root of the opened file.
    path
        Its name in messages.

    Raises
    ------
    DataFileError
        If there is no `X`, if `Y` or `B` have not a row for each cell, if `B` is not one-hot, or if something claims a size that it
        cannot have; later, if rows are read, if a value is not a count.
    """
    if _COUNTS not in root:
        raise DataFileError(
            f"`{path}` must have the counts of cells by genes in `X`, and holds {listing(sorted(root), most=8)}. {_ANOTHER}"
        )
    matrix = _matrix_of(root[_COUNTS], path)
    n_obs, n_vars = matrix.shape
    if not n_obs or not 0 < n_vars <= _MOST_GENES:
        raise integrity.refuse(_COUNTS, f"must have cells and genes, and has the shape {(n_obs, n_vars)}", path)
    columns: dict[str, Any] = {}
    if LABELS in root:
        columns[LABELS] = _labels(root[LABELS], n_obs, path)
    if _ONE_HOT in root:
        columns[BATCHES] = _batches(root[_ONE_HOT], n_obs, path)
    cells, genes = _names(root, _CELL_NAMES, n_obs, path), _names(root, _GENE_NAMES, n_vars, path, prefix="gene_")
    var = pd.DataFrame(index=pd.Index(strings(genes[:]), dtype=object))
    return Layout(CellColumns(cells, columns), var, _Counts(matrix, path))


class _Counts:
    """A matrix of a file whose rows are counts, which is checked when they are read."""

    def __init__(self, matrix: Any, path: str) -> None:
        self.stored, self._path = matrix, path
        self.shape, self.dtype = tuple(matrix.shape), matrix.dtype
        self.is_dense = isinstance(matrix, h5py.Dataset)

    def __getitem__(self, rows: slice) -> Any:
        """The rows `start:stop`."""
        block = self.stored[rows]
        if found := _not_a_count(block.data if sparse.issparse(block) else block):
            raise DataFileError(
                f"`{self._path}`: `X` must hold counts, integers that are not negative, and {found} was found in the cells "
                f"{rows.start:,} to {rows.stop - 1:,}. Provide the raw counts, not normalised values."
            )
        return block


class _Group:
    """Arrays of a sparse matrix, with the shape that the group says."""

    def __init__(self, group: Any, shape: tuple[int, int], kind: str) -> None:
        self.group, self.shape, self.format = group, shape, kind


class _Numbers:
    """Names of cells or genes that have none: their numbers, after a prefix."""

    def __init__(self, n: int, prefix: str) -> None:
        self._n, self._prefix = n, prefix

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> list[str]:
        return [f"{self._prefix}{number}" for number in range(*rows.indices(self._n))]


def _not_a_count(values: NDArray[Any]) -> str | None:
    """The first value that is not a count, in words; `None` where there is none.

    Examples
    --------
    >>> _not_a_count(np.array([0.0, 2.5])), _not_a_count(np.array([1.0, np.nan])), _not_a_count(np.array([3, 0]))
    ('2.5', 'NaN', None)
    """
    if values.dtype.kind in "bu" or not values.size:
        return None
    if values.dtype.kind == "i":
        return None if values.min() >= 0 else f"{values.min()}"
    is_wrong = ~((values >= 0) & (values == np.floor(values)) & np.isfinite(values))
    if not is_wrong.any():
        return None
    found = values.flat[int(is_wrong.argmax())]
    return "NaN" if np.isnan(found) else f"{found:g}"


def _matrix_of(elem: Any, path: str) -> Any:
    """Cells by genes, of which rows can be read: a dense array, or a group with the arrays of a sparse matrix."""
    if not hasattr(elem, "keys"):
        if problem := integrity.shape_problem(elem.shape) or integrity.dtype_problem(elem.dtype):
            raise integrity.refuse(_COUNTS, problem, path)
        require_claim(elem, _COUNTS, path)
        return elem
    for name in ("data", "indices", "indptr"):
        if name not in elem or hasattr(elem[name], "keys"):
            raise integrity.refuse(_COUNTS, f"is a group, which must have the array `{name}` of a sparse matrix", path)
        require_claim(elem[name], f"{_COUNTS}/{name}", path)
    shape = _shape_of(elem, path)
    stated = elem.attrs.get("encoding-type", elem.attrs.get("h5sparse_format", ""))
    stated = stated.decode("utf-8", "replace") if isinstance(stated, bytes) else str(stated)
    n_starts = elem["indptr"].shape
    kind = "csc" if stated.startswith("csc") or (not stated and n_starts == (shape[1] + 1,) != (shape[0] + 1,)) else "csr"
    return (TransposedRows if kind == "csc" else StoredRows)(_Group(elem, shape, kind), _COUNTS, path)


def _shape_of(group: Any, path: str) -> tuple[int, int]:
    stated = next((group.attrs[name] for name in ("shape", "h5sparse_shape") if name in group.attrs), None)
    if stated is None and "shape" in group and not hasattr(group["shape"], "keys") and group["shape"].shape == (2,):
        stated = group["shape"][:]
    numbers = np.asarray([] if stated is None else stated)
    if numbers.shape != (2,) or numbers.dtype.kind not in "iu":
        raise integrity.refuse(_COUNTS, "is a sparse matrix, which must say its shape: the numbers of cells and of genes", path)
    return int(numbers[0]), int(numbers[1])


def _names(root: Any, known: tuple[str, ...], n: int, path: str, *, prefix: str = "") -> Any:
    """Names that the file has under one of some names, else numbers."""
    for name in known:
        found = root.get(name)
        if found is not None and not hasattr(found, "keys") and found.shape == (n,) and found.dtype.kind in "OSU":
            require_claim(found, name, path)
            integrity.require_stored(found, f"`{name}`")
            return found
    return _Numbers(n, prefix)


def _labels(elem: Any, n_obs: int, path: str) -> pd.Categorical:
    """Labels as strings, those that are numbers in the order of the numbers; a label that is NaN or empty is missing."""
    shape = None if hasattr(elem, "keys") else tuple(elem.shape)
    if shape not in {(n_obs,), (n_obs, 1), (1, n_obs)}:
        has = "is a group" if shape is None else f"has the shape {shape}"
        raise DataFileError(f"`{path}`: `Y` must have a label for each of the {n_obs:,} cells of `X`, and {has}. {_ANOTHER}")
    require_claim(elem, LABELS, path)
    integrity.require_stored(elem, "`Y`")
    found = np.asarray(elem[...]).reshape(-1)
    if found.dtype.kind not in "biufOSU":
        raise DataFileError(f"`{path}`: `Y` must hold numbers or strings, and holds {found.dtype}. {_ANOTHER}")
    if found.dtype.kind == "f":
        is_whole = np.isfinite(found) & (found == np.floor(found)) & (np.abs(found) < 2**53)
        known = ~np.isnan(found)
        numbers = np.unique(found[known])
        as_string = (lambda value: str(int(value))) if is_whole[known].all() else (lambda value: f"{value:g}")
    elif found.dtype.kind in "biu":
        known, numbers, as_string = np.ones(n_obs, dtype=bool), np.unique(found), lambda value: str(int(value))
    else:
        texts = np.array(strings(found), dtype=object)
        return pd.Categorical(np.where(texts == "", None, texts))  # type: ignore[call-overload]
    codes = np.where(known, np.searchsorted(numbers, np.where(known, found, numbers[0] if len(numbers) else 0)), -1)
    return pd.Categorical.from_codes(codes, categories=[as_string(value) for value in numbers])


def _batches(elem: Any, n_obs: int, path: str) -> pd.Categorical:
    """The batch of each cell from its row of zeros and a one."""
    shape = None if hasattr(elem, "keys") else tuple(elem.shape)
    if shape is None or len(shape) != 2 or shape[0] != n_obs or not 0 < shape[1] <= n_obs:
        has = "is a group" if shape is None else f"has the shape {shape}"
        raise DataFileError(
            f"`{path}`: `B` must have a row for each of the {n_obs:,} cells of `X` and a column for each batch, and {has}. {_ANOTHER}"
        )
    if problem := integrity.dtype_problem(elem.dtype):
        raise integrity.refuse(_ONE_HOT, problem, path)
    require_claim(elem, _ONE_HOT, path)
    rows, codes = RowReader(elem, _ONE_HOT), np.zeros(n_obs, dtype=np.int32)
    for start, stop in row_ranges(elem):
        block = rows.read(start, stop)
        block.eliminate_zeros()
        if (wrong := np.diff(block.indptr) != 1).any() or (wrong := block.data != 1).any():
            raise DataFileError(
                f"`{path}`: `B` must be one-hot, with a single 1 and zeros in each row, and is not in the row of cell "
                f"{start + int(wrong.argmax()):,}. {_ANOTHER}"
            )
        codes[start:stop] = block.indices
    return pd.Categorical.from_codes(codes, categories=[str(number) for number in range(shape[1])])
