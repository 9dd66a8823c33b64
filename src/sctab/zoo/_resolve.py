"""**The one place where what names a model becomes a directory**: names of indices, hubs, records, URLs, archives and paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from sctab.errors import DownloadError, ModelNotFoundError, did_you_mean, listing
from sctab.io import Expected, as_path, base_name, is_offline, without_credentials
from sctab.keys import ENSEMBLE_FILE, SPEC_FILE
from sctab.zoo import _cache, _pins
from sctab.zoo._archive import ARCHIVE_SUFFIXES, is_archive, stem_of, unpack
from sctab.zoo._cache import Cached, Record
from sctab.zoo._hub import fetch_from_hub
from sctab.zoo._index import ModelEntry, order_of
from sctab.zoo._indices import DAY, ZOO_VARIABLE, Indices, read_indices
from sctab.zoo._names import AtUrl, InIndex, OnHub, OnZenodo, parse
from sctab.zoo._packaged import PACKAGED_VERSION, packaged_names, packaged_path
from sctab.zoo._transfer import archive_from, folder_from
from sctab.zoo._zenodo import file_of


def fetch(
    model: str | PathLike[str],
    *,
    index: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    offline: bool | None = None,
    show_progress: bool = True,
) -> Path:
    """Directory of a model, which is downloaded into the cache where it is not on this machine.

    Downloads resume where they were cut off, are compared with the hash of their index, and are done by one process while others wait.

    Parameters
    ----------
    model
        * a directory, or an archive of one (`.tar`, `.tar.gz`, `.zip`); what exists takes precedence over a name,
        * `name`, the newest version in the indices, or the packaged model; `name@version`,
        * `https://…`, `s3://…` and other URLs of an archive or a directory; `#sha256=…` after it says what is expected,
        * `zenodo:record` or `zenodo:record/file`,
        * `hf://organisation/name@revision`.
    index
        Index, or several, to search before those of `SCTAB_ZOO` and of the configuration: a file, a folder or a URL of one.
    offline
        Use what is on this machine alone; by default as the environment variable `SCTAB_OFFLINE` says.
    show_progress
        Show the progress of large downloads.

    Returns
    -------
    Directory, which must not be changed.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelFormatError
        If an archive holds no model, or cannot be trusted.
    DownloadError
        If it cannot be downloaded, is not what was expected, or the cache cannot be written.
    SettingError
        If it does not name a model, or if an index is not one.

    Examples
    --------
    >>> import sctab
    >>> sctab.zoo.fetch("pbmc").name
    'pbmc'
    """
    offline = is_offline(offline)
    match parse(model):
        case Path() as path:
            return _from_path(path, model)
        case InIndex() as reference:
            return _from_index(reference, index, offline=offline, show_progress=show_progress)
        case AtUrl(url, sha256) as at:
            cached = _from_url(at, url, sha256, offline=offline, show_progress=show_progress)
        case OnZenodo(record, file):
            cached = _from_zenodo(record, file, offline=offline, show_progress=show_progress)
        case OnHub(repo, revision):
            return fetch_from_hub(repo, revision, offline=offline)
    _cache.mark_used(cached)
    return cached.path


def model_path(model: str | PathLike[str]) -> Path:
    """Directory of a model, as :func:`fetch` gives it."""
    return fetch(model)


def cached_versions(name: str, version: str | None = None) -> list[Cached]:
    """Versions of a model in the cache, the newest first."""
    found = [each for each in _cache.everything() if each.record.name == name and version in (None, each.record.version)]
    return sorted((each for each in found if each.is_whole()), key=lambda each: order_of(each.record.version), reverse=True)


def _from_path(path: Path, model: str | PathLike[str]) -> Path:
    if os.path.isfile(path):  # noqa: PTH113 (false for a name that no file can have)
        return _from_file(path)
    if isinstance(model, str) and not os.path.exists(path):  # noqa: PTH110
        raise _not_found(model, ())
    return path


def _from_file(path: Path) -> Path:
    """Directory of the model in an archive, unpacked into the cache."""
    if not is_archive(path.name):
        raise ModelNotFoundError(
            f"`{path}` is a file, and neither a directory of a model nor an archive of one. Archives end with {listing(ARCHIVE_SUFFIXES)}."
        )
    sha256, name = _cache.sha256_of(path), stem_of(path.name)
    key = _cache.key_of("archive", sha256, name)
    if (cached := _cache.find(key)) is None:
        with _cache.alone(key, str(path)):
            cached = _cache.find(key) or _cache.store(
                key,
                Record(str(path.absolute()), sha256, path.stat().st_size),
                name,
                partial(unpack, path, name=str(path)),
            )
    _cache.mark_used(cached)
    return cached.path


def _from_url(at: AtUrl, url: str, sha256: str | None, *, offline: bool, show_progress: bool) -> Cached:
    name = base_name(url.rstrip("/"))
    if not is_archive(name) and sha256 is None:
        return folder_from(url, Record(at.shown, "", 0), offline=offline, show_progress=show_progress)
    record = Record(at.shown, "", 0)
    return archive_from([url], Expected(sha256=sha256), record, name=stem_of(name), offline=offline, show_progress=show_progress)


def _from_zenodo(record: str, name: str | None, *, offline: bool, show_progress: bool) -> Cached:
    source = f"zenodo:{record}" + (f"/{name}" if name else "")
    known = next((each for each in _cache.everything() if each.record.source == source and each.is_whole()), None)
    if known is not None:  # the content of a record never changes
        return known
    if offline:
        raise DownloadError(
            f"`{source}` is not in the cache `{_cache.root()}`, and the network is not used. Unset `SCTAB_OFFLINE`."
        )
    file = file_of(record, name)
    expected = Expected(size=file.size, md5=file.md5)
    given = Record(source, "", 0)
    return archive_from([file.url], expected, given, name=stem_of(file.name), offline=False, show_progress=show_progress)


def _from_index(
    reference: InIndex,
    index: str | PathLike[str] | Sequence[str | PathLike[str]] | None,
    *,
    offline: bool,
    show_progress: bool,
) -> Path:
    name, version = reference.name, reference.version
    if name in packaged_names() and version in (None, PACKAGED_VERSION):
        return packaged_path(name)
    if index is None and version is not None and (cached := cached_versions(name, version)):
        _cache.mark_used(cached[0])
        return cached[0].path
    indices = read_indices(index, offline=offline, max_age=DAY)
    found = indices.find(name, version)
    if found is None and not offline and not indices.problems:  # it may be newer than the copies of the indices
        indices = read_indices(index, offline=False, max_age=0)
        found = indices.find(name, version)
    if found is None:
        if not (cached := cached_versions(name, version)):
            raise _not_found(str(reference.name if version is None else f"{name}@{version}"), indices)
        _cache.mark_used(cached[0])
        return cached[0].path
    return _from_entry(found.entry, found.index, offline=offline, show_progress=show_progress)


def _from_entry(entry: ModelEntry, where: str, *, offline: bool, show_progress: bool) -> Path:
    if entry.import_command is not None:
        places = listing(map(without_credentials, entry.urls))
        raise ModelNotFoundError(
            f"`{entry.reference}` was published in another format, at {places}. Download it, and import it with `{entry.import_command}`."
        )
    _pins.check(entry, where)
    record = Record(entry.reference, "", 0, name=entry.name, version=entry.version)
    expected = Expected(entry.size, entry.sha256)
    cached = archive_from(entry.urls, expected, record, name=entry.reference, offline=offline, show_progress=show_progress)
    _pins.remember(entry)
    _cache.mark_used(cached)
    return cached.path


def _not_found(name: str, indices: Indices | tuple[()]) -> ModelNotFoundError:
    known = sorted({found.entry.name for found in indices} | {found.entry.reference for found in indices}) if indices else []
    problems = indices.problems if isinstance(indices, Indices) else ()
    others = f" Models of indices: {listing(sorted({found.entry.name for found in indices}))}." if indices and known else ""
    unread = f" Indices that could not be read: {' '.join(problems)}" if problems else ""
    is_alone = isinstance(indices, Indices) and len(indices.indices) == 1 and not problems
    unset = (
        f" No index is set besides the packaged one: name others in `{ZOO_VARIABLE}` or in the configuration." if is_alone else ""
    )
    nearby = [*_nearby(name), *known, *packaged_names()]
    return ModelNotFoundError(
        f"There is no model `{name}`: no directory of that path, and no model of that name.{did_you_mean(name, nearby)} "
        f"Packaged models: {listing(packaged_names())}.{others}{unread}{unset}"
    )


def _nearby(name: str) -> list[str]:
    """Directories of models beside a missing path."""
    parent = as_path(name).parent
    try:
        return [str(path) for path in sorted(parent.iterdir()) if (path / SPEC_FILE).is_file() or (path / ENSEMBLE_FILE).is_file()]
    except OSError:
        return []
