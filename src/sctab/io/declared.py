"""Values that a user declares in a file: read, checked, and named by their place where they are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import yaml

from sctab import _lazy
from sctab.errors import DataFileError, SettingError, listing

__dir__ = _lazy.defined_in(__file__)

_LARGEST, _MOST_VALUES = 2**24, 1_000_000
"""Bytes and values of a declaration."""
_LARGEST_INTEGER = 2**63
_MOST_SHOWN = 200
"""Characters of a value in a message."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    DataFileError
        If it is missing or not valid YAML.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataFileError(f"`{path}` is not a regular file. Provide a YAML file.")
        if path.stat().st_size > _LARGEST:
            raise DataFileError(
                f"`{path}` has {path.stat().st_size:,} bytes, more than the {_LARGEST:,} of any declaration. Check the path."
            )
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (it builds plain values only)
        _require_bounded(values, {}, ())
    except OSError as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(f"`{path}` cannot be read: {error.strerror}. Check the path.") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataFileError(f"`{path}` is not valid YAML: {' '.join(str(error).split())}") from error
    return values


class _Loader(yaml.SafeLoader):
    """Builds plain values, and refuses duplicate names, of which one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 (as in PyYAML)
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{listing(twice)} is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _require_bounded(value: Any, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """Number of values once aliases are written out; a short file could expand to billions."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in above:
        raise ValueError("it holds itself")
    if id(value) not in sizes:
        inside = list(value.values()) if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_require_bounded(item, sizes, (*above, id(value))) for item in inside)
    if sizes[id(value)] > _MOST_VALUES:
        raise ValueError(f"with its aliases written out it has more than {_MOST_VALUES:,} values")
    return sizes[id(value)]


def shown(value: Any) -> str:
    """Python code of a value for a message, truncated.

    Examples
    --------
    >>> shown(["a"])
    "['a']"
    """
    try:
        code = repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits, or values nested too deeply
        return f"a value of type {type(value).__name__}"
    return code if len(code) <= _MOST_SHOWN else f"{code[:_MOST_SHOWN]}…"


def instance_of(cls: type, values: Any, where: str, readers: Mapping[str, Callable[[Any, str], Any]] | None = None) -> Any:
    """Instance of a dataclass from a mapping with its fields; fields without a reader are strings."""
    values = mapping(values, where)
    known: dict[str, Field[Any]] = {item.name: item for item in fields(cls)}
    check_keys(values, set(known), where)
    missing = [
        name for name, item in known.items() if name not in values and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise SettingError(f"{where} lacks {listing(missing)}.")
    return cls(**{name: (readers or {}).get(name, string)(value, f"{where}, `{name}`") for name, value in values.items()})


def check_keys(values: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse names that are not known."""
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SettingError(f"{where}: {listing(unknown)} is not known. Available: {listing(sorted(known), most=20)}.")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A mapping of names to values."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SettingError(f"{where}: a mapping of names to values was expected, found `{shown(value)}`.")
    return value


def sequence(value: Any, where: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise SettingError(f"{where}: a list was expected, found `{shown(value)}`.")
    return value


def each[T](reader: Callable[[Any, str], T]) -> Callable[[Any, str], tuple[T, ...]]:
    """Reader of a list whose items another reader reads."""
    return lambda value, where: tuple(reader(item, where) for item in sequence(value, where))


def string(value: Any, where: str) -> str:
    """A string of Unicode characters."""
    if not isinstance(value, str):
        raise SettingError(f"{where}: a string was expected, found `{shown(value)}`.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SettingError(f"{where}: a string of Unicode characters was expected, found `{shown(value)}`.") from error
    return value


def integer(value: Any, where: str) -> int:
    """An integer of at least 0 that fits into 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST_INTEGER:
        raise SettingError(f"{where}: an integer of at least 0 and below 2^63 was expected, found `{shown(value)}`.")
    return value


def fraction(value: Any, where: str) -> float:
    """A fraction above 0 and up to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise SettingError(f"{where}: a fraction above 0 and up to 1 was expected, found `{shown(value)}`.")
    return float(value)
