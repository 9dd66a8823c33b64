"""Cache directories of libraries, on machines where neither their own directory nor the home directory is writable.

Imported before all else, since numba and matplotlib look for these places when they are imported: the former fails without one.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path

_LIBRARIES = {
    "NUMBA_CACHE_DIR": ("XDG_CACHE_HOME", "~/.cache", ("sctab", "scanpy")),
    "MPLCONFIGDIR": ("XDG_CONFIG_HOME", "~/.config", ()),
}
"""Variables that name such a place; where it is without them, by another variable or by default; packages that can have it beside their
code."""


def provide(environment: MutableMapping[str, str]) -> str | None:
    """Set temporary cache directories for libraries without a writable one.

    Parameters
    ----------
    environment
        Variables of the process; those that are set are left alone.

    Returns
    -------
    The temporary directory, which nobody else can write to; `None` where none is needed or none can be made.
    """
    needed = [
        name
        for name, (variable, default, packages) in _LIBRARIES.items()
        if name not in environment and not _is_writable(environment.get(variable, default), packages)
    ]
    if not needed:
        return None
    try:
        directory = tempfile.mkdtemp(prefix="sctab-caches-")
    except OSError:
        return None
    environment.update(dict.fromkeys(needed, directory))
    return directory


def _is_writable(at_home: str, packages: tuple[str, ...]) -> bool:
    return _can_write_into(Path(at_home)) or (bool(packages) and all(map(_has_writable_code, packages)))


def _can_write_into(path: Path) -> bool:
    """Return whether files can be made in a directory, or the directory itself."""
    try:
        there = path.expanduser()
    except RuntimeError:  # there is no home
        return False
    while not there.exists() and there != there.parent:
        there = there.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _has_writable_code(package: str) -> bool:
    found = find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or [])
    return all(os.access(folder, os.W_OK) for folder in folders)


if (_directory := provide(os.environ)) is not None:
    atexit.register(shutil.rmtree, _directory, ignore_errors=True)
