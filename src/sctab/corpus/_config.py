"""Declaration of a corpus: sources, rules, genes and splits, read from a YAML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from sctab.corpus._curation import FILTERS, Filter
from sctab.corpus._entry import SourceEntry
from sctab.corpus.sources._open import find_sources
from sctab.data import FeatureSpace
from sctab.errors import SettingError, listing, warn
from sctab.io import as_path, declared, is_url, without_credentials

UNION, INTERSECTION = "union", "intersection"
SPLIT_NAMES = ("train", "validation", "test")
DECLARED = "declared"
SPLIT_BY = ("donor", "dataset", "tissue", DECLARED)


@dataclass(frozen=True)
class SplitEntry:
    """Division of cells among training, validation and test."""

    by: str = "donor"
    """`"donor"`, `"dataset"` or `"tissue"`: what stays whole. `"declared"`: as each source says, see :attr:`SourceEntry.split_key`."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Fractions of training, validation and test, in units of `by`; ignored if splits are declared."""
    validation: tuple[str, ...] = ()
    """Donors (`dataset/donor`), datasets or tissues that are validated on; by default some are drawn."""
    test: tuple[str, ...] = ()
    """Those that are tested on. Where both are named, the training cells are all others, also those of which nobody knows the donor."""
    seed: int = 0
    """Seed of the split and of the order of the cells."""


@dataclass(frozen=True)
class CorpusConfig:
    """A corpus as it is declared."""

    sources: tuple[SourceEntry, ...]
    filters: tuple[Filter, ...] = ()
    """Rules of `sctab.corpus`, in the order in which they apply."""
    features: str | tuple[str, ...] | FeatureSpace = INTERSECTION
    """`"union"` or `"intersection"` of the sources' genes, a table of genes (`.parquet`, `.csv`), the directory of a model whose genes are
    taken, their names, or the genes themselves."""
    drop_duplicates: bool = False
    """Leave out cells whose barcode was in the same dataset before; they are counted in any case."""
    split: SplitEntry = field(default_factory=SplitEntry)
    label_map: str | None = None
    """A table of labels and their Cell Ontology ids, see :func:`sctab.ontology.read_label_map`."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read it from a YAML file; paths in it are relative to the file.

        Raises
        ------
        DataFileError
            If the file is missing or not valid YAML, or if a source is missing.
        SettingError
            If a value is invalid. The message names its place.
        """
        path = as_path(path)
        return cls.of(declared.read_yaml(path), where=f"`{path.name}`", folder=path.parent)

    @classmethod
    def of(cls, values: Any, *, where: str = "the corpus", folder: Path | None = None) -> Self:
        """Make it from what a YAML file holds.

        Parameters
        ----------
        values
            A mapping with `sources` and, optionally, `filters`, `features`, `split`, and what all sources have in common, such as
            `labels_key`.
        where
            What errors call it.
        folder
            What paths are relative to; by default where the process runs.
        """
        values = declared.mapping(values, where)
        common_names = {item.name for item in fields(SourceEntry)} - {"path"}
        common = {name: declared.string(value, f"{where}, `{name}`") for name, value in values.items() if name in common_names}
        own = {name: value for name, value in values.items() if name not in common_names}
        declared.check_keys(own, {item.name for item in fields(cls)}, where)
        if "sources" not in own:
            raise SettingError(f"{where} has no `sources`. Provide a list of files.")
        folder = as_path(folder or Path())
        sources: list[SourceEntry] = []
        for i, item in enumerate(declared.sequence(own["sources"], f"{where}, `sources`"), 1):
            sources += _sources(item, f"{where}, source {i}", common, folder)
        twice = sorted({entry.path for entry in sources if [other.path for other in sources].count(entry.path) > 1})
        if twice:
            raise SettingError(f"{where}: {listing(map(without_credentials, twice))} is named twice. Name each source once.")
        filters = declared.sequence(own.get("filters", []), f"{where}, `filters`")
        return cls(
            sources=tuple(sources),
            filters=tuple(_filter(item, f"{where}, filter {i}") for i, item in enumerate(filters, 1)),
            features=_features(own.get("features", INTERSECTION), f"{where}, `features`", folder),
            drop_duplicates=_flag(own.get("drop_duplicates", False), f"{where}, `drop_duplicates`"),
            split=_split(own.get("split", {}), f"{where}, `split`"),
            label_map=None
            if "label_map" not in own
            else os.fspath(folder / as_path(declared.string(own["label_map"], f"{where}, `label_map`"))),
        )


def _sources(item: Any, where: str, common: Mapping[str, str], folder: Path) -> list[SourceEntry]:
    values = {"path": item} if isinstance(item, str) else declared.mapping(item, where)
    entry: SourceEntry = declared.instance_of(SourceEntry, {**common, **values}, where)
    given = entry.path if is_url(entry.path) else os.fspath(folder / as_path(entry.path))
    return [replace(entry, path=path) for path in find_sources(given)]


def _filter(item: Any, where: str) -> Filter:
    values = {item: None} if isinstance(item, str) else declared.mapping(item, where)
    if len(values) != 1:
        raise SettingError(f"{where}: one rule was expected, found {listing(values)}. Give each an entry of its own.")
    ((name, given),) = values.items()
    if name not in FILTERS:
        raise SettingError(f"{where}: there is no rule `{name}`. Available: {listing(FILTERS)}.")
    rule = FILTERS[name]
    known = [item.name for item in fields(rule)]  # type: ignore[arg-type]
    if given is None and known in ([], ["n"]):
        return rule()
    if known == ["n"]:
        return rule(n=declared.integer(given, f"{where}, `{name}`"))  # type: ignore[call-arg]
    if known == ["term"]:
        return rule(term=declared.string(given, f"{where}, `{name}`"))  # type: ignore[call-arg]
    if known == ["assays"]:
        return rule(assays=declared.each(declared.string)(given, f"{where}, `{name}`"))  # type: ignore[call-arg]
    raise SettingError(f"{where}: `{name}` takes no value, found `{given!r}`.")


def _features(value: Any, where: str, folder: Path) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(declared.string(name, where) for name in value)
    name = declared.string(value, where)
    return name if name in {UNION, INTERSECTION} else os.fspath(folder / as_path(name))


def _split(values: Any, where: str) -> SplitEntry:
    if isinstance(values, dict) and "sizes" in values and "fractions" not in values:
        warn(f"{where}: `sizes` is called `fractions` now. Rename it: the old name will be removed.")
        values = {"fractions" if key == "sizes" else key: value for key, value in values.items()}
    split: SplitEntry = declared.instance_of(
        SplitEntry, values, where, {"fractions": _fractions, "seed": declared.integer, "validation": _names, "test": _names}
    )
    if split.by not in SPLIT_BY:
        raise SettingError(f"{where}: `by: {split.by}` is not known. Choose one of {listing(SPLIT_BY)}.")
    if split.by == DECLARED and (split.validation or split.test):
        raise SettingError(f"{where}: splits are declared both by the sources and here. Remove one of them.")
    if both := sorted(set(split.validation) & set(split.test)):
        raise SettingError(f"{where}: {listing(both)} cannot be in `validation` and in `test`. Name each once.")
    return split


def _names(value: Any, where: str) -> tuple[str, ...]:
    return declared.each(declared.string)(value, where)


def _fractions(value: Any, where: str) -> tuple[float, ...]:
    fractions: Sequence[Any] = declared.sequence(value, where)
    if (
        len(fractions) != len(SPLIT_NAMES)
        or not all(isinstance(each, int | float) and each > 0 for each in fractions)
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise SettingError(f"{where}: three fractions above 0 that sum to one were expected, found `{value!r}`.")
    return tuple(float(each) for each in fractions)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"{where}: `true` or `false` was expected, found `{value!r}`.")
    return value
