"""Files and directories written beside their place and then moved into it, and the one rule on what may be replaced.

The rule holds for every function and every command that writes:

* Files are replaced one by one, and only regular files: never a link, a pipe, a socket or a device.
* A directory is replaced only where everything in it is what `sctab` writes there (:data:`Kind`). Files that an operating system leaves
  there, such as `.DS_Store`, do not count and go with it.
* Nothing is written over, into or around an input, and no two outputs have one place (:func:`check_apart`). A directory that files are
  added to one by one may contain inputs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from sctab.errors import OutputError, OutputExistsError, SctabError
from sctab.keys import CARD_FILE, ENSEMBLE_FILE, ENSEMBLE_FORMAT, FORMAT_NAME, SPEC_FILE, WEIGHTS_FILE

Kind = Literal["file", "store", "model"]
"""What an output is: a regular file, a `.zarr` store of an AnnData, or the directory of a model or an ensemble."""

_LOCK, _PREVIOUS = ".sctab-lock", ".sctab-previous"
_N_SLOTS = 8
"""Processes that may write to one target at the same time under names that the next run knows."""
_LARGEST_SPEC = 1 << 28
_NOUNS = {"file": "a file", "store": "a `.zarr` store", "model": "a model directory"}
_STORE_METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
_STORE_SLOTS = {"X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"}
_CHUNK = re.compile(r"c(\.\d+)*|\d+(\.\d+)*")
_MEMBER = re.compile(r"member_\d+")
_ERRNO = re.compile(r"\berrno = (\d+)")
_MODEL_FILES = {WEIGHTS_FILE, SPEC_FILE, CARD_FILE}
_OF_SYSTEM = re.compile(r"\.DS_Store|\._.+|\.nfs[0-9a-f]+|Thumbs\.db|desktop\.ini", re.IGNORECASE | re.DOTALL)
"""Files that macOS, Windows and NFS clients leave in directories."""


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path of a user, in which a leading `~` is the home directory."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (leaves an unknown `~user` as it is, where `Path` raises)


def kind_of(path: Path) -> Kind:
    """The kind of an output that is no model, from its ending."""
    return "store" if path.suffix.lower() == ".zarr" else "file"


@contextmanager
def written_beside(target: str | os.PathLike[str], *, overwrite: bool = False, kind: Kind | None = None) -> Iterator[Path]:
    """Give a path to write a file or a directory to, and move it to `target` when the block ends without an error.

    The path lies in a temporary directory beside `target`, on the same file system, and has the name of `target`. Whatever happens,
    `target` is either what it was before or what was written, whole. What a process that was killed has left is removed when the same
    target is written again.

    Parameters
    ----------
    target
        Where the result belongs. Missing parent directories are made.
    overwrite
        Replace what is there, where that is of the same kind.
    kind
        What may be replaced; by default a `.zarr` store where `target` has this ending, and otherwise a regular file.

    Raises
    ------
    OutputExistsError
        When `target` is there and `overwrite` is false, or when it must not be replaced.
    OutputError
        When it cannot be written, for example without permission or on a full disk.
    """
    target = as_path(target)
    kind = kind or kind_of(target)
    try:
        check_free(target, overwrite=overwrite, kind=kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        workplace, lock = _claim(target)
    except OutputError:
        raise
    except OSError as error:
        raise explain(error, target) from error
    try:
        fresh = workplace / target.name
        yield fresh
        check_free(target, overwrite=overwrite, kind=kind)
        _move(fresh, target, workplace)
    except SctabError:
        raise  # a refusal from within the block says what it is about
    except (OSError, RuntimeError) as error:
        if (of_system := _of_system(error)) is None:
            raise
        raise explain(of_system, target) from error
    finally:
        _vacate(workplace, lock, target)


# ----------------------------------------------------------------------------------------------- what may be replaced


def check_free(target: Path, *, overwrite: bool, kind: Kind | None = None) -> None:
    """Refuse to write where something is, unless it may be overwritten.

    Raises
    ------
    OutputExistsError
        When `target` is there and `overwrite` is false, or when it is not what `sctab` writes there: it is a link, a pipe or a device; a
        directory where a file belongs, or the other way round; a directory with something else in it.
    OutputError
        When there can be no such name, or when it is none: `.`, `..` or `/`.
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
            f"`{target}` is a link to `{target.readlink()}`. Links are not replaced: give the name that it points to, or another one."
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OutputExistsError(f"`{target}` is a pipe, a socket or a device, and only files are replaced. Choose another name.")
    if not overwrite:
        raise OutputExistsError(f"`{target}` is already there. Choose another name, or allow it to be overwritten.")
    if stat.S_ISREG(mode) != (kind == "file"):
        found = "a file" if stat.S_ISREG(mode) else "a directory"
        raise OutputExistsError(f"`{target}` is {found}, and {_NOUNS[kind]} does not replace it. Choose another name.")
    if kind != "file" and (foreign := (_foreign_in_store if kind == "store" else _foreign_in_model)(target)) is not None:
        raise OutputExistsError(
            f"`{target}` is there and is not {_NOUNS[kind]}: it holds `{foreign.relative_to(target)}`, which `sctab` does not write. It is "
            "not overwritten. Choose another name."
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
            elif not (_MEMBER.fullmatch(entry.name) and _is(entry, stat.S_ISDIR)):
                return entry
            elif (foreign := _foreign_in_model(entry)) is not None:
                return foreign
        return None
    for entry in entries:
        if entry.name not in _MODEL_FILES or not _is(entry, stat.S_ISREG):
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
    """What is in a directory, in alphabetical order, without the files that an operating system leaves there."""
    return sorted(Path(entry.path) for entry in _scan(directory))


def names_of_system(directory: str | os.PathLike[str], names: Iterable[str]) -> set[str]:
    """Those of the names in a directory that belong to files that an operating system leaves there."""
    return {name for name in names if _OF_SYSTEM.fullmatch(name) and _is(Path(directory, name), stat.S_ISREG)}


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    entries = list(os.scandir(directory))
    left = names_of_system(directory, (entry.name for entry in entries))
    return [entry for entry in entries if entry.name not in left]


def _is(path: Path, test: Any) -> bool:
    """Whether a path itself is of a type, not what it points to."""
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


# ------------------------------------------------------------------------------------------- outputs and inputs apart


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
        Files and directories that are read. URLs are no places on this machine.
    folders
        Directories that outputs are added to. They are not replaced, and may contain inputs.

    Raises
    ------
    OutputError
        When an output is, contains, or lies in an input or another output, or when a folder is or lies in an input.
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
    """What two names of one place have in common: the file itself where it is there, and a spelling of the path."""
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


# ------------------------------------------------------------------------------------------ the directory beside a target


def _claim(target: Path) -> tuple[Path, FileLock | None]:
    """A directory beside a target that this process alone writes to, and its lock; what killed processes have left is removed.

    Its name follows from that of the target, so that the next process that writes there finds it. Whoever has the lock owns it: the
    system lets go of the lock when a process ends, however it ends.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    claimed: tuple[Path, FileLock] | None = None
    for slot in range(_N_SLOTS):
        workplace = target.parent / f".sctab-{digest}-{slot}.part"
        if claimed is not None and not workplace.exists():
            continue
        lock = _owned(workplace)
        if lock is None:
            continue
        _clear(workplace, target)
        if claimed is None:
            claimed = workplace, lock
        else:
            _vacate(workplace, lock, target)
    return claimed or (Path(tempfile.mkdtemp(prefix=".sctab-", suffix=".part", dir=target.parent)), None)


def _owned(workplace: Path) -> FileLock | None:
    """The lock of a directory that is there then; `None` where another process has it, or where it is not ours."""
    for _ in range(3):
        try:
            workplace.mkdir(mode=0o700, exist_ok=True)
            found = workplace.lstat()
        except FileExistsError:  # a file
            return None
        except FileNotFoundError:  # its owner has just removed it
            continue
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
            return None
        lock = FileLock(workplace / _LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except FileNotFoundError:
            continue
        except (Timeout, NotImplementedError):
            return None
        except OSError as error:
            if error.errno in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:  # a file system without locks
                return None
            raise
        return lock
    return None


def _clear(workplace: Path, target: Path) -> None:
    """Empty a directory of a process that was killed; what it was about to replace is where it was before."""
    previous = workplace / _PREVIOUS
    if os.path.lexists(previous) and not os.path.lexists(target):
        previous.rename(target)
    _empty(workplace)


def _vacate(workplace: Path, lock: FileLock | None, target: Path) -> None:
    """Remove the directory; its lock is the last to go. An interrupt between the two steps of a replacement loses nothing."""
    with suppress(OSError):
        _clear(workplace, target)
    if lock is None:
        with suppress(OSError):
            workplace.rmdir()
        return
    with suppress(OSError):
        (workplace / _LOCK).unlink()
    with suppress(OSError):
        workplace.rmdir()
    lock.release()
    if os.name == "nt":  # where an open file cannot be removed
        with suppress(OSError):
            (workplace / _LOCK).unlink()
            workplace.rmdir()


def _empty(workplace: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(workplace)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != _LOCK:
                Path(entry.path).unlink()


def _move(fresh: Path, target: Path, workplace: Path) -> None:
    if fresh.is_dir() and target.is_dir():  # a directory cannot be replaced in one step
        previous = workplace / _PREVIOUS
        target.rename(previous)
        try:
            fresh.rename(target)
        except OSError:
            previous.rename(target)
            raise
    else:
        fresh.replace(target)


def _of_system(error: OSError | RuntimeError) -> OSError | None:
    """The error of the operating system: HDF5 has its number in a message of many lines, and its type depends on where it occurred."""
    if (number := _ERRNO.search(str(error))) is not None:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    return error if isinstance(error, OSError) else None


def explain(error: OSError, target: Path) -> OutputError:
    """What to tell a user of an error of the operating system."""
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
