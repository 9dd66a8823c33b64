"""Files and directories written beside their place and then moved into it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sctab.errors import OutputError, SctabError
from sctab.io._replaceable import Kind, as_path, check_free, explain, kind_of

_LOCK, _PREVIOUS = ".sctab-lock", ".sctab-previous"
_N_SLOTS = 8
"""Processes that may write to one target at the same time under names that the next run knows."""
_ERRNO = re.compile(r"\berrno = (\d+)")


@contextmanager
def written_beside(target: str | os.PathLike[str], *, overwrite: bool = False, kind: Kind | None = None) -> Iterator[Path]:
    """Yield a temporary path, and move it to `target` when the block ends without an error.

    The path lies in a temporary directory beside `target`, on the same file system, and has the name of `target`. Whatever happens,
    `target` is either what it was before or what was written, whole. What a process that was killed has left is removed when the same
    target is written again.

    Parameters
    ----------
    target
        Where the result belongs. Missing parent directories are made.
    overwrite
        Replace what is there, where that has the same kind.
    kind
        What may be replaced; by default a `.zarr` store where `target` has this ending, and otherwise a regular file.

    Raises
    ------
    OutputExistsError
        If `target` is there and `overwrite` is false, or if it must not be replaced.
    OutputError
        If it cannot be written, for example without permission or on a full disk.
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


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Yield a directory in the place for temporary files, which is removed at the end of the block.

    Parameters
    ----------
    prefix
        Beginning of its name.

    Raises
    ------
    OutputError
        If it cannot be created or written in the block, for example on a full disk.
    """
    try:
        temporary = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_temporary(error) from error
    with temporary as directory:
        try:
            yield Path(directory)
        except SctabError:
            raise
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}:
                raise
            raise _no_temporary(error) from error


def _no_temporary(error: OSError) -> OutputError:
    place = tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")  # noqa: S108 (a name in a message)
    return OutputError(
        f"A temporary file could not be written in `{place}`: {error.strerror}. Free some space, or set the environment variable `TMPDIR` "
        "to another directory."
    )


# ------------------------------------------------------------------------------------------ the directory beside a target


def _claim(target: Path) -> tuple[Path, FileLock | None]:
    """A directory beside a target that this process alone writes to, and its lock; what killed processes have left is removed.

    Its name follows from that of the target, so that the next process that writes there finds it. The holder of the lock owns it: the
    system releases the lock when a process ends, however it ends.
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
    """The lock of an existing directory; `None` where another process has it, or where it is not ours."""
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
