"""Evidence for and against the species of a model in the names of a dataset, wherever they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data.genes._columns import INDEX, Source, is_text, normalised, strings
from sctab.data.genes._names import case_of
from sctab.data.genes._species import MIXED, Species, guess_species, is_enough, organism, species_of

_GENOME_COLUMNS = {"genome", "genomes", "featurereference", "organism", "species", "reference", "taxon", "organismontologytermid"}
"""Columns in which readers and portals write the genome or the species of each feature."""
_OF_THE_DATA = {"index", "ids", "symbols"}
"""Places in which the names of the data itself are."""
_DATABASE_COLUMN = re.compile("mgi|mgd|rgd|zfin|flybase|wormbase|xenbase|vgnc|sgd")
"""Columns that are named for the database of a species, or of several, that may be another one."""
_MANY = 3
"""Fraction of names, as one in this number."""
_NOTHING, _OWN, _OTHER = 0, 1, 2


@dataclass(frozen=True)
class Evidence:
    """The species of a dataset, and which features are of another one."""

    species: Species | None
    is_foreign: NDArray[np.bool_] = field(repr=False)
    """Features of another species among those of the model's, `(n_vars,)`."""
    notes: tuple[str, ...] = ()


def weigh(
    var: pd.DataFrame,
    sources: Mapping[str | None, Source],
    is_gene: NDArray[np.bool_],
    model: Species | None,
    *,
    best: str | None,
    is_named: Callable[[Source], bool],
) -> Evidence:
    """Weigh all that tells the species of a dataset against that of a model.

    Ids, genomes and names that only one species has count in the index and in every column. In columns whose name says that they hold
    orthologs, they are only told: these accompany genes of any species. How symbols are written counts where they are the names of the
    data.

    Parameters
    ----------
    var, sources
        Annotation of the features, and where names are.
    is_gene
        Which features are gene expression, `(n_vars,)`.
    model
        Species of the model.
    best
        The source in which most genes of the model are.
    is_named
        Whether names in a source are those of genes of the model, in any case.
    """
    nobody = np.zeros(len(var), dtype=bool)
    if model is None:
        guesses = (guess_species(source.names) for source in sources.values() if source.role != "orthologs")
        return Evidence(next(filter(None, guesses), None), nobody)
    notes = []
    sources = _without_orthologs(sources, model, is_gene)
    verdict = np.full(len(var), _NOTHING, dtype=np.int8)
    named: Counter[str] = Counter()
    certain = [
        _genome_column(var),
        *(_Column.of(source) for source in sources.values() if source.role in {"index", "ids", "symbols"}),
    ]
    for column in certain:
        found, names = column.judge(model, is_gene)
        verdict = np.maximum(verdict, found)
        named += names
    by_known = verdict.copy()
    for source in sources.values():
        if source.role in _OF_THE_DATA:
            continue
        found, names = _Column.of(source).judge(model, is_gene)
        beside = found.max(initial=0) == _OTHER and is_enough(int((found == _OTHER).sum()), int(is_gene.sum()))
        if beside and (source.role == "orthologs" or (by_known == _OWN).sum() * MIXED > (found == _OTHER).sum()):
            notes.append(
                f"{source.label} holds ids of {names.most_common(1)[0][0]}, such as `{source.examples[0]}`. They were taken "
                f"for orthologs: the other names are those of {model.name}. Check that the cells are, too."
            )
        elif source.role == "other":
            new = by_known == _NOTHING
            named += names
            verdict = np.where(new & (verdict != _OWN) & (found > 0), found, verdict).astype(np.int8)
    n_own, n_other = int((verdict == _OWN).sum()), int((verdict == _OTHER).sum())
    if is_enough(n_other, int(is_gene.sum())) and n_own * MIXED < n_other:
        return Evidence(Species(named.most_common(1)[0][0], is_certain=True), nobody, tuple(notes))
    is_foreign = verdict == _OTHER
    if n_other:
        notes.append(f"Ignored features from {named.most_common(1)[0][0]}: {n_other}.")
    species = _by_names(sources, is_gene & ~is_foreign, model, n_own, best, is_named)
    return Evidence(species, is_foreign, tuple(notes))


def _without_orthologs(
    sources: Mapping[str | None, Source], model: Species, is_gene: NDArray[np.bool_]
) -> dict[str | None, Source]:
    """The sources, with columns of databases of other species as orthologs where the index has ids of the model's species."""
    found, _ = _Column.of(sources[INDEX]).judge(model, is_gene) if INDEX in sources else (np.zeros(0), None)
    if (found == _OWN).sum() * 2 <= is_gene.sum():
        return dict(sources)
    return {
        key: replace(source, role="orthologs") if key is not INDEX and _DATABASE_COLUMN.match(normalised(key)) else source
        for key, source in sources.items()
    }


def _by_names(
    sources: Mapping[str | None, Source],
    is_gene: NDArray[np.bool_],
    model: Species,
    n_own: int,
    best: str | None,
    is_named: Callable[[Source], bool],
) -> Species | None:
    """The species that symbols tell: one that contradicts the model where any source does, else the best known one."""
    guesses = []
    for source in sources.values():
        if source.role not in _OF_THE_DATA and source.key != best:
            continue
        guess = guess_species(_of_one_case([name for name, is_used in zip(source.names, is_gene, strict=True) if is_used], model))
        if guess is not None and (guess.is_certain or source.key == best or is_named(source)):
            guesses.append(guess)
    against = [guess for guess in guesses if guess.contradicts(model)]
    is_known = n_own * 2 > is_gene.sum() or len(against) < len(guesses)
    # Many tables hold symbols of other species in capitals; none holds human symbols that begin with the only capital.
    against = [guess for guess in against if guess.is_certain or guess.name != "human" or not is_known]
    for guess in (*against, *(guess for guess in guesses if guess.is_certain), *guesses):
        return guess
    return None


def _of_one_case(names: list[str], model: Species) -> list[str]:
    """The names written as in the model's species, where many are and many are not: those of two species in one experiment."""
    cases = list(map(case_of, names))
    fewest = max(1, len(names) // _MANY)
    if cases.count("upper") < fewest or cases.count("title") < fewest or model.case == "other":
        return names
    return [name for name, case in zip(names, cases, strict=True) if case in {model.case, None}]


@dataclass(frozen=True)
class _Column:
    """The species of each feature by one source, `None` where it says nothing."""

    species: list[str | None]

    @classmethod
    def of(cls, source: Source) -> _Column:
        known = [name for name in source.names if name]
        sample = known[:: max(1, len(known) // 1000)]
        if not any(map(species_of, sample)):
            return cls([None] * len(source.names))  # most columns have no id, and looking at each name takes time
        return cls([species_of(name) if name else None for name in source.names])

    def judge(self, model: Species, is_gene: NDArray[np.bool_]) -> tuple[NDArray[np.int8], Counter[str]]:
        """Judge the place of each feature, and collect names of other species."""
        verdicts = {
            species: _OTHER if Species(species, is_certain=True).contradicts(model) else _OWN
            for species in set(self.species)
            if species
        }
        found = np.array([verdicts.get(species, _NOTHING) if species else _NOTHING for species in self.species], dtype=np.int8)
        found[~is_gene] = _NOTHING
        others = Counter(species for species, verdict in zip(self.species, found, strict=True) if species and verdict == _OTHER)
        return found, others


def _genome_column(var: pd.DataFrame) -> _Column:
    species: list[str | None] = [None] * len(var)
    for position, column in enumerate(var.columns):
        values = var.iloc[:, position]
        if normalised(str(column)) in _GENOME_COLUMNS and is_text(values):
            names = strings(values)
            known = {name: organism(name) for name in set(names) if name}
            species = [one or known.get(name) for one, name in zip(species, names, strict=True)]
    return _Column(species)
