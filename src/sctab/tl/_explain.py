"""Attribution of predictions to genes."""

from __future__ import annotations

from itertools import pairwise
from os import PathLike

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import require_cells, require_writable, target_of
from sctab.errors import Parameter, SettingError, missing_key, warn
from sctab.inference import ExplainedCells, HasPredictor, ModelSpec, explain_query, require_explainable
from sctab.keys import (
    DEFAULT_KEY_ADDED,
    DEFAULT_MODEL,
    OBSM_TOP_GENES,
    OBSM_TOP_WEIGHTS,
    UNS_EXPLANATION,
    check_key_added,
)
from sctab.zoo import load_predictor


def explain(
    adata: AnnData,
    model: str | PathLike[str] | HasPredictor = DEFAULT_MODEL,
    *,
    n_top: int = 10,
    groupby: str | None = None,
    layer: str | None = None,
    batch_size: int = 512,
    min_gene_coverage: float = 0.1,
    key_added: str = DEFAULT_KEY_ADDED,
    copy: bool = False,
) -> AnnData | None:
    """Attribute the decisions of a model to genes, per cell and per type.

    The weights of a cell are those of :meth:`SCTAB.explain <sctab.model.SCTAB.explain>`, divided by their sum: the fraction of the decision
    that each gene contributes. For an ensemble they are averaged over the members. :doc:`/explaining` describes their interpretation.

    Parameters
    ----------
    adata
        Cells, `(n_obs, n_query_vars)`; in memory, backed or on Dask. They need not be annotated.
    model
        As in :func:`sctab.tl.annotate`; an `SCTAB` or a `DeepEnsemble` of it.
    n_top
        Number of top genes to keep per cell and per type.
    groupby
        Column of `adata.obs` with types; cells without a value are ignored. By default the predicted labels.
    layer
        Layer to use, or `"X"` or `"raw"`; by default the best match.
    batch_size
        Cells per batch.
    min_gene_coverage
        As in :func:`sctab.tl.annotate`.
    key_added
        Prefix of the result keys.
    copy
        Return a copy with the results.

    Returns
    -------
    `None`, or the copy with `copy=True`. Results are written only after everything succeeded:

    `adata.obsm['{key_added}_top_genes']` : frame `(n_obs, n_top)`
        Names of the top genes of each cell, the first in column `1`; categorical, padded with `NaN`.
    `adata.obsm['{key_added}_top_weights']` : array `(n_obs, n_top)`
        Their weights, between 0 and 1.
    `adata.uns['{key_added}_explanation']` : dict
        `types`, the table of :func:`sctab.get.explanation`; the name of the `model`, the `matrix` used and `groupby`.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model is not found or cannot be trusted.
    KeyNotFoundError
        If a named layer or column does not exist.
    SettingError
        If the model is not an `SCTAB`, or if `n_top` or `batch_size` is less than one.
    InputValueError
        If no matrix holds counts or values convertible to counts.
    GeneOverlapError
        If the data is from another species or covers too few model genes.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):  # `X` is scaled: it warns that it used `raw.X`
    ...     sctab.tl.explain(adata, "pbmc")
    >>> adata.obsm["sctab_top_genes"].shape
    (700, 10)
    >>> sctab.get.explanation(adata)[["type", "rank", "gene"]].head(3)
         type  rank      gene
    0  B cell     1     CD79A
    1  B cell     2  HLA-DQA1
    2  B cell     3  TNFRSF17
    """
    check_key_added(key_added)
    require_cells(adata)
    require_writable(adata, copy=copy)
    if n_top < 1:
        raise SettingError(Parameter("n_top", n_top), " must be at least 1.")
    if groupby is not None and groupby not in adata.obs:
        raise missing_key("groupby", groupby, adata.obs.columns)
    predictor = load_predictor(model)
    require_explainable(predictor)
    query = predictor.open_query(predictor.cells_of(adata), layer=layer, min_gene_coverage=min_gene_coverage)
    predictor = predictor.suited_to(query)
    names, ids = _names_and_ids(predictor.spec)
    given = None if groupby is None else pd.Categorical(adata.obs[groupby])
    types = list(predictor.spec.labels.names if given is None else given.categories.astype(str))

    top_genes, top_weights = [], []
    sums = _Sums(len(types), len(names))
    start = 0
    for cells in explain_query(predictor, query, batch_size=batch_size):
        genes, weights = _largest(cells.weights, n_top)
        top_genes.append(genes)
        top_weights.append(weights)
        codes = cells.decision.codes if given is None else given.codes[start : start + len(genes)]
        sums.add(cells, np.where(cells.decision.measured, codes, -1))
        start += len(genes)

    target = target_of(adata, copy=copy)
    target.obsm[f"{key_added}_{OBSM_TOP_GENES}"] = _named(np.concatenate(top_genes), names, adata.obs_names)
    target.obsm[f"{key_added}_{OBSM_TOP_WEIGHTS}"] = np.concatenate(top_weights)
    target.uns[f"{key_added}_{UNS_EXPLANATION}"] = {
        "types": _by_type(types, sums, names, ids, n_top),
        "groupby": groupby or "",
        "model": predictor.name,
        "matrix": query.source.name,
    }
    for note in query.notes:
        warn(note)
    return target if copy else None


class _Sums:
    """Cells of each type, `(n_types,)`; what each gene carries in them, and how many of them express it, `(n_types, n_vars)`."""

    def __init__(self, n_types: int, n_genes: int) -> None:
        self.cells = np.zeros(n_types, dtype=np.int64)
        self.weights = np.zeros((n_types, n_genes))
        self.expressing = np.zeros((n_types, n_genes))

    def add(self, explained: ExplainedCells, types: NDArray[np.integer]) -> None:
        """Take in more cells; a type of -1 is none."""
        known = np.flatnonzero(types >= 0)
        of_type = sparse.csr_matrix((np.ones(len(known)), (types[known], known)), shape=(len(self.cells), len(types)))
        self.cells += of_type.getnnz(axis=1)
        self.weights += (of_type @ explained.weights).toarray()
        self.expressing += (of_type @ (explained.values > 0)).toarray()


def _largest(weights: sparse.csr_matrix, n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns and values of the `n` largest entries of each row, largest first; -1 and zero where there are no more."""
    columns = np.full((weights.shape[0], n), -1, dtype=np.int64)
    values = np.zeros((weights.shape[0], n), dtype=np.float32)
    for row, (start, stop) in enumerate(pairwise(weights.indptr)):
        order = np.argsort(-weights.data[start:stop], kind="stable")[:n]
        columns[row, : len(order)] = weights.indices[start:stop][order]
        values[row, : len(order)] = weights.data[start:stop][order]
    return columns, values


def _names_and_ids(spec: ModelSpec) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Names of genes and antibodies, and Ensembl ids, which antibodies do not have, `(n_features,)`."""
    names = np.asarray(spec.feature_names, dtype=object)
    ids = np.full(len(names), "", dtype=object)
    ids[: len(spec.features)] = spec.features.ids
    return names, ids


def _named(genes: NDArray[np.int64], names: NDArray[np.object_], obs_names: pd.Index) -> pd.DataFrame:
    """Genes by their names, a column per rank; the categories are the genes that occur."""
    used = np.unique(genes[genes >= 0])
    codes = np.where(genes >= 0, np.searchsorted(used, genes), -1)
    categories = pd.Index(names[used])
    columns = {
        str(rank): pd.Categorical.from_codes(of_rank, categories=categories) for rank, of_rank in enumerate(codes.T, start=1)
    }
    return pd.DataFrame(columns, index=obs_names)


def _by_type(types: list[str], sums: _Sums, names: NDArray[np.object_], ids: NDArray[np.object_], n_top: int) -> pd.DataFrame:
    """The genes with the largest mean share in the cells of each type, in order."""
    genes, weights = _largest(sparse.csr_matrix(sums.weights / np.maximum(sums.cells, 1)[:, None]), n_top)
    rows, ranks = np.nonzero(genes >= 0)
    found = genes[rows, ranks]
    return pd.DataFrame(
        {
            "type": np.asarray(types, dtype=object)[rows],
            "rank": ranks + 1,
            "gene": names[found],
            "gene_id": ids[found],
            "weight": weights[rows, ranks],
            "expressed": sums.expressing[rows, found] / sums.cells[rows],
            "cells": sums.cells[rows],
        }
    )
