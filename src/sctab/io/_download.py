"""Downloads that resume: hashed while they run, tried again with pauses, and removed where they are not what was expected."""

from __future__ import annotations

import errno
import hashlib
import json
import random
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sctab.errors import DownloadError, SctabError
from sctab.io import strict_json
from sctab.io._progress import ProgressReport
from sctab.io._remote import Opened, RemoteFile, TransferError, UnchangedError, remote_file_at

_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_REQUESTED = 0.5, 30.0, 120.0
"""Seconds before the same request is sent again: at first, at most, and at most where a server asks for it."""
_MOST_FAILURES, _MOST_ATTEMPTS = 5, 200
"""Failures one after another without a new byte, and attempts in all."""
_MOST_BYTES = 2**37
_MB = 10**6
_SHOWN_FROM = 5 * _MB
"""Bytes from which on progress is shown."""


@dataclass(frozen=True)
class Expected:
    """Expectations of a file; `None` where there are none."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def has_hash(self) -> bool:
        """Return whether the content can be checked."""
        return self.sha256 is not None or self.md5 is not None


@dataclass(frozen=True)
class Downloaded:
    """Result of a download."""

    size: int
    sha256: str


def download(
    url: str,
    partial: Path,
    expected: Expected = Expected(),
    *,
    title: str = "",
    show_progress: bool = False,
) -> Downloaded:
    """Download a file, from where an earlier attempt was cut off.

    After a failure of the network, `partial` keeps what has arrived, and the next call resumes there if the server has the same file. After
    any other failure, it is removed.

    Parameters
    ----------
    url
        URL over HTTP or of a file system of fsspec, or a path.
    partial
        File to write, and to resume. State is kept beside it, in a file with `.json` appended, until the download is finished. Its
        directory must exist, and no other process may write to it.
    expected
        Size and hashes. With a hash, a download is resumed also where the server does not tell whether the file has changed.
    title
        What is downloaded, for progress.
    show_progress
        Show progress of files from 5 MB on.

    Raises
    ------
    DownloadError
        If the server cannot be reached or does not have the file; if the file is not the one that was expected; or if the disk is full.
    """
    transfer = _Transfer(remote_file_at(url), partial, expected, title or url.rpartition("/")[2], show_progress)
    try:
        return transfer.run()
    except TransferError as error:
        if not transfer.have:
            transfer.discard()
        kept = f" {transfer.have / _MB:,.1f} MB are kept, and the next attempt resumes there." if transfer.have else ""
        raise DownloadError(f"`{transfer.file.shown}` could not be downloaded: {error.reason}.{kept}") from error
    except SctabError:
        transfer.discard()
        raise
    except OSError as error:
        transfer.discard()
        raise DownloadError(
            f"`{transfer.file.shown}` could not be downloaded: `{partial.parent}` cannot be written, {write_reason(error)}. Free "
            "some space, or choose another place. Nothing incomplete was kept."
        ) from error


def read_remote(url: str, *, most: int, unless: str | None = None) -> tuple[bytes, str | None] | None:
    """Content of a small file, and its tag, which changes when the file changes; `None` where it still has the tag `unless`.

    Raises
    ------
    DownloadError
        If it cannot be read, or is larger than `most` bytes.
    """
    file, patience = remote_file_at(url), _Patience()
    while True:
        try:
            with file.open(0, None, unless=unless, decoded=True) as opened:
                return _content(opened, most), opened.tag
        except UnchangedError:
            return None
        except TransferError as error:
            try:
                patience.wait(error, 0)
            except TransferError as last:
                raise DownloadError(f"`{file.shown}` could not be read: {last.reason}.") from error


def _content(opened: Opened, most: int) -> bytes:
    content = bytearray()
    for chunk in opened.chunks:
        content += chunk
        if len(content) > most:
            raise TransferError(
                f"it is larger than {most:,} bytes, so it is not what was expected. Check the address", is_final=True
            )
    if opened.total is not None and len(content) < opened.total:
        raise TransferError("the connection was cut off. Try again")
    return bytes(content)


def write_reason(error: OSError) -> str:
    """Reason why something cannot be written, as a part of a sentence."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full"
        case errno.EFBIG:
            return "a file would be larger than this process or file system allows"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "there is no permission to write there"
        case errno.ENOTDIR | errno.EEXIST:
            return "a part of its path is a file and not a directory"
    return str(error.strerror or error).rstrip(".")


class _Patience:
    """Pauses between attempts, and the end of trying."""

    def __init__(self) -> None:
        self._failures = self._attempts = 0
        self._most = 0

    def wait(self, error: TransferError, have: int) -> None:
        """Wait after a failure, or raise it where it is the last one."""
        self._failures = 1 if have > self._most else self._failures + 1
        self._most = max(self._most, have)
        self._attempts += 1
        if error.is_final or self._failures >= _MOST_FAILURES or self._attempts >= _MOST_ATTEMPTS:
            raise error
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._failures - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)
        if error.wait is not None:
            if error.wait > _LONGEST_REQUESTED:
                raise TransferError(f"the server asks to wait longer than {_LONGEST_REQUESTED:.0f} s. Try again later") from error
            pause = max(pause, error.wait)
        time.sleep(pause)


class _Transfer:
    def __init__(self, file: RemoteFile, partial: Path, expected: Expected, title: str, show_progress: bool) -> None:  # noqa: FBT001
        self.file, self._partial, self._expected = file, partial, expected
        self._title, self._shows = title, show_progress
        self._state = partial.with_name(f"{partial.name}.json")
        self._total = expected.size
        self._validator: str | None = None
        self.have = 0
        self._was_resumed = False
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._report: ProgressReport | None = None

    def run(self) -> Downloaded:
        self._resume()
        patience, restarted = _Patience(), False
        with ExitStack() as stack:
            while True:
                try:
                    if self._total is None or self.have < self._total:
                        self._attempt(stack)
                except TransferError as error:
                    patience.wait(error, self.have)
                    continue
                problem = self._problem()
                if problem is None:
                    break
                if not self._was_resumed or restarted:
                    raise DownloadError(problem)
                restarted = True  # the part of an earlier attempt may be of another file
                self._restart()
        self._state.unlink(missing_ok=True)
        return Downloaded(self.have, self._sha256.hexdigest())

    def discard(self) -> None:
        """Remove what has arrived."""
        for path in (self._partial, self._state):
            with suppress(OSError):
                path.unlink()
        self.have = 0

    def _resume(self) -> None:
        """Continue from what an earlier attempt has left, if it is known to belong to this file."""
        state: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            found = strict_json.read(self._state)
            state = found if isinstance(found, dict) else {}
        validator, total = state.get("validator"), state.get("total")
        is_valid = isinstance(validator, str) and validator.isprintable() and (total is None or _is_length(total))
        if state.get("file") == self.file.shown and is_valid:
            self._validator = validator
            self._total = total if self._total is None else self._total
        size = self._partial.stat().st_size if self._partial.is_file() and not self._partial.is_symlink() else 0
        if not size or not (self._validator or self._expected.has_hash) or size > (self._expected.size or _MOST_BYTES):
            self._restart()
            return
        with self._partial.open("rb") as file:
            while chunk := file.read(2**20):
                self._count(chunk)
        self._was_resumed = True

    def _restart(self) -> None:
        if self._report is not None:
            self._report.advance(-(self.have // _MB))
        self.have, self._was_resumed = 0, False
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._total, self._validator = self._expected.size, None
        if self._partial.is_symlink():
            self._partial.unlink()
        with self._partial.open("wb"):
            pass

    def _attempt(self, stack: ExitStack) -> None:
        if self.have and self._validator is None and not self._expected.has_hash:
            self._restart()
        with self.file.open(self.have, self._validator) as opened:
            if opened.start != self.have:
                self._restart()
            self._was_resumed = self._was_resumed or self.have > 0
            self._begin(opened, stack)
            with self._partial.open("ab", buffering=0) as file:
                for chunk in opened.chunks:
                    self._check_length(self.have + len(chunk))
                    _write_all(file, chunk)
                    before = self.have
                    self._count(chunk)
                    if self._report is not None:
                        self._report.advance(self.have // _MB - before // _MB)
        if self._total is not None and self.have < self._total:
            raise TransferError("the connection was cut off. Check the network, and try again")
        self._total = self.have

    def _begin(self, opened: Opened, stack: ExitStack) -> None:
        if opened.total is not None:
            self._check_length(opened.total, whole=True)
            self._total = opened.total
        self._validator = opened.validator
        self._state.write_text(
            json.dumps({"file": self.file.shown, "validator": self._validator, "total": self._total}), encoding="utf-8"
        )
        missing = (self._total or 0) - self.have
        free = shutil.disk_usage(self._partial.parent).free
        if missing > free:
            raise DownloadError(
                f"`{self.file.shown}` could not be downloaded: the disk is full. {missing / _MB:,.1f} MB are needed in "
                f"`{self._partial.parent}`, and {free / _MB:,.1f} MB are free. Free some space, or choose another place. Nothing "
                "incomplete was kept."
            )
        if self._shows and self._report is None and (self._total or 0) >= _SHOWN_FROM:
            self._report = stack.enter_context(
                ProgressReport(self._total // _MB, f"Downloading {self._title}", unit="MB", done=self.have // _MB)  # type: ignore[operator]
            )

    def _check_length(self, length: int, *, whole: bool = False) -> None:
        expected = self._expected.size
        if expected is not None and (length != expected if whole else length > expected):
            raise DownloadError(
                f"`{self.file.shown}` is not the file that was expected: it has {length:,} bytes{' or more' * (not whole)} and not "
                f"{expected:,}. Nothing of it was kept. Ask the maintainers of its index or server."
            )
        if length > _MOST_BYTES:
            raise DownloadError(
                f"`{self.file.shown}` has more than {_MOST_BYTES:,} bytes, so it is not a model. Check the address."
            )

    def _count(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        if self._expected.md5 is not None:
            self._md5.update(chunk)
        self.have += len(chunk)

    def _problem(self) -> str | None:
        for name, expected, found in (
            ("SHA-256", self._expected.sha256, self._sha256.hexdigest()),
            ("MD5", self._expected.md5, self._md5.hexdigest()),
        ):
            if expected is not None and found != expected:
                return (
                    f"`{self.file.shown}` is not the file that was expected: its {name} is `{found}` and not `{expected}`. Nothing "
                    "of it was kept. It was changed on the server or on the way: do not use it, and tell the maintainers of its index."
                )
        if self._expected.size is not None and self.have != self._expected.size:
            return (
                f"`{self.file.shown}` has {self.have:,} bytes, and {self._expected.size:,} were expected. Nothing of it was kept."
            )
        return None


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_BYTES


def _write_all(file: Any, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]
