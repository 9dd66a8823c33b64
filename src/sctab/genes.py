"""Matching the genes of any dataset to those of a model: the one place that aligns genes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab._constants import FEATURE_TYPE_COLUMNS, GENE_EXPRESSION
from sctab._errors import GeneOverlapError, InputValueError, KeyNotFoundError, listing
from sctab._gene_names import GENOMES, bare, canonical, common_case, genome_of, is_mostly_ensembl, species_of, strip_version

IdType = Literal["Ensembl ids", "symbols"]

_UNIQUE_SUFFIX = re.compile(r"-\d+$")
_TITLE_CASE_SPECIES = {"mouse", "rat"}
_OTHER_CASE_SPECIES = {"zebrafish", "worm", "fly"}
_OTHER_FEATURE_TYPES = {
    "antibody capture",
    "antigen capture",
    "crispr guide capture",
    "custom",
    "multiplexing capture",
    "peaks",
}
_INDEX = None
"""Key of the index among the sources of names: a column may have any text as its name."""


@dataclass(frozen=True)
class Species:
    """A likely species, and how well that is known."""

    name: str
    from_ids: bool
    """Whether the prefix of Ensembl ids says so. Otherwise it is only the case of the symbols, which related species share."""

    @property
    def _case(self) -> str:
        if self.name in _OTHER_CASE_SPECIES:
            return "other"
        return "title" if self.name in _TITLE_CASE_SPECIES else "upper"

    def contradicts(self, other: Species) -> bool:
        """Whether the two cannot be the same species."""
        return self.name != other.name if self.from_ids and other.from_ids else self._case != other._case


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
            When a column that was named is not there.
        InputValueError
            When no feature is a gene, or none has a name.
        """
        genes = var.loc[gene_expression(var)]
        candidates = _candidates(genes, None)
        ids = (
            [strip_version(name) or "" for name in _column(genes, gene_id_key)]
            if gene_id_key is not None
            else _best_ids(candidates, len(genes))
        )
        symbols = _column(genes, gene_symbol_key) if gene_symbol_key is not None else _best_symbols(candidates, len(genes))
        unique: dict[str, int] = {}  # the same id twice is one gene, under the first symbol that it has
        for row, (gene_id, symbol) in enumerate(zip(ids, symbols, strict=True)):
            if gene_id or symbol:
                unique.setdefault(gene_id or symbol, row)
        if not unique:
            raise InputValueError("No gene of the reference has a name in `var`. Put symbols or Ensembl ids into its index.")
        rows = list(unique.values())
        every_id = list(zip(*(map(strip_version, names) for names in candidates.values()), strict=True))
        further = [tuple(dict.fromkeys(name for name in every_id[row] if name and name != ids[row])) for row in rows]
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
            When something is missing or of the wrong type.
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

        The index and every text column of `var` are tried, for Ensembl ids (with or without version) and for symbols. The one in
        which most genes are found is used; features that it does not resolve are then looked up in the others. Symbols are matched
        exactly first, then without regard to case, genome prefix (`GRCh38_`), and `.` for `-`. Features that resolve to one gene are
        summed.

        Parameters
        ----------
        var
            Annotation of the features, `(n_query_vars, …)`.
        gene_id_key, gene_symbol_key
            Columns of `var` to use, and only those; `None` finds them.
        importance
            What share of the model's decisions each gene carries, `(n_vars,)`; `None` weighs all alike.

        Raises
        ------
        KeyNotFoundError
            When a column that was named is not there.
        """
        is_gene = gene_expression(var)
        keys = [key for key in (gene_id_key, gene_symbol_key) if key is not None]
        every_name = _candidates(var, keys or None)
        candidates = {key: self._lookup.own(names) for key, names in every_name.items()}
        resolved = {key: self._lookup.resolve(names, is_gene) for key, names in candidates.items()}
        order = sorted(resolved, key=lambda key: -len(np.unique(resolved[key][resolved[key] >= 0])))

        target = np.full(len(var), -1, dtype=np.int64)
        used: list[str | None] = []
        for key in order:
            # A second source only adds genes that the first has not found: it never contradicts it.
            new = np.where((target < 0) & ~np.isin(resolved[key], target[target >= 0]), resolved[key], -1)
            if (new >= 0).any():
                used.append(key)
                target = np.where(new >= 0, new, target)
        columns = np.flatnonzero(target >= 0)
        selection = sparse.csr_matrix(
            (np.ones(columns.size, dtype=np.float32), (columns, target[columns])), shape=(len(var), len(self))
        )
        found = np.zeros(len(self), dtype=bool)
        found[target[columns]] = True
        weights = np.ones(len(self)) if importance is None else np.asarray(importance, dtype=np.float64)
        names = candidates[used[0]] if used else next(iter(candidates.values()), [])
        return GeneMatch(
            selection=selection,
            found=found,
            sources=tuple("index" if key is _INDEX else key for key in used),
            id_type="Ensembl ids" if is_mostly_ensembl(names) else "symbols",
            coverage=float(weights[found].sum() / weights.sum()) if weights.sum() > 0 else 0.0,
            query_species=next(
                filter(None, (guess_species(names[key]) for names in (candidates, every_name) for key in order)), None
            ),
            model_species=self.species,
            n_ignored=int((~is_gene).sum()),
        )

    @cached_property
    def _lookup(self) -> _Lookup:
        return _Lookup(self)


@dataclass(frozen=True)
class GeneMatch:
    """How the features of one dataset map to the genes of a model."""

    selection: sparse.csr_matrix = field(repr=False)
    """`[i, j] = 1` where feature `i` of the dataset is gene `j` of the model, `(n_query_vars, n_vars)`."""
    found: NDArray[np.bool_] = field(repr=False)
    """Which genes of the model the dataset has, `(n_vars,)`."""
    sources: tuple[str, ...]
    """Where the names were, most useful first: `index` or columns of `var`."""
    id_type: IdType
    """What kind of names those are."""
    coverage: float
    """Share of the model's importance that the genes found carry, between 0 and 1."""
    query_species: Species | None
    """Likely species of the dataset, from its gene names."""
    model_species: Species | None
    """Likely species of the model."""
    n_ignored: int
    """Features that are not gene expression, such as antibodies."""

    @property
    def n_matched(self) -> int:
        """Genes of the model that the dataset has."""
        return int(self.found.sum())

    @property
    def n_summed(self) -> int:
        """Features that were added to another one of the same gene."""
        return int(self.selection.nnz - self.n_matched)

    @cached_property
    def positions(self) -> NDArray[np.int32]:
        """Which gene of the model each feature of the dataset is, -1 for none, `(n_query_vars,)`."""
        positions = np.full(self.selection.shape[0], -1, dtype=np.int32)
        features, genes = self.selection.nonzero()
        positions[features] = genes
        return positions

    def align(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Bring rows `(n_obs, n_query_vars)` into the model's genes, `(n_obs, n_vars)`: missing genes are zero, float32 or float64."""
        aligned = sparse.csr_matrix(block @ self.selection)
        return sparse.csr_matrix(aligned.tocsc().tocsr())  # in order of the genes, in half the time that sorting takes

    def require(self, minimum: float) -> None:
        """Refuse a dataset that has too little of what the model looks at.

        Raises
        ------
        GeneOverlapError
            When no gene was found, when the species is another one, or when `coverage` is below `minimum`.
        """
        n_query, n_model = self.selection.shape
        found = (
            f"{self.n_matched} of the model's {n_model} genes were found among the {n_query} features of the data, and they carry "
            f"{self.coverage:.1%} of what the model looks at"
        )
        where = f" (best source: {_describe(self.sources[0])}, which holds {self.id_type})" if self.sources else ""
        query, model = self.query_species, self.model_species
        if query and model and query.contradicts(model):
            raise GeneOverlapError(
                f"The data looks like {query.name} and the model is {model.name}: {found}{where}. Use a model of the same species, "
                f"or replace the genes by their {model.name} orthologs first."
            )
        if self.n_matched == 0:
            raise GeneOverlapError(
                f"None of the model's {n_model} genes is in the data: its names are not gene symbols or Ensembl ids of the "
                f"model, neither in the index of `var` nor in its text columns. They look like {self.id_type}"
                f"{f' of {query.name}' if query else ''}. Put gene symbols or Ensembl ids into a column of `var`."
            )
        if self.coverage < minimum:
            raise GeneOverlapError(
                f"{found}{where}; at least {minimum:.0%} is needed. Was the data cut to a few genes? Annotate it before that, or "
                "check that the names are gene symbols or Ensembl ids of the right species."
            )


class _Lookup:
    """From a feature's name to the position of a gene."""

    def __init__(self, space: FeatureSpace) -> None:
        self._ids: dict[str, int] = {}
        self._symbols: dict[str, int] = {}
        by_canonical: dict[str, set[int]] = {}
        for position, (gene_id, symbol) in enumerate(zip(space.ids, space.symbols, strict=True)):
            if gene_id:
                self._ids.setdefault(gene_id, position)
            if symbol:
                self._symbols.setdefault(symbol, position)
                by_canonical.setdefault(canonical(symbol), set()).add(position)
        for position, gene_ids in space.other_ids.items():
            for gene_id in gene_ids:
                self._ids.setdefault(gene_id, position)
        # A name that stands for two genes once case is ignored stands for neither.
        self._canonical = {name: next(iter(genes)) for name, genes in by_canonical.items() if len(genes) == 1}
        self._case = common_case(space.symbols)
        self._species = space.species

    def resolve(self, names: Sequence[str], is_gene: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Position of the gene that each name stands for, -1 where there is none, `(len(names),)`."""
        by_symbol = np.array([self._symbols.get(name, -1) for name in names], dtype=np.int64)
        by_id = np.array([self._ids.get(strip_version(name) or "", -1) for name in names], dtype=np.int64)
        found = np.where(is_gene, np.where(by_symbol < 0, by_id, by_symbol), -1)
        ignore_case = {self._case, common_case(names)} != {"upper", "title"}  # `Cd3d` in mouse is not the human `CD3D`
        present = set(names)
        for i in np.flatnonzero(is_gene & (found < 0)).tolist():
            found[i] = self._nearly(names[i], present, ignore_case=ignore_case)
        return found

    def _nearly(self, name: str, present: set[str], *, ignore_case: bool) -> int:
        position = self._canonical.get(canonical(name), -1) if ignore_case else -1
        if position < 0:
            base = _UNIQUE_SUFFIX.sub("", name)  # `TBCE-1` is what `var_names_make_unique` makes of a second `TBCE`
            if base != name and base in present:
                position = self._symbols.get(base, -1)
        return position

    def own(self, names: Sequence[str]) -> list[str]:
        """Names, those that carry the genome of another species left empty: experiments may mix human and mouse cells."""
        if self._species is None:
            return list(names)
        foreign = {genome for genome in GENOMES if Species(genome, from_ids=False).contradicts(self._species)}
        return ["" if genome_of(name) in foreign else name for name in names]


def gene_expression(var: pd.DataFrame) -> NDArray[np.bool_]:
    """Which features are gene expression, `(n_vars,)`: all of them unless a column `feature_types` says otherwise.

    Parameters
    ----------
    var
        Annotation of the features, `(n_vars, …)`.

    Raises
    ------
    InputValueError
        When that column is there and no feature is gene expression.

    Examples
    --------
    >>> gene_expression(pd.DataFrame({"feature_types": ["Gene Expression", "Antibody Capture"]}))
    array([ True, False])
    """
    for column in FEATURE_TYPE_COLUMNS:
        if column in var:
            types = var[column].astype(str).str.lower()
            is_gene = (types == GENE_EXPRESSION).to_numpy(dtype=bool)
            if types.isin(_OTHER_FEATURE_TYPES).all() and len(types):
                raise InputValueError(
                    f"No feature is gene expression: `var[{column!r}]` holds {listing(sorted(set(var[column].astype(str))))}. "
                    "Give the gene expression of the experiment."
                )
            return is_gene if is_gene.any() else np.ones(len(var), dtype=bool)
    return np.ones(len(var), dtype=bool)


def guess_species(names: Iterable[str]) -> Species | None:
    """The likely species of gene names: from the prefix of Ensembl ids, else from the case of the symbols, else `None`.

    Parameters
    ----------
    names
        Ensembl ids or symbols; empty ones do not count.

    Examples
    --------
    >>> guess_species(["ENSMUSG00000032094"] * 20).name, guess_species(["Cd3d", "Ms4a1", "Nkg7", "Lyz2", "Cst3"] * 4).name
    ('mouse', 'mouse')
    """
    names = [name for name in names if name]
    ids = [gene_id for name in names if (gene_id := strip_version(name)) is not None]
    if ids and len(ids) > 0.5 * len(names):
        species, count = Counter(map(species_of, ids)).most_common(1)[0]
        return Species(species, from_ids=True) if species and count > 0.6 * len(ids) else None
    symbols = [name for name in names if strip_version(name) is None and sum(map(str.isalpha, bare(name))) >= 2]
    if len(symbols) < 20:
        return None
    match common_case(symbols):
        case "title":
            return Species("mouse", from_ids=False)
        case "upper":
            return Species("human", from_ids=False)
        case _:
            return None


def _candidates(var: pd.DataFrame, keys: Sequence[str] | None) -> Mapping[str | None, list[str]]:
    """Names of all features by source: the columns in `keys`, or the index and every column that holds text."""
    if keys is not None:
        return {key: _column(var, key) for key in keys}
    candidates: dict[str | None, list[str]] = {_INDEX: _texts(var.index.to_series())}
    for key in var.columns:
        values = var[key].dropna()
        is_text = all(isinstance(value, str) for value in values.head(20))
        if is_text and values.nunique() > min(len(var) // 20, 50):  # gene names, not a `biotype` of a few values
            candidates[str(key)] = _texts(var[key])
    return candidates


def _column(var: pd.DataFrame, key: str) -> list[str]:
    if key not in var.columns:
        raise KeyNotFoundError(f"`{key}` is not a column of `adata.var`. Columns: {listing(var.columns)}.")
    return _texts(var[key])


def _texts(values: pd.Series) -> list[str]:
    filled = values.astype(object)
    return [str(value).strip() for value in filled.mask(filled.isna(), "")]


def _best_ids(candidates: Mapping[str | None, Sequence[str]], n_vars: int) -> list[str]:
    """The Ensembl ids of the source that has most of them; empty strings where no source has any."""
    stripped = {key: [strip_version(name) or "" for name in names] for key, names in candidates.items()}
    return max(stripped.values(), key=lambda ids: sum(map(bool, ids)), default=[""] * n_vars)


def _best_symbols(candidates: Mapping[str | None, Sequence[str]], n_vars: int) -> list[str]:
    """The index where it holds symbols, else the column that looks most like symbols, else empty strings."""

    def is_symbols(names: Sequence[str]) -> bool:
        numbers = sum(name.isdigit() for name in names)
        return not is_mostly_ensembl(names) and numbers < 0.5 * len(names) < len(set(names))

    preferred: list[str | None] = ["gene_symbol", "gene_symbols", "gene_name", "gene_names", "feature_name", "symbol", "Symbol"]
    ranked = [_INDEX, *(key for key in preferred if key in candidates)]
    for key in [*ranked, *(key for key in candidates if key not in ranked)]:
        if is_symbols(candidates[key]):
            return ["" if strip_version(name) else name for name in candidates[key]]
    return [""] * n_vars


def _listed(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts was expected")
    return tuple(values)


def _describe(source: str) -> str:
    return "the index of `var`" if source == "index" else f"`var[{source!r}]`"
