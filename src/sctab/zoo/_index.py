"""An index of models: one strict JSON with the names, versions, addresses and hashes of models, which anyone can host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any
from urllib.parse import urljoin

from sctab.errors import DataFileError, SettingError, listing
from sctab.io import declared, is_url, split_url, strict_json, without_credentials

INDEX_FILE = "models.json"
"""Name of an index in a folder."""
INDEX_FORMAT, INDEX_VERSION = "sctab-models", 1
SHA256 = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")
"""Names that Windows keeps for devices."""
_TERM = re.compile(r"[A-Za-z][A-Za-z0-9_]*:[A-Za-z0-9_.-]+")
_IMPORT = re.compile(r"sctab import-checkpoint(?: [A-Za-z0-9._/=-]+)+")
"""A command that users copy into a shell, so it has nothing that a shell interprets."""
_LARGEST_SCORE = 1e15
_LONGEST = 4096
"""Characters of a string of an entry."""


@dataclass(frozen=True)
class ModelSource:
    """A dataset that a model learned from."""

    name: str
    url: str = ""
    license: str = ""
    doi: str = ""
    n_cells: int | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A version of a model as an index lists it."""

    name: str
    """Lower-case letters, digits, `.`, `_` and `-`."""
    version: str
    """Numbers separated by dots, such as `2.1`. The content of a version never changes."""
    description: str
    license: str
    organism: str
    """Species of the cells, such as `Homo sapiens`."""
    urls: tuple[str, ...]
    """Addresses of one archive, tried in order; or of the files that an import needs."""
    size: int | None = None
    """Bytes of the archive."""
    sha256: str | None = None
    """SHA-256 of the archive."""
    tissues: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_ids: tuple[str | None, ...] = ()
    """Cell Ontology ids of the labels, `None` for labels without one."""
    n_cells: int | None = None
    """Cells that it was trained on."""
    n_genes: int | None = None
    sources: tuple[ModelSource, ...] = ()
    """Datasets that these are from."""
    scores: Mapping[str, float] = field(default_factory=dict)
    sctab_version: str | None = None
    """Version of `sctab` that saved it."""
    import_command: str | None = None
    """Command that makes a model of published files, which an index cannot offer as a model."""

    @property
    def reference(self) -> str:
        """Name and version, `name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the version, by which versions are sorted."""
        return order_of(self.version)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without fields that are empty."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["sources"] = [{key: value for key, value in vars(source).items() if value} for source in self.sources]
        if len(self.urls) == 1:
            values = {
                ("url" if key == "urls" else key): (self.urls[0] if key == "urls" else value) for key, value in values.items()
            }
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {
            key: dict(value) if isinstance(value, Mapping) else value for key, value in plain.items() if value not in (None, [], {})
        }


@dataclass(frozen=True)
class Index:
    """Models of one index."""

    models: tuple[ModelEntry, ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for entry in self.models:
            if entry.reference in known:
                raise SettingError(f"`{entry.reference}` is listed twice. List each version once.")
            known.add(entry.reference)

    def versions(self, name: str) -> list[ModelEntry]:
        """Versions of a model, the newest first."""
        return sorted((entry for entry in self.models if entry.name == name), key=lambda entry: entry.order, reverse=True)

    def to_json(self) -> dict[str, Any]:
        """Plain values of a JSON file."""
        return {"format": INDEX_FORMAT, "format_version": INDEX_VERSION, "models": [entry.to_json() for entry in self.models]}

    def to_bytes(self) -> bytes:
        """Content of a JSON file."""
        return (json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    def with_entry(self, entry: ModelEntry) -> Index:
        """Index with another version of a model; the same one, if it is listed with the same content.

        Raises
        ------
        SettingError
            If this version is listed with another content.
        """
        for known in self.models:
            if known.reference == entry.reference:
                if known.sha256 != entry.sha256:
                    raise SettingError(
                        f"`{entry.reference}` is listed with the SHA-256 `{known.sha256}`, and the content of a version never changes: the "
                        f"SHA-256 of this model is `{entry.sha256}`. Choose a new version."
                    )
                return Index(tuple(entry if each is known else each for each in self.models))
        return Index((*self.models, entry))


def read_index(content: bytes, address: str, *, relative: bool = False) -> Index:
    """Read an index, whose relative addresses begin at its own.

    Parameters
    ----------
    content
        JSON: `{"format": "sctab-models", "format_version": 1, "models": [...]}`.
    address
        Its path or URL.
    relative
        Leave relative addresses as they are, to write the index again.

    Raises
    ------
    DataFileError
        If it is not JSON, has another format, or if an entry lacks something or has something invalid in it. One invalid entry makes the
        index invalid.

    Examples
    --------
    >>> read_index(b'{"format": "sctab-models", "format_version": 1, "models": []}', "models.json")
    Index(models=())
    """
    try:
        values = declared.mapping(strict_json.parse(content), "The index")
        if values.get("format") != INDEX_FORMAT:
            raise SettingError(f"its `format` must be `{INDEX_FORMAT}`, and is `{declared.shown(values.get('format'))}`")
        if values.get("format_version") != INDEX_VERSION:
            found = declared.shown(values.get("format_version"))
            raise SettingError(f"its `format_version` must be {INDEX_VERSION}, and is `{found}`. A newer sctab may read it")
        declared.check_keys(values, {"format", "format_version", "models"}, "The index")
        entries = declared.sequence(values.get("models"), "`models`")
        read = [read_entry(entry, f"Entry {i}") for i, entry in enumerate(entries)]
        return Index(tuple(read if relative else [_absolute(entry, address) for entry in read]))
    except (SettingError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise DataFileError(
            f"`{without_credentials(address)}` is not a valid index of models: {reason}. Ask its maintainers, or use another index."
        ) from error


def read_entry(values: Any, where: str) -> ModelEntry:
    """Read an entry.

    Parameters
    ----------
    values
        Plain values, `url` or `urls` among them.
    where
        Name of the entry in messages.

    Raises
    ------
    SettingError
        If something is missing or invalid.
    """
    values = dict(declared.mapping(values, where))
    if isinstance(values.get("name"), str):
        where = f"{where}, `{values['name'][:64]}@{str(values.get('version'))[:40]}`"
    if "url" in values:
        if "urls" in values:
            raise SettingError(f"{where}: `url` and `urls` exclude each other. Provide one of them.")
        values["urls"] = [values.pop("url")]
    entry: ModelEntry = declared.instance_of(ModelEntry, values, where, _READERS)
    if not entry.urls:
        raise SettingError(f"{where}: at least one address is needed in `urls`.")
    if entry.label_ids and len(entry.label_ids) != len(entry.labels):
        raise SettingError(
            f"{where}: `label_ids` must have one id per label, and there are {len(entry.label_ids)} ids for {len(entry.labels)} labels."
        )
    if entry.import_command is None and (missing := [name for name in ("size", "sha256") if getattr(entry, name) is None]):
        raise SettingError(f"{where} lacks {listing(missing)}.")
    return entry


def order_of(version: str) -> tuple[int, ...]:
    """Numbers of a version.

    Examples
    --------
    >>> order_of("2.10") > order_of("2.9")
    True
    """
    return tuple(map(int, version.split(".")))


def is_name(text: str) -> bool:
    """Return whether a string can be the name of a model in an index."""
    return _NAME.fullmatch(text) is not None and _RESERVED.fullmatch(text) is None and ".." not in text


def is_version(text: str) -> bool:
    """Return whether a string can be a version."""
    return _VERSION.fullmatch(text) is not None


def _absolute(entry: ModelEntry, address: str) -> ModelEntry:
    return replace(entry, urls=tuple(absolute_url(url, address) for url in entry.urls))


def absolute_url(url: str, address: str) -> str:
    """Address of a file that an index names relative to itself.

    Examples
    --------
    >>> absolute_url("lung-2.1.tar", "s3://bucket/zoo/models.json")
    's3://bucket/zoo/lung-2.1.tar'
    """
    if is_url(url) or url.startswith("zenodo:"):
        return url
    if address.startswith(("http://", "https://")):
        return urljoin(address, url)
    separator = "/" if is_url(address) or "\\" not in address else "\\"
    return f"{address.rpartition(separator)[0]}{separator}{url}" if separator in address else url


def _string(value: Any, where: str) -> str:
    text = declared.string(value, where)
    if len(text) > _LONGEST or not text.isprintable() or not text.strip():
        raise SettingError(f"{where}: a string of at most {_LONGEST:,} printable characters was expected, found `{text[:80]!r}`.")
    return text


def _matching(pattern: Any, what: str, value: Any, where: str) -> str:
    text = _string(value, where)
    if not pattern(text):
        raise SettingError(f"{where}: {what} was expected, found `{text[:80]}`.")
    return text


def _address(text: str) -> bool:
    """Return whether it is a URL, or a relative path that stays beside the index or below."""
    if is_url(text):
        with suppress(SettingError):
            split_url(text)
            return True
        return False
    if text.startswith("zenodo:"):
        return True
    return not text.startswith("/") and "\\" not in text and ":" not in text and ".." not in text.split("/")


def _scores(value: Any, where: str) -> dict[str, float]:
    scores = declared.mapping(value, where)
    for name, score in scores.items():
        _string(name, where)
        if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) <= _LARGEST_SCORE:  # NaN is not
            raise SettingError(f"{where}, `{name}`: a finite number was expected, found `{score!r}`.")
    return {name: float(score) for name, score in scores.items()}


def _nullable(value: Any, where: str) -> str | None:
    return None if value is None else _matching(_TERM.fullmatch, "an id such as `CL:0000236`, or null", value, where)


def _source(value: Any, where: str) -> ModelSource:
    source: ModelSource = declared.instance_of(
        ModelSource, value, where, {**dict.fromkeys(("name", "url", "license", "doi"), _string), "n_cells": declared.integer}
    )
    return source


_strings = declared.each(_string)
_READERS: dict[str, Any] = {
    "name": partial(_matching, is_name, "a name of lower-case letters, digits, `.`, `_` and `-`"),
    "version": partial(_matching, is_version, "numbers separated by dots, such as `2.1`,"),
    **dict.fromkeys(("description", "license", "organism", "sctab_version"), _string),
    "import_command": partial(_matching, _IMPORT.fullmatch, "`sctab import-checkpoint` with names of files and options"),
    "urls": declared.each(partial(_matching, _address, "a URL, or a relative path without `..`,")),
    **dict.fromkeys(("size", "n_cells", "n_genes"), declared.integer),
    "sha256": partial(_matching, SHA256.fullmatch, "a SHA-256 of 64 hexadecimal digits"),
    **dict.fromkeys(("tissues", "labels"), _strings),
    "label_ids": declared.each(_nullable),
    "sources": declared.each(_source),
    "scores": _scores,
}


def matching(
    entries: Iterable[ModelEntry], *, tissue: str | None = None, organism: str | None = None, labels: Iterable[str] = ()
) -> tuple[ModelEntry, ...]:
    """Entries of a tissue, of an organism and with all of some labels, which are names or ids; capitals do not count."""
    wanted = {label.casefold() for label in labels}

    def fits(entry: ModelEntry) -> bool:
        known = {label.casefold() for label in (*entry.labels, *filter(None, entry.label_ids))}
        return (
            (tissue is None or any(tissue.casefold() in each.casefold() for each in entry.tissues))
            and (organism is None or organism.casefold() in entry.organism.casefold())
            and wanted <= known
        )

    return tuple(filter(fits, entries))
