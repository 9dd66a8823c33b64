"""The genes of a model, in the order in which it learned them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.data.genes._columns import INDEX, Source, best_ids, best_symbols, find_sources, further_ids, named_source
from sctab.data.genes._evidence import Evidence, weigh
from sctab.data.genes._features import find_features
from sctab.data.genes._lookup import Lookup
from sctab.data.genes._match import GeneMatch, examples_of
from sctab.data.genes._names import DATE, canonical, is_mostly_ensembl, parts_of, strip_version
from sctab.data.genes._species import FEW, Species, guess_species
from sctab.errors import InputValueError, listing, warn

_DATE = re.compile(DATE, re.IGNORECASE)
_SHARE_OF_PARALOGS = 0.03
_LOCUS = re.compile(r"LOC\d{5,}", re.IGNORECASE)
_SHARE_OF_LOCI, _FEWEST_OF_A_GENOME = 0.05, 5000
_MHC_OF_HUMAN, _FEWEST_MHC = "HLA-", 3


@dataclass(frozen=True)
class FeatureSpace:
    """The genes of a model, in the order in which it learned them.

    Attributes
    ----------
    ids
        Ensembl ids without version, or `""` where unknown.
    symbols
        Gene symbols, or `""` where unknown. Every gene has at least one of the two.
    other_ids
        Further Ensembl ids of some genes, by position: releases of Ensembl differ in some ids.

    Examples
    --------
    >>> space = FeatureSpace(ids=("ENSG00000167286", ""), symbols=("CD3D", "MS4A1"))
    >>> query = pd.DataFrame(index=["MS4A1", "ENSG00000167286.12", "ACTB"])
    >>> match = space.match(query)
    >>> match.n_matched, match.align(sparse.csr_matrix([[1, 2, 3]])).toarray()
    (2, array([[2., 1.]]))
    """

    ids: tuple[str, ...]
    symbols: tuple[str, ...]
    other_ids: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.symbols):
            raise InputValueError(f"{len(self.ids)} ids and {len(self.symbols)} symbols: there must be as many.")

    def __len__(self) -> int:
        """Number of genes."""
        return len(self.ids)

    @property
    def names(self) -> tuple[str, ...]:
        """One unique name per gene, in order: the symbol where that is known and unique, else the Ensembl id."""
        counts = Counter(self.symbols)
        return tuple(
            symbol if symbol and (counts[symbol] == 1 or not gene_id) else gene_id
            for gene_id, symbol in zip(self.ids, self.symbols, strict=True)
        )

    @cached_property
    def species(self) -> Species | None:
        """The likely species of the genes, or `None`."""
        return guess_species(self.ids) or guess_species(self.symbols)

    @classmethod
    def from_var(cls, var: pd.DataFrame, *, gene_id_key: str | None = None, gene_symbol_key: str | None = None) -> FeatureSpace:
        """The genes of a reference, from its `var`: each gene once, features of other types left out.

        Where several columns hold Ensembl ids, the column with most of them gives `ids` and the others `other_ids`.

        Parameters
        ----------
        var
            Annotation of the features, `(n_vars, …)`.
        gene_id_key, gene_symbol_key
            Columns of `var` with Ensembl ids and with symbols. By default they are found among the index and the columns.

        Raises
        ------
        KeyNotFoundError
            If a column that was named does not exist.
        InputValueError
            If no feature is a gene, or none has a name.
        """
        features = find_features(var)
        for note in features.notes:
            warn(note)
        genes = var.loc[features.is_gene]
        sources = find_sources(genes)
        ids = (
            [strip_version(name) or "" for name in named_source(genes, gene_id_key).names]
            if gene_id_key is not None
            else best_ids(sources, len(genes))
        )
        symbols = named_source(genes, gene_symbol_key).names if gene_symbol_key is not None else best_symbols(sources, len(genes))
        unique: dict[str, int] = {}  # the same id twice is one gene, under the first symbol that it has
        for row, (gene_id, symbol) in enumerate(zip(ids, symbols, strict=True)):
            if gene_id or symbol:
                unique.setdefault(gene_id or symbol, row)
        if not unique:
            raise InputValueError("No gene of the reference has a name in `var`. Put symbols or Ensembl ids into its index.")
        rows = list(unique.values())
        every_id = further_ids(sources.values(), ids)
        further = [every_id[row] for row in rows]
        return cls(
            ids=tuple(ids[row] for row in rows),
            symbols=tuple(symbols[row] for row in rows),
            other_ids={position: names for position, names in enumerate(further) if names},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ids": list(self.ids),
            "symbols": list(self.symbols),
            "other_ids": {str(position): list(names) for position, names in self.other_ids.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of the wrong type.
        """
        return cls(
            ids=_listed(values["ids"]),
            symbols=_listed(values["symbols"]),
            other_ids={int(position): _listed(names) for position, names in values["other_ids"].items()},
        )

    def subset(self, positions: Sequence[int]) -> FeatureSpace:
        """Some of the genes, in the order of `positions`."""
        return FeatureSpace(
            ids=tuple(self.ids[i] for i in positions),
            symbols=tuple(self.symbols[i] for i in positions),
            other_ids={new: self.other_ids[old] for new, old in enumerate(positions) if old in self.other_ids},
        )

    def match(
        self,
        var: pd.DataFrame,
        *,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
        importance: NDArray[np.floating] | None = None,
    ) -> GeneMatch:
        """Find the genes of the model among the features of a dataset.

        The index and every column of strings are tried, for Ensembl ids (with or without version) and for symbols. The one in which most
        genes are found is used; features that it does not resolve are then looked up in the others. Names are matched exactly first, then
        without what tools add to them, such as a genome (`GRCh38_`), the id beside the symbol, or quotes, and without regard to case and
        to `.` for `-`. Features that resolve to one gene are summed. Features whose ids are of another species than the model are left
        out where others are of its own; where few are, `match.require` refuses the data.

        Parameters
        ----------
        var
            Annotation of the features, `(n_query_vars, …)`.
        gene_id_key, gene_symbol_key
            Columns of `var` to use, and only those; `None` finds them.
        importance
            What fraction of the model's decisions each gene carries, `(n_vars,)`; `None` weighs all alike.

        Raises
        ------
        KeyNotFoundError
            If a column that was named does not exist.
        """
        features = find_features(var)
        every_source = find_sources(var)
        keys = [key for key in (gene_id_key, gene_symbol_key) if key is not None]
        sources: dict[str | None, Source] = {key: named_source(var, key) for key in keys} or every_source
        found = {key: self._lookup.resolve(source.names, features.is_gene) for key, source in sources.items()}
        evidence = self._weigh(var, {**every_source, **sources}, features.is_gene, found)
        is_used = features.is_gene & ~evidence.is_foreign
        resolved = {key: np.where(is_used, positions, -1) for key, positions in found.items()}
        order = sorted(resolved, key=lambda key: -_n_found(resolved[key]))

        target, named_by = np.full(len(var), -1, dtype=np.int64), np.full(len(var), -1, dtype=np.int32)
        used: list[str | None] = []
        for key in order:
            # A second source only adds genes that the first has not found: it never contradicts it.
            new = np.where((target < 0) & ~np.isin(resolved[key], target[target >= 0]), resolved[key], -1)
            if (new >= 0).any():
                named_by[new >= 0] = len(used)
                used.append(key)
                target = np.where(new >= 0, new, target)
        columns = np.flatnonzero(target >= 0)
        selection = sparse.csr_matrix(
            (np.ones(columns.size, dtype=np.float32), (columns, target[columns])), shape=(len(var), len(self))
        )
        is_found = np.zeros(len(self), dtype=bool)
        is_found[target[columns]] = True
        weights = np.ones(len(self)) if importance is None else np.asarray(importance, dtype=np.float64)
        names = sources[used[0]].names if used else next(iter(sources.values())).names
        return GeneMatch(
            selection=selection,
            found=is_found,
            sources=tuple("index" if key is INDEX else key for key in used),
            named_by=named_by,
            id_type="Ensembl ids" if is_mostly_ensembl(names) else "symbols",
            coverage=float(weights[is_found].sum() / weights.sum()) if weights.sum() > 0 else 0.0,
            query_species=evidence.species,
            model_species=self.species,
            n_ignored=int((~features.is_gene).sum()),
            notes=(*features.notes, *evidence.notes, *self._notes_on_names(names)),
            seen=examples_of(every_source.values()),
            lookup=self._lookup,
        )

    def _weigh(
        self,
        var: pd.DataFrame,
        sources: Mapping[str | None, Source],
        is_gene: NDArray[np.bool_],
        found: Mapping[str | None, NDArray[np.int64]],
    ) -> Evidence:
        n_best = max(map(_n_found, found.values()))
        best = max(found, key=lambda key: _n_found(found[key]))

        def is_named(source: Source) -> bool:
            return 2 * self._lookup.count(source.names) >= max(1, n_best)

        evidence = weigh(var, sources, is_gene, self.species, best=best, is_named=is_named)
        if self.species is not None and not (evidence.species is not None and evidence.species.contradicts(self.species)):
            names = [name for name, is_used in zip(sources[best].names, is_gene, strict=True) if is_used and name]
            if self._lookup.count_paralogs(names) >= max(FEW, _SHARE_OF_PARALOGS * len(names)):
                return Evidence(Species("zebrafish", is_certain=True), evidence.is_foreign, evidence.notes)
        return evidence

    def _notes_on_names(self, names: Sequence[str]) -> list[str]:
        notes = []
        if dates := [name for name in names if _DATE.fullmatch(name)]:
            notes.append(
                f"Gene names converted to dates by a spreadsheet ({len(dates)}): {listing(dates, most=3)}. They were "
                "ignored; `1-Mar` was `MARCH1`. Use the names of the original file."
            )
        if (n_loci := self._count_loci(names)) and self.species is not None:
            notes.append(
                f"{n_loci:,} features are loci without a name (`LOC…`), and none is called `HLA-…`: NCBI annotates genomes "
                f"of other mammals in this way. Check that the data is from {self.species.name}."
            )
        symbols = [symbol for name in names if len(symbol := parts_of(name).symbol) > 2 and symbol[0].isalpha()]
        if self.species and len(symbols) >= 20 and sum(symbol.lower() == symbol for symbol in symbols) > 0.8 * len(symbols):
            notes.append(
                f"The symbols are in lower case, like those of fish and frogs: {listing(symbols[:2])}. Check that the "
                f"data is from {self.species.name}."
            )
        return notes

    def _count_loci(self, names: Sequence[str]) -> int:
        """Loci without a name among those of a whole genome that has none of the MHC of human, though the model has some; 0 elsewhere."""
        n_loci = sum(_LOCUS.fullmatch(name) is not None for name in names)
        if n_loci < _SHARE_OF_LOCI * len(names) or len(names) < _FEWEST_OF_A_GENOME:
            return 0
        n_mhc = sum(symbol.startswith(_MHC_OF_HUMAN) for symbol in self.symbols)
        return 0 if n_mhc < _FEWEST_MHC or any(canonical(name).startswith(_MHC_OF_HUMAN) for name in names) else n_loci

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.ids, self.symbols, self.other_ids)


def _n_found(positions: NDArray[np.int64]) -> int:
    return len(np.unique(positions[positions >= 0]))


def _listed(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of strings was expected")
    return tuple(values)
