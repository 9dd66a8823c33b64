"""Loops over rows in as many threads as PyTorch uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray


def in_threads(loop: Callable[[slice], object], n_rows: int, indptr: NDArray[np.int64] | None = None) -> None:
    """Run a loop that releases the GIL over parts of the rows, one for each thread.

    Parameters
    ----------
    loop
        Takes the rows of a part.
    n_rows
        Number of rows.
    indptr
        Where the values of each row begin, `(n_rows + 1,)`: parts then have about as many values, otherwise as many rows.
    """
    n_threads = min(torch.get_num_threads(), n_rows)
    if n_threads < 2:
        loop(slice(0, n_rows))
        return
    ends = np.arange(n_rows + 1) if indptr is None else indptr
    bounds = np.searchsorted(ends, np.linspace(ends[0], ends[-1], n_threads + 1))
    bounds[0], bounds[-1] = 0, n_rows
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda first, last: loop(slice(first, last)), bounds[:-1].tolist(), bounds[1:].tolist()))
