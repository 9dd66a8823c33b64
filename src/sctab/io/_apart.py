"""Outputs that have one place each, away from every input: nothing is written over, into or around one."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sctab.errors import OutputError
from sctab.io._replaceable import as_path


def check_apart(
    outputs: Sequence[str | os.PathLike[str]],
    inputs: Iterable[str | os.PathLike[str]] = (),
    *,
    folders: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Refuse outputs that have one place, lie inside each other, or touch an input, before any work is done.

    Two names have one place also where they are spelled differently (`a.csv` and `./a.csv`), lead through links, are two names of one
    file, or differ in case on a file system that does not tell them apart.

    Parameters
    ----------
    outputs
        Files and directories that will be written.
    inputs
        Files and directories that are read. URLs are not places on this machine.
    folders
        Directories that outputs are added to. They are not replaced, and may contain inputs.

    Raises
    ------
    OutputError
        If an output is, contains, or lies in an input or another output, or if a folder is or lies in an input.
    """
    keys_of = lru_cache(maxsize=None)(_keys)
    read: dict[Any, str] = {}
    around_read: dict[Any, str] = {}
    for given in inputs:
        name = os.fspath(given)
        if "://" not in name:
            place = _place(name)
            read |= dict.fromkeys(keys_of(place), name)
            around_read |= dict.fromkeys(_keys_around(place, keys_of), name)
    for folder in folders:
        place = _place(folder)
        if (other := _first(read, [*keys_of(place), *_keys_around(place, keys_of)])) is not None:
            raise OutputError(f"`{os.fspath(folder)}` is or lies in `{other}`, which is an input. Choose another directory.")
    written: dict[Any, str] = {}
    around_written: dict[Any, str] = {}
    for output in outputs:
        name, place = os.fspath(output), _place(output)
        own, around = keys_of(place), _keys_around(place, keys_of)
        if (other := _first(read, own)) is not None:
            raise OutputError(f"`{name}` is an input (`{other}`), and inputs are never replaced. Choose another name.")
        if (other := _first(read, around)) is not None:
            raise OutputError(f"`{name}` lies in `{other}`, which is an input. Choose another place.")
        if (other := _first(around_read, own)) is not None:
            raise OutputError(f"`{name}` contains `{other}`, which is an input. Choose another place.")
        if (other := _first(written, own)) is not None:
            raise OutputError(f"`{other}` and `{name}` are one output. Give each a name of its own.")
        if (before := _first(written, around) or _first(around_written, own)) is not None:
            raise OutputError(
                f"One of the outputs `{before}` and `{name}` lies in the other. Choose another place for one of them."
            )
        written |= dict.fromkeys(own, name)
        around_written |= dict.fromkeys(around, name)


def _place(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(as_path(path)))


def _keys(place: Path) -> list[Any]:
    """Keys that two names of one place share: the file itself where it exists, and a spelling of the path."""
    keys: list[Any] = [_spelled(place)]
    with suppress(OSError, ValueError):
        found = place.stat()
        keys.append((found.st_dev, found.st_ino))
    return keys


def _keys_around(place: Path, keys_of: Callable[[Path], list[Any]]) -> list[Any]:
    return [key for parent in place.parents for key in keys_of(parent)]


def _first(known: Mapping[Any, str], keys: Iterable[Any]) -> str | None:
    return next((known[key] for key in keys if key in known), None)


def _spelled(place: Path) -> str:
    """The path, in one spelling where the file system does not tell the spellings of a name apart."""
    for folder in place.parents:
        swapped = folder.with_name(folder.name.swapcase()) if folder.name else folder
        if swapped != folder:
            with suppress(OSError, ValueError):
                if swapped.samefile(folder):
                    return unicodedata.normalize("NFC", str(place)).casefold()
                break
    return str(place)
