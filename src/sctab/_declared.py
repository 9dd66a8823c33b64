"""Values that a user declares in a file: read, checked, and named by their place where they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import yaml

from sctab._errors import DataFileError, SettingError, listing


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises
    ------
    DataFileError
        When it is missing or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataFileError(f"`{path}` cannot be read: {error.strerror}. Check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataFileError(f"`{path}` is no YAML: {' '.join(str(error).split())}") from error


def build(cls: type, values: Any, where: str, readers: Mapping[str, Callable[[Any, str], Any]] | None = None) -> Any:
    """A dataclass from a mapping with its fields; what has no reader is a text."""
    values = mapping(values, where)
    known: dict[str, Field[Any]] = {item.name: item for item in fields(cls)}
    check_keys(values, set(known), where)
    missing = [
        name for name, item in known.items() if name not in values and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise SettingError(f"{where} lacks {listing(missing)}.")
    return cls(**{name: (readers or {}).get(name, text)(value, f"{where}, `{name}`") for name, value in values.items()})


def check_keys(values: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse names that are not known."""
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SettingError(f"{where}: {listing(unknown)} is not known. There are: {listing(sorted(known), most=20)}.")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A mapping of names to values."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SettingError(f"{where}: a mapping of names to values was expected, found `{value!r}`.")
    return value


def list_of(value: Any, where: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise SettingError(f"{where}: a list was expected, found `{value!r}`.")
    return value


def text(value: Any, where: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise SettingError(f"{where}: a text was expected, found `{value!r}`.")
    return value


def whole(value: Any, where: str) -> int:
    """A whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SettingError(f"{where}: whole numbers from 0 were expected, found `{value!r}`.")
    return value


def share(value: Any, where: str) -> float:
    """A share above 0 and up to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise SettingError(f"{where}: a share above 0 and up to 1 was expected, found `{value!r}`.")
    return float(value)
