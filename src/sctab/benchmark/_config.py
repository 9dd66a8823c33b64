"""Declaration of a benchmark: tasks, models, peers and seeds, read from a YAML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sctab.benchmark._peers import PEERS
from sctab.benchmark._scores import TYPE_GROUP
from sctab.errors import SettingError, listing, warn
from sctab.io import as_path, declared
from sctab.model import CellTypeClassifier, model_by_name
from sctab.tuning import Settings

SPLITS = ("dataset", "donor", "random", "corpus")
SUBSETS = ("donor", "cell")


@dataclass(frozen=True)
class Subset:
    """Parts of the reference to learn from, each within the next larger one."""

    by: str
    """`"donor"` or `"cell"`: unit that is left out."""
    fractions: tuple[float, ...]
    models: tuple[str, ...] = ()
    """Labels of those that learn parts; by default all."""


@dataclass(frozen=True)
class Task:
    """Train on a reference, annotate a query."""

    name: str
    reference: str
    """Data file or corpus, relative to the folder of the data."""
    labels_key: str
    split: str
    """`"dataset"`: the query is a file of its own. `"donor"`, `"random"`: it is cut out of `reference`. `"corpus"`: `reference` is a
    corpus, and the query is its test cells."""
    query: str | None = None
    donor_key: str | None = None
    group_key: str | None = None
    """Column of the query by which scores are given as well."""
    layer: str | None = None
    """Layer with the counts, `"X"` or `"raw"`; by default counts are detected."""
    modality: str | None = None
    """Modality of a MuData, or genome of a 10x Genomics matrix of several; by default the one with gene expression."""
    label_map: str | None = None
    """Table of labels and their Cell Ontology ids, relative to the folder of the data, see :func:`sctab.ontology.read_label_map`."""
    unlabeled_category: str | None = None
    """Value of `labels_key` that means "no label". Such cells, and those without a value, are left out on both sides."""
    gene_id_key: str | None = None
    """Column of `var` of the reference with Ensembl ids; by default it is found."""
    gene_symbol_key: str | None = None
    """Column of `var` of the reference with gene symbols; by default it is found."""
    test_donors: tuple[str, ...] = ()
    test_fraction: float | None = None
    """Fraction of the cells that is kept for the query, as whole donors or at random."""
    split_seed: int = 0
    subset: Subset | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model of `sctab` with its settings."""

    name: str
    label: str
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerEntry:
    """Another program, in an environment of its own."""

    name: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    """Requirements of its environment; with an empty list it runs in the environment of `sctab`."""


@dataclass(frozen=True)
class Config:
    """A benchmark: every model and every peer, on every task, with every seed."""

    data: Path
    tasks: tuple[Task, ...]
    models: tuple[ModelEntry, ...] = ()
    peers: tuple[PeerEntry, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    accelerator: str = "cpu"
    baseline: str | None = None
    """Label that the others are compared with; by default the best."""

    @property
    def entries(self) -> list[ModelEntry | PeerEntry]:
        """Models and peers, in the order of the file."""
        return [*self.models, *self.peers]

    @property
    def labels(self) -> list[str]:
        """Labels of models and peers, in the order of the file."""
        return [entry.label for entry in self.entries]


def read_config(path: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None) -> Config:
    """Read a benchmark from a YAML file.

    Parameters
    ----------
    path
        The file.
    data
        Folder of the data files; by default what the file says, relative to the file.

    Raises
    ------
    DataFileError
        If the file is missing or is not valid YAML.
    SettingError
        If a value is invalid. The message names its place.
    MissingDependencyError
        If `pyyaml` is not installed.
    """
    path = as_path(path)
    values = declared.read_yaml(path)
    if not isinstance(values, dict):
        raise SettingError(f"`{path}` is not a benchmark: it must be a mapping with `tasks` and `models`.")
    where = f"`{path.name}`"
    values = {"data": "."} | values
    readers: dict[str, Callable[[Any, str], Any]] = {
        "data": lambda value, here: path.parent / as_path(declared.string(value, here)),
        "tasks": lambda value, here: tuple(
            _task(item, f"{here}, task {i}") for i, item in enumerate(declared.sequence(value, here), 1)
        ),
        "models": lambda value, here: tuple(
            _model(item, f"{here}, model {i}", path.parent) for i, item in enumerate(declared.sequence(value, here), 1)
        ),
        "peers": lambda value, here: tuple(
            _peer(item, f"{here}, peer {i}") for i, item in enumerate(declared.sequence(value, here), 1)
        ),
        "seeds": declared.each(declared.integer),
        "accelerator": declared.string,
        "baseline": declared.string,
    }
    config: Config = declared.instance_of(
        Config, values | ({"data": str(as_path(data).absolute())} if data is not None else {}), where, readers
    )
    _check_config(config, where)
    return config


def _check_config(config: Config, where: str) -> None:
    _check_names([task.name for task in config.tasks], "tasks", where)
    _check_names(config.labels, "models and peers", where)
    for task in config.tasks:
        unknown = [label for label in (task.subset.models if task.subset is not None else ()) if label not in config.labels]
        if unknown:
            raise SettingError(
                f"{where}: `subset` of `{task.name}` names {listing(unknown)}, which is not compared. Available: {listing(config.labels)}."
            )
    if not config.seeds:
        raise SettingError(f"{where} has no seeds. Provide at least one, for example `seeds: [0, 1, 2]`.")
    if len(set(config.seeds)) < len(config.seeds):
        raise SettingError(f"{where}: `seeds: {list(config.seeds)}` names a seed twice, which is the same run. Name each once.")
    if config.baseline is not None and config.baseline not in config.labels:
        raise SettingError(f"{where}: `baseline: {config.baseline}` is not compared. Available: {listing(config.labels)}.")


def _task(values: Any, where: str) -> Task:
    values = _renamed(values, where)
    if isinstance(values, dict) and values.get("split") == "corpus":
        declared.check_keys(values, {"name", "reference", "split", "group_key", "subset"}, where)
        values = {"labels_key": "label", "donor_key": "donor"} | values
    task: Task = declared.instance_of(
        Task,
        values,
        where,
        {
            **dict.fromkeys(("reference", "query", "label_map"), _path),
            "test_donors": lambda value, here: tuple(str(item) for item in declared.sequence(value, here)),
            "test_fraction": declared.fraction,
            "split_seed": declared.integer,
            "subset": _subset,
        },
    )
    if task.split not in SPLITS:
        raise SettingError(f"{where}: `split: {task.split}` is not known. Choose one of {listing(SPLITS)}.")
    if (task.query is None) == (task.split == "dataset"):
        raise SettingError(f"{where}: `query` belongs to `split: dataset` and to no other; here `split` is `{task.split}`.")
    if task.split == "dataset" and (task.test_donors or task.test_fraction is not None):
        raise SettingError(f"{where}: `test_donors` and `test_fraction` cut one file in two; with `split: dataset` there are two.")
    if task.split == "random" and (task.test_donors or task.test_fraction is None):
        raise SettingError(
            f"{where}: `split: random` needs `test_fraction`, for example `test_fraction: 0.2`, and no `test_donors`."
        )
    if task.split == "donor" and bool(task.test_donors) == (task.test_fraction is not None):
        raise SettingError(f"{where}: `split: donor` needs either `test_donors` or `test_fraction`.")
    if task.group_key == TYPE_GROUP:
        raise SettingError(
            f"{where}: `group_key: {TYPE_GROUP}` would be mistaken for scores of cell types, which are called "
            f"`{TYPE_GROUP}=…`. Rename the column."
        )
    needs_donors = task.split == "donor" or (task.subset is not None and task.subset.by == "donor")
    if needs_donors and task.donor_key is None:
        raise SettingError(f"{where}: donors are requested, so `donor_key` is needed: the column of `obs` with donors.")
    return task


_OLD_NAMES = {
    "test_share": "test_fraction",
    ("split", "donors"): "donor",
    ("split", "datasets"): "dataset",
    ("by", "donors"): "donor",
    ("by", "cells"): "cell",
}
"""New names of keys, and of values of keys, that were renamed in 0.1; the old ones are removed in 0.3."""


def _renamed(values: Any, where: str) -> Any:
    """Values under their new names, with a warning for each that has an old one."""
    if not isinstance(values, dict):
        return values
    new = {}
    for key, value in values.items():
        name = _OLD_NAMES[key] if isinstance(key, str) and key in _OLD_NAMES and _OLD_NAMES[key] not in values else key
        kept = _OLD_NAMES.get((key, value), value) if isinstance(value, str) else value
        if (name, kept) != (key, value):
            old, now = (key, name) if name != key else (f"{key}: {value}", f"{key}: {kept}")
            warn(f"{where}: `{old}` is called `{now}` now. Rename it: the old name will be removed.")
        new[name] = kept
    return new


def _path(value: Any, where: str) -> str:
    path = declared.string(value, where)
    return str(as_path(path)) if path.startswith("~") else path


def _subset(values: Any, where: str) -> Subset:
    subset: Subset = declared.instance_of(
        Subset,
        _renamed(values, where),
        where,
        {
            "fractions": lambda value, here: tuple(sorted(declared.each(declared.fraction)(value, here))),
            "models": declared.each(declared.string),
        },
    )
    if subset.by not in SUBSETS:
        raise SettingError(f"{where}: `by: {subset.by}` is not known. Choose one of {listing(SUBSETS)}.")
    if not subset.fractions:
        raise SettingError(f"{where}: `fractions` is empty. Provide at least one, for example `[0.15, 0.3, 0.5, 0.7, 1.0]`.")
    return subset


def _model(values: Any, where: str, folder: Path) -> ModelEntry:
    values = _named(values, where)
    declared.check_keys(values, {"name", "label", "settings", "model", "train"}, where)
    name = declared.string(values.get("name"), f"{where}, `name`")
    try:
        base = _settings(name, values.get("settings"), where, folder)
        settings = Settings(
            name,
            {**base.model_settings, **declared.mapping(values.get("model", {}), f"{where}, `model`")},
            {**base.train_settings, **declared.mapping(values.get("train", {}), f"{where}, `train`")},
        )
    except SettingError as error:
        raise SettingError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error
    label = declared.string(values.get("label", name), f"{where}, `label`")
    return ModelEntry(name, label, settings.model_settings, settings.train_settings)


def _settings(name: str, settings: Any, where: str, folder: Path) -> Settings:
    """Settings that `settings:` refers to: none, the published ones, or those of a file."""
    if settings is None:
        return Settings(name)
    if settings == "paper":
        cls = model_by_name(name)
        if not issubclass(cls, CellTypeClassifier):
            raise SettingError(f"{where}: `{name}` has no published settings.")
        published = cls.paper_settings()
        return Settings(name, published["model"], published["train"])
    stored = Settings.read(folder / as_path(declared.string(settings, f"{where}, `settings`")))
    if stored.model != name:
        raise SettingError(f"{where}: `{settings}` holds settings of `{stored.model}`, not of `{name}`.")
    return stored


def _peer(values: Any, where: str) -> PeerEntry:
    values = _named(values, where)
    declared.check_keys(values, {"name", "label", "settings", "requirements"}, where)
    name = declared.string(values.get("name"), f"{where}, `name`")
    if name not in PEERS:
        raise SettingError(f"{where}: there is no peer `{name}`. Available: {listing(PEERS)}.")
    requirements = declared.sequence(values.get("requirements", list(PEERS[name])), f"{where}, `requirements`")
    return PeerEntry(
        name=name,
        label=declared.string(values.get("label", name), f"{where}, `label`"),
        settings=declared.mapping(values.get("settings", {}), f"{where}, `settings`"),
        requirements=tuple(declared.string(item, f"{where}, `requirements`") for item in requirements),
    )


def _named(values: Any, where: str) -> dict[str, Any]:
    """`linear` is short for `{name: linear}`."""
    return {"name": values} if isinstance(values, str) else declared.mapping(values, where)


def _check_names(names: Sequence[str], what: str, where: str) -> None:
    if not names:
        raise SettingError(f"{where} has no {what}. Provide at least one.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(
            f"{where}: of the {what} more than one is called {listing(twice)}. Give each a `name` or `label` of its own."
        )
