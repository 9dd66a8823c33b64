"""Plan of a corpus, before anything of it is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.corpus._cells import Cells
from sctab.corpus._config import DECLARED, SPLIT_NAMES, CorpusConfig, SplitEntry
from sctab.corpus._curation import Step, curate, duplicated
from sctab.corpus._entry import COLUMNS, SPLIT, SourceEntry, source_names
from sctab.corpus._features import CorpusGenes, given_genes, join_genes
from sctab.corpus.sources._open import CellSource, complete, open_source
from sctab.data import (
    CORRECT,
    FeatureSpace,
    StatedSpecies,
    antibodies_beside,
    find_antibodies,
    matrices,
    require_cells_in_rows,
    stated_species,
)
from sctab.errors import GeneOverlapError, InputValueError, KeyNotFoundError, LabelError, SettingError, listing, warn
from sctab.io import without_credentials
from sctab.keys import SPECIES_KEYS
from sctab.ontology import CellOntology, doubts, read_label_map, unused, why_unwritable
from sctab.sampling import assign_splits

_SPELLINGS = {"val": "validation"}


@dataclass(frozen=True)
class CorpusPlan:
    """A corpus as it would be built: which cells of which files, over which genes, in which split."""

    config: CorpusConfig
    cells: Cells = field(repr=False)
    """The cells that are left, with the names that they have."""
    split: NDArray[np.int8] = field(repr=False)
    """Position in `train`, `validation` and `test` of each cell's split, `(n_obs,)`."""
    genes: CorpusGenes = field(repr=False)
    steps: tuple[Step, ...]
    """Cells that each rule removed."""
    n_found: int
    """Cells in the sources."""
    n_duplicated: int
    """Cells whose barcode was in the same dataset before."""
    n_found_per_source: tuple[int, ...]

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.cells)

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return len(self.genes.features)

    @property
    def labels(self) -> tuple[str, ...]:
        """Its types, in alphabetical order."""
        return self.cells.names["label"]

    def sources_table(self) -> pd.DataFrame:
        """For each source: its cells, those that are kept, and the corpus's genes that it measured."""
        kept = np.bincount(self.cells.source, minlength=len(self.config.sources))
        index = pd.Index(source_names(self.config.sources), name="source")
        return pd.DataFrame(
            {"cells": self.n_found_per_source, "kept": kept, "genes": self.genes.is_measured.sum(axis=1)}, index=index
        )

    def steps_table(self) -> pd.DataFrame:
        """For each rule: cells, types and donors that it removed, and cells that it left."""
        index = pd.Index([step.filter.name for step in self.steps], name="rule")
        removed = [step.n_cells for step in self.steps]
        columns = {
            "parameters": [_parameters(step) for step in self.steps],
            "cells": removed,
            "types": [len(step.types) for step in self.steps],
            "donors": [step.n_donors for step in self.steps],
            "left": self.n_found - np.cumsum(removed),
        }
        return pd.DataFrame(columns, index=index)

    def types_table(self) -> pd.DataFrame:
        """For each type: its cells in each split, and its donors."""
        counts = np.zeros((len(self.labels), len(SPLIT_NAMES)), dtype=np.int64)
        np.add.at(counts, (self.cells.codes["label"], self.split), 1)
        table = pd.DataFrame(counts, index=pd.Index(self.labels, name="type"), columns=list(SPLIT_NAMES))
        table["donors"] = self.cells.donors_per_label()
        return table

    def splits_table(self) -> pd.DataFrame:
        """For each split: cells, types, donors and datasets."""
        parts = [self.cells.take(self.split == number) for number in range(len(SPLIT_NAMES))]
        columns = {"cells": [len(part) for part in parts]}
        columns |= {
            f"{column}s" if column != "label" else "types": [part.n_names(column) for part in parts] for column in COLUMNS[:3]
        }
        return pd.DataFrame(columns, index=pd.Index(SPLIT_NAMES, name="split"))


def plan(config: str | os.PathLike[str] | CorpusConfig, *, ontology: CellOntology | None = None) -> CorpusPlan:
    """Say what a corpus would be, from `obs` and `var` of its sources alone.

    Parameters
    ----------
    config
        The corpus, or a YAML file that declares it.
    ontology
        Of cell types; by default the latest release that is embedded.

    Returns
    -------
    The plan. Nothing is written, and no matrix is read.

    Raises
    ------
    DataFileError
        If a source is missing or damaged. The message names it.
    KeyNotFoundError
        If a source lacks a column that it is said to have.
    LabelError
        If no cell is left, or only one type.
    GeneOverlapError
        If genes are in the rows of a source, or if sources are of different species, or have no gene in common. Sources of which no
        cell is left need not fit the others.
    SettingError
        If the declaration is invalid, if there are too few donors, datasets or tissues to split, or if a declared split is
        empty, of another name, or shares donors with another one.
    """
    if not isinstance(config, CorpusConfig):
        config = CorpusConfig.read(config)
    draft = Draft.of(config, CellOntology.embedded() if ontology is None else ontology)
    for path, tables in draft.tables.items():
        if len({tuple(table.index) for table in tables.values()}) > 1 and draft.layers[path] is None:
            warn(
                f"`{without_credentials(path)}` has other genes in `raw` than in `X`. It is read where its counts are: name a `layer` to "
                "see with which genes."
            )
    return draft.over_genes({})


@dataclass(frozen=True)
class Draft:
    """The cells of a corpus, before it is known which matrix of each source is read, and so which genes it has."""

    config: CorpusConfig
    cells: Cells = field(repr=False)
    split: NDArray[np.int8] = field(repr=False)
    steps: tuple[Step, ...]
    n_found_per_source: tuple[int, ...]
    n_duplicated: int
    tables: Mapping[str, Mapping[str, pd.DataFrame]] = field(repr=False)
    """For the path of each source, the genes of each of its matrices by name."""
    stated: Mapping[str, StatedSpecies] = field(repr=False)
    """For the path of each source, of which species its cells are said to be."""

    @property
    def layers(self) -> dict[str, str | None]:
        """Declared matrix of each source."""
        return {entry.path: entry.layer for entry in self.config.sources}

    @property
    def n_kept_per_source(self) -> NDArray[np.int64]:
        """Cells of each source that are left, `(n_sources,)`."""
        return np.bincount(self.cells.source, minlength=len(self.config.sources))

    @classmethod
    def of(cls, config: CorpusConfig, ontology: CellOntology) -> Self:
        """Choose and split the cells; errors as in :func:`plan`."""
        if not config.sources:
            raise SettingError("The corpus has no sources that can be read. Provide at least one.")
        config = replace(config, sources=tuple(complete(entry) for entry in config.sources))
        tables: dict[str, Mapping[str, pd.DataFrame]] = {}
        stated: dict[str, StatedSpecies] = {}
        found = Cells.read(_one_by_one(config, tables, stated), config.sources)
        if config.label_map is not None:
            label_ids = read_label_map(config.label_map, ontology)
            if note := unused(label_ids, set(found.names["label"]), "the sources of the corpus"):
                warn(note)
            found = replace(found, label_ids=label_ids)
        cells, steps = curate(found, config.filters, ontology)
        if config.drop_duplicates:
            cells = cells.take(~duplicated(cells))
        cells = cells.compact()
        _require_types(cells)
        _check_labels(cells)
        return cls(
            config=config,
            cells=cells,
            split=_split(cells, config),
            steps=tuple(steps),
            n_found_per_source=tuple(int(n) for n in np.bincount(found.source, minlength=len(config.sources))),
            n_duplicated=int(duplicated(found).sum()),
            tables=tables,
            stated=stated,
        )

    def over_genes(self, matrices: Mapping[str, str]) -> CorpusPlan:
        """The plan over the genes of those sources of which cells are left.

        Parameters
        ----------
        matrices
            For paths of sources, the name of the matrix that is read. Of others it is that of the declared layer, or `X`.
        """
        kept = np.flatnonzero(self.n_kept_per_source)
        entries = [self.config.sources[number] for number in kept]
        spaces = [_genes_of(entry, self.tables[entry.path], matrices.get(entry.path)) for entry in entries]
        joined = join_genes(spaces, given_genes(self.config.features), names=[without_credentials(entry.path) for entry in entries])
        stated = StatedSpecies.join(self.stated[entry.path] for entry in entries)
        for note in stated.notes(joined.features.species, owner="the corpus", fix=CORRECT):
            warn(note)
        is_measured = np.zeros((len(self.config.sources), len(joined.features)), dtype=bool)
        is_measured[kept] = joined.is_measured
        planned = CorpusPlan(
            config=self.config,
            cells=self.cells,
            split=self.split,
            genes=CorpusGenes(joined.features, is_measured),
            steps=self.steps,
            n_found=sum(self.n_found_per_source),
            n_duplicated=self.n_duplicated,
            n_found_per_source=self.n_found_per_source,
        )
        _warn_about_splits(planned)
        return planned


def _check_labels(cells: Cells) -> None:
    """Refuse labels under which results of a model could not be stored, and warn of those that may not be meant."""
    names = cells.names["label"]
    if why := why_unwritable(names):
        raise LabelError(f"Results could not be stored under the labels of the corpus: {why}. Rename them in the sources.")
    counts = dict(zip(names, cells.per_name("label").tolist(), strict=True))
    leave_out = "Remove those cells from the sources, or leave out all labels without an id with the rule `subtype_of: cell`."
    for doubt in doubts(counts, "the labels of the corpus", cells.label_ids, leave_out=leave_out):
        warn(doubt)


def _one_by_one(
    config: CorpusConfig, tables: dict[str, Mapping[str, pd.DataFrame]], stated: dict[str, StatedSpecies]
) -> Iterator[CellSource]:
    """Each source, open until the next one is requested; what genes its matrices have is put into `tables`, its species into `stated`."""
    for entry in config.sources:
        path = without_credentials(entry.path)
        with closing(open_source(entry, [*entry.obs_keys, *SPECIES_KEYS])) as file:
            try:
                require_cells_in_rows(file)
            except GeneOverlapError as error:
                raise GeneOverlapError(f"`{path}`: ", error.message) from error
            if n_antibodies := antibodies_beside(file) or int(find_antibodies(file.var).sum()):
                warn(
                    f"`{path}` has {n_antibodies} antibodies, which are left out: a corpus holds gene expression alone. To learn proteins, "
                    "train on the file itself."
                )
            stated[entry.path] = stated_species(file, path)
            tables[entry.path] = {name: var for name, _, var in matrices(file)} or {"X": file.var}
            yield file


def _genes_of(entry: SourceEntry, tables: Mapping[str, pd.DataFrame], matrix: str | None) -> FeatureSpace:
    if matrix is None:
        named = (f"layers[{entry.layer!r}]", str(entry.layer), f"{entry.layer}.X")  # in the order of `resolve`
        matrix = next((name for name in named if name in tables), next(iter(tables)))
    try:
        return FeatureSpace.from_var(tables[matrix], gene_id_key=entry.gene_id_key, gene_symbol_key=entry.gene_symbol_key)
    except (InputValueError, KeyNotFoundError) as error:
        raise type(error)(f"`{without_credentials(entry.path)}`: ", error.message) from error


def _require_types(cells: Cells) -> None:
    n_types = len(cells.names["label"])
    if n_types < 2:
        raise LabelError(
            f"{'No cell is' if not n_types else 'Only one cell type is'} left after the rules. Check what each rule removed, and relax one."
        )


def _split(cells: Cells, config: CorpusConfig) -> NDArray[np.int8]:
    by = config.split.by
    if by == DECLARED:
        return _declared_split(cells)
    units = cells.codes[by].astype(np.int64)
    split = _named_split(cells, config.split)
    open_names = [name for name in SPLIT_NAMES if name == SPLIT_NAMES[0] or not getattr(config.split, name)]
    if len(open_names) == 1:
        split[split < 0] = 0
        return split
    rest = np.flatnonzero(split < 0)
    if n_unknown := int((units[rest] < 0).sum()):
        raise SettingError(
            f"{n_unknown:,} cells have no {by}, by which the corpus is split. Name its column as `{by}_key`, name what is in `validation` "
            "and in `test`, or split by something else."
        )
    if (n_units := len(np.unique(units[rest]))) < len(open_names):
        raise SettingError(f"Splitting by {by} needs at least {len(open_names)}; there are {n_units}. Split by something else.")
    codes = [SPLIT_NAMES.index(name) for name in open_names]
    fractions = np.array([config.split.fractions[code] for code in codes])
    rng = np.random.default_rng(config.split.seed)
    labels = cells.codes["label"].astype(np.int64)
    shared_out = assign_splits(labels[rest], units[rest], fractions=tuple(fractions / fractions.sum()), by="donor", rng=rng)
    split[rest] = np.array(codes)[shared_out]
    return split


def _named_split(cells: Cells, entry: SplitEntry) -> NDArray[np.int8]:
    """The split of cells whose donor, dataset or tissue is named in the declaration; -1 for others."""
    names = pd.Index(cells.names[entry.by])
    of_name = np.full(len(names) + 1, -1, dtype=np.int8)  # the last one for cells without
    for code, split in enumerate(SPLIT_NAMES[1:], start=1):
        wanted = getattr(entry, split)
        if unknown := [name for name in wanted if name not in names]:
            raise SettingError(
                f"`{split}` names {listing(unknown)}, which no cell has as its {entry.by}. Available: {listing(names)}."
            )
        of_name[names.get_indexer(wanted)] = code
    return of_name[cells.codes[entry.by]]


def _declared_split(cells: Cells) -> NDArray[np.int8]:
    codes, names = cells.codes[SPLIT], [_SPELLINGS.get(name.lower(), name.lower()) for name in cells.names[SPLIT]]
    if n_missing := int((codes < 0).sum()):
        raise SettingError(
            f"{n_missing:,} cells have no split, though splits are declared. Name the column of `obs` that has it as `split_key` of every "
            "source, and fill it."
        )
    if unknown := [name for name, meant in zip(cells.names[SPLIT], names, strict=True) if meant not in SPLIT_NAMES]:
        raise SettingError(
            f"Cells are declared to be in {listing(unknown)}. Call splits {listing(SPLIT_NAMES)}, or leave these cells out."
        )
    if empty := [name for name in SPLIT_NAMES if name not in names]:
        raise SettingError(f"No cell is declared to be in {listing(empty)}. Declare some, or split by something else.")
    split = np.array([SPLIT_NAMES.index(name) for name in names], dtype=np.int8)[codes]
    donor = cells.codes["donor"]
    seen = np.zeros((len(cells.names["donor"]), len(SPLIT_NAMES)), dtype=bool)
    seen[donor[donor >= 0], split[donor >= 0]] = True
    if (shared := np.flatnonzero(seen.sum(axis=1) > 1)).size:
        raise SettingError(
            f"{listing(cells.names['donor'][i] for i in shared)} have cells in more than one split, so no split measures "
            "performance on new donors. Declare whole donors, or split by donor."
        )
    return split


def _warn_about_splits(plan: CorpusPlan) -> None:
    types = plan.types_table()
    for name in SPLIT_NAMES:
        if missing := list(types.index[types[name] == 0]):
            warn(f"{len(missing)} of {len(types)} types have no cell in `{name}`: {', '.join(map(str, missing[:10]))}.")


def _parameters(step: Step) -> str:
    return ", ".join(f"{name} = {value}" for name, value in step.filter.parameters.items())
