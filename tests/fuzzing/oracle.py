"""What a data file says, read by anndata alone and checked by hand: nothing here is code of `sctab`."""

import signal
from collections.abc import Mapping
from contextlib import suppress

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData, Raw
from pandas.api.extensions import ExtensionDtype
from scipy import sparse

PATIENCE = 10
"""Seconds that anndata has to read a file: links that lead back up take it for ever."""
_STRINGS = "OUT"
"""Kinds of NumPy types that hold strings."""


def watch(stage):
    """Told when anndata begins and ends to read; who runs a case puts a function here."""


class InvalidDataError(Exception):
    """What anndata reads is not a valid matrix or table, or it reads nothing at all."""


def read_intact(path, *, backed=False):
    """Read a file with anndata; what it raises, whatever that is, becomes an :class:`InvalidDataError`."""

    def end(*_):
        raise TimeoutError("anndata does not end")

    if path.is_dir() and any(part.is_symlink() for part in path.rglob("*")):
        raise InvalidDataError("links lead out of the store, and anndata reads them without an end")
    watch("anndata")
    signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    try:
        adata = (ad.read_h5ad(path, backed="r") if backed else ad.read_h5ad(path)) if path.suffix == ".h5ad" else ad.read_zarr(path)
    except Exception as error:
        raise InvalidDataError(f"anndata: {type(error).__name__}: {str(error)[:200]}") from error
    finally:
        signal.alarm(0)
        watch("reading")
    return adata


def dense(matrix):
    """A matrix as a dense array, by loops that trust nothing."""
    if not sparse.issparse(matrix):
        return np.array(matrix, dtype=np.float64)
    if matrix.format not in {"csr", "csc"}:
        raise InvalidDataError(f"format {matrix.format}")
    n_major, n_minor = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
    indptr, indices, data = (np.asarray(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    if indptr.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise InvalidDataError("indices are not integers")
    if len(indptr) != n_major + 1 or indptr[0] != 0 or (np.diff(indptr.astype(object)) < 0).any() or indptr[-1] != len(indices):
        raise InvalidDataError("`indptr` is not from 0 to the number of values without falling")
    if len(data) != len(indices) or (len(indices) and (indices.min() < 0 or indices.max() >= n_minor)):
        raise InvalidDataError("indices beyond the matrix")
    found = np.zeros((n_major, n_minor))
    for i in range(n_major):
        np.add.at(found[i], indices[indptr[i] : indptr[i + 1]], data[indptr[i] : indptr[i + 1]])  # a column may stand twice
    return found if matrix.format == "csr" else found.T


def dense_copy(adata):
    """An AnnData with the same tables, whose matrices are dense; an error where `X` is not a valid matrix."""
    adata = adata.to_memory() if adata.isbacked else adata
    copy = AnnData(
        None if adata.X is None else dense(adata.X).astype(np.float32),
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        uns=dict(adata.uns),
    )
    for name, layer in adata.layers.items():
        with suppress(InvalidDataError):  # what was not read may be damaged; what was read would have other labels
            copy.layers[name] = dense(layer).astype(np.float32)
    with suppress(InvalidDataError):
        if adata.raw is not None:
            copy.raw = AnnData(dense(adata.raw.X).astype(np.float32), obs=adata.obs[[]], var=adata.raw.var.copy())
    return copy


def difference(one, other):
    """What is not the same in two slots of AnnData, or `None`; matrices are compared by what is stored, and not computed on."""
    if isinstance(one, Raw) and isinstance(other, Raw):
        return difference(one.X, other.X) or difference(one.var, other.var)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return f"keys differ: {sorted(map(str, set(one) ^ set(other)))}"
        return next((f"{key}: {problem}" for key in one if (problem := difference(one[key], other[key])) is not None), None)
    if isinstance(one, pd.DataFrame) and isinstance(other, pd.DataFrame):
        if list(one) != list(other) or not one.index.equals(other.index):
            return "columns or the index differ"
        columns = ((column, difference(one[column], other[column])) for column in one)
        return next((f"{column}: {problem}" for column, problem in columns if problem is not None), None)
    if isinstance(one, pd.Series) and isinstance(other, pd.Series) and isinstance(one.dtype, ExtensionDtype):
        return None if one.equals(other) else "values differ"
    if sparse.issparse(one) and sparse.issparse(other):
        if one.shape != other.shape or one.format != other.format:
            return "shapes or formats differ"
        return next(
            (
                problem
                for part in ("indptr", "indices", "data")
                if (problem := difference(getattr(one, part), getattr(other, part)))
            ),
            None,
        )
    if one is None or other is None:
        return None if one is other else "one is missing"
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return f"shapes {one.shape} and {other.shape}"
    if one.dtype.kind in _STRINGS or one.dtype.names:
        return None if str(one.tolist()) == str(other.tolist()) else "values differ"
    if one.dtype.newbyteorder("=") != other.dtype.newbyteorder("="):
        return f"types {one.dtype} and {other.dtype}"
    return None if np.array_equal(one, other, equal_nan=one.dtype.kind in "fc") else "values differ"
