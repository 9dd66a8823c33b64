"""Subsets of cells."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sctab.errors import InputValueError, Parameter, SettingError, require
from sctab.sampling._apportion import ROUNDING, apportion, level

Allocation = Literal["stratified", "balanced"]
_HALVINGS = 60
"""Steps of geosketch's search for the length of a box, after which a double has no bits left to halve."""


def subsample(labels: NDArray[np.int64], n: int, *, how: Allocation = "stratified", rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose `n` labelled cells at random.

    Parameters
    ----------
    labels
        Type of each cell, `(n_obs,)`; negative where there is none.
    n
        How many cells to choose.
    how
        `"stratified"` keeps the proportions of the types, each with at least one cell. `"balanced"` takes equally many of each type,
        as far as its cells go.
    rng
        Source of randomness.

    Returns
    -------
    Positions of the chosen cells, `(n,)`, in ascending order.

    Raises
    ------
    SettingError
        If `n` is larger than the number of labelled cells, or smaller than the number of types.

    Examples
    --------
    >>> labels = np.repeat([0, 1, 2], [80, 15, 5])
    >>> [
    ...     np.bincount(labels[subsample(labels, 20, how=how, rng=np.random.default_rng(0))]).tolist()
    ...     for how in ("stratified", "balanced")
    ... ]
    [[16, 3, 1], [8, 7, 5]]
    """
    return _choose(labels, n, how, lambda cells, n_of_type: rng.choice(cells, n_of_type, replace=False))


def nested_subset(units: NDArray[np.int64], fraction: float, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose the cells of a random fraction of units, such as donors; with the same randomness, a smaller subset lies in a larger one.

    The units are shuffled, of which the first are taken: rounded up, as in the subsampled data of Fischer et al. (2023,
    :doi:`10.1101/2023.10.07.561331`, Methods), so that 15 % of 3,536 donors are 531.

    Parameters
    ----------
    units
        What each cell belongs to, `(n_obs,)`. All different chooses single cells.
    fraction
        Fraction of the units, above 0 and up to 1.
    rng
        Source of randomness, in the same state for subsets that are to lie in each other.

    Returns
    -------
    Positions of the chosen cells, in ascending order.

    Raises
    ------
    SettingError
        If the fraction is not above 0 and at most 1.

    Examples
    --------
    >>> donors = np.repeat([0, 1, 2, 3], 2)
    >>> [nested_subset(donors, fraction, rng=np.random.default_rng(0)).tolist() for fraction in (0.25, 0.5)]
    [[2, 3], [2, 3, 4, 5]]
    """
    if not 0 < fraction <= 1:
        raise SettingError(Parameter("fraction", fraction), " must be above 0 and at most 1.")
    names, unit = np.unique(units, return_inverse=True)
    rank = rng.permutation(len(names))
    return np.flatnonzero(rank[unit] < np.ceil(fraction * len(names) - ROUNDING))


def k_centre(
    embedding: NDArray[np.floating], labels: NDArray[np.int64], n: int, *, how: Allocation = "balanced"
) -> NDArray[np.int64]:
    """Choose `n` cells such that every cell is near a chosen one of its type: farthest-first traversal.

    Within a type the first is the cell nearest to the mean; each further one is the cell that is farthest from those chosen before. The
    largest distance of a cell to the nearest chosen one is then at most twice the least possible (Gonzalez 1985).

    Parameters
    ----------
    embedding
        Position of each cell, such as the latent of a classifier, `(n_obs, n_latent)`.
    labels
        Type of each cell, `(n_obs,)`; negative where there is none. All zero chooses without regard to types.
    n
        How many cells to choose.
    how
        `"balanced"` chooses equally many cells of each type, as far as it has them; `"stratified"` keeps the proportions of the types.

    Returns
    -------
    Positions of the chosen cells, `(n,)`, in ascending order.

    Raises
    ------
    SettingError
        If `n` exceeds the number of labelled cells, or is less than the number of types.
    InputValueError
        If the embedding holds NaN or infinite values.

    References
    ----------
    Gonzalez, Clustering to minimize the maximum intercluster distance, Theoretical Computer Science 1985,
    :doi:`10.1016/0304-3975(85)90224-5`; as a choice of training data: Sener and Savarese, Active learning for convolutional neural
    networks: a core-set approach, ICLR 2018.

    Examples
    --------
    >>> k_centre(np.array([[0.0], [1.0], [2.0], [10.0]]), np.zeros(4, dtype=int), 2)
    array([2, 3])
    """
    points = _finite(embedding)
    return _choose(labels, n, how, lambda cells, n_of_type: cells[_farthest_first(points[cells], n_of_type)])


def herding(
    embedding: NDArray[np.floating], labels: NDArray[np.int64], n: int, *, how: Allocation = "balanced"
) -> NDArray[np.int64]:
    """Choose `n` cells whose mean, type by type, is near the mean of all cells of the type.

    One cell is chosen after the other, each time the one that brings the mean of those chosen so far nearest to the mean of the type
    (Welling 2009, in the form of Rebuffi et al. 2017, algorithm 4).

    Parameters
    ----------
    embedding
        Position of each cell, such as the latent of a classifier, `(n_obs, n_latent)`.
    labels
        Type of each cell, `(n_obs,)`; negative where there is none. All zero chooses without regard to types.
    n
        How many cells to choose.
    how
        `"balanced"` chooses equally many cells of each type, as far as it has them; `"stratified"` keeps the proportions of the types.

    Returns
    -------
    Positions of the chosen cells, `(n,)`, in ascending order.

    Raises
    ------
    SettingError
        If `n` exceeds the number of labelled cells, or is less than the number of types.
    InputValueError
        If the embedding holds NaN or infinite values.

    References
    ----------
    Welling, Herding dynamical weights to learn, ICML 2009, :doi:`10.1145/1553374.1553517`; Rebuffi et al., iCaRL, CVPR 2017,
    :doi:`10.1109/CVPR.2017.587`.

    Examples
    --------
    >>> herding(np.array([[0.0], [1.0], [5.0], [6.0]]), np.zeros(4, dtype=int), 2)
    array([1, 2])
    """
    points = _finite(embedding)
    return _choose(labels, n, how, lambda cells, n_of_type: cells[_herd(points[cells], n_of_type)])


def geometric_sketch(embedding: NDArray[np.floating], n: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose `n` cells evenly over the space that cells fill, so that rare states are kept (Hie et al. 2019).

    Space is covered with boxes of equal size, about `n` of which hold cells; boxes are drawn, and a cell in each.

    Parameters
    ----------
    embedding
        Position of each cell, such as principal components, `(n_obs, n_components)`.
    n
        How many cells to choose.
    rng
        Source of randomness. The global random state, which geosketch draws from, is left as it was.

    Returns
    -------
    Positions of the chosen cells, `(n,)`, in ascending order.

    Raises
    ------
    SettingError
        If `n` is not between one and the number of cells.
    InputValueError
        If the embedding holds NaN or infinite values.
    MissingDependencyError
        If geosketch is not installed.

    References
    ----------
    Hie et al., Geometric sketching compactly summarizes the single-cell transcriptomic landscape, Cell Systems 2019,
    :doi:`10.1016/j.cels.2019.05.003`.

    Examples
    --------
    >>> crowd_and_two = np.append(np.random.default_rng(0).uniform(0, 1, size=98), [50, 100])[:, None]
    >>> sketch = geometric_sketch(crowd_and_two, 3, rng=np.random.default_rng(0))
    >>> sketch[1:]
    array([98, 99])
    """
    geosketch = require("geosketch", extra="sketch")
    points = _finite(embedding)
    if not 1 <= n <= len(points):
        raise SettingError(Parameter("n", n), f" cells cannot be chosen from {len(points)}.")
    if not np.ptp(points, axis=0).any():  # boxes of no size: geosketch would divide by zero
        return np.sort(rng.choice(len(points), n, replace=False))
    before = np.random.get_state()  # noqa: NPY002, geosketch knows no other
    try:
        with contextlib.redirect_stderr(
            io.StringIO()
        ):  # where cells lie on a lattice it says that it has not found exactly `n` boxes
            chosen = geosketch.gs(points, n, seed=int(rng.integers(2**32)), max_iter=_HALVINGS)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return np.asarray(chosen, dtype=np.int64)


def _choose(
    labels: NDArray[np.int64],
    n: int,
    how: Allocation,
    choose: Callable[[NDArray[np.int64], int], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """`n` cells, as many of each type as `how` says; `choose` picks from the cells of one type."""
    types, available = np.unique(labels[labels >= 0], return_counts=True)
    if not max(len(types), 1) <= n <= available.sum():
        raise SettingError(
            Parameter("n", n),
            f" cells cannot be chosen: there are {int(available.sum())} with a label, of {len(types)} types, each of which keeps at "
            "least one.",
        )
    if how == "stratified":
        numbers = apportion(n * available / available.sum(), least=1)
    elif how == "balanced":
        numbers = level(available, n)
    else:
        raise SettingError(Parameter("how", how), " must be `'stratified'` or `'balanced'`.")
    chosen = [choose(np.flatnonzero(labels == label), number) for label, number in zip(types, numbers, strict=True)]
    return np.sort(np.concatenate(chosen))


def _finite(embedding: NDArray[np.floating]) -> NDArray[np.float64]:
    points = np.asarray(embedding, dtype=np.float64)
    if n_bad := int((~np.isfinite(points)).any(axis=1).sum()):
        raise InputValueError(
            f"The embedding holds NaN or infinite values in {n_bad} of {len(points)} cells. Leave those cells out."
        )
    return points


def _farthest_first(points: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    chosen = np.empty(n, dtype=np.int64)
    distance = np.full(len(points), np.inf)
    for i in range(n):
        chosen[i] = distance.argmax() if i else _squared_distance(points, points.mean(axis=0)).argmin()
        distance = np.minimum(distance, _squared_distance(points, points[chosen[i]]))
        distance[chosen[i]] = -1  # below that of its twins
    return chosen


def _squared_distance(points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    return ((points - centre) ** 2).sum(axis=1)


def _herd(points: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    centred = points - points.mean(axis=0)
    squares = (centred**2).sum(axis=1)
    chosen = np.empty(n, dtype=np.int64)
    total = np.zeros(points.shape[1])
    for i in range(n):
        cost = squares + 2 * centred @ total  # |total + x|² without the part that is the same for all
        cost[chosen[:i]] = np.inf
        chosen[i] = cost.argmin()
        total += centred[chosen[i]]
    return chosen
