"""Number of threads of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRODUCTS_PER_THREAD = 1_000_000_000
"""Products of a step, cells times weights, that are worth another thread: a tenth of a second of work.

Threads wait for each other after every operation, a hundred times per step. On idle cores that takes microseconds; where other processes
have the cores, it takes their time slices, and threads that spin meanwhile keep the cores from those that they wait for. A step of 128
cells and 600,000 weights took 14 ms of processor time in one thread and 190 to 380 ms in two, on two cores with ten busy processes.
"""


def useful_threads(n_products: int, n_threads: int) -> int:
    """Threads that are worth it.

    Parameters
    ----------
    n_products
        Cells of a batch times weights of the network.
    n_threads
        Threads at most.

    Examples
    --------
    >>> useful_threads(128 * 600_000, 64), useful_threads(2048 * 9_000_000, 64)
    (1, 18)
    """
    return max(1, min(n_threads, n_products // PRODUCTS_PER_THREAD))


@contextmanager
def with_useful_threads(n_products: int) -> Iterator[None]:
    """Let PyTorch compute in as many threads as are worth it for a block, never in more than it is set to use.

    Parameters
    ----------
    n_products
        Cells of a batch times weights of the network.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(useful_threads(n_products, n_threads))
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
