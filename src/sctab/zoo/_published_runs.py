"""Runs of published models in a file, a folder, or a tar or zip archive that is never unpacked."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from sctab.errors import ModelFormatError, ModelNotFoundError, OutputError, Parameter, listing
from sctab.zoo._published_files import HPARAMS, LARGEST_HPARAMS, read_small

_SUFFIX = ".ckpt"
_SUBFOLDER = "checkpoints"
"""Folder between a run and its checkpoints, where Lightning logs to a directory."""
_SCORE = re.compile(r"val_f1_macro=(\d+(?:\.\d+)?)")
_EPOCH = re.compile(r"epoch=(\d+)")
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)
"""Errors of libraries on archives that were cut off or changed, or that are compressed or encrypted in another way."""
_START_OF_ZIP = b"PK\x03\x04"
_CHUNK = 2**20
"""Bytes of an archive in memory at a time."""


@dataclass(frozen=True)
class Run:
    """One training whose best checkpoint is to be imported."""

    checkpoint: str
    """Path of its best checkpoint in the source."""
    hparams: str | None
    """Path of its `hparams.yaml`, if it has one."""


class Source(Protocol):
    """Something that holds files by relative path."""

    @property
    def names(self) -> list[str]:
        """Paths of all files, with `/`."""

    def read(self, name: str) -> bytes:
        """Content of a small file."""

    def file(self, name: str) -> AbstractContextManager[Path]:
        """A path at which one large file lies, for the time of a `with` block."""


@contextmanager
def open_source(path: Path, *, workplace: Path | None) -> Iterator[Source]:
    """Open a checkpoint, a folder or an archive: a tar, compressed or not, or a zip.

    Parameters
    ----------
    path
        Which one.
    workplace
        Folder for the one member of an archive that is looked at; by default that of the system.

    Raises
    ------
    ModelNotFoundError
        If it does not exist.
    ModelFormatError
        If it is none of these, or damaged.
    """
    if path.is_dir():
        yield _Folder(path, sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()))
    elif not path.exists():
        raise ModelNotFoundError(f"`{path}` not found. Provide a checkpoint, a run folder, or an archive of runs.")
    elif path.suffix == _SUFFIX:
        yield _Folder(path.parent, [path.name])
    elif _is_zip(path):
        with _open_zip(path) as zipped:
            yield _Zip(path, zipped, workplace)
    else:
        with _open(path) as archive:
            yield _Archive(path, archive, workplace)


def find_runs(names: Sequence[str], *, folder: str | None, where: str) -> list[Run]:
    """The runs among the files of a source, in the order of the files, each with its best checkpoint.

    Parameters
    ----------
    names
        Paths of all files.
    folder
        Take only runs that are, or lie in, this folder.
    where
        What the source is called in messages.

    Raises
    ------
    ModelFormatError
        If there is none, if there are runs of several models, or if nothing tells which checkpoint of a run is best.

    Examples
    --------
    >>> names = ["a/run1/val_f1_macro_epoch=4_val_f1_macro=0.81.ckpt", "a/run1/val_f1_macro_epoch=7_val_f1_macro=0.84.ckpt"]
    >>> [run.checkpoint for run in find_runs(names, folder=None, where="a.tar")]
    ['a/run1/val_f1_macro_epoch=7_val_f1_macro=0.84.ckpt']
    """
    known = set(names)
    checkpoints: dict[str, list[str]] = {}
    for name in names:
        if name.endswith(_SUFFIX) and not PurePosixPath(name).name.startswith("."):
            checkpoints.setdefault(_run_of(name), []).append(name)
    chosen = [run for run in checkpoints if folder is None or f"/{folder.strip('/')}/" in f"/{run}/"]
    if not chosen:
        there = (
            f"There are runs in: {listing(sorted(checkpoints))}." if checkpoints else f"It has no file that ends in `{_SUFFIX}`."
        )
        raise ModelFormatError(f"`{where}` has no checkpoint{'' if folder is None else f' in `{folder}`'}. {there}")
    models = sorted({str(PurePosixPath(run).parent) for run in chosen})
    if len(models) > 1:
        raise ModelFormatError(
            f"`{where}` has runs of {len(models)} models, in {listing(models)}. Choose one of these, or one run in it, with ",
            Parameter("folder", ...),
            ".",
        )
    return [
        Run(_best(checkpoints[run], where), hparams if (hparams := str(PurePosixPath(run) / HPARAMS)) in known else None)
        for run in chosen
    ]


class _Folder:
    def __init__(self, root: Path, names: list[str]) -> None:
        self.root = root
        self.names = names

    def read(self, name: str) -> bytes:
        return read_small(self.root / name)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        yield self.root / name


class _Archive:
    """Regular files of a tar. Their names say which is which and are never used as paths; links and devices are not looked at.

    It is read from beginning to end: once to see what there is, and once more for the checkpoints. Going back in a compressed archive would
    mean to start again, so that small files are kept when they come along.
    """

    def __init__(self, path: Path, archive: tarfile.TarFile, workplace: Path | None) -> None:
        self._path = path
        self._archive = archive
        self._workplace = workplace
        self._members: dict[str, tarfile.TarInfo] = {}
        self._small: dict[str, bytes] = {}
        for member in self._plain_members():
            name = member.name.removeprefix("./")
            self._members[name] = member
            if PurePosixPath(name).name == HPARAMS and member.size <= LARGEST_HPARAMS:
                self._small[name] = b"".join(self._chunks(name))

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        if name not in self._small:
            raise ModelFormatError(f"`{name}` in `{self._path}` has {self._members[name].size} bytes: it is not a `{HPARAMS}`.")
        return self._small[name]

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        with _copied(name, self._chunks(name), self._workplace) as copy:
            yield copy

    def _plain_members(self) -> Iterator[tarfile.TarInfo]:
        with _reading(self._path):
            yield from (member for member in self._archive if _is_plain(member))

    def _chunks(self, name: str) -> Iterator[bytes]:
        with _reading(self._path):
            file = cast("IO[bytes]", self._archive.extractfile(self._members[name]))  # `None` is for what is not a file
        while chunk := self._next(file):
            yield chunk

    def _next(self, file: IO[bytes]) -> bytes:
        with _reading(self._path):
            return file.read(_CHUNK)


class _Zip:
    """Regular files of a zip, whose names are never used as paths."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, workplace: Path | None) -> None:
        self._path = path
        self._archive = archive
        self._workplace = workplace
        self._members = {member.filename: member for member in archive.infolist() if _is_plain_zip(member)}

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        if (size := self._members[name].file_size) > LARGEST_HPARAMS:
            raise ModelFormatError(f"`{name}` in `{self._path}` has {size} bytes: it is not a `{HPARAMS}`.")
        return b"".join(self._chunks(name))

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        with _copied(name, self._chunks(name), self._workplace) as copy:
            yield copy

    def _chunks(self, name: str) -> Iterator[bytes]:
        with _reading(self._path):
            file = self._archive.open(self._members[name])
        with file:
            while chunk := self._next(file):
                yield chunk

    def _next(self, file: IO[bytes]) -> bytes:
        with _reading(self._path):
            return file.read(_CHUNK)


@contextmanager
def _copied(name: str, chunks: Iterator[bytes], workplace: Path | None) -> Iterator[Path]:
    """A copy of a member of an archive, for the time of a `with` block."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".sctab-", suffix=".part", dir=workplace))
            copy = Path(folder) / f"member{_SUFFIX}"
            with copy.open("wb") as target:
                for chunk in chunks:
                    target.write(chunk)
        except OSError as error:
            where = workplace or tempfile.gettempdir()
            raise OutputError(
                f"`{name}` could not be copied to `{where}`, where one checkpoint of the archive lies at a time: {error.strerror}."
            ) from error
        yield copy


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_START_OF_ZIP)) == _START_OF_ZIP
    except OSError:
        return False


def _is_plain_zip(member: zipfile.ZipInfo) -> bool:
    """Return whether it is a file below the archive: no folder, no link, and no path that leads elsewhere."""
    parts = PurePosixPath(member.filename)
    kind = member.external_attr >> 16
    return not (member.is_dir() or stat.S_ISLNK(kind) or parts.is_absolute() or ".." in parts.parts)


def _open_zip(path: Path) -> zipfile.ZipFile:
    with _reading(path):
        return zipfile.ZipFile(path)


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Return whether it is a file of its own below the archive: no link, no device, and no path that leads elsewhere."""
    parts = PurePosixPath(member.name)
    return member.isreg() and not member.issparse() and not parts.is_absolute() and ".." not in parts.parts


def _open(path: Path) -> tarfile.TarFile:
    with _reading(path):
        try:
            return tarfile.open(path)
        except tarfile.ReadError as error:  # it tells of every kind of compression that it is not
            raise ModelFormatError(
                f"`{path}` is neither a checkpoint (`{_SUFFIX}`) nor a tar or zip "
                f"archive{', it is empty' * (path.stat().st_size == 0)}. Provide a checkpoint, the folder of a run, or an "
                "archive of runs."
            ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelFormatError(f"`{path}` cannot be read to its end: {reason}. It may be truncated; download it again.") from error


def _run_of(checkpoint: str) -> str:
    folder = PurePosixPath(checkpoint).parent
    return str(folder.parent if folder.name == _SUBFOLDER else folder)


def _best(checkpoints: list[str], where: str) -> str:
    """The highest validation score in a name; of equal ones, the earliest epoch."""
    scores = {name: float(match[1]) for name in checkpoints if (match := _SCORE.search(PurePosixPath(name).name))}
    if scores:
        return min(scores, key=lambda name: (-scores[name], _epoch(name)))
    if len(checkpoints) > 1:
        raise ModelFormatError(
            f"`{where}` does not say which of {listing(checkpoints)} is best: none has `val_f1_macro=` in its name. Provide one of them."
        )
    return checkpoints[0]


def _epoch(name: str) -> int:
    match = _EPOCH.search(PurePosixPath(name).name)
    return int(match[1]) if match else 0
