"""Compiled loops over the arrays of sparse matrices: what neither NumPy, SciPy nor PyTorch does in one pass over the data.

They release the GIL, so threads run them in parallel, and start no threads of their own. The first call on a machine compiles them, which
takes seconds; the result is kept on disk where that can be written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sctab.data import TILE_BITS
from sctab.io import compiled

_STRIPS = 8
"""Number of strips of a row of logits; the largest of each place in them is found first."""
_TILE = 2**TILE_BITS
"""Rows of a table that are worked on together: with 384 numbers each they take 790 kB, which a core keeps close."""
_MOST_STEPS = 50
"""Newton's method needs some ten steps; this only bounds it."""


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
    n_obs, width = indptr.size - 1, table.shape[1]
    out = np.zeros((n_obs, width), dtype=np.float32)
    at = indptr[:-1].copy()
    size = _TILE if values.size >= 8 * n_obs * (table.shape[0] >> TILE_BITS) else 4 * _TILE
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
    return out


class Logits(NamedTuple):
    """Logits of a mask, `products * row_scale * column_scale + bias`, exact or nearly so."""

    products: NDArray[Any]
    """`(n_obs, n_inputs)`, float32 or int32."""
    row_scale: NDArray[np.float32]
    """`(n_obs,)`."""
    column_scale: NDArray[np.float32]
    """`(n_inputs,)`."""
    bias: NDArray[np.float32]
    """`(n_inputs,)`."""
    error: NDArray[np.float32]
    """Error bound, `(n_obs,)`. Where it is not zero, exact logits are `attention @ weight.T + bias`."""
    attention: NDArray[np.float32]
    """`(n_obs, n_a)`."""
    weight: NDArray[np.float32]
    """`(n_inputs, n_a)`."""


@compiled
def attend(
    logits: Logits,
    is_entmax: bool,  # noqa: FBT001
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    r"""Masks from their logits, without a sort, and what they let through.

    1.5-entmax of a row :math:`z` is :math:`p_g = \max(0, z_g / 2 - \tau)^2`, sparsemax is :math:`p_g = \max(0, z_g - \tau)`, with
    :math:`\tau` so that they sum to one (Peters et al. 2019, :doi:`10.18653/v1/P19-1146`). The sum is convex and falls with
    :math:`\tau`, so that Newton's method from below never goes too far, and it begins where the largest alone would give one. What it
    finds for a part of the logits is a lower bound for all. A row is cut into strips, and the largest logits of each place in them are such
    a part: whatever is below their bound is out, and few are left.

    Parameters
    ----------
    logits
        Of all inputs.
    is_entmax
        1.5-entmax; otherwise sparsemax.
    indptr, indices, values
        The input of the network, `(n_obs, n_inputs)`.
    scale, shift
        Its normalisation, `(n_inputs,)`: the mask is laid on `values * scale + shift`.

    Returns
    -------
    `indptr` and `columns` of the support, its mask, and its masked input; columns in order.
    """
    n_obs, n_inputs = logits.products.shape
    n_places = (n_inputs + _STRIPS - 1) // _STRIPS
    factor = np.float32(0.5 if is_entmax else 1.0)
    row = np.full(n_places * _STRIPS, -np.inf, dtype=np.float32)
    largest = np.empty(n_places, dtype=np.float32)
    places = np.empty(n_places, dtype=np.int32)
    candidates = np.empty(row.size, dtype=np.int32)
    distances = np.empty(n_inputs, dtype=np.float64)
    is_kept = np.zeros(n_inputs, dtype=np.bool_)  # small enough to stay in the cache that is closest
    place = np.empty(n_inputs, dtype=np.int32)  # where an input that is kept stands in the support
    new_indptr = np.zeros(n_obs + 1, dtype=np.int64)
    columns = np.empty(n_obs * n_inputs, dtype=np.int32)
    mask = np.empty(n_obs * n_inputs, dtype=np.float32)
    masked = np.empty(n_obs * n_inputs, dtype=np.float32)
    end = 0
    for i in range(n_obs):
        largest[:] = -np.inf
        unit, error = logits.row_scale[i], logits.error[i]
        for start in range(0, n_inputs, n_places):
            strip, of_row = logits.products[i, start:], row[start:]
            of_scale, of_bias = logits.column_scale[start:], logits.bias[start:]
            for g in range(min(n_places, strip.size)):
                logit = (strip[g] * (unit * of_scale[g]) + of_bias[g]) * factor
                of_row[g] = logit
                largest[g] = max(largest[g], logit)
        lowest = _lower_bound(largest, is_entmax) - 2 * factor * error  # of what is not exact, and may be too high or too low
        n_high = 0
        for g in range(n_places):
            places[n_high] = g
            n_high += largest[g] > lowest
        count = 0
        for start in range(0, n_inputs, n_places):
            for k in range(n_high):
                candidates[count] = start + places[k]
                count += row[start + places[k]] > lowest
        peak = -np.inf
        for k in range(count):
            g = candidates[k]
            if error > 0:
                logit = np.float32(0)
                for h in range(logits.attention.shape[1]):
                    logit += logits.attention[i, h] * logits.weight[g, h]
                row[g] = (logit + logits.bias[g]) * factor
            distances[k] = row[g]
            peak = max(peak, distances[k])
        for k in range(count):
            distances[k] -= peak
        tau = _threshold(distances[:count], -1.0, is_entmax)
        begin = end
        for k in range(count):
            distance = distances[k] - tau
            if distance > 0:
                g = candidates[k]
                columns[end] = g
                mask[end] = distance * distance if is_entmax else distance
                masked[end] = mask[end] * shift[g]
                is_kept[g] = True
                place[g] = end
                end += 1
        for k in range(indptr[i], indptr[i + 1]):
            g = indices[k]
            if is_kept[g]:
                masked[place[g]] += mask[place[g]] * (values[k] * scale[g])
        for k in range(begin, end):
            is_kept[columns[k]] = False
        new_indptr[i + 1] = end
    return new_indptr, columns[:end], mask[:end], masked[:end]


@compiled
def _lower_bound(values: NDArray[np.float32], is_entmax: bool) -> Any:  # noqa: FBT001
    """Lower bound of the threshold of the mask of `values`: less what rounded sums may go too far."""
    peak = values[0]
    for k in range(values.size):
        peak = max(peak, values[k])
    one = np.float32(1)
    return _threshold(values, peak - one, is_entmax) - np.float32(1e-5) * max(abs(peak), one)


@compiled
def _threshold(values: NDArray[np.floating], tau: Any, is_entmax: bool) -> Any:  # noqa: FBT001
    """Threshold of the mask of `values`, from a `tau` below it, in the precision of `values`."""
    zero, one = values.dtype.type(0), values.dtype.type(1)
    for _ in range(_MOST_STEPS):
        first, second, above = zero, zero, zero
        if is_entmax:
            for k in range(values.size):
                distance = max(values[k] - tau, zero)
                first += distance
                second += distance * distance
            if first == zero:  # next to numbers this large, one is nothing
                break
            step = (second - one) / (first + first)
        else:
            for k in range(values.size):
                distance = max(values[k] - tau, zero)
                first += distance
                above += one if distance > zero else zero
            if above == zero:
                break
            step = (first - one) / above
        tau += step
        if step < 1e-7:  # the next one would be of the order of its square
            break
    return tau


@compiled
def entmax15_rows(logits: NDArray[np.float32], mask: NDArray[np.float32]) -> None:
    """Write the 1.5-entmax of each row of finite `logits`, `(n_obs, n_inputs)`, into `mask`."""
    n_obs, n_inputs = logits.shape
    distances = np.empty(n_inputs, dtype=np.float64)
    for i in range(n_obs):
        row = logits[i]
        peak = row[0]
        for g in range(n_inputs):
            peak = max(peak, row[g])
        count = 0
        for g in range(n_inputs):
            distance = 0.5 * (np.float64(row[g]) - np.float64(peak))
            if distance > -1.0:  # the others are out whatever the rest is
                distances[count] = distance
                count += 1
        tau = _threshold(distances[:count], -1.0, True)  # noqa: FBT003
        for g in range(n_inputs):
            distance = max(0.5 * (np.float64(row[g]) - np.float64(peak)) - tau, 0.0)
            mask[i, g] = distance * distance


@compiled
def entmax15_gradient(mask: NDArray[np.float32], gradient: NDArray[np.float32], of_logits: NDArray[np.float32]) -> None:
    r"""Write the gradient by the logits of 1.5-entmax into `of_logits`, from its result and the gradient by that.

    With :math:`s = \sqrt{p}` it is :math:`s \odot (d - \langle s, d \rangle / \sum_g s_g)`.
    """
    n_obs, n_inputs = mask.shape
    for i in range(n_obs):
        total, product = 0.0, 0.0
        for g in range(n_inputs):
            root = np.sqrt(mask[i, g])
            total += root
            product += root * gradient[i, g]
        shared = np.float32(product / total)
        for g in range(n_inputs):
            of_logits[i, g] = np.sqrt(mask[i, g]) * (gradient[i, g] - shared)
