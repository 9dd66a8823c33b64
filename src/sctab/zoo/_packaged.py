"""Models that come with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from sctab.errors import ModelNotFoundError, did_you_mean, listing
from sctab.keys import SPEC_FILE

PACKAGED_VERSION = "1.0"
"""Version of the packaged models: each has one, and another content gets another version."""


def packaged_path(name: str) -> Path:
    """Directory of a packaged model.

    Parameters
    ----------
    name
        As :func:`list_models` lists it.

    Raises
    ------
    ModelNotFoundError
        If there is none of that name.
    """
    if name not in packaged_names():
        raise ModelNotFoundError(
            f"There is no packaged model `{name}`.{did_you_mean(name, packaged_names())} Packaged models: {listing(packaged_names())}."
        )
    return _root() / name


def packaged_names() -> tuple[str, ...]:
    """Names of the packaged models."""
    return tuple(directory.name for directory in sorted(_root().iterdir()) if (directory / SPEC_FILE).is_file())


def _root() -> Path:
    return Path(str(files("sctab.zoo"))) / "packaged"
