"""The one rule on what an output may replace, for every function and every command that writes.

* Files are replaced individually, and only regular files: never a link, a pipe, a socket or a device.
* A directory is replaced only where everything in it is what `sctab` writes there (:data:`Kind`). Files that an operating system leaves
  there, such as `.DS_Store`, do not count and go with it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from sctab.errors import OutputError, OutputExistsError, Parameter
from sctab.keys import (
    CARD_FACTS_FILE,
    CARD_FILE,
    ENSEMBLE_FILE,
    ENSEMBLE_FORMAT,
    FORMAT_NAME,
    REFERENCE_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
)

Kind = Literal["file", "store", "model"]
"""Kind of output: a regular file, a `.zarr` store of an AnnData, or the directory of a model or an ensemble."""
_LARGEST_SPEC = 1 << 28
_NOUNS = {"file": "a file", "store": "a `.zarr` store", "model": "a model directory"}
_STORE_METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
_STORE_SLOTS = {"X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"}
_CHUNK = re.compile(r"c(\.\d+)*|\d+(\.\d+)*")
_MEMBER = re.compile(r"member_\d+")
_OF_SYSTEM = re.compile(r"\.DS_Store|\._.+|\.nfs[0-9a-f]+|Thumbs\.db|desktop\.ini|\.sctab-lock", re.IGNORECASE | re.DOTALL)
"""Files that macOS, Windows and NFS clients leave in directories, and locks of processes that were killed."""
MODEL_FILES = {WEIGHTS_FILE, SPEC_FILE, REFERENCE_FILE, CARD_FILE, CARD_FACTS_FILE, ENSEMBLE_FILE}
"""Files of the directory of a model or an ensemble."""
_ENSEMBLE_FILES = {REFERENCE_FILE, CARD_FILE, CARD_FACTS_FILE}
"""Files beside the members of an ensemble."""


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path of a user, in which a leading `~` is the home directory."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (leaves an unknown `~user` as it is, where `Path` raises)


def kind_of(path: Path) -> Kind:
    """The kind of an output that is not a model, from its suffix."""
    return "store" if path.suffix.lower() == ".zarr" else "file"


def check_free(target: Path, *, overwrite: bool, kind: Kind | None = None) -> None:
    """Refuse to write where something is, unless it may be overwritten.

    Raises
    ------
    OutputExistsError
        If `target` is there and `overwrite` is false, or if it is not what `sctab` writes there: it is a link, a pipe or a device; a
        directory where a file belongs, or the other way round; a directory with something else in it.
    OutputError
        If there can be no such name, or if it is none: `.`, `..` or `/`.
    """
    if target.name in ("", ".."):
        raise OutputError(f"`{target}` is not the name of an output. Choose one, such as `{target / 'new'}`.")
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise explain(error, target) from error
    except (OSError, ValueError) as error:
        raise explain(error if isinstance(error, OSError) else OSError(str(error)), target) from error
    kind = kind or kind_of(target)
    if stat.S_ISLNK(mode):
        raise OutputExistsError(
            f"`{target}` is a link to `{target.readlink()}`. Links are not replaced: use their target or another name."
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OutputExistsError(f"`{target}` is a pipe, a socket or a device, and only files are replaced. Choose another name.")
    if not overwrite:
        raise OutputExistsError(
            f"`{target}` already exists. Choose another name, or replace it with ", Parameter("overwrite", value=True), "."
        )
    if stat.S_ISREG(mode) != (kind == "file"):
        found = "a file" if stat.S_ISREG(mode) else "a directory"
        raise OutputExistsError(f"`{target}` is {found}, and {_NOUNS[kind]} does not replace it. Choose another name.")
    if kind != "file" and (foreign := (_foreign_in_store if kind == "store" else _foreign_in_model)(target)) is not None:
        raise OutputExistsError(
            f"`{target}` exists and is not {_NOUNS[kind]}: it holds `{foreign.relative_to(target)}`, which `sctab` did not "
            "write. It is not overwritten. Choose another name."
        )


def _foreign_in_model(directory: Path) -> Path | None:
    """Something in a directory that is not part of a model or an ensemble; `None` where everything is."""
    entries = entries_of(directory)
    if not entries:
        return None
    if directory / ENSEMBLE_FILE in entries:
        for entry in entries:
            if entry.name == ENSEMBLE_FILE:
                if not _has_format(entry, ENSEMBLE_FORMAT):
                    return entry
            elif entry.name in _ENSEMBLE_FILES and _is(entry, stat.S_ISREG):
                continue
            elif not (_MEMBER.fullmatch(entry.name) and _is(entry, stat.S_ISDIR)):
                return entry
            elif (foreign := _foreign_in_model(entry)) is not None:
                return foreign
        return None
    for entry in entries:
        if entry.name not in MODEL_FILES - {ENSEMBLE_FILE} or not _is(entry, stat.S_ISREG):
            return entry
    return None if _has_format(directory / SPEC_FILE, FORMAT_NAME) else entries[0]


def _foreign_in_store(directory: Path) -> Path | None:
    """Something in a directory that is not part of an AnnData in Zarr; `None` where everything is."""
    entries = entries_of(directory)
    if not entries:
        return None
    names = {entry.name for entry in entries}
    for entry in entries:
        if _is(entry, stat.S_ISDIR) and entry.name not in _STORE_SLOTS:
            return entry
    if not {"obs", "var"} <= names:
        return entries[0]
    waiting = [(directory, False)]
    while waiting:
        folder, is_array = waiting.pop()
        inside = _scan(folder)
        names = {entry.name for entry in inside}
        is_array = (
            is_array
            or ".zarray" in names
            or ("zarr.json" in names and _read_json(folder / "zarr.json").get("node_type") == "array")
        )
        if inside and not is_array and not names & _STORE_METADATA:
            return folder
        for item in inside:
            is_chunk = is_array and _CHUNK.fullmatch(item.name) is not None
            if item.is_dir(follow_symlinks=False) and (is_chunk or not is_array):
                waiting.append((Path(item.path), is_array))
            elif not item.is_file(follow_symlinks=False) or not (is_chunk or item.name in _STORE_METADATA):
                return Path(item.path)
    return None


def entries_of(directory: Path) -> list[Path]:
    """Entries of a directory in alphabetical order, without the files that an operating system leaves there."""
    return sorted(Path(entry.path) for entry in _scan(directory))


def names_of_system(directory: str | os.PathLike[str], names: Iterable[str]) -> set[str]:
    """Those of the names in a directory that belong to files that an operating system leaves there."""
    return {name for name in names if _OF_SYSTEM.fullmatch(name) and _is(Path(directory, name), stat.S_ISREG)}


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    entries = list(os.scandir(directory))
    left = names_of_system(directory, (entry.name for entry in entries))
    return [entry for entry in entries if entry.name not in left]


def _is(path: Path, test: Any) -> bool:
    """Return whether a path itself is of a type, not what it points to."""
    return bool(test(path.lstat().st_mode))


def _has_format(path: Path, name: str) -> bool:
    return _read_json(path).get("format") == name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if not _is(path, stat.S_ISREG) or path.stat().st_size > _LARGEST_SPEC:
            return {}
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def explain(error: OSError, target: Path) -> OutputError:
    """Turn an error of the operating system into one with its cause and a fix."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            why = "the disk is full. Free some space or write elsewhere"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            why = "there is no permission to write there. Choose another place"
        case errno.ENOTDIR | errno.EEXIST:
            why = "a part of its path is a file and not a directory. Choose another place"
        case _:
            why = str(error)
    return OutputError(f"`{target}` could not be written: {why}. What was there before is unchanged.")
