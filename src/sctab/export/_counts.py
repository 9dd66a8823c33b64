"""Counts of an annotated dataset over the genes that a portal accepts, written block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import (
    Content,
    GeneReference,
    Normalization,
    Portal,
    Source,
    choose_source,
    gene_expression,
    gene_reference,
    guess_species,
    matrices,
    normalise,
)
from sctab.errors import GeneOverlapError, InputValueError, Parameter, SctabError, agreeing, listing
from sctab.get import layer_of
from sctab.io import CsrWriter, RowReader, row_ranges

_FEWEST_GENES = 0.5
"""Fraction of the features that must be genes of the reference."""
_BYTES = 8
_EXACT = 2**24
"""Largest integer up to which float32 has all of them."""


@dataclass(frozen=True)
class ExportedCounts:
    """Counts, and the genes of the reference that they are of."""

    source: Source
    reference: GeneReference
    selection: sparse.csr_matrix = field(repr=False)
    """`[i, j] = 1` where feature `i` is gene `j` of the output, `(n_query_vars, n_genes)`."""
    ids: list[str] = field(repr=False)
    symbols: list[str] = field(repr=False)
    """Symbols of these genes: as in the reference, else as in the data; their id where neither has one."""
    notes: list[str]

    def blocks(self) -> Iterator[sparse.csr_matrix]:
        """Rows in order, genes in those of the output."""
        reader = RowReader(self.source.matrix, self.source.name)
        for start, stop in row_ranges(self.source.matrix):
            block = sparse.csr_matrix(reader.read(start, stop) @ self.selection)
            block.sum_duplicates()
            block.eliminate_zeros()
            yield block


def find_counts(cells: Any, *, layer: str | None, portal: Portal) -> ExportedCounts:
    """Find the counts of a dataset, and the genes of a portal among its features.

    Parameters
    ----------
    cells
        What has the matrices: an AnnData or a `DataFile`.
    layer
        Matrix with the counts; by default it is found.
    portal
        Whose genes.

    Raises
    ------
    InputValueError
        If no matrix holds counts, or if the species is neither human nor mouse.
    GeneOverlapError
        If most features are not genes of the reference.
    """
    source = _counts(cells, layer)
    reference = gene_reference(_species(source.var), portal)
    match = reference.match(source.var)
    is_gene = gene_expression(source.var)
    kept = match.found
    n_genes, n_found = int(is_gene.sum()), int((match.positions >= 0).sum())
    if n_found < _FEWEST_GENES * n_genes:
        raise GeneOverlapError(
            f"{n_found:,} of {n_genes:,} genes of the data are in the reference of the format ({reference.release}, {reference.species}). "
            f"Names: {listing(source.var.index, most=5)}. Put Ensembl ids or symbols of {reference.species} genes into the index or a "
            "column of `var`."
        )
    notes = []
    lost = np.flatnonzero(is_gene & (match.positions < 0))
    if len(lost):
        names = [str(name) for name in source.var.index[lost]]
        notes.append(
            f"{len(lost):,} of {n_genes:,} genes are not in the reference of the format ({reference.release}, {reference.species}) and "
            f"were left out: {listing(names, most=5)}."
        )
    if match.n_summed:
        notes.append(
            f"{match.n_summed:,} {agreeing(match.n_summed, 'feature was', 'features were')} added to others of the same gene."
        )
    if not is_gene.all():
        notes.append(f"{int((~is_gene).sum()):,} features that are not gene expression were left out.")
    ids = [gene for gene, found in zip(reference.features.ids, kept, strict=True) if found]
    symbols = [name for name, found in zip(reference.features.symbols, kept, strict=True) if found]
    of_data = _names_in_data(source.var, match.positions, len(kept))
    names = [
        symbol or str(of_data[gene]) or ids[at] for at, (gene, symbol) in enumerate(zip(np.flatnonzero(kept), symbols, strict=True))
    ]
    selection = sparse.csr_matrix(match.selection[:, np.flatnonzero(kept)], dtype=np.float32)
    return ExportedCounts(source, reference, selection, ids, names, notes)


def _names_in_data(var: pd.DataFrame, positions: NDArray[np.integer], n_genes: int) -> NDArray[np.object_]:
    """Symbol of each gene in the index of the data, `""` where there is none, `(n_genes,)`."""
    found = np.full(n_genes, "", dtype=object)
    for name, position in zip(var.index[::-1], positions[::-1], strict=True):
        if position >= 0 and not str(name).startswith("ENS"):
            found[position] = str(name)
    return found


def _counts(cells: Any, layer: str | None) -> Source:
    """The matrix with counts: the one that annotation would use, else the one of most features among the others."""
    if layer is not None:
        source, _ = choose_source(cells, layer=layer)
        if not _are_counts(source):
            raise InputValueError(
                f"`{source.name}` holds {source.content.content}, and the format needs raw counts. Choose another matrix with ",
                Parameter("layer"),
                ", or add the counts to the data.",
            )
        return source
    held: dict[str, str] = {}
    found: list[Source] = []
    try:
        best, _ = choose_source(cells)
    except InputValueError:
        best = None
    if best is not None and _are_counts(best):
        return best
    for name, _, _ in matrices(cells):
        try:
            source, _ = choose_source(cells, layer=layer_of(name))
        except SctabError:
            held[name] = "values that cannot be used"
            continue
        held[name] = str(source.content.note or source.content.content)
        if _are_counts(source):
            found.append(source)
    if not found:
        told = "; ".join(f"`{name}`: {what}" for name, what in held.items())
        raise InputValueError(
            f"The format needs raw counts, and no matrix holds them ({told}). Add the counts to the data, for example as ",
            "`layers['counts']`, and export it again.",
        )
    return max(found, key=lambda source: len(source.var))


def _are_counts(source: Source) -> bool:
    return source.content.content is Content.COUNTS and not source.content.note and not source.content.is_empty


def _species(var: pd.DataFrame) -> str:
    """Species of the genes.

    Raises
    ------
    InputValueError
        If it is neither human nor mouse.
    """
    columns = [var.index.to_series(), *(var[key] for key in var.columns if pd.api.types.is_string_dtype(var[key]))]
    guesses = [guess_species([str(name) for name in names]) for names in columns]
    certain = [guess.name for guess in guesses if guess is not None and guess.is_certain]
    likely = [guess.name for guess in guesses if guess is not None]
    found = next(iter([*certain, *likely]), "unknown")
    if found not in {"human", "mouse"}:
        raise InputValueError(
            f"The genes look like those of {found} ({listing(var.index, most=3)}). Human and mouse can be exported: put their "
            "Ensembl ids or symbols into the index or a column of `var`."
        )
    return found


@dataclass
class _Rows:
    """Checks of the rows of counts, as they are written."""

    n_empty: int = 0
    n_rows: int = 0
    digests: list[NDArray[np.uint64]] = field(default_factory=list)

    def add(self, block: sparse.csr_matrix, name: str) -> None:
        """Look at rows.

        Raises
        ------
        InputValueError
            If they are not counts.
        """
        if block.nnz and ((block.data % 1).any() or block.data.min() < 0):
            raise InputValueError(
                f"`{name}` holds values that are not counts. Choose another matrix with ", Parameter("layer"), "."
            )
        if block.nnz and block.data.max() > _EXACT:
            raise InputValueError(f"`{name}` holds counts above {_EXACT:,}, which the format cannot store. Check the matrix.")
        self.n_empty += int((np.diff(block.indptr) == 0).sum())
        self.n_rows += block.shape[0]
        block.sort_indices()
        values, columns = block.data.astype(np.float32), block.indices.astype(np.int32)
        found = np.empty(block.shape[0], dtype=np.uint64)
        for row in range(block.shape[0]):
            at = slice(block.indptr[row], block.indptr[row + 1])
            content = hashlib.blake2b(columns[at].tobytes() + values[at].tobytes(), digest_size=_BYTES)
            found[row] = int.from_bytes(content.digest(), "little")
        self.digests.append(found)

    def require_cells(self) -> None:
        """Refuse cells without a count, and cells with the same counts.

        Raises
        ------
        InputValueError
            If there are some.
        """
        if self.n_empty:
            raise InputValueError(
                f"{self.n_empty:,} of {self.n_rows:,} cells have no count in the genes of the format, which takes none of these. Remove "
                "them, for example with `sc.pp.filter_cells(adata, min_counts=1)`, and export the others."
            )
        found = np.concatenate(self.digests) if self.digests else np.empty(0, dtype=np.uint64)
        n_repeated = len(found) - len(np.unique(found))
        if n_repeated:
            raise InputValueError(
                f"{n_repeated:,} of {self.n_rows:,} cells have the same counts as another cell, and the format takes each cell once. "
                "Remove the copies, and export the others."
            )


def write_matrices(
    group: h5py.Group, counts: ExportedCounts, var: pd.DataFrame, *, has_filter: bool, takes_each_once: bool
) -> None:
    """Write counts as `raw` and their log1p of 10,000 counts per cell as `X`, with `var`.

    Parameters
    ----------
    group
        Root of an empty `.h5ad`.
    counts
        The counts.
    var
        Annotation of the genes, `(n_genes, …)`.
    has_filter
        Whether `var` says which genes are filtered in `X`: none is.
    takes_each_once
        Whether cells without a count, and cells with the same counts, are refused.

    Raises
    ------
    InputValueError
        If values are not counts, or if cells are refused.
    """
    shape = (counts.source.matrix.shape[0], len(counts.ids))
    raw = group.create_group("raw")
    raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
    write_elem(raw, "var", var)
    write_elem(raw, "varm", {})
    write_elem(group, "var", var.assign(feature_is_filtered=np.zeros(len(var), dtype=bool)) if has_filter else var)
    raw_rows, rows = (CsrWriter(root, "X", shape, compression="gzip") for root in (raw, group))
    checked = _Rows()
    for block in counts.blocks():
        checked.add(block, counts.source.name)
        raw_rows.append(block)
        rows.append(normalise(block, Normalization()))
    raw_rows.finish()
    rows.finish()
    if takes_each_once:
        checked.require_cells()
