"""Compiled loops over the values of sparse matrices: products, their gradients, and moments of columns.

They release the GIL, so threads run them in parallel, and start no threads of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sctab.data import TILE_BITS
from sctab.io import compiled

_TILE = 2**TILE_BITS
"""Rows of a table that are worked on together: with 384 numbers each they take 790 kB, which a core keeps close."""


@compiled
def order_by_tile(
    indptr: NDArray[np.int64], columns: NDArray[np.int32], values: NDArray[np.float32], n_columns: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Order each row of a sparse matrix by the tile of :func:`weighted_sum` its columns are in; rows in order stay as they are."""
    n_tiles = (n_columns >> TILE_BITS) + 1
    start = np.empty(n_tiles + 1, dtype=np.int64)
    ordered, of_ordered = columns, values
    is_copy = False
    for i in range(indptr.size - 1):
        n_turns = 0
        row = columns[indptr[i] : indptr[i + 1]]
        for k in range(row.size - 1):
            n_turns += (row[k + 1] >> TILE_BITS) < (row[k] >> TILE_BITS)
        if n_turns == 0:
            continue
        if not is_copy:
            ordered, of_ordered = columns.copy(), values.copy()
            is_copy = True
        start[:] = 0
        for k in range(indptr[i], indptr[i + 1]):
            start[(columns[k] >> TILE_BITS) + 1] += 1
        start[0] = indptr[i]
        for tile in range(n_tiles):
            start[tile + 1] += start[tile]
        for k in range(indptr[i], indptr[i + 1]):
            tile = columns[k] >> TILE_BITS
            ordered[start[tile]] = columns[k]
            of_ordered[start[tile]] = values[k]
            start[tile] += 1
    return ordered, of_ordered


@compiled
def weighted_sum(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    scale: NDArray[np.float32],
    table: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The product of a sparse matrix, its columns scaled, with `table`: for each row the sum of the table's rows that its columns name.

    All rows of the matrix are worked on tile by tile of the table, so that a tile is read from memory once and then stays in the cache.
    Where a row has few values in a tile, larger ones are faster.

    Parameters
    ----------
    indptr, columns, values
        `(n_obs, n_columns)`, rows ordered by :func:`order_by_tile`.
    scale
        `(n_columns,)`.
    table
        `(n_columns, width)`; a third faster where its rows begin at multiples of 64 bytes.
    """
    n_obs = indptr.size - 1
    out = np.zeros((n_obs, table.shape[1]), dtype=np.float32)
    add_weighted_sum(indptr, columns, values, scale, table, tile_size(values.size, n_obs, table.shape[0]), out)
    return out


@compiled
def tile_size(n_values: int, n_obs: int, n_columns: int) -> int:
    """Rows of a table that are worked on together."""
    return _TILE if n_values >= 8 * n_obs * (n_columns >> TILE_BITS) else 4 * _TILE


@compiled
def add_weighted_sum(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.floating],
    scale: NDArray[np.floating],
    table: NDArray[np.floating],
    size: int,
    out: NDArray[np.floating],
) -> None:
    """Add :func:`weighted_sum` to `out`, `(n_obs, width)`, in any precision; `size` rows of the table are a tile."""
    n_obs, width = indptr.size - 1, table.shape[1]
    at = indptr[:-1].copy()
    for tile in range(0, table.shape[0], size):
        stop = tile + size
        for i in range(n_obs):
            row = out[i]
            k, end = at[i], indptr[i + 1]
            while k + 8 <= end and columns[k + 7] < stop:  # eight at a time, so that the sum is read and written less often
                g0, g1, g2, g3 = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
                g4, g5, g6, g7 = columns[k + 4], columns[k + 5], columns[k + 6], columns[k + 7]
                w0, w1, w2, w3 = (
                    values[k] * scale[g0],
                    values[k + 1] * scale[g1],
                    values[k + 2] * scale[g2],
                    values[k + 3] * scale[g3],
                )
                w4, w5, w6, w7 = (
                    values[k + 4] * scale[g4],
                    values[k + 5] * scale[g5],
                    values[k + 6] * scale[g6],
                    values[k + 7] * scale[g7],
                )
                for h in range(width):
                    low = (w0 * table[g0, h] + w1 * table[g1, h]) + (w2 * table[g2, h] + w3 * table[g3, h])
                    high = (w4 * table[g4, h] + w5 * table[g5, h]) + (w6 * table[g6, h] + w7 * table[g7, h])
                    row[h] += low + high
                k += 8
            while k < end and columns[k] < stop:
                g0, w0 = columns[k], values[k] * scale[columns[k]]
                for h in range(width):
                    row[h] += w0 * table[g0, h]
                k += 1
            at[i] = k


@compiled
def products_at(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    rows: NDArray[np.floating],
    table: NDArray[np.floating],
    out: NDArray[np.floating],
) -> None:
    """Write the product of row i of `rows` and row g of `table`, `(n_columns, width)`, into `out` for every stored place i, g."""
    width = table.shape[1]
    for i in range(indptr.size - 1):
        row = rows[i]
        for k in range(indptr[i], indptr[i + 1]):
            of_column = table[columns[k]]
            total = row[0] * of_column[0]
            for h in range(1, width):
                total += row[h] * of_column[h]
            out[k] = total


@compiled
def values_at(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.floating],
    wanted_indptr: NDArray[np.int64],
    wanted_columns: NDArray[np.int32],
    n_columns: int,
    out: NDArray[np.floating],
) -> None:
    """Write the values of a sparse matrix at the places of another one into `out`: zero where none is stored."""
    row = np.zeros(n_columns, dtype=values.dtype)
    for i in range(indptr.size - 1):
        for k in range(indptr[i], indptr[i + 1]):
            row[columns[k]] = values[k]
        for k in range(wanted_indptr[i], wanted_indptr[i + 1]):
            out[k] = row[wanted_columns[k]]
        for k in range(indptr[i], indptr[i + 1]):
            row[columns[k]] = 0


@compiled
def moments(indptr: NDArray[np.int64], values: NDArray[np.floating], n_obs: int, out: NDArray[np.float64]) -> None:
    """Write mean and variance, `(n_columns, 2)`, of the columns of a sparse matrix of `n_obs` rows; `indptr` is that of its columns."""
    for g in range(indptr.size - 1):
        total = 0.0
        for k in range(indptr[g], indptr[g + 1]):
            total += values[k]
        mean = total / n_obs
        squares = (n_obs - (indptr[g + 1] - indptr[g])) * mean * mean
        for k in range(indptr[g], indptr[g + 1]):
            distance = values[k] - mean
            squares += distance * distance
        out[g, 0] = mean
        out[g, 1] = squares / n_obs


@compiled
def finish_gradients(
    scale: NDArray[np.floating],
    shift: NDArray[np.floating],
    table: NDArray[np.floating],
    total: NDArray[np.floating],
    of_table: NDArray[np.floating],
    of_scale: NDArray[np.floating],
    of_shift: NDArray[np.floating],
) -> None:
    """Gradients of the product of `x * scale + shift` and `table` from that of the result.

    `of_table`, `(n_columns, width)`, holds the product of `x`, transposed, and the gradient of the result, whose sum over rows is
    `total`, `(width,)`; it is overwritten.
    """
    width = table.shape[1]
    for g in range(table.shape[0]):
        weight, gradient = table[g], of_table[g]
        first, second = scale.dtype.type(0), scale.dtype.type(0)
        for h in range(width):
            first += gradient[h] * weight[h]
            second += total[h] * weight[h]
            gradient[h] = scale[g] * gradient[h] + shift[g] * total[h]
        of_scale[g] = first
        of_shift[g] = second


@compiled
def mean_squares(matrix: NDArray[np.floating], out: NDArray[np.floating]) -> None:
    """Write the mean square of each column."""
    out[:] = 0
    for i in range(matrix.shape[0]):
        row = matrix[i]
        for g in range(out.size):
            out[g] += row[g] * row[g]
    for g in range(out.size):
        out[g] /= matrix.shape[0]
