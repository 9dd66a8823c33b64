"""From any AnnData to blocks of a model's input: which matrix, which genes, which scale.

Prediction never goes through the registry of scvi-tools, which takes genes by position.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.data._content import MatrixContent
from sctab.data._covariates import Covariate, notes_on_covariates, one_hot, with_covariates
from sctab.data._inspection import inspect_matrix
from sctab.data._modality import notes_on_modality
from sctab.data._normalise import Normalization, align_and_normalise, normalise
from sctab.data._query_proteins import Hidden, QueryProteins, open_proteins
from sctab.data._source import CellData, Inspect, LearnedMatrix, Source, choose_source, some_cells, stated_species
from sctab.data.genes._match import GeneMatch, shown_fraction
from sctab.data.genes._space import FeatureSpace
from sctab.data.proteins._panel import ProteinPanel
from sctab.errors import InputValueError, Parameter, SettingError, listing
from sctab.io import BLOCK_SIZE, RowReader, row_blocks, row_ranges


@dataclass(frozen=True)
class InputRecipe:
    """Recipe that turns rows of one matrix into the input of a model."""

    content: MatrixContent
    positions: NDArray[np.int32] = field(repr=False)
    """Model gene of each feature, -1 for none, `(n_query_vars,)`."""
    n_genes: int
    """Genes of the model."""
    normalization: Normalization
    measured_at: int | None = None
    """Column of the other inputs that is not zero in a cell whose proteins were measured; `None` for a model without proteins."""
    without_genes: bool = False
    """True if the genes are hidden."""

    def apply(self, block: sparse.csr_matrix, known: sparse.csr_matrix, rows: slice) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
        """The input that some rows of a block give, in one pass over their values: no aligned copy of the block is made.

        It gives what :meth:`GeneMatch.align <sctab.data.GeneMatch.align>`, :func:`sctab.data.normalise` and :func:`with_covariates` give
        one after another.

        Parameters
        ----------
        block
            Rows of the matrix, `(n_obs, n_query_vars)`.
        known
            Inputs of these cells after the genes, `(n_obs, n_beside)`, see :meth:`Query.beside`.
        rows
            Which rows, from start to stop.

        Returns
        -------
        Float32 `(n_rows, n_inputs)`, columns of a row in no order; and which cells have a count in the model's genes, `(n_rows,)`.
        """
        given, known = _rows_of(block, rows), _rows_of(known, rows)
        given.data = np.zeros_like(given.data) if self.without_genes else self.content.linear(given.data)
        values, measured = align_and_normalise(
            given, known, positions=self.positions, n_genes=self.n_genes, normalization=self.normalization
        )
        if self.measured_at is not None:
            measured = measured | (known[:, [self.measured_at]].toarray()[:, 0] != 0)
        return values, measured


def _rows_of(matrix: sparse.csr_matrix, rows: slice) -> sparse.csr_matrix:
    """Consecutive rows that share the memory of their matrix."""
    indptr = matrix.indptr[rows.start : rows.stop + 1]
    at = slice(indptr[0], indptr[-1])
    return sparse.csr_matrix((matrix.data[at], matrix.indices[at], indptr - at.start), shape=(len(indptr) - 1, matrix.shape[1]))


def learned_matrix(setup: Mapping[str, Any], training: Mapping[str, Any]) -> LearnedMatrix | None:
    """The matrix that a model learned from; `None` where that is not known, or where it was a corpus of many.

    Parameters
    ----------
    setup, training
        Those of its :class:`~sctab.inference._spec.ModelSpec`.
    """
    if "matrix" in training:
        return LearnedMatrix.from_json(training["matrix"])
    layer = setup.get("layer")
    return None if layer is None else LearnedMatrix(f"layers[{layer!r}]")


@dataclass(frozen=True)
class Query:
    """Cells on their way into a model."""

    source: Source
    match: GeneMatch
    normalization: Normalization
    notes: tuple[str, ...]
    """Notes on how the data was read."""
    covariates: sparse.csr_matrix = field(repr=False)
    """Covariates of each cell, `(n_obs, n_categories)`."""
    source_notes: tuple[str, ...] = ()
    """Those of the notes that say why this matrix was used."""
    proteins: QueryProteins | None = None
    """Surface proteins of the cells; `None` for a model of gene expression alone."""

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return int(self.source.matrix.shape[0])

    @property
    def recipe(self) -> InputRecipe:
        """Recipe that turns rows of the matrix into the model's input."""
        proteins = self.proteins
        return InputRecipe(
            self.source.content,
            self.match.positions,
            len(self.match.found),
            self.normalization,
            None if proteins is None else proteins.panel.n_inputs - 1,
            proteins is not None and proteins.hidden == "genes",
        )

    def ranges(self, size: int = BLOCK_SIZE) -> list[tuple[int, int]]:
        """Ranges of cells for reading, see `sctab.io.row_ranges`."""
        return row_ranges(self.source.matrix, size)

    def read(self, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix]]:
        """Rows of the matrix, `(n_obs, n_query_vars)`, and other inputs of these cells, see :meth:`beside`, block by block."""
        rows = RowReader(self.source.matrix, self.source.name)
        for start, stop in ranges:
            yield rows.read(start, stop), self.beside(start, stop)

    def beside(self, start: int, stop: int) -> sparse.csr_matrix:
        """Inputs of some cells after the genes, proteins and then covariates: float32, `(stop - start, n_beside)`."""
        covariates = self.covariates[start:stop]
        return covariates if self.proteins is None else with_covariates(self.proteins.read(start, stop), covariates)

    def counts(self, size: int) -> Iterator[sparse.csr_matrix]:
        """Values proportional to counts over the model's genes, in blocks of `size` cells."""
        for block in row_blocks(self.source.matrix, size, self.source.name):
            yield self.match.align(self.source.content.to_linear(block))

    def blocks(self, size: int) -> Iterator[sparse.csr_matrix]:
        """The model's input, in blocks of `size` cells: float32, `(size, n_inputs)`, proteins and covariates after the genes."""
        start = 0
        for counts in self.counts(size):
            beside = self.beside(start, start + counts.shape[0])
            start += counts.shape[0]
            yield with_covariates(normalise(counts, self.normalization), beside)


def open_query(
    adata: CellData,
    features: FeatureSpace,
    normalization: Normalization,
    *,
    covariates: Sequence[Covariate] = (),
    layer: str | None = None,
    importance: NDArray[np.floating] | None = None,
    min_gene_coverage: float = 0.0,
    refit: Parameter | None = None,
    inspect: Inspect = inspect_matrix,
    learned: LearnedMatrix | None = None,
    chosen: tuple[Source, Sequence[str]] | None = None,
    panel: ProteinPanel | None = None,
    hidden: Hidden = "none",
) -> Query:
    """Choose a matrix, match the genes, and refuse what cannot be annotated. Nothing is changed and nothing is copied yet.

    Parameters
    ----------
    adata
        Any AnnData: in memory, backed or on Dask.
    features, normalization, covariates
        Those of the model.
    layer
        The matrix to use, see :func:`choose_source`.
    importance
        Fraction of the model's decisions that each gene carries, `(n_vars,)`.
    min_gene_coverage
        Minimum fraction of total gene importance that the data must cover.
    refit
        Parameter that refits the model to the genes of the data; `None` for a model that cannot be refitted.
    inspect
        Function that determines the content of a matrix, like :func:`sctab.data.inspect_matrix`.
    learned
        The matrix that the model learned from.
    chosen
        What :func:`choose_source` gave before.
    panel
        Antibodies of the model; `None` for a model of gene expression alone.
    hidden
        Part to hide: `"none"`, `"some"`, a random half of the antibodies of each cell, `"all"` antibodies, or all `"genes"`.

    Raises
    ------
    SettingError
        If `min_gene_coverage` is not a fraction.
    InputValueError, KeyNotFoundError, GeneOverlapError
        See :func:`choose_source` and :meth:`GeneMatch.require <sctab.data.GeneMatch.require>`.
    """
    if not (isinstance(min_gene_coverage, Real) and 0 <= min_gene_coverage <= 1):
        raise SettingError(Parameter("min_gene_coverage", min_gene_coverage), " must be between 0 and 1.")
    matches: list[tuple[pd.DataFrame, GeneMatch]] = []

    def match_of(var: pd.DataFrame) -> GeneMatch:
        for known, match in matches:
            if known is var:
                return match
        matches.append((var, features.match(var, importance=importance)))
        return matches[-1][1]

    def feature_weights(var: pd.DataFrame) -> NDArray[np.float64]:
        positions = match_of(var).positions
        weights = np.full(len(features), 1 / len(features)) if importance is None else importance
        shared = np.bincount(positions[positions >= 0], minlength=len(features))[positions]  # by features of the same gene
        return np.where(positions >= 0, weights[positions] / np.maximum(shared, 1), 0.0)

    try:
        source, notes = chosen or choose_source(
            adata, layer=layer, inspect=inspect, feature_weights=feature_weights, learned=learned
        )
    except InputValueError:
        if adata.n_obs and adata.n_vars:  # the values of a transposed matrix are often refused before its names are looked at
            match_of(adata.var).require_columns(some_cells(adata))
        raise
    source_notes = tuple(notes)
    notes = list(source_notes)
    match = match_of(source.var)
    proteins, of_proteins = (None, []) if panel is None else open_proteins(adata, panel, hidden)
    if proteins is not None and proteins.are_known and match.n_matched == 0 and not match.is_of_another_species:
        proteins = replace(proteins, has_genes=False)
        of_proteins.append("No gene of the model is in the data: cells were annotated by surface proteins alone.")
    else:
        match.require(min_gene_coverage, cells=lambda: some_cells(adata), refit=refit)
    notes += match.notes
    notes += notes_on_modality(adata)
    notes += stated_species(adata).notes(match.model_species, owner="the model", fix="use a model of the same species")
    if match.n_summed:
        genes = np.unique(match.positions[match.summed])
        notes.append(
            f"{len(genes):,} duplicated gene{'' if len(genes) == 1 else 's'} {'was' if len(genes) == 1 else 'were'} collapsed by summing: "
            f"{listing([features.names[gene] for gene in genes], most=5)}."
        )
    if match.n_ignored and not (proteins is not None and proteins.are_features):
        notes.append(
            f"{match.n_ignored} feature{'' if match.n_ignored == 1 else 's'} other than gene expression "
            f"{'was' if match.n_ignored == 1 else 'were'} ignored."
        )
    if match.coverage < 0.5 and match.n_matched:
        notes.append(
            f"{match.n_matched:,} of {len(features):,} model genes found ({shown_fraction(match.coverage)} of total importance); expect "
            "less reliable labels."
        )
    notes += notes_on_covariates(adata.obs, covariates)
    notes += of_proteins
    return Query(
        source=source,
        match=match,
        normalization=normalization,
        notes=tuple(notes),
        covariates=one_hot(adata.obs, covariates),
        source_notes=source_notes,
        proteins=proteins,
    )


def fingerprint(source: Source, *columns: Iterable[object]) -> str:
    """Hash of the genes and the matrix of a source, and of the annotation of its cells, however the matrix is stored."""
    digest = hashlib.sha256()
    for names in (source.var.index, *columns):
        digest.update(json.dumps([str(name) for name in names]).encode())
    for block in row_blocks(source.matrix, name=source.name):
        if not block.has_canonical_format or (block.data == 0).any():
            block = block.copy()
            block.sum_duplicates()
            block.eliminate_zeros()
        for part, dtype in ((block.indptr, np.int64), (block.indices, np.int64), (block.data, np.float32)):
            digest.update(np.ascontiguousarray(part, dtype=dtype).tobytes())
    return digest.hexdigest()
