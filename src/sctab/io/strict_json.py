"""JSON in files that may be damaged or hostile: bounded and strict reading, and the hash of the content."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sctab import _lazy

__dir__ = _lazy.defined_in(__file__)

MOST_BYTES = 2**26
"""Largest JSON file that is read. A model of 60,000 genes takes 4 MB."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, without waiting for what a pipe or a device might send.

    Raises
    ------
    OSError
        If it cannot be opened, or is not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "it is not a regular file")
    return file


def read_bytes(path: str | os.PathLike[str], *, most: int = MOST_BYTES) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises
    ------
    OSError
        If it cannot be read, is not a regular file, or is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(None, f"it is larger than {most:,} bytes")
        return file.read(size)


def parse(content: bytes) -> Any:
    """Read JSON in which every key of an object stands once.

    NaN and infinite numbers are read; :func:`canonical` refuses them.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read(path: str | os.PathLike[str], *, most: int = MOST_BYTES) -> Any:
    """Read a JSON file; errors as in :func:`read_bytes` and :func:`parse`."""
    return parse(read_bytes(path, most=most))


def canonical(values: Any) -> bytes:
    """Write plain values in the one form that depends on their content alone: sorted keys, no spaces, UTF-8.

    Raises
    ------
    ValueError
        If a number is NaN or infinite, if a string is not Unicode, or if the values are nested too deeply.
    TypeError
        If JSON has no such value.

    Examples
    --------
    >>> canonical({"b": 1.0, "a": [None, "β"]}).decode()
    '{"a":[null,"β"],"b":1.0}'
    """
    try:
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return text.encode("utf-8")


def digest(values: Any) -> str:
    """SHA-256 of the canonical form of plain values; errors as in :func:`canonical`."""
    return hashlib.sha256(canonical(values)).hexdigest()


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the hash of an object to it, under `sha256`."""
    return dict(values) | {"sha256": digest(values)}


def without_digest(values: Any) -> dict[str, Any]:
    """Remove the hash from an object that :func:`with_digest` gave.

    Raises
    ------
    ValueError
        If it is not an object, or if its content is not what was hashed.
    """
    if not isinstance(values, dict):
        raise ValueError("it does not hold an object")
    content = {key: value for key, value in values.items() if key != "sha256"}
    if values.get("sha256") != digest(content):
        raise ValueError("its content is not what was written: the SHA-256 differs")
    return content


def write(path: Path, values: Any) -> None:
    """Write plain values as JSON."""
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8", newline="\n")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has the same key twice")
    return values
