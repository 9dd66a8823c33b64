"""Numbers of cells that sum to a total, near given quotas or equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-6
"""Cells by which a product of fractions may be off: a tenth of 100 cells is 10 of them."""


def apportion(quotas: NDArray[np.float64], least: ArrayLike) -> NDArray[np.int64]:
    """Integers near `quotas`, of the same sum, none below `least`: the method of the largest remainder.

    Examples
    --------
    >>> apportion(np.array([6.5, 1.3, 0.2]), least=1)
    array([6, 1, 1])
    """
    counts = np.maximum(np.floor(quotas + ROUNDING).astype(np.int64), least)
    n = round(quotas.sum())
    while counts.sum() < n:
        counts[np.argmax(quotas - counts)] += 1
    while counts.sum() > n:
        counts[np.argmax(np.where(counts > least, counts - quotas, -np.inf))] -= 1
    return counts


def level(available: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """`n` divided equally, none getting more than is available; what is over goes to those with most.

    Examples
    --------
    >>> level(np.array([80, 15, 5]), 21)
    array([8, 8, 5])
    """
    counts = np.zeros_like(available)
    while left := n - int(counts.sum()):
        room = np.flatnonzero(available > counts)
        if left < len(room):
            counts[room[np.argsort(-available[room], kind="stable")[:left]]] += 1
        else:
            counts[room] = np.minimum(available[room], counts[room] + left // len(room))
    return counts
