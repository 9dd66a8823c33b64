"""Indices that are used: of an option, of the environment, of the configuration, and the packaged one; copies are kept, and refreshed."""

from __future__ import annotations

import os
import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from sctab.errors import DataFileError, DownloadError, OutputError, SctabError, SettingError, warn
from sctab.io import (
    as_path,
    config_file,
    declared,
    is_url,
    read_remote,
    split_url,
    strict_json,
    without_credentials,
    written_beside,
)
from sctab.zoo import _cache
from sctab.zoo._index import INDEX_FILE, Index, ModelEntry, read_index
from sctab.zoo._transfer import file_below, require_protected

ZOO_VARIABLE = "SCTAB_ZOO"
PACKAGED = "packaged"
"""Name of the index that comes with the package."""
DAY, HOUR = 86_400.0, 3600.0
_LAST_TIME = 2.0**37
"""Seconds since 1970 that a copy of an index can have, some 4,000 years."""
_PUBLISHED = "published.json"
_COPY_FORMAT = "sctab-index-copy"
_DIVIDERS = re.compile(r"[,\n]")


@dataclass(frozen=True)
class Found:
    """An entry, and the index that lists it."""

    entry: ModelEntry
    index: str


@dataclass(frozen=True)
class Indices:
    """Indices in the order in which they are searched."""

    indices: tuple[tuple[str, Index], ...]
    problems: tuple[str, ...] = ()
    """Indices that could not be read, as sentences."""

    def __iter__(self) -> Iterator[Found]:
        """Iterate over entries; those of later indices with the same name and version are left out."""
        seen: set[str] = set()
        for address, index in self.indices:
            for entry in index.models:
                if entry.reference not in seen:
                    seen.add(entry.reference)
                    yield Found(entry, address)

    def find(self, name: str, version: str | None) -> Found | None:
        """Version of a model, by default the newest one of the first index that lists the model.

        Raises
        ------
        DownloadError
            If two indices list the same version with different hashes.
        """
        for address, index in self.indices:
            versions = [entry for entry in index.versions(name) if version in (None, entry.version)]
            if versions:
                self._require_one(versions[0], address)
                return Found(versions[0], address)
        return None

    def _require_one(self, entry: ModelEntry, address: str) -> None:
        for other, index in self.indices:
            for each in index.models:
                if each.reference == entry.reference and each.sha256 != entry.sha256:
                    raise DownloadError(
                        f"`{entry.reference}` has different hashes in `{address}` and `{other}`, and the content of a version "
                        "never changes. Ask the maintainers of both, or choose one of them with `index=` or `--index`."
                    )


def read_indices(
    index: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None, *, offline: bool, max_age: float = DAY
) -> Indices:
    """Read all indices; a copy that is older than `max_age` seconds is refreshed, and used as it is where that fails, with a warning.

    Raises
    ------
    SettingError
        If an address is not one, or if the configuration is invalid.
    """
    found: list[tuple[str, Index]] = []
    problems: list[str] = []
    for address in addresses(index):
        try:
            found.append((without_credentials(address), _read(address, offline=offline, max_age=max_age)))
        except (DataFileError, DownloadError) as error:
            problems.append(str(error))
    return Indices((*found, (PACKAGED, packaged_index())), tuple(problems))


def packaged_index() -> Index:
    """Index of published models that comes with the package; packaged models have no entry in it."""
    path = Path(str(files("sctab.zoo"))) / _PUBLISHED
    return read_index(path.read_bytes(), PACKAGED) if path.is_file() else Index()


def addresses(index: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None) -> list[str]:
    """Addresses of the indices besides the packaged one: of the option, of `SCTAB_ZOO`, of the configuration; each once.

    Raises
    ------
    SettingError
        If one is read over http, or if the configuration is invalid.
    """
    given = [index] if isinstance(index, str | PathLike) else list(index or ())
    listed = [*(str(each) for each in given), *_from_environment(), *_from_configuration()]
    return list(dict.fromkeys(map(_file_of, listed)))


def _from_environment() -> list[str]:
    """Addresses of `SCTAB_ZOO`, separated by commas; paths also as in `PATH`."""
    parts = [part.strip() for part in _DIVIDERS.split(os.environ.get(ZOO_VARIABLE, ""))]
    return [each for part in parts for each in ([part] if is_url(part) else part.split(os.pathsep)) if each]


def _from_configuration() -> list[str]:
    path = config_file()
    try:
        values = tomllib.loads(strict_json.read_bytes(path).decode("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"The configuration `{path}` cannot be read: {reason}. Correct it, or remove it.") from error
    where = f"The configuration `{path}`"
    declared.check_keys(values, {"zoo"}, where)
    zoo = declared.mapping(values.get("zoo", {}), f"{where}, `zoo`")
    declared.check_keys(zoo, {"indices"}, f"{where}, `zoo`")
    found = declared.each(declared.string)(zoo.get("indices", []), f"{where}, `zoo.indices`")
    return [each if is_url(each) else str(path.parent / as_path(each)) for each in found]


def _file_of(address: str) -> str:
    """Address of the file of an index, which may be given by its folder."""
    if is_url(address):
        require_protected(address)
        return address if split_url(address).path.endswith(".json") else file_below(address, INDEX_FILE)
    path = as_path(address)
    return str(path if path.suffix == ".json" else path / INDEX_FILE)


def _read(address: str, *, offline: bool, max_age: float) -> Index:
    if not is_url(address):
        found = read_remote(address, most=strict_json.MOST_BYTES)
        return read_index(b"" if found is None else found[0], address)
    path = _cache.root() / "indices" / f"{_cache.key_of('index', address)}.json"
    copy = _copy_of(path, address)
    if copy is not None and (offline or 0 <= time.time() - copy["fetched"] < max_age):
        return _index_of(copy, address)
    if offline:
        raise DownloadError(f"There is no copy of the index `{without_credentials(address)}`, and the network is not used.")
    try:
        found = read_remote(address, most=strict_json.MOST_BYTES, unless=None if copy is None else copy["tag"])
        content = copy["content"] if found is None and copy is not None else _text((found or (b"",))[0])
        index = read_index(content.encode(), address)
    except (DataFileError, DownloadError) as error:
        if copy is None:
            raise
        day = time.strftime("%Y-%m-%d", time.gmtime(copy["fetched"]))
        warn(f"The index could not be refreshed, and its copy of {day} is used: {error}")
        return _index_of(copy, address)
    tag = copy["tag"] if found is None and copy is not None else (found or (b"", None))[1]
    values = {
        "format": _COPY_FORMAT,
        "address": without_credentials(address),
        "tag": tag,
        "fetched": time.time(),
        "content": content,
    }
    with (
        suppress(OSError, OutputError),
        written_beside(path, overwrite=True) as beside,
    ):  # a cache that cannot be written is used as it is
        strict_json.write(beside, values)
    return index


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")  # what is not UTF-8 is not valid JSON for `read_index`


def _copy_of(path: Path, address: str) -> dict[str, Any] | None:
    """Copy of an index with a valid index in it; `None` where there is none."""
    try:
        values = strict_json.read(path, most=2 * strict_json.MOST_BYTES)
        is_copy = values["format"] == _COPY_FORMAT and isinstance(values["tag"], str | None) and isinstance(values["content"], str)
        if not is_copy or not isinstance(values["fetched"], float | int) or not 0 <= values["fetched"] <= _LAST_TIME:
            return None
        _index_of(values, address)
    except (OSError, ValueError, LookupError, TypeError, SctabError):
        return None
    return dict(values)


def _index_of(copy: dict[str, Any], address: str) -> Index:
    return read_index(copy["content"].encode(), address)
