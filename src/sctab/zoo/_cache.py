"""Models that were downloaded or unpacked, each whole in a directory of its own, with a record of where it is from and what is in it."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sctab.errors import DownloadError, SctabError, warn
from sctab.io import cache_dir, strict_json, write_reason
from sctab.zoo._archive import model_files

RECORD_FILE = "download.json"
RECORD_FORMAT, RECORD_VERSION = "sctab-download", 1
_DAY = 86_400
_PATIENCE = 3.0
"""Seconds of waiting for another process after which a note says so."""
_PARTIAL = re.compile(r"[0-9a-f]{32}(?:\.part(?:\.json)?|-[0-9a-f]{8})")
"""Names of downloads and directories that are not finished."""
_KEY = re.compile("[0-9a-f]{32}")
_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}")


@dataclass(frozen=True)
class Record:
    """Source and content of a model in the cache."""

    source: str
    """Its name: `name@version`, a URL or a path."""
    sha256: str
    """SHA-256 of the archive, or of the list of files."""
    size: int
    """Bytes of the archive, or of all files."""
    url: str = ""
    """Address that it was downloaded from, without credentials."""
    name: str = ""
    version: str = ""
    fetched: float = 0.0
    """Seconds since 1970."""
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Size and SHA-256 of each file."""


@dataclass(frozen=True)
class Cached:
    """A model in the cache."""

    key: str
    record: Record
    path: Path
    """Directory of the model."""

    @property
    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(size for size, _ in self.record.files.values())

    @property
    def last_used(self) -> float:
        """Time when it was last used, in seconds since 1970."""
        with suppress(OSError):
            return (self.path.parent / RECORD_FILE).stat().st_mtime
        return self.record.fetched

    def is_whole(self) -> bool:
        """Return whether every file exists with its size."""
        try:
            return all((self.path / name).stat().st_size == size for name, (size, _) in self.record.files.items())
        except OSError:
            return False

    def problems(self) -> list[str]:
        """Differences between the files and what was downloaded."""
        found = []
        for name, (size, sha256) in self.record.files.items():
            path = self.path / name
            try:
                if path.stat().st_size != size:
                    found.append(f"`{path}` has {path.stat().st_size:,} bytes and not {size:,}")
                elif sha256_of(path) != sha256:
                    found.append(f"`{path}` is not what was downloaded: its SHA-256 is not `{sha256}`")
            except OSError as error:
                found.append(f"`{path}` cannot be read: {error.strerror}")
        return found


def key_of(*parts: str) -> str:
    """Name of a model in the cache, from what identifies it."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def root() -> Path:
    """Directory of the cache of models."""
    return cache_dir() / "zoo"


def partial_dir() -> Path:
    """Directory of what is not finished."""
    return root() / "partial"


def find(key: str) -> Cached | None:
    """Model of a key; `None` where there is none, where its record cannot be read, or where one of its files is missing."""
    cached = _read(root() / "models" / key)
    return cached if cached is not None and cached.is_whole() else None


def everything() -> list[Cached]:
    """All models in the cache, also those that lack files, by their source."""
    with suppress(OSError):
        found = map(_read, (root() / "models").iterdir())
        return sorted((each for each in found if each is not None), key=lambda each: (each.record.source, each.key))
    return []


def mark_used(cached: Cached) -> None:
    """Remember that a model was used, where the cache can be written."""
    with suppress(OSError):
        os.utime(cached.path.parent / RECORD_FILE)


def store(key: str, record: Record, directory_name: str, fill: Callable[[Path], None]) -> Cached:
    """Fill the directory of a model, and move it to its place in the cache. Call it inside of :func:`alone`.

    Parameters
    ----------
    key
        Of :func:`key_of`.
    record
        Its source; time and files are added.
    directory_name
        Name of the directory, which is that of the model.
    fill
        Creates the directory that it gets and writes the files of the model. Whatever it raises, nothing is left.

    Raises
    ------
    DownloadError
        If the disk is full or the cache cannot be written.
    """
    target = root() / "models" / key
    fresh = partial_dir() / f"{key}-{secrets.token_hex(4)}"
    try:
        for left in partial_dir().glob(f"{key}-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir(parents=True)
        directory = fresh / safe_name(directory_name)
        fill(directory)
        files = {path.relative_to(directory).as_posix(): (path.stat().st_size, sha256_of(path)) for path in model_files(directory)}
        record = replace(record, fetched=round(time.time(), 3), files=files)
        strict_json.write(fresh / RECORD_FILE, {"format": RECORD_FORMAT, "format_version": RECORD_VERSION, **asdict(record)})
        target.parent.mkdir(exist_ok=True)
        if target.exists() and find(key) is None:
            _discard(target)
        try:
            fresh.rename(target)
        except OSError:
            if find(key) is None:  # no other process has stored it in the meantime
                raise
    except SctabError:
        raise
    except OSError as error:
        raise unwritable(error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    found = find(key)
    if found is None:
        raise DownloadError(f"The model that was stored in `{target}` is not complete. Another program may change this directory.")
    return found


def unwritable(error: OSError) -> DownloadError:
    """Error of a cache that cannot be written, with its cause and a fix."""
    return DownloadError(
        f"The cache `{root()}` cannot be written: {write_reason(error)}. Free some space, or set the environment variable "
        "`SCTAB_CACHE` to another directory. Nothing incomplete was kept."
    )


@contextmanager
def alone(key: str, what: str) -> Iterator[None]:
    """Hold a key for a block, so that one process downloads and the others wait for it.

    The system releases it when the process ends, however it ends. On a file system without locks, each process works for itself.

    Raises
    ------
    DownloadError
        If the cache cannot be written.
    """
    path = root() / "locks" / f"{key}.lock"
    lock: FileLock | None = FileLock(path, thread_local=False)
    started, said = time.monotonic(), False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial_dir().mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(error) from error
    while lock is not None:
        try:
            lock.acquire(timeout=0.5, poll_interval=0.05)
            break
        except Timeout:
            if not said and time.monotonic() - started > _PATIENCE:
                said = True
                warn(f"Another process is downloading `{what}`; waiting for it.")
        except NotImplementedError:
            lock = None
        except OSError as error:
            if os.access(path.parent, os.W_OK):  # a file system without locks
                lock = None
            else:
                raise unwritable(error) from error
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def remove(cached: Cached) -> None:
    """Remove a model from the cache.

    Raises
    ------
    DownloadError
        If it cannot be removed.
    """
    try:
        _discard(cached.path.parent)
    except FileNotFoundError:  # another process has removed it
        return
    except OSError as error:
        raise DownloadError(f"`{cached.path.parent}` cannot be removed: {error.strerror}. Check who owns the cache.") from error


def remove_partial(*, older_than: float = 0.0) -> int:
    """Remove unfinished downloads that no process works on, and give their bytes."""
    freed = 0
    with suppress(OSError):
        for path in list(partial_dir().iterdir()):
            key = path.name[:32]
            if not _PARTIAL.fullmatch(path.name):
                continue
            lock = FileLock(root() / "locks" / f"{key}.lock", timeout=0, thread_local=False)
            with suppress(OSError, Timeout, NotImplementedError):
                if time.time() - path.lstat().st_mtime < older_than:
                    continue
                with lock:
                    freed += _size_of(path)
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return freed


def unused_for(days: float) -> list[Cached]:
    """Models that nobody used for a number of days."""
    return [cached for cached in everything() if time.time() - cached.last_used > days * _DAY]


def safe_name(text: str) -> str:
    """Name of a directory on every system, from that of a model."""
    plain = re.sub(r"[^A-Za-z0-9._@+-]+", "-", text).strip("-. ")[:80].rstrip(". ")
    return plain or "model"


def _read(directory: Path) -> Cached | None:
    if not _KEY.fullmatch(directory.name):
        return None
    try:
        values = strict_json.read(directory / RECORD_FILE)
        if values.pop("format") != RECORD_FORMAT or values.pop("format_version") != RECORD_VERSION:
            return None
        files = {str(name): (int(size), str(sha256)) for name, (size, sha256) in values.pop("files").items()}
        record = Record(**_checked(values), files=files)
        (path,) = (each for each in directory.iterdir() if each.is_dir())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    is_apart = all(name and not name.startswith(("/", "..")) and "/.." not in name for name in files)
    return Cached(directory.name, record, path) if is_apart else None


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    kinds = {"size": int, "fetched": float | int} | dict.fromkeys(("source", "sha256", "url", "name", "version"), str)
    if set(values) != set(kinds) or not all(isinstance(values[name], kind) for name, kind in kinds.items()):
        raise ValueError("other entries than those of a record")
    if values["version"] and not _VERSION.fullmatch(values["version"]):
        raise ValueError("a version that no index has")
    return values


def _discard(directory: Path) -> None:
    """Remove a directory of the cache: it disappears from its place in one step."""
    partial_dir().mkdir(parents=True, exist_ok=True)
    aside = partial_dir() / f"{directory.name}-{secrets.token_hex(4)}"
    directory.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _size_of(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())
