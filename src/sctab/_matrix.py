"""Row blocks of whatever holds a matrix: the only place that knows about storage classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

BLOCK_SIZE = 4096
"""Rows read at a time where nothing else decides: 2,000 stored values a row make about 100 MB."""


def row_blocks(matrix: Any, size: int = BLOCK_SIZE) -> Iterator[sparse.csr_matrix]:
    """Yield the rows of a matrix, in order, as CSR blocks in memory; the matrix itself is never changed.

    Parameters
    ----------
    matrix
        Anything that AnnData keeps in `X` or a layer, `(n_obs, n_vars)`: a NumPy array or matrix, any SciPy sparse matrix or array,
        a Dask array of either, a backed sparse dataset, an HDF5 dataset or a Zarr array.
    size
        Rows per block; the last one may be smaller.

    Examples
    --------
    >>> [block.shape for block in row_blocks(np.eye(5), size=2)]
    [(2, 5), (2, 5), (1, 5)]
    """
    rows = _row_sliceable(matrix)
    for start in range(0, matrix.shape[0], size):
        block = rows[start : start + size]
        if hasattr(block, "compute"):  # Dask
            block = block.compute()
        if not sparse.issparse(block):
            block = _in_native_type(np.asarray(block))
        block = sparse.csr_matrix(block)
        block.sum_duplicates()
        yield block


def to_csr(matrix: Any) -> sparse.csr_matrix:
    """Bring a whole matrix into memory as CSR; what is a CSR matrix already is given back as it is."""
    if isinstance(matrix, sparse.csr_matrix):
        return matrix
    if sparse.issparse(matrix):
        return sparse.csr_matrix(matrix)
    blocks = list(row_blocks(matrix))
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix(matrix.shape)


def _in_native_type(block: np.ndarray) -> np.ndarray:
    """The same values in a type that SciPy's sparse matrices know: neither half precision nor another byte order."""
    return block.astype(np.float32 if block.dtype == np.float16 else block.dtype.newbyteorder("="), copy=False)


def _row_sliceable(matrix: Any) -> Any:
    """A view or copy of `matrix` of which rows can be sliced at little cost."""
    if sparse.issparse(matrix):
        return sparse.csr_matrix(matrix)
    if getattr(matrix, "format", None) == "csc" and hasattr(matrix, "to_memory"):  # a backed CSC dataset
        return sparse.csr_matrix(matrix.to_memory())
    return np.asarray(matrix) if isinstance(matrix, np.matrix) else matrix
