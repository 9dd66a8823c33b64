"""Places of this user on this machine: the cache, the configuration, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

from sctab.errors import SettingError
from sctab.io._replaceable import as_path

CACHE_VARIABLE, CONFIG_VARIABLE, OFFLINE_VARIABLE = "SCTAB_CACHE", "SCTAB_CONFIG", "SCTAB_OFFLINE"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def cache_dir() -> Path:
    """Directory of what can be downloaded again: `SCTAB_CACHE`, or the place for caches of the platform.

    Raises
    ------
    SettingError
        If it lies in a home directory that does not exist.
    """
    import platformdirs

    return _place(CACHE_VARIABLE, os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("sctab"))


def config_file() -> Path:
    """File of settings, which need not exist: `SCTAB_CONFIG`, or `config.toml` in the place for settings of the platform.

    Raises
    ------
    SettingError
        If it lies in a home directory that does not exist.
    """
    import platformdirs

    chosen = os.environ.get(CONFIG_VARIABLE)
    return _place(CONFIG_VARIABLE, chosen or os.path.join(platformdirs.user_config_dir("sctab"), "config.toml"))  # noqa: PTH118


def _place(variable: str, given: str) -> Path:
    """A path without `~`, which would otherwise become the name of a directory."""
    path = as_path(given)
    if str(path).startswith("~"):
        raise SettingError(
            f"`{given}` is in a home directory that is not known. Set the environment variable `{variable}` to a whole path."
        )
    return path


def is_offline(offline: bool | None = None) -> bool:  # noqa: FBT001 (a value that is passed on)
    """Return whether the network must not be used: as the caller says, or else as the environment variable `SCTAB_OFFLINE` says.

    Raises
    ------
    SettingError
        If the variable has another value than `1` or `0`.
    """
    if offline is not None:
        return offline
    value = os.environ.get(OFFLINE_VARIABLE, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise SettingError(f"The environment variable `{OFFLINE_VARIABLE}` must be `1` or `0`, and is `{value}`.")
    return value in _TRUE
