"""Names by which a user may ask for a model: of an index, of a hub, of a record, a URL, or a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from sctab.errors import Parameter, SettingError
from sctab.io import as_path, is_url, without_credentials
from sctab.zoo._index import SHA256, is_name, is_version

_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?")
_ZENODO = re.compile(r"zenodo:(?://)?(?:10\.5281/zenodo\.)?(?P<record>[0-9]{1,12})(?:/(?P<file>[^\\]+))?")


@dataclass(frozen=True)
class InIndex:
    """A model of an index, `name` or `name@version`."""

    name: str
    version: str | None


@dataclass(frozen=True)
class OnHub:
    """A repository of a hub, `hf://organisation/name@revision`."""

    repo: str
    revision: str | None


@dataclass(frozen=True)
class OnZenodo:
    """A file of a record, `zenodo:record/file`."""

    record: str
    file: str | None


@dataclass(frozen=True)
class AtUrl:
    """An archive or a directory at a URL; `#sha256=…` after it says what is expected."""

    url: str
    sha256: str | None = None

    @property
    def shown(self) -> str:
        """The URL without what gives access to it."""
        return without_credentials(self.url)


def parse(model: str | PathLike[str]) -> InIndex | OnHub | OnZenodo | AtUrl | Path:
    """Kind of what names a model; a path that exists takes precedence.

    Raises
    ------
    SettingError
        If it begins like one of these and continues otherwise, or if it is neither a string nor a path.

    Examples
    --------
    >>> parse("lung@2.1")
    InIndex(name='lung', version='2.1')
    >>> parse("zenodo:1234567/lung.tar")
    OnZenodo(record='1234567', file='lung.tar')
    """
    if not isinstance(model, str | PathLike):
        raise SettingError(Parameter("model", model), " must be a string or a path. Provide a name, a URL or a directory.")
    text = os.fspath(model)
    if not isinstance(model, str) or not isinstance(text, str):
        return as_path(model)
    if text.startswith("hf:"):
        return OnHub(*_match(_HUB, text, "`hf://organisation/name`, with `@revision` after it"))
    if text.startswith("zenodo:"):
        return OnZenodo(*_match(_ZENODO, text, "`zenodo:1234567`, with `/file.tar` after it where the record has several files"))
    if is_url(text):
        return _at_url(text)
    path = as_path(text)
    if not _exists(path):
        name, _, version = text.partition("@")
        if is_name(name) and (is_version(version) or "@" not in text):
            return InIndex(name, version or None)
    return path


def _match(pattern: re.Pattern[str], text: str, expected: str) -> tuple[str, str | None]:
    found = pattern.fullmatch(text)
    if found is None:
        raise SettingError(f"`{text}` does not name a model. Write {expected}.")
    first, second = found.groups()
    return str(first), second


def _at_url(text: str) -> AtUrl:
    url, _, fragment = text.partition("#")
    sha256 = fragment.removeprefix("sha256=").lower()
    if fragment and not (fragment.startswith("sha256=") and SHA256.fullmatch(sha256)):
        raise SettingError(
            f"`{without_credentials(url)}` is followed by `#{fragment[:80]}`, and `#sha256=` with 64 hexadecimal digits was expected. "
            "Omit it, or provide the SHA-256 of the archive."
        )
    return AtUrl(url, sha256 or None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
