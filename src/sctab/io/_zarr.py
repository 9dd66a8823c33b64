"""Reading of Zarr stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import zarr


@contextmanager
def fast_reading() -> Iterator[None]:
    """Let `zarrs` decode arrays that are opened meanwhile, where it is installed: rows then take half the time of processors.

    Zarr knows this as a setting of the whole process, so that it is changed and restored by one thread, around what several do. Arrays are
    not written this way, which takes longer.
    """
    changed = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"} if find_spec("zarrs") else {}
    with zarr.config.set(changed):
        yield
