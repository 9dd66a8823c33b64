"""Map from the features of one dataset to the genes of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.data.genes._columns import Source, find_sources
from sctab.data.genes._lookup import Lookup
from sctab.data.genes._names import are_genes, common_kind
from sctab.data.genes._species import FEW, Species
from sctab.errors import GeneOverlapError, Parameter, listing

IdType = Literal["Ensembl ids", "symbols"]
_MORE = 3
"""Ratio of the fraction of gene names in rows to that in columns above which genes are in the rows."""
_MOST_SEEN = 5
_ROUNDING = 1e-6
"""Percent that a sum of float32 may lack."""
_LONGEST = 40
"""Characters of a name in a message: some columns hold descriptions."""
_TELLING = ("transcript ids", "protein ids", "probes", "positions", "numbers, such as Entrez ids", "sequences", "dates")
"""Kinds of names that tell why no gene was found, before those that any table has."""


def shown_fraction(fraction: float, decimals: int = 0, *, minimum: float | None = None) -> str:
    """Write a fraction in percent: less than all is never 100 %, more than nothing never 0 %, and less than a minimum never that minimum.

    Examples
    --------
    >>> shown_fraction(0.259), shown_fraction(0.9999), shown_fraction(1.0), shown_fraction(0.004)
    ('26%', '>99%', '100%', '<1%')
    >>> shown_fraction(0.0999, 1, minimum=0.1), shown_fraction(0.0999, 1)
    ('9.9%', '10.0%')
    """
    scale, percent = 10**decimals, 100 * fraction
    if percent >= 100 - _ROUNDING:
        return f"{100:.{decimals}f}%"
    rounded = round(percent * scale) / scale
    if rounded >= 100:
        return f">{100 - 1 / scale:.{decimals}f}%"
    if rounded <= 0 < percent:
        return f"<{1 / scale:.{decimals}f}%"
    if minimum is not None and percent < 100 * minimum <= rounded:
        rounded = math.floor(percent * scale) / scale
    return f"{rounded:.{decimals}f}%"


@dataclass(frozen=True)
class GeneMatch:
    """Map from the features of one dataset to the genes of a model."""

    selection: sparse.csr_matrix = field(repr=False)
    """`[i, j] = 1` where feature `i` of the dataset is gene `j` of the model, `(n_query_vars, n_vars)`."""
    found: NDArray[np.bool_] = field(repr=False)
    """Mask of the model genes found in the dataset, `(n_vars,)`."""
    sources: tuple[str, ...]
    """Sources of the names, most useful first: `index` or columns of `var`."""
    named_by: NDArray[np.int32] = field(repr=False)
    """Number of the source by which each feature of the dataset was found, -1 for none, `(n_query_vars,)`."""
    id_type: IdType
    """Kind of these names."""
    coverage: float
    """Fraction of the model's importance that the genes found carry, between 0 and 1."""
    query_species: Species | None
    """Likely species of the dataset, from its gene names."""
    model_species: Species | None
    """Likely species of the model."""
    n_ignored: int
    """Features that are not gene expression, such as antibodies."""
    notes: tuple[str, ...] = ()
    """Notes on how features were read."""
    seen: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)
    """Places in which names were looked for, and examples of each."""
    lookup: Lookup | None = field(default=None, repr=False, compare=False)
    """Finds further names among the genes of the model."""

    @property
    def n_matched(self) -> int:
        """Genes of the model that the dataset has."""
        return int(self.found.sum())

    @property
    def n_summed(self) -> int:
        """Features that were added to another one of the same gene."""
        return int(self.selection.nnz - self.n_matched)

    @property
    def summed(self) -> NDArray[np.int64]:
        """These features, by their positions in the dataset."""
        columns = self.selection.tocsc()
        columns.sort_indices()
        is_first = np.zeros(columns.nnz, dtype=bool)
        is_first[columns.indptr[:-1][np.diff(columns.indptr) > 0]] = True
        return np.sort(columns.indices[~is_first]).astype(np.int64)

    @cached_property
    def positions(self) -> NDArray[np.int32]:
        """Gene of the model for each feature of the dataset, -1 for none, `(n_query_vars,)`."""
        positions = np.full(self.selection.shape[0], -1, dtype=np.int32)
        features, genes = self.selection.nonzero()
        positions[features] = genes
        return positions

    def align(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Bring rows `(n_obs, n_query_vars)` into the model's genes, `(n_obs, n_vars)`: missing genes are zero, float32 or float64."""
        aligned = sparse.csr_matrix(block @ self.selection)
        return sparse.csr_matrix(aligned.tocsc().tocsr())  # in order of the genes, in half the time that sorting takes

    @property
    def is_of_another_species(self) -> bool:
        """Return whether the dataset looks like another species than the model's."""
        query, model = self.query_species, self.model_species
        return query is not None and model is not None and query.contradicts(model)

    def require(
        self,
        minimum: float,
        *,
        cells: Callable[[], Sequence[str]] | None = None,
        refit: Parameter | None = None,
    ) -> None:
        """Refuse a dataset that has too little of the model's gene importance.

        Parameters
        ----------
        minimum
            Minimum fraction of total gene importance that the data must cover, between 0 and 1.
        cells
            Gives names of cells, of which some thousand are enough: genes are looked for among them before the data is refused.
        refit
            Parameter that refits the model to the genes of the data; `None` for a model that cannot be refitted.

        Raises
        ------
        GeneOverlapError
            If no gene was found, if the genes are in the rows, if the species is another one, or if `coverage` is below `minimum`.
        """
        query, model = self.query_species, self.model_species
        is_other = self.is_of_another_species
        if not is_other and self.n_matched > 0 and self.coverage >= minimum:
            return
        if cells is not None:
            self.require_columns(cells())
        n_query, n_model = self.selection.shape
        found = (
            f"{self.n_matched:,} of {n_model:,} model genes were found among the {n_query:,} features of the data "
            f"({shown_fraction(self.coverage, 1, minimum=minimum)} of total importance)"
        )
        where = f" (best source: {_describe(self.sources[0])}, which holds {self.id_type})" if self.sources else ""
        seen = "; ".join(f"{place}: {listing(names)}" for place, names in self.seen)
        if is_other and query is not None and model is not None:
            raise GeneOverlapError(
                f"The data looks like {query.name} and the model is {model.name}: {found}{where}. Names: {seen}. Use a model of the same "
                f"species. To use this one, replace the genes by their {model.name} orthologs and leave nothing else in `var`: "
                "`adata.var = pd.DataFrame(index=orthologs)`."
            )
        if self.n_matched == 0:
            raise GeneOverlapError(f"None of the model's {n_model} genes is in the data. {self._compare_names(seen)}")
        refitted = () if refit is None else (", refit the model to these genes with ", refit)
        raise GeneOverlapError(
            f"{found}{where}; at least {minimum:.0%} is required. Names: {seen}. Was the data cut to a few genes? Annotate it before that",
            *refitted,
            f", or check that they are genes of {model.name if model is not None else 'the right species'}.",
        )

    def require_columns(self, cells: Sequence[str]) -> None:
        """Refuse a dataset whose cells have the names of genes, and whose features have not.

        Raises
        ------
        GeneOverlapError
            If genes are in the rows.
        """
        if self.lookup is None or not cells:
            return
        n_genes = self.lookup.count(cells)
        is_more = n_genes / len(cells) > _MORE * self.n_matched / self.selection.shape[0]
        if (n_genes >= FEW and is_more) or common_kind(cells) == "Ensembl ids":
            raise _in_rows(cells, self.seen[0][1] if self.seen else ())

    def _compare_names(self, seen: str) -> str:
        """Say what the names of the data are, how the model names its genes, and what to do where these do not meet."""
        kinds = dict.fromkeys(kind for _, names in self.seen if (kind := common_kind(names)) is not None)
        likely = next((kind for kind in (*_TELLING, *kinds) if kind in kinds), self.id_type)
        known = {} if self.lookup is None else self.lookup.examples()
        wanted = " or ".join(known) or "gene symbols or Ensembl ids"
        of_model = " and ".join(f"{kind} (`{example}`, …)" for kind, example in known.items())
        if likely not in known:
            why = f"Its names look like {likely}" + (f", and the model knows genes by {of_model}" if known else "")
            return f"{why}. Names: {seen}. Put {wanted} into a column of `var`."
        species = "the model's species" if self.model_species is None else self.model_species.name
        return (
            f"Its names look like {likely}, and no gene of the model, which knows genes by {of_model}, has one of them. Names: {seen}. "
            f"Check that they are names of genes of {species}, or put {wanted} of the model's genes into a column of `var`."
        )


def require_genes_in_columns(var: pd.DataFrame, cells: Callable[[], Sequence[str]]) -> None:
    """Refuse a reference whose cells have the names of genes, and whose features have not; no model says here which genes there are.

    Parameters
    ----------
    var
        Annotation of the features, `(n_vars, …)`.
    cells
        Gives names of cells, of which some thousand are enough. It is asked only where `var` has no names that are surely those of genes.

    Raises
    ------
    GeneOverlapError
        If genes are in the rows.
    """
    if any(are_genes(source.names) for source in find_sources(var).values()):
        return
    names = cells()
    if are_genes(names):
        raise _in_rows(names, [str(name) for name in var.index[:3]])


def _in_rows(cells: Sequence[str], features: Sequence[str]) -> GeneOverlapError:
    return GeneOverlapError(
        f"The genes are in the rows: {listing(cells[:3])} are names in `obs`, and `var` has "
        f"{listing(features) if features else 'no names'}. Transpose the data, so that cells are in the rows: `adata = adata.T`."
    )


def examples_of(sources: Iterable[Source]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Places of names with a few examples each, the most useful first."""
    ranks = {"index": 0, "ids": 1, "symbols": 1, "other": 2, "orthologs": 2}
    best = sorted(sources, key=lambda source: ranks[source.role])[:_MOST_SEEN]
    return tuple((source.label, tuple(name[:_LONGEST] for name in source.examples)) for source in best)


def _describe(source: str) -> str:
    return "the index of `var`" if source == "index" else f"`var[{source!r}]`"
