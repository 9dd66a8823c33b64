"""Columns of `var` that hold the names of genes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from sctab.data.genes._names import is_mostly_ensembl, kind_of, parts_of, strip_version
from sctab.data.genes._species import species_of
from sctab.errors import KeyNotFoundError, did_you_mean, listing, place

Role = Literal["index", "ids", "symbols", "orthologs", "other"]
INDEX = None
"""Key of the index among the sources of names: a column may have any string as its name."""
ID_COLUMNS = {
    "geneids", "geneid", "ensemblids", "ensemblid", "ensembl", "ensemblgeneid", "ensemblgeneids", "ensemblgene", "ensemblidversion",
    "genestableid", "genestableidversion", "gencodeid", "gencodeids", "featureids", "featureid", "ensg", "ensgid", "ids", "id", "accession",
    "accessions", "mgiid", "flybaseid", "wormbaseid", "originalgeneids",
}  # fmt: skip
SYMBOL_COLUMNS = {
    "genesymbols", "genesymbol", "symbols", "symbol", "genenames", "genename", "featurenames", "featurename", "hgncsymbol", "hgncsymbols",
    "externalgenename", "geneshortname", "approvedsymbol", "associatedgenename", "mgisymbol", "genes", "gene", "originalgenesymbols",
}  # fmt: skip
_OTHER_COLUMNS = re.compile(r"alias|synonym|prev|old|family|description|transcript|protein|target|complex|pathway")
_NEIGHBOURS = re.compile(r"nearest|closest|neighbou?r", re.IGNORECASE)
"""Columns with the gene that a peak lies beside: that is not the name of the feature."""
_ORTHOLOGS = re.compile(
    r"ortholog|homolog|(?:^|[^a-z])(?:human|mouse|murine|rat|macaque|monkey|zebrafish|chicken|pig|fly|[hH]sapiens|[mM]musculus|hsap|mmus|rnor)"
    r"(?=$|[^a-z])",
    re.IGNORECASE,
)
_MOST_ALIKE = 1.3
"""By how much a column with a name that says `symbols` is preferred."""
_LEAST_ALIKE = 0.3
"""Minimum likeness to gene symbols; the index is exempt, since it may hold any names."""


@dataclass(frozen=True)
class Source:
    """Names of all features in one place."""

    key: str | None
    """A column of `var`, or `INDEX`."""
    names: list[str] = field(repr=False)
    """`(n_vars,)`, `""` where there is none."""
    role: Role = "other"

    @property
    def label(self) -> str:
        """Name of the place in messages."""
        return "the index of `var`" if self.key is INDEX else f"`var[{self.key!r}]`"

    @property
    def examples(self) -> list[str]:
        """A few of the names."""
        return [name for name in self.names if name][:3]


def normalised(column: str) -> str:
    """A column's name in lower case, without what joins words and what concatenation adds: `Gene_Symbols-1-0` is `genesymbols`."""
    return re.sub(r"[\W_]+", "", re.sub(r"([-_.](\d+|[xy]))+$", "", column)).lower()


def find_sources(var: pd.DataFrame) -> dict[str | None, Source]:
    """The index and every column that holds names of the features: strings of many values."""
    sources: dict[str | None, Source] = {INDEX: Source(INDEX, strings(var.index.to_series()), "index")}
    for position, column in enumerate(var.columns):
        values = var.iloc[:, position]
        if _NEIGHBOURS.search(str(column)):
            continue
        if is_text(values) and values.nunique() > min(len(var) // 20, 50):  # names of genes, not a `biotype` of a few values
            key = str(column)
            sources.setdefault(key, Source(key, strings(values), _role(key)))
    return sources


def named_source(var: pd.DataFrame, key: str) -> Source:
    """A column that the user named.

    Raises
    ------
    KeyNotFoundError
        If it does not exist.
    """
    if key not in var.columns:
        raise KeyNotFoundError(
            f"`{key}` is not a column of ", place("var"), f".{did_you_mean(key, var.columns)} Columns: {listing(var.columns)}."
        )
    return Source(key, strings(var[key]), _role(key))


def _role(column: str) -> Role:
    if _ORTHOLOGS.search(column):
        return "orthologs"
    name = normalised(column)
    return "ids" if name in ID_COLUMNS else "symbols" if name in SYMBOL_COLUMNS else "other"


def is_text(values: pd.Series) -> bool:
    """Return whether a column holds strings, judged by its first values."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(values.cat.categories)
    elif pd.api.types.is_numeric_dtype(values.dtype):
        return False
    return all(isinstance(value, str | bytes) for value in values.dropna().head(20))


def strings(values: pd.Series) -> list[str]:
    """Values as strings without spaces around them, `""` where missing."""
    filled = values.astype(object)
    return [
        value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()
        for value in filled.mask(filled.isna(), "")
    ]


def best_ids(sources: Mapping[str | None, Source], n_vars: int) -> list[str]:
    """The Ensembl ids of the source that has most of them, orthologs last; empty strings where no source has any."""

    def rank(source: Source) -> tuple[bool, int, bool]:
        n_ids = sum(bool(parts_of(name).gene_id) for name in source.names)
        return source.role != "orthologs" and n_ids > 0, n_ids, source.role in {"index", "ids"}

    best = max(sources.values(), key=rank, default=None)
    return [""] * n_vars if best is None else [strip_version(name) or "" for name in best.names]


def further_ids(sources: Iterable[Source], ids: Sequence[str]) -> list[tuple[str, ...]]:
    """Other Ensembl ids of each gene, of the same species."""
    own = {species_of(gene_id) for gene_id in ids if gene_id}
    columns = [[strip_version(name) for name in source.names] for source in sources if source.role != "orthologs"]
    return [
        tuple(dict.fromkeys(name for name in names if name and name != gene_id and (not own or species_of(name) in own)))
        for gene_id, names in zip(ids, zip(*columns, strict=True), strict=True)
    ]


def best_symbols(sources: Mapping[str | None, Source], n_vars: int) -> list[str]:
    """The names that look most like symbols of genes, empty strings where no source has any.

    The index is preferred where it holds symbols, and after it a column whose name says so.
    """
    scored = {key: _likeness(source) for key, source in sources.items()}
    best = max(scored, key=lambda key: scored[key], default=INDEX)
    if not scored or scored[best] < _LEAST_ALIKE:
        index = sources.get(INDEX)
        if index is None or not _may_name(index.names):
            return [""] * n_vars
        best = INDEX
    return [_symbol(name) for name in sources[best].names]


def _symbol(name: str) -> str:
    """A symbol as a model stores it: what stands before an id is cut, anything else is kept."""
    parts = parts_of(name)
    return parts.symbol if parts.gene_id or parts.genome is None else name


def _likeness(source: Source) -> float:
    """Likeness of names to symbols: the fraction that is written like one, less for names that repeat, more for a telling place."""
    known = [name for name in source.names if name]
    if not known:
        return 0.0
    sample = known[:: max(1, len(known) // 1000)]
    n_symbols = sum(kind_of(name) == "symbols" for name in sample)
    uniqueness = len(set(known)) / len(known)
    filled = len(known) / len(source.names)
    likeness = n_symbols / len(sample) * (uniqueness if uniqueness > 0.5 else 0.0) * (1 + filled) / 2
    if source.role == "index":
        return likeness * _MOST_ALIKE**2
    if source.role == "symbols":
        return likeness * _MOST_ALIKE
    return likeness * (0.5 if source.role == "orthologs" or _OTHER_COLUMNS.search(str(source.key).lower()) else 1)


def _may_name(names: Sequence[str]) -> bool:
    numbers = sum(name.isdigit() for name in names)
    return not is_mostly_ensembl(names) and numbers < 0.5 * len(names) < len(set(names))
