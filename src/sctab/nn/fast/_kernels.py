"""Compiled loops over the arrays of sparse matrices: what neither NumPy, SciPy nor PyTorch does in one pass over the data.

They release the GIL, so threads run them in parallel, and start no threads of their own. The first call on a machine compiles them, which
takes seconds; the result is kept on disk where that can be written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sctab.io import compiled

_STRIPS = 8
"""Number of strips of a row of logits; the largest of each place in them is found first."""
_MOST_STEPS = 50
"""Newton's method needs some ten steps; this only bounds it."""


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
        count = _find_candidates(row, largest, lowest, places, candidates)
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
def _find_candidates(
    row: NDArray[np.floating],
    largest: NDArray[np.floating],
    lowest: Any,
    places: NDArray[np.int32],
    candidates: NDArray[np.int32],
) -> int:
    """Write the positions of logits above `lowest` into `candidates`, in order, and give their number."""
    n_high = 0
    for g in range(largest.size):
        places[n_high] = g
        n_high += largest[g] > lowest
    count = 0
    for start in range(0, row.size, largest.size):
        for k in range(n_high):
            candidates[count] = start + places[k]
            count += row[start + places[k]] > lowest
    return count


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
def entmax15_support(
    products: NDArray[np.floating],
    scale: NDArray[np.floating],
    bias: NDArray[np.floating],
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    mask: NDArray[np.floating],
) -> None:
    """Write the support of the 1.5-entmax of each row of `products * scale + bias`, `(n_obs, n_inputs)`, and its values there.

    See :func:`attend` for how. `columns` and `mask` have room for all; `indptr`, `(n_obs + 1,)`, says how much of it is taken.
    """
    n_obs, n_inputs = products.shape
    n_places = (n_inputs + _STRIPS - 1) // _STRIPS
    half = products.dtype.type(0.5)
    row = np.full(n_places * _STRIPS, -np.inf, dtype=products.dtype)
    largest = np.empty(n_places, dtype=products.dtype)
    places = np.empty(n_places, dtype=np.int32)
    candidates = np.empty(row.size, dtype=np.int32)
    distances = np.empty(n_inputs, dtype=np.float64)
    end = 0
    indptr[0] = 0
    for i in range(n_obs):
        largest[:] = -np.inf
        for start in range(0, n_inputs, n_places):
            strip, of_row = products[i, start:], row[start:]
            of_scale, of_bias = scale[start:], bias[start:]
            for g in range(min(n_places, strip.size)):
                logit = (strip[g] * of_scale[g] + of_bias[g]) * half
                of_row[g] = logit
                largest[g] = max(largest[g], logit)
        count = _find_candidates(row, largest, _lower_bound(largest, True), places, candidates)  # noqa: FBT003
        peak = -np.inf
        for k in range(count):
            distances[k] = row[candidates[k]]
            peak = max(peak, distances[k])
        for k in range(count):
            distances[k] -= peak
        tau = _threshold(distances[:count], -1.0, True)  # noqa: FBT003
        for k in range(count):
            distance = distances[k] - tau
            if distance > 0:
                columns[end] = candidates[k]
                mask[end] = distance * distance
                end += 1
        indptr[i + 1] = end


@compiled
def entmax15_support_gradient(
    indptr: NDArray[np.int64], mask: NDArray[np.floating], gradient: NDArray[np.floating], of_logits: NDArray[np.floating]
) -> None:
    """Write what :func:`entmax15_gradient` does, for the support alone; it is zero elsewhere."""
    for i in range(indptr.size - 1):
        total, product = 0.0, 0.0
        for k in range(indptr[i], indptr[i + 1]):
            root = np.sqrt(mask[k])
            total += root
            product += root * gradient[k]
        for k in range(indptr[i], indptr[i + 1]):
            of_logits[k] = np.sqrt(mask[k]) * (gradient[k] - product / total)


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
