"""Models in the cache: compared with what was downloaded, and removed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from sctab import inference
from sctab.errors import ModelNotFoundError, SctabError, SettingError, listing
from sctab.zoo import _cache
from sctab.zoo._archive import model_files
from sctab.zoo._cache import Cached
from sctab.zoo._names import AtUrl, InIndex, OnHub, parse
from sctab.zoo._packaged import packaged_names
from sctab.zoo._resolve import fetch

_A_DAY = 86_400


@dataclass(frozen=True)
class Verification:
    """Comparison of a model with what was downloaded, and with the hashes in its description."""

    path: Path
    n_files: int
    n_bytes: int
    problems: tuple[str, ...]
    """Differences, as sentences; empty for a model that is whole."""

    @property
    def is_sound(self) -> bool:
        """Return whether there are no problems."""
        return not self.problems


def verify(model: str | PathLike[str]) -> Verification:
    """Compare every byte of a model with what was downloaded, and its files with each other.

    Nothing is downloaded. A model that is damaged can be removed with :func:`remove` and fetched again.

    Parameters
    ----------
    model
        As in :func:`fetch`; it must be on this machine.

    Raises
    ------
    ModelNotFoundError
        If there is no such model on this machine.

    Examples
    --------
    >>> import sctab
    >>> sctab.zoo.verify("pbmc").is_sound
    True
    """
    kept = [] if isinstance(parse(model), Path) else _kept(str(model))
    path = kept[0].path if kept else fetch(model, offline=True)
    known = next((each for each in _cache.everything() if each.path == path), None)
    problems = [] if known is None else known.problems()
    if not problems:
        with _reported(problems):
            inference.load_predictor(path, accelerator="cpu")
    files = model_files(path) if path.is_dir() else []
    return Verification(
        path, len(files), sum(file.stat().st_size for file in files), tuple(f"{each.rstrip('.')}." for each in problems)
    )


class _reported(suppress):
    """Keep the message of an error of `sctab`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(SctabError)
        self._problems = problems

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, SctabError):
            self._problems.append(str(error))
            return True
        return False


def remove(model: str) -> int:
    """Remove a model from the cache, and give the bytes that were freed. The hash of its version is kept.

    Parameters
    ----------
    model
        `name@version`, `name` for all its versions, or the URL or archive that it is from.

    Raises
    ------
    ModelNotFoundError
        If it is not in the cache.
    SettingError
        If it is a packaged model.
    DownloadError
        If it cannot be removed.
    """
    kept = _kept(model)
    if not kept and model in packaged_names():
        raise SettingError(f"`{model}` comes with the package and takes no place in the cache, so it is not removed.")
    if not kept:
        sources = [each.record.source for each in _cache.everything()]
        raise ModelNotFoundError(f"`{model}` is not in the cache `{_cache.root()}`. Models in the cache: {listing(sources)}.")
    for each in kept:
        _cache.remove(each)
    return sum(each.n_bytes for each in kept)


def prune(*, days: float = 90) -> tuple[list[str], int]:
    """Remove models that were not used for some time, incomplete ones, and downloads that were not finished for a day.

    Parameters
    ----------
    days
        Days without use; 0 removes all models from the cache.

    Returns
    -------
    Sources of the models that were removed, and bytes that were freed.

    Raises
    ------
    SettingError
        If it is negative, or not a number.
    DownloadError
        If something cannot be removed.
    """
    if isinstance(days, bool) or not isinstance(days, int | float) or not days >= 0:
        raise SettingError(f"The number of days must be at least 0, and is {days!r}.")
    partial = _cache.remove_partial(older_than=min(days, 1) * _A_DAY)
    unused = {each.key: each for each in _cache.unused_for(days)}
    incomplete = {each.key: each for each in _cache.everything() if not each.is_whole()}
    removed = list((unused | incomplete).values())
    for each in removed:
        _cache.remove(each)
    return sorted(each.record.source for each in removed), partial + sum(each.n_bytes for each in removed)


def _kept(model: str) -> list[Cached]:
    """Models in the cache that a name means."""
    reference = parse(model)
    found = _cache.everything()
    match reference:
        case InIndex(name, version):
            return [each for each in found if each.record.name == name and version in (None, each.record.version)]
        case AtUrl() as at:
            return [each for each in found if each.record.source == at.shown]
        case OnHub():
            return []
        case Path() as path:
            return [each for each in found if each.record.source == str(path.absolute())]
    return [each for each in found if each.record.source == model]
