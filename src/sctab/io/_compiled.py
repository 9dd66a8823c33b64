"""Compilation of loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled[F: Callable[..., Any]](function: F) -> F:
    """Compile at the first call. Sums may be reordered, as vector instructions need it, and no number is NaN."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz", "nnan"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this directory nor the user's cache can be written
        return numba.njit(**options)(function)
