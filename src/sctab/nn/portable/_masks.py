"""1.5-entmax and sparsemax without a sort, over the operators of any framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sctab.nn.portable._networks import Array, Operators

N_STRIPS = 32
"""Strips that a row of logits is cut into; the largest of each place in them are looked at first."""
SHORTEST_STRIP = 8
"""Places of a strip below which all logits are looked at."""
MOST_STEPS = 50
"""Newton's method needs 15 steps where all of 20,000 logits are equal, and fewer otherwise; this only bounds it."""
TOLERANCE = 2.0**-22
"""Progress below which a threshold, between -1 and 0, is as exact as single precision."""


class MaskOperators(Operators, Protocol):
    """Operations of a framework that masks need, too."""

    def ascend(self, step: Callable[[Array], Array], start: Array) -> Array:
        """Repeat a step until no row rises any more."""

    def strip_maxima(self, x: Array, n_strips: int) -> Array:
        """Largest value of each place in strips of the rows, and what is left of the rows; or the rows where that is not worth it."""

    def count_positive(self, x: Array) -> Array:
        """Number of values above zero in rows, `(n_obs, 1)`."""


def mask_of(ops: MaskOperators, logits: Array, *, is_entmax: bool) -> Array:
    r"""Project rows onto the simplex by 1.5-entmax or sparsemax.

    1.5-entmax of a row :math:`z` is :math:`p_g = \max(0, z_g / 2 - \tau)^2`, sparsemax is :math:`p_g = \max(0, z_g - \tau)`, with
    :math:`\tau` so that they sum to one (Peters et al. 2019, :doi:`10.18653/v1/P19-1146`). The sum is convex and falls with
    :math:`\tau`, so that Newton's method from below never goes too far, and it begins where the largest alone would give one. The
    threshold of a part of a row is a lower bound for all of it, and the largest of each place in strips of the row are such a part: it
    holds nearly all of the support of a sparse mask, so that few steps are left for the whole row.

    Parameters
    ----------
    ops
        Operators of a framework.
    logits
        `(n_obs, n_inputs)`.
    is_entmax
        1.5-entmax; otherwise sparsemax.
    """
    z = logits - ops.largest(logits)
    if is_entmax:
        z = z * 0.5

    def step_in(part: Array) -> Callable[[Array], Array]:
        def step(tau: Array) -> Array:
            distance = ops.relu(part - tau)
            first = ops.sum(distance)
            if is_entmax:
                return tau + (ops.sum(distance * distance) - 1.0) / (first + first)
            return tau + (first - 1.0) / ops.count_positive(distance)

        return step

    tau = ops.ascend(step_in(ops.strip_maxima(z, N_STRIPS)), ops.largest(z) - 1.0)
    distance = ops.relu(z - ops.ascend(step_in(z), tau))
    return distance * distance if is_entmax else distance
