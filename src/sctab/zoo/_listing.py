"""Models that are available: packaged, in the cache, and in the indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from sctab.errors import ModelFormatError, warn
from sctab.io import declared, is_offline, strict_json
from sctab.keys import CARD_FACTS_FILE, ENSEMBLE_FILE, SPEC_FILE
from sctab.zoo import _cache
from sctab.zoo._archive import model_files
from sctab.zoo._index import ModelEntry, ModelSource, matching
from sctab.zoo._indices import HOUR, PACKAGED, read_indices
from sctab.zoo._names import InIndex, parse
from sctab.zoo._packaged import PACKAGED_VERSION, packaged_names, packaged_path
from sctab.zoo._resolve import cached_versions, fetch

_CACHE, _PATH = "cache", "path"


@dataclass(frozen=True)
class ModelListing:
    """A pretrained model."""

    entry: ModelEntry
    """Description of it, as in an index."""
    path: Path | None
    """Directory on this machine; `None` where it is not downloaded."""
    index: str
    """Index that lists it; `packaged` for those that come with the package, `cache` or `path` for those that no index lists."""

    @property
    def name(self) -> str:
        """Name in the index."""
        return self.entry.name

    @property
    def version(self) -> str:
        """Numbers separated by dots."""
        return self.entry.version

    @property
    def state(self) -> str:
        """`packaged`, `fetched`, `available` for download, `directory`, or `import` of what was published in another format."""
        if self.entry.import_command is not None:
            return "import"
        if self.path is None:
            return "available"
        return {PACKAGED: PACKAGED, _PATH: "directory"}.get(self.index, "fetched")

    @property
    def description(self) -> str:
        """One line on its cells."""
        return self.entry.description

    @property
    def n_labels(self) -> int:
        """Number of cell types."""
        return len(self.entry.labels)

    @property
    def n_genes(self) -> int | None:
        """Number of genes."""
        return self.entry.n_genes

    @property
    def n_cells(self) -> int | None:
        """Cells that it was trained on."""
        return self.entry.n_cells

    @property
    def sources(self) -> tuple[str, ...]:
        """Datasets that these are from."""
        return tuple(source.name for source in self.entry.sources)


def list_models(
    *,
    all: bool = False,  # noqa: A002 (as the option of the command)
    tissue: str | None = None,
    organism: str | None = None,
    labels: Iterable[str] = (),
    index: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    offline: bool | None = None,
) -> tuple[ModelListing, ...]:
    """List pretrained models: packaged, in the indices, and in the cache.

    Without indices, no network is used. A copy of an index is refreshed after an hour; where that fails, it is used as it is.

    Parameters
    ----------
    all
        List every version, and published models in other formats with the command that imports them; by default the version of each
        that its name alone means, the newest one of the first index that lists it.
    tissue, organism
        Part of the name of a tissue or species; capitals do not count.
    labels
        Names or Cell Ontology ids of types that a model must have, all of them.
    index, offline
        As in :func:`fetch`.

    Raises
    ------
    SettingError
        If the address of an index is not one.

    Examples
    --------
    >>> import sctab
    >>> [model.name for model in sctab.zoo.list_models(offline=True) if model.state == "packaged"]
    ['pbmc']
    """
    offline = is_offline(offline)
    indices = read_indices(index, offline=offline, max_age=HOUR)
    for problem in indices.problems:
        warn(problem)
    found = [_packaged(name) for name in packaged_names()]
    cached = {each.record.source: each for each in _cache.everything() if each.record.name and each.is_whole()}
    for each in indices:
        copy = cached.pop(each.entry.reference, None)
        found.append(ModelListing(each.entry, None if copy is None else copy.path, each.index))
    for kept in cached.values():
        with suppress(ModelFormatError):  # `verify` says what is wrong with it
            found.append(ModelListing(_entry_of(kept.path, kept.record), kept.path, _CACHE))
    if not all:
        newest: dict[str, ModelListing] = {}
        for listed in found:
            known = newest.get(listed.name)  # of the first index that lists the name, as for `fetch`
            if listed.state != "import" and (
                known is None or (known.index == listed.index and listed.entry.order > known.entry.order)
            ):
                newest[listed.name] = listed
        found = list(newest.values())
    wanted = {id(entry) for entry in matching((each.entry for each in found), tissue=tissue, organism=organism, labels=labels)}
    found = [each for each in found if id(each.entry) in wanted]
    return tuple(sorted(found, key=lambda each: (each.index != PACKAGED or each.state == "import", each.name, each.entry.order)))


def info(
    model: str | PathLike[str],
    *,
    index: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    offline: bool | None = None,
) -> ModelListing:
    """Describe one model, without downloading it where an index lists it.

    Parameters
    ----------
    model, index, offline
        As in :func:`fetch`. A model that no index lists is downloaded.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelFormatError
        If its description cannot be read.
    DownloadError
        If it has to be downloaded, and cannot be.

    Examples
    --------
    >>> import sctab
    >>> sctab.zoo.info("pbmc").n_labels
    13
    """
    reference = parse(model)
    if isinstance(reference, InIndex):
        name, version = reference.name, reference.version
        if name in packaged_names() and version in (None, PACKAGED_VERSION):
            return _packaged(name)
        found = read_indices(index, offline=is_offline(offline), max_age=HOUR).find(name, version)
        if found is not None:
            cached = cached_versions(name, found.entry.version)
            return ModelListing(found.entry, cached[0].path if cached else None, found.index)
    path = fetch(model, index=index, offline=offline)
    cached_at = {each.path: each.record for each in _cache.everything()}
    return ModelListing(_entry_of(path, cached_at.get(path)), path, _CACHE if path in cached_at else _PATH)


def cached_sources() -> list[str]:
    """Sources of the models in the cache: what was fetched, once each."""
    return list(dict.fromkeys(each.record.source for each in _cache.everything()))


def cache_size() -> tuple[Path, int, int]:
    """Directory of the cache, number of models in it, and their bytes."""
    found = _cache.everything()
    return _cache.root(), len(found), sum(each.n_bytes for each in found)


def _packaged(name: str) -> ModelListing:
    path = packaged_path(name)
    return ModelListing(entry_of(path, name=name, version=PACKAGED_VERSION), path, PACKAGED)


def _entry_of(path: Path, record: Any) -> ModelEntry:
    return entry_of(path, name=record.name if record and record.name else path.name, version=(record and record.version) or "0")


def entry_of(path: Path, **given: Any) -> ModelEntry:
    """Entry of a model or an ensemble in a directory, from its description; `given` are fields that this does not have.

    Raises
    ------
    ModelFormatError
        If its description cannot be read.
    """
    member = path / "member_0" if (path / ENSEMBLE_FILE).is_file() else path
    try:
        spec = strict_json.read(member / SPEC_FILE)  # a `ModelSpec` would load pandas and SciPy
        labels, features, training = spec["labels"], spec["features"], spec["training"]
        values: dict[str, Any] = {
            "description": str(spec["description"]),
            "urls": (str(path),),
            "size": sum(file.stat().st_size for file in model_files(path)),
            "labels": declared.each(declared.string)(labels["names"], "`labels.names`"),
            "label_ids": declared.each(_nullable)(labels["ids"], "`labels.ids`"),
            "n_genes": len(declared.sequence(features["ids"], "`features.ids`")),
            "n_cells": None if (n := training.get("n_labeled")) is None else declared.integer(n, "`training.n_labeled`"),
            "sctab_version": _nullable(spec.get("versions", {}).get("sctab"), "`versions.sctab`"),
        }
        if len(values["label_ids"]) != len(values["labels"]):
            raise ValueError("its labels and their ids differ in number")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise ModelFormatError(
            f"`{path}` does not describe a model: {reason}. Provide a directory that `model.save` wrote."
        ) from error
    return ModelEntry(**(_facts_of(path) | values | given))


def _nullable(value: Any, where: str) -> str | None:
    return None if value is None else declared.string(value, where)


def _facts_of(path: Path) -> dict[str, Any]:
    """Licence, species, tissues and sources of a model, as its authors declare them on its card."""
    try:
        facts = strict_json.read(path / CARD_FACTS_FILE)["facts"]
        sources = tuple(
            ModelSource(
                **{name: declared.string(source[name], name) for name in ("name", "url", "license", "doi")},
                n_cells=declared.integer(source["n_cells"], "n_cells"),
            )
            for source in facts["sources"]
            if source["used_for"] == "training"
        )
        return {
            "license": str(facts["license"]),
            "organism": str(facts["organism"]),
            "tissues": tuple(map(str, declared.sequence(facts["tissues"], "tissues"))),
            "sources": sources,
        }
    except (OSError, ValueError, LookupError, TypeError):  # `card_of` says what is wrong with it
        return {"license": "", "organism": ""}
