"""The Dask cluster that a command uses."""

from __future__ import annotations

from typing import Any

from sctab.errors import ClusterError, require


def connected(address: str) -> Any:
    """A client of the scheduler at an address."""
    distributed = require("distributed", extra="dask")
    try:
        return distributed.Client(address, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at `{address}`. Start one with `dask scheduler`, or check the address."
        ) from error
