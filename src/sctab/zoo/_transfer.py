"""Models from elsewhere into the cache: an archive, or the files of a directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlunsplit

from sctab.errors import DownloadError, ModelFormatError, SettingError
from sctab.io import Expected, base_name, download, is_protected, read_remote, split_url, strict_json, without_credentials
from sctab.keys import CARD_FACTS_FILE, CARD_FILE, ENSEMBLE_FILE, REFERENCE_FILE, SPEC_FILE, WEIGHTS_FILE
from sctab.zoo import _cache
from sctab.zoo._archive import stem_of, unpack
from sctab.zoo._cache import Cached, Record
from sctab.zoo._zenodo import file_of

_HASH = re.compile("[0-9a-f]{64}")
_MOST_MEMBERS = 1000
_LARGEST_CARD = 2**24


def archive_from(
    urls: Sequence[str], expected: Expected, record: Record, *, name: str, offline: bool, show_progress: bool
) -> Cached:
    """Download an archive, and unpack it into the cache; what is in the cache is not downloaded again.

    Parameters
    ----------
    urls
        Addresses of the same archive, tried in order.
    expected
        Size and hashes.
    record
        Its source; hash, size and address are added.
    name
        Name of the directory of the model.
    offline
        Use what is in the cache alone.
    show_progress
        Show the progress of large archives.

    Raises
    ------
    DownloadError
        If it cannot be downloaded, is not what was expected, or is not in the cache when the network must not be used.
    ModelFormatError
        If the archive holds no model, or cannot be trusted.
    SettingError
        If it is read over http without a hash.
    """
    key = _cache.key_of("archive", expected.sha256, name) if expected.sha256 else _cache.key_of("url", urls[0], expected.md5 or "")
    if (cached := _cache.find(key)) is not None:
        return cached
    _require_online(record.source, offline=offline)
    if not expected.has_hash:
        for url in urls:
            require_protected(url)
    with _cache.alone(key, record.source):
        if (cached := _cache.find(key)) is not None:  # another process has downloaded it
            return cached
        archive = _cache.partial_dir() / f"{key}.part"
        url, found = _first_of(urls, archive, expected, record.source, show_progress=show_progress)
        shown = without_credentials(url)
        try:
            whole = Record(record.source, found.sha256, found.size, shown, record.name, record.version)
            return _cache.store(key, whole, name, partial(unpack, archive, name=shown))
        finally:
            with suppress(OSError):
                archive.unlink()


def _first_of(urls: Sequence[str], archive: Path, expected: Expected, title: str, *, show_progress: bool) -> Any:
    for i, given in enumerate(urls):
        try:
            url = _plain(given)
            return url, download(url, archive, expected, title=title, show_progress=show_progress)
        except DownloadError:
            if i + 1 == len(urls):
                raise
    raise SettingError(f"`{title}` has no address.")


def _plain(url: str) -> str:
    """URL of a file, which an index may name as one of a record of Zenodo."""
    if not url.startswith("zenodo:"):
        return url
    record, _, name = url.removeprefix("zenodo:").partition("/")
    return file_of(record, name or None).url


def folder_from(url: str, record: Record, *, offline: bool, show_progress: bool) -> Cached:
    """Download the files of a directory of a model or an ensemble, each of which its description names; errors as :func:`archive_from`."""
    key = _cache.key_of("folder", url)
    if (cached := _cache.find(key)) is not None:
        return cached
    _require_online(record.source, offline=offline)
    require_protected(url)
    with _cache.alone(key, record.source):
        if (cached := _cache.find(key)) is not None:
            return cached
        shown = without_credentials(url)
        load = partial(_fill, url, key, title=record.source, show_progress=show_progress)
        return _cache.store(key, Record(record.source, "", 0, shown), stem_of(base_name(url.rstrip("/"))), load)


def _fill(url: str, key: str, directory: Path, *, title: str, show_progress: bool) -> None:
    directory.mkdir()
    try:
        spec = read_remote(file_below(url, SPEC_FILE), most=strict_json.MOST_BYTES)
    except DownloadError as error:
        ensemble = _optional(file_below(url, ENSEMBLE_FILE))
        if ensemble is None:
            raise DownloadError(
                f"`{without_credentials(url)}` holds no model: `{SPEC_FILE}` and `{ENSEMBLE_FILE}` cannot be read there. {error}"
            ) from error
        _fill_ensemble(url, key, directory, ensemble, title=title, show_progress=show_progress)
        return
    _fill_model(url, key, directory, spec[0] if spec else b"", title=title, show_progress=show_progress)


def _fill_ensemble(url: str, key: str, directory: Path, content: bytes, *, title: str, show_progress: bool) -> None:
    values = _parsed(content, file_below(url, ENSEMBLE_FILE))
    members = values.get("members")
    if not isinstance(members, list) or not 0 < len(members) <= _MOST_MEMBERS:
        raise ModelFormatError(f"`{without_credentials(url)}` does not hold an ensemble: `{ENSEMBLE_FILE}` lists no members.")
    (directory / ENSEMBLE_FILE).write_bytes(content)
    _get(url, REFERENCE_FILE, values.get("reference"), key, directory, title=title, show_progress=show_progress)
    for i in range(len(members)):
        member, place = directory / f"member_{i}", file_below(url, f"member_{i}")
        member.mkdir()
        found = read_remote(file_below(place, SPEC_FILE), most=strict_json.MOST_BYTES)
        _fill_model(place, key, member, found[0] if found else b"", title=title, show_progress=show_progress)


def _fill_model(url: str, key: str, directory: Path, content: bytes, *, title: str, show_progress: bool) -> None:
    values = _parsed(content, file_below(url, SPEC_FILE))
    (directory / SPEC_FILE).write_bytes(content)
    for name in (CARD_FILE, CARD_FACTS_FILE):
        if (card := _optional(file_below(url, name))) is not None:
            (directory / name).write_bytes(card)
    _get(url, REFERENCE_FILE, values.get("reference"), key, directory, title=title, show_progress=show_progress)
    _get(url, WEIGHTS_FILE, values.get("weights") or {}, key, directory, title=title, show_progress=show_progress)


def _get(url: str, name: str, values: Any, key: str, directory: Path, *, title: str, show_progress: bool) -> None:
    """Download a file whose hash a description has; nothing where it has none."""
    if values is None:
        return
    sha256 = values.get("sha256") if isinstance(values, dict) else None
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        raise ModelFormatError(f"`{without_credentials(url)}` cannot be trusted: its description has no hash of `{name}`.")
    archive = _cache.partial_dir() / f"{key}.part"
    download(file_below(url, name), archive, Expected(sha256=sha256), title=title, show_progress=show_progress)
    archive.rename(directory / name)


def file_below(url: str, name: str) -> str:
    """URL of a file in a directory.

    Examples
    --------
    >>> file_below("https://example.org/lung/?key=1", "model.json")
    'https://example.org/lung/model.json?key=1'
    """
    parts = split_url(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}"))


def require_protected(url: str) -> None:
    """Refuse a URL whose content anybody on the way could change.

    Raises
    ------
    SettingError
        If it is read over http.
    """
    if not is_protected(url):
        raise SettingError(
            f"`{without_credentials(url)}` is read over http, so it could be changed on the way. Provide an `https://` address, or "
            "append the SHA-256 of the archive to it: `#sha256=…`."
        )


def _require_online(source: str, *, offline: bool) -> None:
    if offline:
        raise DownloadError(
            f"`{source}` is not in the cache `{_cache.root()}`, and the network is not used. Download it on a machine with a "
            f"network, with `sctab models fetch {source}`, or unset `SCTAB_OFFLINE`."
        )


def _optional(url: str) -> bytes | None:
    with suppress(DownloadError):
        found = read_remote(url, most=_LARGEST_CARD)
        return None if found is None else found[0]
    return None


def _parsed(content: bytes, url: str) -> dict[str, Any]:
    try:
        values = strict_json.parse(content)
    except ValueError as error:
        raise ModelFormatError(f"`{without_credentials(url)}` is not valid JSON: {error}. Copy the model there again.") from error
    if not isinstance(values, dict):
        raise ModelFormatError(f"`{without_credentials(url)}` does not describe a model. Copy the model there again.")
    return values
