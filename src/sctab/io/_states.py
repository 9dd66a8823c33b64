"""States of data files, by which a change is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sctab.io._links import check_store, is_same_state, require_plain, state_of
from sctab.io._market import market_files
from sctab.io._urls import filesystem, is_url, suffix_of

_ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")


def stamp(path: str) -> Any:
    """State of a file, or of every file of a Zarr store by path; of what is behind a URL what its server says."""
    if not is_url(path):
        place = Path(path)
        require_plain(place)
        if (files := market_files(path)) is not None:
            return {str(file): state_of(file.stat()) for file in files.all}
        return check_store(path) if place.is_dir() else {path: state_of(place.stat())} if place.exists() else {}
    system, name = filesystem(path)
    system.invalidate_cache()
    names = [name] if suffix_of(path) != ".zarr" else [f"{name}/{part}" for part in _ZARR_METADATA]
    return [(system.size(part), system.ukey(part)) for part in names if system.exists(part)]


def is_same(before: Any, now: Any) -> bool:
    """Return whether two results of :func:`stamp` are those of the same content."""
    if not isinstance(before, dict):
        return bool(before == now)
    return before.keys() == now.keys() and all(is_same_state(state, now[path]) for path, state in before.items())


def state(path: str) -> Mapping[str, Any]:
    """Size and time of the last change of what tells of a change: the file, or the metadata of a Zarr store.

    Of a file behind a URL it is what its server says of it, and of a Zarr store there nothing.
    """
    if is_url(path):
        if suffix_of(path) == ".zarr":
            return {}
        system, name = filesystem(path)
        return {"size": [system.size(name)], "changed": [system.ukey(name)]}
    root = Path(path)
    files = market_files(path)
    entries = [*files.all] if files is not None else [root] if root.is_file() else [root / name for name in _ZARR_METADATA]
    states = [entry.stat() for entry in entries if entry.exists()]
    return {"size": [state.st_size for state in states], "changed": [state.st_mtime_ns for state in states]}
