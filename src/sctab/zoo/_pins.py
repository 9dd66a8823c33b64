"""Hashes of versions that were downloaded: the content of a version never changes under its name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sctab.errors import DownloadError, OutputError
from sctab.io import written_beside
from sctab.zoo import _cache
from sctab.zoo._index import SHA256, ModelEntry


def check(entry: ModelEntry, where: str) -> None:
    """Refuse a version whose hash is another one than when it was first downloaded.

    Raises
    ------
    DownloadError
        If it is.
    """
    known = _read(entry)
    if known is not None and entry.sha256 != known:
        raise DownloadError(
            f"`{entry.reference}` has another SHA-256 in `{where}` than when it was first downloaded: `{entry.sha256}` and not "
            f"`{known}`. The content of a version never changes, so the index or its host was tampered with, or its maintainers "
            f"made a mistake. Ask them. If you trust the new one, remove `{_path(entry)}`."
        )


def remember(entry: ModelEntry) -> None:
    """Keep the hash of a version, also after the model is removed."""
    if entry.sha256 is not None and _read(entry) is None:
        with suppress(OSError, OutputError), written_beside(_path(entry), overwrite=True) as beside:
            beside.write_text(f"{entry.sha256}\n", encoding="ascii")


def _path(entry: ModelEntry) -> Path:
    return _cache.root() / "versions" / f"{entry.reference}.sha256"


def _read(entry: ModelEntry) -> str | None:
    with suppress(OSError, ValueError):
        text = _path(entry).read_text(encoding="ascii").strip()
        return text if SHA256.fullmatch(text) else None
    return None
