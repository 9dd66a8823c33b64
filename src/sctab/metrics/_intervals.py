"""Intervals of scores over donors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def bootstrap_interval(
    score: Callable[[NDArray[np.int64]], ArrayLike],
    n_obs: int,
    *,
    donors: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile interval of one or several scores when donors are drawn again, with replacement.

    Cells of one donor are alike, so that whole donors are drawn, each with all of its cells. Without donors cells are drawn, and the
    interval says nothing of other donors. With few donors it is rough and rather too narrow.

    Parameters
    ----------
    score
        From how often each cell counts, `(n_obs,)`, to a score or to an array of scores. Draws in which a score is `NaN` do not count
        for it.
    n_obs
        Number of cells.
    donors
        Donor of each cell, `(n_obs,)`.
    n_bootstrap
        Number of draws.
    level
        Fraction of the draws that lie in the interval.
    rng
        Random seed of the draws.

    Returns
    -------
    Lower and upper ends, each shaped as what `score` gives; `NaN` with one donor, or without draws.

    References
    ----------
    Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13. Field and Welsh, Bootstrapping clustered data, 2007,
    :doi:`10.1111/j.1467-9868.2007.00593.x`.

    Examples
    --------
    >>> right = np.array([True, True, False, True])
    >>> low, high = bootstrap_interval(
    ...     lambda times: np.average(right, weights=times), 4, donors=["a", "a", "b", "b"], rng=np.random.default_rng(0)
    ... )
    >>> float(low), float(high)
    (0.5, 1.0)
    """
    units = np.arange(n_obs) if donors is None else pd.factorize(np.asarray(donors))[0]
    n_units = int(units.max()) + 1
    once = np.asarray(score(np.ones(n_obs, dtype=np.int64)), dtype=np.float64)
    if n_units == 1 or n_bootstrap == 0:
        return np.full(once.shape, np.nan), np.full(once.shape, np.nan)
    drawn = (np.bincount(rng.integers(n_units, size=n_units), minlength=n_units) for _ in range(n_bootstrap))
    draws = pd.DataFrame([np.ravel(score(times[units])) for times in drawn])
    low, high = (draws.quantile(share).to_numpy().reshape(once.shape) for share in ((1 - level) / 2, (1 + level) / 2))
    return low, high
