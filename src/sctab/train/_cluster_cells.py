"""Cells without labels, in memory or in a corpus, as batches for an autoencoder of counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sctab.data import (
    Content,
    Covariate,
    FeatureSpace,
    LearnedMatrix,
    Normalization,
    Query,
    Source,
    find_covariates,
    fingerprint,
    normalise,
    normalise_values,
    one_hot,
    reference_source,
    var_of,
)
from sctab.errors import InputValueError, Parameter, SettingError, listing, place, warn
from sctab.inference import CLUSTERING, NO_SETUP, ModelSpec
from sctab.io import BLOCK_SIZE
from sctab.nn import SparseCounts, ZINBAutoencoder
from sctab.ontology import LabelSpace
from sctab.sampling import Split
from sctab.train._batches import Batch, Batches, to_sparse_tensor
from sctab.train._corpus import LEARNED, SETUP, CorpusReference
from sctab.train._gene_sums import GeneSums
from sctab.train._memory_data import MemoryData
from sctab.train._reference import TrainingData
from sctab.train._reference_checks import check_unlabeled

NO_LABELS = LabelSpace(names=(), ids=())
"""Labels of a model before it has clusters."""


class UnlabeledReference(Protocol):
    """Cells to cluster, wherever they are."""

    @property
    def adata(self) -> AnnData | None:
        """The AnnData that it is, where it is one."""

    @property
    def setup(self) -> Mapping[str, Any]:
        """Arguments of `setup_anndata`."""

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """The batch, where there are several."""

    @property
    def features(self) -> FeatureSpace:
        """All genes."""

    @property
    def truth(self) -> NDArray[np.object_] | None:
        """Given label of each row that :meth:`data` has, to compare clusters with; NaN where there is none."""

    def data(self, spec: ModelSpec) -> TrainingData:
        """Counts over the genes of a model and one-hot batches, with the position of each row as its label."""

    def rows(self) -> NDArray[np.int64]:
        """Rows of the data that belong to the reference."""


@dataclass(frozen=True, eq=False)
class UnlabeledAnnData:
    """An AnnData whose cells are to be clustered."""

    adata: AnnData = field(repr=False)
    setup: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
    ) -> Self:
        """Cells that can be clustered; parameters and errors as in :meth:`sctab.model.SCDeepCluster.setup_anndata`."""
        setup = {
            "layer": layer,
            "batch_key": batch_key,
            "labels_key": labels_key,
            "gene_id_key": gene_id_key,
            "gene_symbol_key": gene_symbol_key,
        }
        check_unlabeled(adata, setup, batch_key)
        return cls(adata, setup)

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """The batches of `batch_key`."""
        key = self.setup["batch_key"]
        return () if key is None else find_covariates(self.adata.obs, [key])

    @property
    def features(self) -> FeatureSpace:
        """Genes of the matrix that is used."""
        keys = {name: self.setup[name] for name in ("gene_id_key", "gene_symbol_key")}
        return FeatureSpace.from_var(var_of(self.adata, self.setup["layer"]), **keys)

    @property
    def truth(self) -> NDArray[np.object_] | None:
        """Column `labels_key` of `obs`."""
        key = self.setup["labels_key"]
        if key is None:
            return None
        labels = self.adata.obs[key]
        return labels.astype(object).where(labels.notna(), np.nan).to_numpy(dtype=object)

    def require_counts(self) -> Source:
        """The matrix, which holds raw counts.

        Raises
        ------
        InputValueError
            If it holds something else.
        """
        source, _ = reference_source(self.adata, self.setup["layer"])
        if source.content.content is not Content.COUNTS:
            raise InputValueError(
                f"`{source.name}` holds {source.content.content}, and clustering models counts. Provide the matrix of counts as ",
                Parameter("layer"),
                ".",
            )
        return source

    def rows(self) -> NDArray[np.int64]:
        """All cells."""
        return np.arange(self.adata.n_obs)

    def data(self, spec: ModelSpec) -> MemoryData:
        """See :meth:`UnlabeledReference.data`; a model of other cells may lack batches of these, which is warned of.

        Raises
        ------
        GeneOverlapError
            If no gene of the model is in the data.
        InputValueError
            If the matrix does not hold raw counts.
        """
        source = self.require_counts()
        keys = {name: self.setup[name] for name in ("gene_id_key", "gene_symbol_key")}
        match, covariates = spec.features.match(source.var, **keys), one_hot(self.adata.obs, spec.covariates)
        match.require(0.0)
        for covariate in spec.covariates:
            if unknown := sorted(set(self.adata.obs[covariate.key].astype(str)) - set(covariate.categories)):
                warn(
                    place(f"obs[{covariate.key!r}]"),
                    f" has batches that the model does not know: {listing(unknown)}. It cannot tell them apart. Create a new model of "
                    "these cells to have all batches.",
                )
        query = Query(source=source, match=match, normalization=spec.normalization, notes=(), covariates=covariates)
        return MemoryData(
            blocks=query.counts,
            content=lambda: fingerprint(source, *(self.adata.obs[covariate.key] for covariate in spec.covariates)),
            learned=LearnedMatrix.of(source),
            labels=self.rows(),
            donors=None,
            n_classes=0,
            covariates=covariates,
            child_matrix=np.zeros((0, 0), dtype=bool),
        )


@dataclass(frozen=True, eq=False)
class UnlabeledCorpus:
    """The training cells of a corpus, or a part of them, as cells to cluster."""

    reference: CorpusReference

    @property
    def adata(self) -> None:
        """A corpus is not in memory."""

    @property
    def setup(self) -> Mapping[str, Any]:
        """The columns of every corpus, and the batch."""
        return SETUP | {"categorical_covariate_keys": list(self.reference.covariate_keys)}

    @cached_property
    def covariates(self) -> tuple[Covariate, ...]:
        """The batches that the training cells have."""
        keys = self.reference.known_covariates()
        codes, names = self.reference.corpus.codes(LEARNED, keys), self.reference.corpus.manifest["names"]
        return tuple(Covariate(key, tuple(names[key][code] for code in np.unique(codes[key]) if code >= 0)) for key in keys)

    @property
    def features(self) -> FeatureSpace:
        """Genes of the corpus."""
        return self.reference.corpus.features

    @property
    def truth(self) -> NDArray[np.object_]:
        """Labels of the corpus."""
        return self.reference.corpus.obs(LEARNED)["label"].astype(object).to_numpy(dtype=object)

    def rows(self) -> NDArray[np.int64]:
        """The training cells of the part."""
        return self.reference.cells

    def data(self, spec: ModelSpec) -> TrainingData:
        """See :meth:`UnlabeledReference.data`."""
        data = self.reference.data(replace(spec, labels=NO_LABELS))
        return replace(data, labels=np.arange(len(data.labels)), donors=None)


def describe_clustering(reference: UnlabeledReference, *, n_top_genes: int | None, architecture: Mapping[str, Any]) -> ModelSpec:
    """An untrained model over the genes that have counts, or over those that are selected.

    Cells are scaled to the median of their totals.

    Parameters
    ----------
    reference
        The cells.
    n_top_genes
        Number of genes to select, see :meth:`GeneSums.genes_by_dropout`; `None` or 0 takes all.
    architecture
        Of the network.

    Raises
    ------
    SettingError
        If `n_top_genes` is not an integer, or is negative.
    InputValueError
        If the matrix does not hold counts, or if no gene is left.
    """
    if n_top_genes is not None and (not isinstance(n_top_genes, Integral) or isinstance(n_top_genes, bool) or n_top_genes < 0):
        raise SettingError(Parameter("n_top_genes", n_top_genes), " must be an integer of at least 1, or 0 for all genes.")
    spec = ModelSpec(
        model_class=CLUSTERING,
        architecture=architecture,
        features=reference.features,
        labels=NO_LABELS,
        normalization=Normalization(),
        covariates=reference.covariates,
        setup=dict(NO_SETUP) | dict(reference.setup),
    )
    sums = GeneSums.of(counts_of(reference.data(spec), reference.rows()), len(spec.features))
    found = sums.genes_by_dropout(n_top_genes) if n_top_genes else np.flatnonzero(sums.totals > 0)
    if n_top_genes and len(found) < min(n_top_genes, len(spec.features)):
        warn(
            f"{len(found):,} of {n_top_genes:,} requested genes were selected: only these are in ten cells or more and drop "
            "out more often than their expression explains. Omit ",
            Parameter("n_top_genes"),
            " to use all genes.",
        )
    if not len(found):
        raise InputValueError("No gene can be used: none has enough counts. Use all genes, or other data.")
    if len(found) < len(spec.features):
        spec = replace(spec, features=spec.features.subset(found.tolist()))
    totals = np.concatenate([block.sum(axis=1).A1 for block in counts_of(reference.data(spec), reference.rows())])
    if not (totals > 0).any():
        raise InputValueError("No cell has a count in the genes that are used. Use all genes, or other data.")
    return replace(spec, normalization=Normalization(target_sum=float(np.median(totals[totals > 0]))))


def counts_of(data: TrainingData, rows: NDArray[np.int64]) -> Iterator[sparse.csr_matrix]:
    """Counts of some rows, ascending, block by block, `(n_obs, n_vars)` each."""
    wanted = np.zeros(data.covariates.shape[0], dtype=bool)
    wanted[rows] = True
    start = 0
    for block in data.read(BLOCK_SIZE):
        chosen = wanted[start : start + block.shape[0]]
        start += block.shape[0]
        if chosen.any():
            yield block if chosen.all() else block[chosen]


class CountBatch(NamedTuple):
    """A batch on the device that trains on it."""

    inputs: Tensor
    """Standardised expression, `(n_obs, n_vars)`."""
    batches: Tensor
    """One-hot batches, `(n_obs, n_batches)`."""
    counts: SparseCounts
    cells: NDArray[np.int64]
    """Number of each cell among the trained ones, `(n_obs,)`."""


@dataclass(frozen=True, eq=False)
class ClusterCells:
    """The cells that an autoencoder is trained on: those with a count in the genes of the model."""

    data: TrainingData = field(repr=False)
    normalization: Normalization
    rows: NDArray[np.int64] = field(repr=False)
    """Row of each cell in the data, ascending, `(n_obs,)`."""
    mean: NDArray[np.float64] = field(repr=False)
    """Mean of each gene's normalised expression, `(n_vars,)`."""
    std: NDArray[np.float64] = field(repr=False)
    """Its standard deviation; 1 for a gene that is constant, `(n_vars,)`."""

    @classmethod
    def of(cls, reference: UnlabeledReference, spec: ModelSpec) -> ClusterCells:
        """Cells of a reference for a model; mean and standard deviation take one pass over them.

        Raises
        ------
        InputValueError
            If no cell has a count in the genes of the model.
        """
        data, rows = reference.data(spec), reference.rows()
        n_vars = len(spec.features)
        sums, squares, measured = np.zeros(n_vars), np.zeros(n_vars), []
        for block in counts_of(data, rows):
            values = normalise(block, spec.normalization, dtype=np.float64)
            sums += np.bincount(values.indices, values.data, minlength=n_vars)
            squares += np.bincount(values.indices, values.data**2, minlength=n_vars)
            measured.append(block.sum(axis=1).A1 > 0)
        rows = rows[np.concatenate(measured)]
        if not len(rows):
            raise InputValueError(
                f"No cell has a count in the {n_vars:,} genes of the model. Cluster other cells, or create a new model."
            )
        mean = sums / len(rows)
        variance = np.maximum(squares - len(rows) * mean**2, 0) / max(len(rows) - 1, 1)
        std = np.sqrt(variance)
        std[std < 1e-12] = 1
        return cls(data, spec.normalization, rows, mean, std)

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.rows)

    def shuffled(self, batch_size: int, seed: int) -> Batches:
        """Batches in another order in each epoch."""
        return self.data.batches(self._split, batch_size, seed).train_dataloader()

    def in_order(self, batch_size: int) -> Batches:
        """The same batches in each epoch."""
        return self.data.batches(self._split, batch_size, 0).val_dataloader()

    @property
    def _split(self) -> Split:
        return Split(train=self.rows, validation=self.rows, by="none")

    def to_device(self, batch: Batch, network: ZINBAutoencoder) -> CountBatch:
        """Counts of a batch as what an autoencoder takes, on its device and in its precision; they are sparse until they are there."""
        sparse_counts, covariates, labels = batch
        if not (sparse_counts.values() > 0).all():
            sparse_counts = _without_stored_zeros(sparse_counts)
        like, (n_obs, n_vars) = network.input_mean, sparse_counts.shape
        indptr, columns, values = (
            part.to(like.device) for part in (sparse_counts.crow_indices(), sparse_counts.col_indices(), sparse_counts.values())
        )
        values = values.to(like.dtype)
        row_of_value = torch.arange(n_obs, device=like.device).repeat_interleave(indptr.diff().long(), output_size=len(values))
        totals = values.new_zeros(n_obs).index_add_(0, row_of_value, values)
        positions = row_of_value * n_vars + columns
        inputs = (-network.input_mean / network.input_std).expand(n_obs, n_vars).clone()
        expression = normalise_values(values, row_of_value, totals, self.normalization) / network.input_std[columns]
        inputs.view(-1).index_add_(0, positions, expression)
        counts = SparseCounts(positions, values, totals / self.normalization.target_sum)
        return CountBatch(inputs, covariates.to(like), counts, np.searchsorted(self.rows, labels.numpy()))


def _without_stored_zeros(counts: Tensor) -> Tensor:
    arrays = counts.values().numpy().copy(), counts.col_indices().numpy().copy(), counts.crow_indices().numpy().copy()
    matrix = sparse.csr_matrix(arrays, shape=tuple(counts.shape))
    matrix.eliminate_zeros()
    return to_sparse_tensor(matrix)
