"""Loading of large libraries."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off for a block that imports large libraries.

    PyTorch, Lightning and scvi-tools make a million objects that live as long as the process. Traversing them again and again takes a
    fifth of the processor time of their import.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
