"""Files and directories written beside their place and then moved into it, so that nothing is ever half-written."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sctab._errors import OutputError, OutputExistsError, SctabError


@contextmanager
def written_beside(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path to write a file or a directory to, and move it to `target` when the block ends without an error.

    The path lies in a temporary directory beside `target`, on the same file system, and has the name of `target`. Whatever happens,
    `target` is either what it was before or what was written, whole.

    Parameters
    ----------
    target
        Where the result belongs. Missing parent directories are made.
    overwrite
        Replace what is there.

    Raises
    ------
    OutputExistsError
        When `target` is there and `overwrite` is false.
    OutputError
        When it cannot be written, for example without permission or on a full disk.
    """
    target = Path(target)
    try:
        check_free(target, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=".sctab-", suffix=".part", dir=target.parent))
    except OutputError:
        raise
    except OSError as error:
        raise explain(error, target) from error
    try:
        fresh = workplace / target.name
        yield fresh
        check_free(target, overwrite=overwrite)
        _move(fresh, target, workplace)
    except SctabError:
        raise  # a refusal from within the block says what it is about
    except OSError as error:
        raise explain(error, target) from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse to write where something is, unless it may be overwritten.

    Raises
    ------
    OutputExistsError
        When `target` is there and `overwrite` is false.
    """
    if target.exists() and not overwrite:
        raise OutputExistsError(f"`{target}` is already there. Choose another name, or allow it to be overwritten.")


def _move(fresh: Path, target: Path, workplace: Path) -> None:
    if target.is_dir() or (target.exists() and fresh.is_dir()):  # a directory cannot be replaced in one step
        previous = workplace / "previous"
        target.rename(previous)
        try:
            fresh.rename(target)
        except OSError:
            previous.rename(target)
            raise
    else:
        fresh.replace(target)


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
