"""Checks of matrices, made before anything computes on them: compiled code trusts indices, and reads and writes where they point."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab import _lazy
from sctab.errors import BY_LAYER, DataFileError, InputValueError, Message

__dir__ = _lazy.defined_in(__file__)

_NUMBERS = "biuf"
"""Kinds of NumPy types that are read as numbers."""
_FEWEST_REPEATED = 10
"""Values of one row that all name the first column, beyond one, before a lost piece of `indices` is suspected."""
_REPEATED_SHARE = 0.9
"""Fraction of all repeated indices that name the first column where a piece was lost; those of a valid matrix lie anywhere."""
_FEWEST_COLUMNS = 20
"""With fewer columns, repeated indices name the first one by chance."""
_MOST_LISTED = 1_000_000
"""Missing pieces of an array that are listed at most."""


def refuse(name: str, problem: str, path: str | None = None) -> InputValueError | DataFileError:
    """The error for a matrix that cannot be trusted: of a file where there is a `path`, of an AnnData otherwise.

    Parameters
    ----------
    name
        The matrix, such as `X` or `layers['counts']`.
    problem
        The rule and the value found, as the end of a sentence that begins with the matrix.
    """
    if path is None:
        return InputValueError(
            Message.of(
                f"`{name}` {problem}. Build the matrix again, read it again from a file that is whole, or select another one "
                f"with {BY_LAYER}.",
                BY_LAYER,
            )
        )
    return DataFileError(f"`{path}`: `{name}` {problem}. The file is incomplete or damaged; copy or export it again.")


def indptr_problem(indptr: NDArray[Any], n_major: int, n_values: int, kind: str = "csr") -> str | None:
    """Problem with the starts of the rows of a CSR matrix, or of the columns of a CSC matrix; `None` where there is none.

    Parameters
    ----------
    indptr
        Must be integers from 0 to the number of values that never fall, `(n_major + 1,)`.
    n_major
        Number of rows, or of columns of a CSC matrix.
    n_values
        Number of stored values.
    kind
        `"csr"`, `"csc"` or `"bsr"`.

    Examples
    --------
    >>> indptr_problem(np.array([0, 2, 1]), 2, 1)
    'is not a valid CSR matrix: `indptr` must never fall, and falls from 2 to 1 after row 1'
    """
    invalid = f"is not a valid {kind.upper()} matrix: `indptr` must"
    if indptr.dtype.kind not in "iu":
        return f"{invalid} hold integers, and holds {indptr.dtype}"
    if indptr.shape != (n_major + 1,):
        return f"{invalid} have {n_major + 1:,} entries for {n_major:,} {_MAJOR[kind]}s, and has the shape {indptr.shape}"
    if indptr[0] != 0:
        return f"{invalid} start at 0, and starts at {indptr[0]}"
    if (falls := indptr[1:] < indptr[:-1]).any():
        at = int(falls.argmax())
        return f"{invalid} never fall, and falls from {indptr[at]} to {indptr[at + 1]} after {_MAJOR[kind]} {at}"
    if indptr[-1] != n_values:
        return f"{invalid} end at the number of stored values, {n_values:,}, and ends at {indptr[-1]:,}"
    return None


_MAJOR = {"csr": "row", "csc": "column", "bsr": "block row"}


def indices_problem(indices: NDArray[Any], n_minor: int, kind: str = "csr", array: str = "indices") -> str | None:
    """Problem with the columns of the values of a CSR matrix, or the rows of those of a CSC matrix; `None` where there is none.

    One pass over the values: as an unsigned integer, a negative one is larger than any index.

    Examples
    --------
    >>> indices_problem(np.array([0, 3, 1]), 3)
    'is not a valid CSR matrix: `indices` must lie between 0 and 2, and one is 3'
    """
    invalid = f"is not a valid {kind.upper()} matrix: `{array}` must"
    if indices.dtype.kind not in "iu":
        return f"{invalid} hold integers, and holds {indices.dtype}"
    if not indices.size:
        return None
    bits = 8 * indices.dtype.itemsize
    limit = n_minor if indices.dtype.kind == "u" else min(n_minor, 2 ** (bits - 1))
    if int(indices.view(indices.dtype.str.replace("i", "u")).max()) < limit:
        return None
    lowest, highest = int(indices.min()), int(indices.max())
    found = lowest if lowest < 0 else highest
    return f"{invalid} lie between 0 and {n_minor - 1}, and one is {found}"


def values_problem(indices: Any, data: Any, kind: str = "csr") -> str | None:
    """Problem with the arrays of indices and of values, from their shapes and types alone; they may be on disk."""
    if type_problem := dtype_problem(data.dtype):
        return type_problem
    if len(indices.shape) != 1 or len(data.shape) != 1 or indices.shape != data.shape:
        return (
            f"is not a valid {kind.upper()} matrix: `indices` and `data` must be of one dimension and the same length, and have the "
            f"shapes {tuple(indices.shape)} and {tuple(data.shape)}"
        )
    return None


def dtype_problem(dtype: Any) -> str | None:
    """Problem with the type of values; `None` for real numbers.

    Examples
    --------
    >>> dtype_problem(np.dtype(complex))
    'must hold real numbers, and holds complex128'
    """
    if getattr(dtype, "kind", "O") in _NUMBERS:
        return None
    convert = ", which `.astype('float32')` converts where all of them are numbers" if getattr(dtype, "kind", "O") == "O" else ""
    return f"must hold real numbers, and holds {dtype}{convert}"


def shape_problem(shape: Sequence[int], expected: tuple[int, int] | None = None) -> str | None:
    """Problem with the shape of a matrix, by itself and, with `expected`, beside `obs` and `var`.

    Examples
    --------
    >>> shape_problem((5, 4), (5, 3))
    'must have a row for each of the 5 cells in `obs` and a column for each of the 3 genes in `var`, and has 5 rows and 4 columns'
    """
    if len(shape) != 2:
        return f"must have two dimensions, and has the shape {tuple(shape)}"
    if min(shape) < 0:
        return f"must have a size that is not negative, and has the shape {tuple(shape)}"
    if expected is not None and tuple(shape) != expected:
        return (
            f"must have a row for each of the {expected[0]:,} cells in `obs` and a column for each of the {expected[1]:,} genes in `var`, "
            f"and has {shape[0]:,} rows and {shape[1]:,} columns"
        )
    return None


def sparse_problem(matrix: Any) -> str | None:
    """Problem with a SciPy sparse matrix or array of any format; `None` where it can be computed with."""
    if problem := shape_problem(matrix.shape) or (dtype_problem(matrix.dtype)):
        return problem
    n_obs, n_vars = matrix.shape
    kind = matrix.format
    if kind in {"csr", "csc"}:
        n_major, n_minor = (n_obs, n_vars) if kind == "csr" else (n_vars, n_obs)
        problem = (
            values_problem(matrix.indices, matrix.data, kind)
            or indptr_problem(matrix.indptr, n_major, len(matrix.data), kind)
            or indices_problem(matrix.indices, n_minor, kind)
        )
        return problem or lost_piece_problem(matrix.indptr, matrix.indices, n_minor, kind)
    if kind == "bsr":
        return _bsr_problem(matrix)
    if kind == "coo":
        lengths = {part.shape for part in (*matrix.coords, matrix.data)}
        if len(lengths) > 1 or matrix.data.ndim != 1:
            return f"is not a valid COO matrix: `row`, `col` and `data` must have the same length, and have {sorted(lengths)}"
        return indices_problem(matrix.coords[0], n_obs, kind, "row") or indices_problem(matrix.coords[1], n_vars, kind, "col")
    if kind == "lil":
        return _lil_problem(matrix)
    return None  # DOK and DIA are converted by code that checks


def _bsr_problem(matrix: Any) -> str | None:
    n_obs, n_vars = matrix.shape
    if matrix.data.ndim != 3 or len(matrix.data) != len(matrix.indices) or min(matrix.data.shape[1:]) < 1:
        return f"is not a valid BSR matrix: `data` must have a block for each of the {len(matrix.indices)} `indices`"
    height, width = matrix.data.shape[1:]
    if n_obs % height or n_vars % width:
        return f"is not a valid BSR matrix: blocks of {height} by {width} must fill the shape {tuple(matrix.shape)}"
    return indptr_problem(matrix.indptr, n_obs // height, len(matrix.data), "bsr") or indices_problem(
        matrix.indices, n_vars // width, "bsr"
    )


def _lil_problem(matrix: Any) -> str | None:
    n_obs, n_vars = matrix.shape
    if len(matrix.rows) != n_obs or len(matrix.data) != n_obs:
        return f"is not a valid LIL matrix: `rows` and `data` must have {n_obs} lists, and have {len(matrix.rows)} and {len(matrix.data)}"
    for row, (columns, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
        if len(columns) != len(values):
            return f"is not a valid LIL matrix: row {row} must have as many columns as values, and has {len(columns)} and {len(values)}"
        if columns and not (min(columns) >= 0 and max(columns) < n_vars):
            found = min(columns) if min(columns) < 0 else max(columns)
            return f"is not a valid LIL matrix: columns must lie between 0 and {n_vars - 1}, and one of row {row} is {found}"
    return None


def require_sound(matrix: Any, name: str) -> None:
    """Refuse a matrix in memory that cannot be computed with. Others are checked block by block, when they are read.

    Raises
    ------
    InputValueError
        If indices point outside of the matrix, or its arrays do not belong together.
    """
    if sparse.issparse(matrix) and (problem := sparse_problem(matrix)):
        raise refuse(name, problem)


def lost_piece_problem(indptr: NDArray[Any], indices: NDArray[Any], n_minor: int, kind: str = "csr") -> str | None:
    """Describe repeated indices that reveal a lost piece of `indices`, read as zeros; `None` if there are none.

    Parameters
    ----------
    indptr, indices
        Valid arrays of a CSR or CSC matrix.
    n_minor
        Number of columns, or of rows of a CSC matrix.
    kind
        `"csr"` or `"csc"`.
    """
    if n_minor < _FEWEST_COLUMNS or not _repeats_first(indptr, indices):
        return None
    of_value = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    named = np.bincount(of_value[indices == 0], minlength=1)
    n_first = int(np.maximum(named - 1, 0).sum())
    if named.max() <= _FEWEST_REPEATED:
        return None
    n_repeated = len(indices) - len(np.unique(of_value * n_minor + indices))
    if n_first < _REPEATED_SHARE * n_repeated:
        return None
    minor, major = ("column", "row") if kind == "csr" else ("row", "column")
    return (
        f"must have one value for each {major} and {minor}, and has {n_first:,} more than that in the first {minor}, up to "
        f"{named.max():,} in one {major}: a piece of `indices` was lost, and zeros are read in its place"
    )


def _repeats_first(indptr: NDArray[Any], indices: NDArray[Any]) -> bool:
    """Return whether the first column may be named more often than there are rows that are not empty, as far as neighbours tell."""
    both = (indices[1:] == 0) & (indices[:-1] == 0)
    return int(np.count_nonzero(both)) > _FEWEST_REPEATED and len(indptr) > 1


def missing_pieces(array: Any) -> Iterator[tuple[slice, ...]]:
    """The parts of an array in a local file or store that are not stored, of which a fill value is read.

    Writers may leave out what holds nothing else, and so does an incomplete copy.

    Parameters
    ----------
    array
        An HDF5 dataset or a Zarr array.
    """
    size = _piece_size(array)
    if size is None or not math.prod(array.shape):
        return
    grid = [-(-length // step) for length, step in zip(array.shape, size, strict=True)]
    stored = _stored_pieces(array, size)
    if stored is None or len(stored) >= math.prod(grid):
        return
    numbers = (number for number in itertools.product(*map(range, grid)) if number not in stored)
    for number in itertools.islice(numbers, _MOST_LISTED):
        yield tuple(slice(i * step, min((i + 1) * step, n)) for i, step, n in zip(number, size, array.shape, strict=True))


def require_stored(names: Any, what: str) -> None:
    """Refuse strings on disk of which a piece is missing, where empty ones would be read.

    Raises
    ------
    ValueError
        If there is such a piece.
    """
    if hasattr(names, "keys"):  # strings of which some may be missing; codes of categories may all be zero
        if "values" not in names:
            return
        names = names["values"]
    for piece in missing_pieces(names):
        raise ValueError(f"a piece of {what} is missing, {_span(piece[0])}")


def column_remark(column: Any, name: str) -> str:
    """Note on a categorical column on disk that lacks stored chunks; empty for any other column.

    Raises
    ------
    ValueError
        If a piece of its categories is missing.
    """
    if not hasattr(column, "keys") or "codes" not in column or "categories" not in column:
        return ""
    categories = column["categories"]
    categories = categories["values"] if hasattr(categories, "keys") else categories
    pieces = list(missing_pieces(column["codes"]))
    if categories.shape[0] < 2 or not pieces:  # where there is one category, all codes are zero
        return ""
    require_stored(categories, f"the categories of `{name}`")
    first, last = pieces[0][0].start, pieces[-1][0].stop
    return (
        f"`{name}` lacks {len(pieces):,} of its stored pieces, in {_span(slice(first, last), 'rows')}: its first category is read there. "
        "Some programs leave out pieces that hold nothing else, and an incomplete copy leaves out others. Compare it with the original if "
        "these rows should have other categories."
    )


def dense_remark(array: Any, name: str) -> str:
    """Note on a dense matrix on disk that lacks stored chunks, since zeros are read there; empty where it lacks none."""
    pieces = list(missing_pieces(array))
    if not pieces:
        return ""
    first, last = min(piece[0].start for piece in pieces), max(piece[0].stop for piece in pieces)
    return (
        f"`{name}` lacks {len(pieces):,} of its stored pieces, in {_span(slice(first, last), 'cells')}: zeros are read there. Some "
        "programs leave out pieces that hold zeros only, and an incomplete copy leaves out others. Compare it with the original if these "
        "cells should have counts."
    )


def _span(piece: slice, what: str = "entries") -> str:
    return f"{what} {piece.start:,} to {piece.stop - 1:,}"


def _piece_size(array: Any) -> tuple[int, ...] | None:
    if hasattr(array, "store_path"):
        return tuple(array.shards or array.chunks)
    if array.is_virtual or array.external or array.file.driver == "fileobj":
        return None
    return tuple(array.chunks or array.shape)


def _stored_pieces(array: Any, size: tuple[int, ...]) -> set[tuple[int, ...]] | None:
    """Numbers of the pieces that are stored; `None` where that cannot be determined."""
    if hasattr(array, "store_path"):
        root = getattr(array.store_path.store, "root", None)
        if not isinstance(root, Path):
            return None
        folder = root / array.store_path.path
        files = [os.path.relpath(Path(at) / name, folder) for at, _, names in os.walk(folder) for name in names]
        return _numbers_of(files, array)
    if array.chunks is None:
        return {(0,) * array.ndim} if array.id.get_storage_size() or array.id.get_offset() is not None else set()
    found: set[tuple[int, ...]] = set()
    if array.id.get_num_chunks() == math.prod(-(-n // step) for n, step in zip(array.shape, size, strict=True)):
        return None
    array.id.chunk_iter(lambda chunk: found.add(tuple(at // step for at, step in zip(chunk.chunk_offset, size, strict=True))))
    return found


def _numbers_of(files: Sequence[str], array: Any) -> set[tuple[int, ...]]:
    """Numbers of the pieces of a Zarr array that files of its folder hold."""
    found = set()
    for name in files:
        parts = name.replace(os.sep, "/").replace("/", ".").split(".")
        parts = parts[1:] if parts[0] == "c" else parts
        if len(parts) == array.ndim and all(part.isdecimal() for part in parts):
            found.add(tuple(int(part) for part in parts))
    return found
