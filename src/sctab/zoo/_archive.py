"""Archives of a model directory that nobody has to trust: only its own files are unpacked, with bounded names, numbers and sizes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sctab.errors import ModelFormatError, listing
from sctab.io import MODEL_FILES, strict_json
from sctab.keys import ENSEMBLE_FILE, SPEC_FILE

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
"""Extensions of archives that are unpacked."""
_MOST_ENTRIES = 10_000
_MOST_BYTES = 2**36
"""Largest model that is unpacked, in bytes."""
_MOST_RATIO, _NO_HARM = 100, 64 * 2**20
"""An archive may hold this number of times its own size, and a small one 64 MB. Weights shrink by a tenth, descriptions tenfold."""
_LARGEST_READ = 8 * 2**20
"""Bytes read at once: headers of an archive may claim any length."""
_DEEPEST = 8
_CHUNK = 2**20
_MEMBER = re.compile(r"member_\d{1,4}")
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, OverflowError, ValueError),
)
"""Errors that damaged archives lead to, besides `OSError`."""


def is_archive(name: str) -> bool:
    """Return whether a path or URL has the extension of an archive.

    Examples
    --------
    >>> is_archive("lung-2.1.tar.gz"), is_archive("lung-2.1")
    (True, False)
    """
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def stem_of(name: str) -> str:
    """Name of an archive without its extension."""
    return next((name[: -len(suffix)] for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), name)


def unpack(archive: Path, directory: Path, *, name: str) -> None:
    """Unpack the model, or ensemble, of an archive into a new directory; files that do not belong to a model are left out.

    Parameters
    ----------
    archive
        A `.tar`, also compressed, or a `.zip`, told apart by content.
    directory
        Is created. If this function fails, it holds a part of the model.
    name
        Name of the archive in messages.

    Raises
    ------
    ModelFormatError
        If it is damaged, is not an archive, holds no model or several, has a path that leaves it, a link or a device, or claims more than
        any model has.
    OSError
        If the directory cannot be written.
    """
    size = archive.stat().st_size
    most = min(_MOST_BYTES, max(size * _MOST_RATIO, _NO_HARM))
    with ExitStack() as stack:
        try:
            parts = stack.enter_context(_opened(archive, most, name))
            root, wanted = _wanted([part.names for part in parts.entries()], name)
        except ModelFormatError:
            raise
        except (*_DAMAGED, OSError) as error:
            raise _damaged(name, error) from error
        directory.mkdir()
        left = most
        for part in parts.entries():
            if part.names not in wanted:
                continue
            target = directory.joinpath(*part.names[len(root) :])
            bound = min(left, strict_json.MOST_BYTES) if target.suffix == ".json" else left
            if part.size > bound:
                raise ModelFormatError(
                    f"`{name}` cannot be trusted: `{part.path}` claims {part.size:,} bytes. Nothing was unpacked."
                )
            target.parent.mkdir(exist_ok=True)
            with target.open("xb") as file:
                for chunk in _undamaged(parts.read(part), name):
                    file.write(chunk)
            left -= part.size


@dataclass(frozen=True)
class _Part:
    """A file of an archive."""

    path: str
    names: tuple[str, ...]
    """Names of the directories above it, and its own."""
    size: int
    entry: Any


class _Tar:
    def __init__(self, file: Any, name: str) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:", errorlevel=2)  # noqa: SIM115 (`close` follows)
        self._name = name
        self._found: list[_Part] | None = None
        self._file = file

    def entries(self) -> list[_Part]:
        if self._found is None:
            self._found = list(self._read_entries())
            while self._file.read(_CHUNK):  # the checksum of what is compressed is at its end
                pass
        return self._found

    def _read_entries(self) -> Iterator[_Part]:
        number = 0
        while (entry := self._tar.next()) is not None:
            number += 1
            _check_number(number, self._name)
            if entry.isdir():
                _names_of(entry.name, self._name)
            elif entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not entry.issparse():
                yield _Part(entry.name, _names_of(entry.name, self._name), entry.size, entry)
            else:
                raise _refusal(self._name, f"`{entry.name}` is a link, a device or another special file")

    def read(self, part: _Part) -> Iterator[bytes]:
        self._file.seek(part.entry.offset_data)
        yield from _exactly(self._file, part.size)

    def close(self) -> None:
        self._tar.close()


class _Zip:
    def __init__(self, file: Any, name: str) -> None:
        self._zip = zipfile.ZipFile(file)
        self._name = name

    def entries(self) -> list[_Part]:
        found = []
        entries = self._zip.infolist()
        _check_number(len(entries), self._name)
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            path = entry.orig_filename  # as it is stored: the other one was cut at a NUL, and its separators were replaced
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(self._name, f"`{path}` is a link, a device or another special file")
            if entry.flag_bits & 1:
                raise _refusal(self._name, f"`{path}` is encrypted")
            names = _names_of(path, self._name)
            if not entry.is_dir():
                found.append(_Part(path, names, entry.file_size, entry))
        return found

    def read(self, part: _Part) -> Iterator[bytes]:
        with self._zip.open(part.entry) as file:
            yield from _exactly(file, part.size)
            file.read(1)  # compares the checksum

    def close(self) -> None:
        self._zip.close()


@contextmanager
def _opened(path: Path, most: int, name: str) -> Iterator[_Tar | _Zip]:
    with ExitStack() as stack:
        file: Any = stack.enter_context(strict_json.open_regular(path))
        start = file.read(8)
        file.seek(0)
        opened: _Tar | _Zip
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            opened = _Zip(_Bounded(file, _MOST_BYTES), name)
        else:
            opener: Any = next((opener for magic, opener in _OPENERS if start.startswith(magic)), None)
            plain = file if opener is None else stack.enter_context(opener(file))
            opened = _Tar(_Bounded(plain, max(most, path.stat().st_size) + _NO_HARM), name)
        stack.enter_context(closing(opened))
        yield opened


class _Bounded:
    """A file of which no position after a bound is read, and nothing large at once."""

    name = None

    def __init__(self, file: Any, most: int) -> None:
        self._within, self._most = file, most

    def read(self, size: int = -1, /) -> bytes:
        if size > _LARGEST_READ:
            raise ValueError(f"one of its headers claims {size:,} bytes")
        content: bytes = self._within.read(size if size >= 0 else _LARGEST_READ)
        if self.tell() > self._most:
            raise ValueError(f"it unpacks to more than {self._most:,} bytes")
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if (offset if whence == 0 else 0) > self._most:
            raise ValueError(f"it claims more than {self._most:,} bytes")
        return int(self._within.seek(offset, whence))

    def tell(self) -> int:
        return int(self._within.tell())

    def seekable(self) -> bool:
        return True


def _undamaged(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Chunks of a file in an archive; whatever goes wrong while they are read is an error of the archive."""
    try:
        yield from chunks
    except (*_DAMAGED, OSError) as error:
        raise _damaged(name, error) from error


def _exactly(file: Any, size: int) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(size, _CHUNK))
        if not chunk:
            raise EOFError("it ends too early")
        size -= len(chunk)
        yield chunk


def _check_number(number: int, name: str) -> None:
    if number > _MOST_ENTRIES:
        raise _refusal(name, f"it has more than {_MOST_ENTRIES:,} entries")


def _names_of(path: str, name: str) -> tuple[str, ...]:
    """Names in a path of an archive, which must stay in it on every system."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/") or not path.isprintable():
        raise _refusal(name, f"the path `{path[:120]!r}` may lead out of it")
    return parts


def _wanted(found: list[tuple[str, ...]], name: str) -> tuple[tuple[str, ...], set[tuple[str, ...]]]:
    """The directory of the model in an archive, and the files that belong to it."""
    files = [names for names in found if names and names[0] != "__MACOSX" and not names[-1].startswith("._")]
    if len({tuple(part.casefold() for part in names) for names in files}) < len(files):
        raise _refusal(name, "one of its files is there twice")
    ensembles = [names[:-1] for names in files if names[-1] == ENSEMBLE_FILE]
    models = [names[:-1] for names in files if names[-1] == SPEC_FILE]
    roots = ensembles or models
    if not roots:
        raise ModelFormatError(
            f"`{name}` holds no model: it has no `{SPEC_FILE}` and no `{ENSEMBLE_FILE}`. Provide an archive of a directory that "
            "`model.save` wrote."
        )
    if len(roots) > 1:
        raise ModelFormatError(
            f"`{name}` holds {len(roots)} models: {listing('/'.join(root) or '.' for root in roots)}. Unpack it, and provide one of them."
        )
    root = roots[0]
    if len(root) > _DEEPEST:
        raise _refusal(name, f"the model lies below {len(root)} directories")

    def belongs(names: tuple[str, ...]) -> bool:
        inside = names[len(root) :]
        if names[: len(root)] != root or not inside or inside[-1] not in MODEL_FILES:
            return False
        return len(inside) == 1 or (bool(ensembles) and len(inside) == 2 and _MEMBER.fullmatch(inside[0]) is not None)

    return root, {names for names in files if belongs(names)}


def _refusal(name: str, why: str) -> ModelFormatError:
    return ModelFormatError(f"`{name}` cannot be trusted: {why}. Nothing was unpacked. Get it again from its authors.")


def _damaged(name: str, error: Exception) -> ModelFormatError:
    reason = str(getattr(error, "strerror", None) or error).strip().rstrip(".") or type(error).__name__
    return ModelFormatError(f"`{name}` cannot be unpacked: {reason}. It may be truncated. Download or copy it again.")


def pack(directory: Path, archive: Path, *, root: str, replaced: dict[str, bytes] | None = None) -> None:
    """Write the files of a model or an ensemble as a `.tar` whose bytes depend on their content alone.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble.
    archive
        File to write.
    root
        Name of the directory in the archive.
    replaced
        Content of files that are written instead of those in the directory, such as the model card.
    """
    replaced = replaced or {}
    found = {path.relative_to(directory).as_posix(): path for path in model_files(directory)}
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for inside in sorted({*found, *replaced}):
            entry = tarfile.TarInfo(f"{root}/{inside}")
            entry.mode = 0o644
            if inside in replaced:
                entry.size = len(replaced[inside])
                tar.addfile(entry, io.BytesIO(replaced[inside]))
            else:
                entry.size = found[inside].stat().st_size
                with strict_json.open_regular(found[inside]) as file:
                    tar.addfile(entry, file)


def model_files(directory: Path) -> list[Path]:
    """Files of a model or an ensemble in its directory, in alphabetical order."""
    members = [path for path in directory.iterdir() if _MEMBER.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]
    folders = [directory, *(members if (directory / ENSEMBLE_FILE).is_file() else [])]
    return sorted(path for folder in folders for path in folder.iterdir() if path.name in MODEL_FILES and path.is_file())
