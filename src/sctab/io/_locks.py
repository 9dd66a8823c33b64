"""Directories in which one process works at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sctab.errors import OutputError

LOCK_FILE = ".sctab-lock"
_HELD: set[tuple[int, Path]] = set()
"""Directories of this process, each with the thread that holds it."""


class InUseError(Exception):
    """Somebody else works in a directory."""


@contextmanager
def held_alone(directory: Path) -> Iterator[None]:
    """Hold a directory for a block, so that nobody else can; a missing one is created, and removed again if nothing was written into it.

    The system releases the lock when the process ends, however it ends. A thread that holds a directory can hold it again. Where a
    directory cannot be created or locked, the block runs without a lock, and a later error says why nothing can be written there.

    Parameters
    ----------
    directory
        The directory.

    Raises
    ------
    InUseError
        If another process or thread holds it.
    """
    key = (threading.get_ident(), directory.absolute())
    is_new = not directory.exists()
    lock = None if key in _HELD else _acquired(directory)
    if lock is None:
        yield
        return
    _HELD.add(key)
    try:
        yield
    finally:
        _HELD.discard(key)
        with suppress(OSError):
            (directory / LOCK_FILE).unlink()  # before it is released: nobody else can hold this file any more
        lock.release()
        if is_new:
            with suppress(OSError):
                directory.rmdir()  # only where it is empty


@contextmanager
def held_in_turn(directory: Path, *, patience: float = 60.0) -> Iterator[None]:
    """Hold a directory for a block as :func:`held_alone` does, and wait for others.

    Parameters
    ----------
    directory
        The directory.
    patience
        Seconds to wait.

    Raises
    ------
    OutputError
        If another process still holds it then.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held_alone(directory))
                break
            except InUseError as error:
                if time.monotonic() - began > patience:
                    raise OutputError(
                        f"Another process has been writing to `{directory}` for {patience:,.0f} s. Try again later."
                    ) from error
                time.sleep(0.1)
        yield


def _acquired(directory: Path) -> FileLock | None:
    path = directory / LOCK_FILE
    while True:
        lock = FileLock(path, timeout=0)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise InUseError(str(directory)) from error
        except (OSError, NotImplementedError):  # a file, read-only, or a file system without locks
            return None
        if path.exists():
            return lock
        lock.release()  # the one who held it has removed the file in between
