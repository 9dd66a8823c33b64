"""**The one place where what names a model becomes a directory**: names of indices, hubs, records, URLs, archives and paths."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from sctab.errors import ModelNotFoundError, SettingError, did_you_mean, listing
from sctab.io import as_path
from sctab.keys import ENSEMBLE_FILE, SPEC_FILE
from sctab.zoo import _cache
from sctab.zoo._archive import ARCHIVE_SUFFIXES, is_archive, unpack
from sctab.zoo._names import InIndex, parse
from sctab.zoo._packaged import packaged_names, packaged_path


def model_path(model: str | PathLike[str]) -> Path:
    """Directory of a model, which is downloaded or unpacked into the cache where it is not on this machine.

    Parameters
    ----------
    model
        A directory, or an archive of one (`.tar`, `.tar.gz`, `.zip`); what exists takes precedence over a name. The name of
        a packaged model.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelFormatError
        If an archive holds no model, or cannot be trusted.
    DownloadError
        If the cache cannot be written.
    SettingError
        If it does not name a model.
    """
    reference = parse(model)
    if isinstance(reference, Path):
        if reference.is_file():
            return _from_file(reference)
        if isinstance(model, str) and not reference.exists():
            raise not_found(model)
        return reference
    if isinstance(reference, InIndex):
        if reference.version is None and reference.name in packaged_names():
            return packaged_path(reference.name)
        raise not_found(str(model))
    raise SettingError(f"`{model}` cannot be downloaded by this version of sctab.")


def not_found(name: str, *, known: tuple[str, ...] = (), note: str = "") -> ModelNotFoundError:
    """Error of a name that no model has."""
    available = listing(dict.fromkeys((*known, *packaged_names())))
    return ModelNotFoundError(
        f"There is no model `{name}`: no directory of that path, and no packaged model of that name."
        f"{did_you_mean(name, [*_nearby(name), *known, *packaged_names()])} Packaged models: {available}.{note}"
    )


def _from_file(path: Path) -> Path:
    """Directory of the model in an archive, unpacked into the cache."""
    if not is_archive(path.name):
        raise ModelNotFoundError(
            f"`{path}` is a file, and neither a directory of a model nor an archive of one. Archives end with {listing(ARCHIVE_SUFFIXES)}."
        )
    sha256 = _cache.sha256_of(path)
    key = _cache.key_of("archive", sha256)
    if (cached := _cache.find(key)) is None:
        with _cache.alone(key, str(path)):
            cached = _cache.find(key) or _cache.store(
                key,
                _cache.Record(str(path.absolute()), sha256, path.stat().st_size),
                stem_of(path.name),
                lambda directory: unpack(path, directory, name=str(path)),
            )
    _cache.mark_used(cached)
    return cached.path


def stem_of(name: str) -> str:
    """Name of an archive without its extension."""
    return next((name[: -len(suffix)] for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), name)


def _nearby(name: str) -> list[str]:
    """Directories of models beside a missing path."""
    parent = as_path(name).parent
    try:
        return [str(path) for path in sorted(parent.iterdir()) if (path / SPEC_FILE).is_file() or (path / ENSEMBLE_FILE).is_file()]
    except OSError:
        return []
