"""Journal of finished blocks on disk, from which an interrupted annotation resumes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from sctab.errors import Message, OutputError, OutputExistsError, Parameter, SettingError, listing
from sctab.io import entries_of, explain, strict_json, written_beside

_FORMAT, _VERSION = "sctab-annotation", 3
_RUN_FILE, _LOCK_FILE = "run.json", "lock"
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Stands for a byte of a file name that is not UTF-8, and cannot be encoded."""
_PART = re.compile(r"part-(\d{6,12})-(\d{12,18})-(\d{12,18})\.npz")
_OURS = re.compile(rf"run\.json|{_PART.pattern}|file-\d{{6,12}}\.json|\.sctab-[0-9a-z_-]+\.part")
_MOST_BYTES = 2**34
"""Largest file of a block that is read."""
_HASH = "sha256"
_ALL = "probabilities"
"""Key that states whether blocks include probabilities and latents."""

Part = Mapping[str, NDArray[Any]]
"""Arrays of a :class:`~sctab.inference.Decision`, by name."""
_RESUME, _OVERWRITE = Parameter("resume", value=True), Parameter("overwrite", value=True)


class Journal:
    """A directory with a file for each block of cells that is finished. It is locked while it is open.

    A block's file is written beside and moved into place, so that it is there whole or not at all, and has a hash of its content. A block
    that was damaged since then is done again.

    Parameters
    ----------
    directory
        The directory.
    identity
        What decides the numbers: a run resumes only with the same.
    resume
        Resume existing work, if any.
    restart
        Throw away what is there.
    others
        Directories whose blocks serve too, where `resume` finds none in the first and they are of the same run.

    Raises
    ------
    OutputExistsError
        If something is there and neither `resume` nor `restart` says what to do with it; if it is open elsewhere; if it is
        something else.
    SettingError
        If it belongs to another run.
    OutputError
        If it cannot be written.
    """

    has_all: bool
    """True if blocks have probabilities and latents, also where only labels are wanted."""

    def __init__(
        self, directory: Path, identity: Mapping[str, Any], *, resume: bool, restart: bool, others: Iterable[Path] = ()
    ) -> None:
        self.directory = directory
        text = json.dumps({"format": _FORMAT, "format_version": _VERSION, **identity}, ensure_ascii=False)
        wanted = json.loads(_SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text))
        if resume and not os.path.lexists(directory):
            same = (other for other in others if not _differing(_read_json(other / _RUN_FILE), wanted))
            self.directory = next(same, directory)
        self._begin(wanted, resume=resume, restart=restart)
        self.has_all = bool(_read_json(self.directory / _RUN_FILE).get(_ALL))
        self._finished = self._read_finished()

    def _begin(self, wanted: Mapping[str, Any], *, resume: bool, restart: bool) -> None:
        run_file = self.directory / _RUN_FILE
        is_there = os.path.lexists(self.directory)
        if is_there and not self.directory.is_dir():
            raise OutputExistsError(
                f"`{self.directory}` exists and is not a directory, which is needed for finished blocks. Move it away."
            )
        if is_there:
            before = _read_json(run_file)
            if before.get("format") != _FORMAT and any(path.name != _LOCK_FILE for path in entries_of(self.directory)):
                if run_file.is_file():
                    raise OutputExistsError(
                        f"`{run_file}` was damaged, or written by another version of sctab: the blocks beside it cannot be "
                        f"used. Remove `{self.directory}` and start again."
                    )
                raise OutputExistsError(f"`{self.directory}` exists and holds no unfinished annotation. Move it away.")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.directory / _LOCK_FILE, timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise OutputExistsError(f"Another process is writing to `{self.directory}`. Wait until it is done.") from error
        except OSError as error:
            raise explain(error, self.directory) from error
        if is_there and before.get("format") == _FORMAT:
            if restart and not resume:
                self._forget()
            elif not resume:
                self._lock.release()
                raise OutputExistsError(
                    f"`{self.directory}` holds finished blocks of an annotation that was interrupted. Resume it (",
                    _RESUME,
                    "), or restart and discard them (",
                    _OVERWRITE,
                    ").",
                )
            elif differing := _differing(before, wanted):
                self._lock.release()
                raise SettingError(
                    f"`{self.directory}` belongs to another annotation: {listing(differing)} differ. Resume with the same files, model and "
                    "settings, or restart (",
                    _OVERWRITE,
                    ").",
                )
            else:
                return
        with written_beside(run_file) as beside:
            strict_json.write(beside, strict_json.with_digest(wanted))

    def _read_finished(self) -> dict[int, dict[tuple[int, int], Path]]:
        finished: dict[int, dict[tuple[int, int], Path]] = {}
        for path in sorted(self.directory.iterdir()):
            if (named := _PART.fullmatch(path.name)) is None:
                continue
            number, start, stop = map(int, named.groups())
            with suppress(OSError, ValueError):  # done again
                _read_part(path, stop - start)
                finished.setdefault(number, {})[start, stop] = path
        return finished

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()
        if error is not None and not any(self.directory.glob("part-*.npz")):
            self.remove()  # nothing is lost
        elif isinstance(error, KeyboardInterrupt | Exception) and not getattr(error, "__notes__", ()):
            error.add_note(
                Message(
                    f"Finished blocks are kept in `{self.directory}`. Resume with ", _RESUME, " and otherwise the same arguments."
                )
            )

    def is_finished(self, number: int, start: int, stop: int) -> bool:
        """Return whether these cells of file `number` are done."""
        return (start, stop) in self._finished.get(number, {})

    def n_finished(self) -> int:
        """Number of finished cells."""
        return sum(stop - start for blocks in self._finished.values() for start, stop in blocks)

    def write(self, number: int, start: int, stop: int, part: Part) -> None:
        """Keep what was found for cells `start` to `stop` of file `number`.

        Raises
        ------
        OutputError
            If it cannot be written, for example on a full disk.
        """
        path = self.directory / f"part-{number:06d}-{start:012d}-{stop:012d}.npz"
        with written_beside(path, overwrite=True) as beside:
            np.savez(beside, allow_pickle=False, **dict(part), **{_HASH: _hash_of(part)})
        self._finished.setdefault(number, {})[start, stop] = path

    def read(self, number: int, n_obs: int, *, at_least: int = 1) -> Iterator[tuple[int, int, Part]]:
        """Start, stop and content of all blocks of a file, in order, concatenated to `at_least` this number of cells.

        Raises
        ------
        OutputError
            If a block is missing or damaged.
        """
        waiting: list[Part] = []
        first = 0
        expected = 0
        for (start, stop), path in sorted(self._finished.get(number, {}).items()):
            if start != expected:
                break
            try:
                waiting.append(_read_part(path, stop - start))
            except (OSError, ValueError) as error:
                raise OutputError(f"`{path}` was damaged since it was written: {error}. Run again with ", _RESUME, ".") from error
            expected = stop
            if stop - first >= at_least or stop == n_obs:
                yield first, stop, {name: np.concatenate([part[name] for part in waiting]) for name in waiting[0]}
                first, waiting = stop, []
        if expected != n_obs:
            raise OutputError(
                f"Cells {expected} and following of file {number} are not in `{self.directory}`. Run again with `--resume`."
            )

    def remember(self, number: int, values: Mapping[str, Any]) -> None:
        """Keep information about file `number`."""
        with written_beside(self.directory / f"file-{number:06d}.json", overwrite=True) as beside:
            strict_json.write(beside, strict_json.with_digest(json.loads(json.dumps(dict(values)))))

    def recall(self, number: int) -> Mapping[str, Any] | None:
        """Values kept by :meth:`remember`; `None` if there are none or they are damaged."""
        return _read_json(self.directory / f"file-{number:06d}.json") or None

    def remove(self) -> None:
        """Throw all of it away: the results are where they belong. Files of others are kept."""
        self._finished = {}
        with suppress(OSError):
            self._forget()
            (self.directory / _LOCK_FILE).unlink()
            self.directory.rmdir()

    def _forget(self) -> None:
        for path in self.directory.iterdir():
            if _OURS.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _differing(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the differences between two runs. Blocks with more content than requested are accepted."""
    return [name for name in wanted if before.get(name) != wanted[name] and not (name == _ALL and before.get(name) is True)]


def _hash_of(part: Part) -> NDArray[np.uint8]:
    """SHA-256 of arrays and their names, `(32,)`."""
    digest = hashlib.sha256()
    for name, values in sorted(part.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _read_part(path: Path, n_obs: int) -> dict[str, NDArray[Any]]:
    """Arrays of a block of `n_obs` cells.

    Raises
    ------
    OSError, ValueError
        If they are not what was written.
    """
    content = io.BytesIO(strict_json.read_bytes(path, most=_MOST_BYTES))
    try:
        with zipfile.ZipFile(content) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed")
        with np.load(content, allow_pickle=False) as arrays:
            part = dict(arrays)
    except (zipfile.BadZipFile, EOFError, LookupError, NotImplementedError, RuntimeError, SyntaxError, TypeError) as error:
        raise ValueError(f"it is not a file of arrays ({error})") from error
    if not np.array_equal(part.pop(_HASH, None), _hash_of(part)):
        raise ValueError("its content is not what was written: the SHA-256 differs")
    if not part or any(len(values) != n_obs for values in part.values()):
        raise ValueError(f"it does not hold {n_obs} cells")
    return part


def _read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file with its hash; empty if it is missing or damaged."""
    try:
        return strict_json.without_digest(strict_json.read(path))
    except (OSError, ValueError):
        return {}
