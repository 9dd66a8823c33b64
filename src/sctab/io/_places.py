"""Places of this user on this machine: the cache, the configuration, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

from sctab.errors import SettingError

CACHE_VARIABLE, CONFIG_VARIABLE, OFFLINE_VARIABLE = "SCTAB_CACHE", "SCTAB_CONFIG", "SCTAB_OFFLINE"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def cache_dir() -> Path:
    """Directory of what can be downloaded again: `SCTAB_CACHE`, or the place for caches of the platform."""
    import platformdirs

    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("sctab"))


def config_file() -> Path:
    """File of settings, which need not exist: `SCTAB_CONFIG`, or `config.toml` in the place for settings of the platform."""
    import platformdirs

    chosen = os.environ.get(CONFIG_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_config_dir("sctab")) / "config.toml"


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
