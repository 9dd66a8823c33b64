"""Models into an index: an archive with a card from what was measured, and an entry beside it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from sctab.cards import CardFacts, ModelCard
from sctab.errors import DataFileError, OutputError, OutputExistsError, Parameter, SctabError, SettingError, agreeing
from sctab.io import (
    as_path,
    check_free,
    filesystem,
    held_in_turn,
    is_url,
    path_of,
    read_remote,
    strict_json,
    temporary_directory,
    without_credentials,
    written_beside,
)
from sctab.keys import CARD_FILE
from sctab.zoo import _cache
from sctab.zoo._archive import model_files, pack
from sctab.zoo._card import card_of, write_card
from sctab.zoo._hub import push
from sctab.zoo._index import INDEX_FILE, Index, ModelEntry, is_name, is_version, read_entry, read_index
from sctab.zoo._names import OnHub, parse
from sctab.zoo._resolve import fetch
from sctab.zoo._transfer import file_below

_PATIENCE = 60.0
"""Seconds to wait for another process that writes to the same index."""


def publish(
    model: str | PathLike[str],
    to: str | PathLike[str],
    *,
    version: str,
    name: str | None = None,
    facts: CardFacts | Mapping[str, Any] | str | PathLike[str] | None = None,
    draft: bool = False,
) -> ModelEntry:
    """Add a model to an index in a folder or an object store: its archive, and its entry in `models.json`.

    The card in the archive is written from what was measured, see :func:`sctab.zoo.write_card`. The directory of the model is not changed.
    The same content can be published again; another content needs another version.

    Parameters
    ----------
    model
        Directory of a model or an ensemble, or whatever else names one.
    to
        Folder, or URL of a folder in an object store, such as `s3://bucket/zoo`; created with an index where there is none. Or a
        repository of the Hugging Face hub, `hf://organisation/name`, where the commit gets the version as its tag.
    version
        Numbers separated by dots, such as `2.1`.
    name
        Name in the index, of lower-case letters, digits, `.`, `_` and `-`; by default that of the directory.
    facts
        Licence, sources and limits for the card, as in :func:`sctab.zoo.write_card`; by default those that were declared before.
    draft
        Publish a model whose card is not complete; its description then begins with `Draft:`.

    Returns
    -------
    The entry.

    Raises
    ------
    SettingError
        If name, version or target are invalid, if the card is not complete, or if this version is listed with another content.
    ModelNotFoundError, ModelFormatError
        If the model cannot be read.
    OutputError
        If the folder cannot be written.
    DownloadError
        If the index in an object store cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import sctab
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     entry = sctab.zoo.publish("pbmc", folder, name="blood", version="1.0")
    ...     print(entry.reference, sctab.zoo.info("blood", index=folder).n_labels)
    blood@1.0 13
    """
    if name is not None:
        _require_name(name)
    if not isinstance(version, str) or not is_version(version):
        raise SettingError(Parameter("version", version), " must be numbers separated by dots, such as `2.1`.")
    place = _place_of(to)
    path = fetch(model)
    if name is None:
        name = path.resolve().name
        _require_name(name)
    if isinstance(place, _Folder) and place.is_in(path):
        raise SettingError(f"`{to}` is in the directory of the model, which is not changed. Publish to another folder.")
    with temporary_directory("sctab-publish-") as temporary:
        directory = path if facts is None else _copy_with(facts, path, temporary / name)
        card = card_of(directory)
        card.require_complete(draft=draft)
        archive = temporary / f"{name}-{version}.tar"
        pack(directory, archive, root=f"{name}-{version}", replaced={CARD_FILE: card.to_markdown().encode()})
        entry = _entry(card, archive, name, version, draft=draft)
        if isinstance(place, OnHub):
            push(directory, place.repo, revision=place.revision, message=f"Publish version {version}", draft=draft, tag=version)
            return replace(entry, urls=(f"hf://{place.repo}@{version}",), size=None, sha256=None)
        place.add(entry, archive)
    return entry


def _require_name(name: str) -> None:
    if not isinstance(name, str) or not is_name(name):
        raise SettingError(
            Parameter("name", name), " is not a name of lower-case letters, digits, `.`, `_` and `-`. Choose one, such as `lung`."
        )


def _copy_with(facts: Any, path: Path, directory: Path) -> Path:
    for file in model_files(path):
        target = directory / file.relative_to(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    write_card(directory, facts=facts)
    return directory


def _entry(card: ModelCard, archive: Path, name: str, version: str, *, draft: bool) -> ModelEntry:
    fields = card.to_entry_fields()
    fields["sources"] = [{key: value for key, value in source.items() if value not in ("", None)} for source in fields["sources"]]
    fields["description"] = ("Draft: " if draft else "") + (fields["description"] or _summary(card))
    for needed in ("license", "organism"):
        fields[needed] = fields[needed] or "unknown"  # of a draft
    values = {key: value for key, value in fields.items() if value not in (None, [], {})}
    values |= {"name": name, "version": version, "url": archive.name}
    values |= {"size": archive.stat().st_size, "sha256": _cache.sha256_of(archive)}
    return read_entry(values, "The model")


def _summary(card: ModelCard) -> str:
    """Description of a model that has none."""
    n_labels = len(card.spec.labels)
    kind = agreeing(n_labels, "cluster", "clusters") if card.spec.is_clustering else agreeing(n_labels, "cell type", "cell types")
    return f"{n_labels} {kind}" + (f" of {', '.join(card.facts.tissues)}" if card.facts.tissues else "")


def _place_of(to: str | PathLike[str]) -> _Folder | _Store | OnHub:
    text = str(to)
    if not text.strip():
        raise SettingError("The folder to publish to is an empty string. Provide its path, such as `zoo`.")
    if text.startswith(("http://", "https://")):
        raise SettingError(
            f"`{without_credentials(text)}` cannot be written over HTTP. Publish to a folder or an object store, and let the "
            "server give its files."
        )
    if text.startswith("hf:") and isinstance(place := parse(text), OnHub):
        return place
    if text.startswith(("hf:", "zenodo:")):
        raise SettingError(f"`{text}` cannot be written by this version of sctab. Publish to a folder or an object store.")
    if is_url(text) and not text.startswith("file://"):
        return _Store(text)
    return _Folder(path_of(text) if text.startswith("file://") else as_path(to))


def _index_in(file: Path) -> Index:
    """Index in a file, whose addresses stay relative; an empty one where there is none.

    Raises
    ------
    DataFileError
        If it cannot be read.
    """
    try:
        content = strict_json.read_bytes(file)
    except FileNotFoundError:
        return Index()
    except OSError as error:
        raise DataFileError(f"`{file}` cannot be read: {error.strerror}. Check who may read it.") from error
    return read_index(content, str(file), relative=True)


class _Folder:
    """An index in a folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_in(self, path: Path) -> bool:
        """Return whether it is a directory or lies in it."""
        try:
            return self._directory.resolve().is_relative_to(path.resolve())
        except (OSError, ValueError):  # a name that no directory can have
            return False

    def add(self, entry: ModelEntry, archive: Path) -> None:
        """Write an archive, then the index that names it."""
        target, file = self._directory / archive.name, self._directory / INDEX_FILE
        check_free(file, overwrite=True, kind="file")
        with held_in_turn(self._directory, patience=_PATIENCE):
            index = _index_in(file).with_entry(entry)
            if not (target.is_file() and _cache.sha256_of(target) == entry.sha256):
                if target.exists():
                    raise OutputExistsError(
                        f"`{target}` exists with another content, and no version changes. Choose a new version."
                    )
                with written_beside(target) as beside:
                    shutil.copy(archive, beside)
            with written_beside(file, overwrite=True) as beside:
                beside.write_bytes(index.to_bytes())


class _Store:
    """An index in an object store, to which one process may publish at a time."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, entry: ModelEntry, archive: Path) -> None:
        """Write an archive, then the index that names it."""
        shown = without_credentials(self._url)
        system, folder = filesystem(self._url)
        file = f"{folder.rstrip('/')}/{INDEX_FILE}"
        try:
            index = Index()
            if system.exists(file):
                found = read_remote(file_below(self._url, INDEX_FILE), most=strict_json.MOST_BYTES)
                index = read_index(b"" if found is None else found[0], file_below(self._url, INDEX_FILE), relative=True)
            index = index.with_entry(entry)
            target = f"{folder.rstrip('/')}/{archive.name}"
            if system.exists(target):
                with system.open(target, "rb") as stored:
                    if hashlib.file_digest(stored, "sha256").hexdigest() != entry.sha256:
                        raise OutputExistsError(
                            f"`{shown}` has `{archive.name}` with another content, and no version changes. Choose a new version."
                        )
            system.put_file(str(archive), target)
            system.pipe_file(file, index.to_bytes())
        except SctabError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise OutputError(f"`{shown}` could not be written: {error}. Check the address and your access.") from error
