"""Genes that speak for each type, and their expression there and elsewhere."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import FeatureSpace, choose_source, joined
from sctab.errors import Either, ModelNotFoundError, Parameter, SettingError, listing
from sctab.get._annotation import read_annotation
from sctab.get._expression import Expression, inspect_some, layer_of, summarise
from sctab.get._groups import label_key, types_of
from sctab.inference import EXPLANATION, HasPredictor, Predictor, gene_evidence
from sctab.keys import DEFAULT_KEY_ADDED, UNS_EXPLANATION
from sctab.zoo import load_predictor

Model = str | PathLike[str] | HasPredictor
_TABLES = ("genes", "expression")


def evidence(
    adata: AnnData,
    model: Model | None = None,
    *,
    table: Literal["genes", "expression"] = "genes",
    groupby: str | None = None,
    n_genes: int = 5,
    min_expressed: float = 0.1,
    max_cells: int = 1000,
    layer: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> pd.DataFrame:
    """Get the genes that speak for each type, with their expression in its cells and in all others.

    Weights of genes are those of :func:`sctab.tl.explain`, from what it wrote where the cells were explained by the same types, or from up
    to 200 cells of each type. In a linear model they follow from its coefficients: how much more each gene adds to the label in these
    cells than in the others. For other models they are differences between the types in the reference. Genes whose mean expression is not
    larger in the type than elsewhere are left out.

    Parameters
    ----------
    adata
        Annotated cells.
    model
        The model, as in :func:`sctab.tl.annotate`; by default the one that annotated the cells, found by its name, where there is no
        explanation.
    table
        Which one, see below.
    groupby
        Column of `adata.obs` with types or clusters; by default the labels of the annotation.
    n_genes
        Genes per type.
    min_expressed
        Smallest fraction of the cells of a type that express a gene which speaks for it.
    max_cells
        Cells per type to read, spread over the data; all of few.
    layer
        Layer to use, or `"X"` or `"raw"`; by default the matrix that was annotated.
    key_added
        Prefix of the annotation.

    Returns
    -------
    For `"genes"`, a row per type and gene, most frequent types first, with columns

    `type`, `rank`
        The type, and the rank of the gene, from 1.
    `gene`, `gene_id` : str
        Symbol and Ensembl id; the id is empty where the model does not know it.
    `weight` : float
        Share of the gene in what speaks for the type.
    `expressed`, `expressed_elsewhere` : float
        Fraction of the cells of the type, and of all other cells, that express it.
    `mean`, `mean_elsewhere` : float
        Mean expression, log1p of counts per 10,000.
    `source` : str
        Where the weight is from: `explanation`, `coefficients` or `reference`.

    For `"expression"`, a row for each of these genes and each type, with columns `type`, `rank`, `gene`, `group`, the type whose cells they
    are, `cells`, `mean` and `expressed`. :func:`sctab.pl.evidence` plots it.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column or layer does not exist.
    ModelNotFoundError
        If the model that annotated the cells is not found by its name, or has changed.
    SettingError
        If a setting is invalid, or if the model can say nothing of its genes.
    InputValueError
        If no matrix holds counts or values convertible to counts.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"):
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     table = sctab.get.evidence(adata, n_genes=2)
    >>> table.query("type == 'B cell'")[["gene", "source"]].to_numpy().tolist()
    [['CD79A', 'explanation'], ['HLA-DQA1', 'explanation']]
    """
    if table not in _TABLES:
        raise SettingError(Parameter("table", table), f" is not known. Choose one of {listing(_TABLES)}.")
    genes, expression = evidence_tables(
        adata,
        joined(adata),
        model,
        groupby=groupby,
        n_genes=n_genes,
        min_expressed=min_expressed,
        max_cells=max_cells,
        layer=layer,
        key_added=key_added,
    )
    return genes if table == "genes" else expression


def evidence_tables(
    adata: AnnData,
    cells: Any,
    model: Model | None = None,
    *,
    groupby: str | None = None,
    n_genes: int = 5,
    min_expressed: float = 0.1,
    max_cells: int = 1000,
    layer: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of :func:`evidence`, of cells whose matrices may lie in a file.

    Parameters
    ----------
    adata
        Results of the annotation.
    cells
        What has the matrices of the same cells: an AnnData or a `DataFile`.
    model, groupby, n_genes, min_expressed, max_cells, layer, key_added
        As in :func:`evidence`.
    """
    for name, value in (("n_genes", n_genes), ("max_cells", max_cells)):
        if value < 1:
            raise SettingError(Parameter(name, value), " must be at least 1.")
    if not 0 <= min_expressed <= 1:
        raise SettingError(Parameter("min_expressed", min_expressed), " must be between 0 and 1.")
    read_annotation(adata, key_added, None)  # which refuses what is not annotated
    groups = types_of(adata, groupby, key_added).remove_unused_categories()
    explained = None if model is not None else _explained(adata, groupby, key_added)
    predictor = None if explained is not None else _predictor(adata, model, key_added)
    features = _features_of(explained) if predictor is None else predictor.spec.features
    matrix = layer or layer_of(str(adata.uns[key_added].get("matrix", "")))
    source, _ = choose_source(cells, layer=matrix, inspect=inspect_some)
    sums = summarise(source, features, predictor, adata.obs, groups, max_cells)
    if predictor is None:
        weights, origin = _weights_of(explained, features, groups), EXPLANATION
    else:
        own = types_of(adata, None, key_added)
        order = pd.Index(predictor.spec.labels.names).get_indexer(own.categories)
        labels = np.append(order, -1)[own.codes]
        shares = _shares(groups, labels, len(predictor.spec.labels))
        weights, origin = gene_evidence(predictor, sums.inputs, sums.sizes, shares, sums.attention)
    return _tables(groups, features, sums, weights, origin, n_genes, min_expressed)


def _explained(adata: AnnData, groupby: str | None, key_added: str) -> pd.DataFrame | None:
    """The table of an explanation by the same types; `None` where there is none."""
    found = adata.uns.get(f"{key_added}_{UNS_EXPLANATION}")
    if not found or str(found.get("groupby", "")) not in ({groupby} if groupby else {"", label_key(key_added)}):
        return None
    return found["types"]


def _predictor(adata: AnnData, model: Model | None, key_added: str) -> Predictor:
    """The model; that of the annotation must be what it was."""
    if model is not None:
        return load_predictor(model)
    about = adata.uns[key_added]["model"]
    name, sha256 = str(about.get("name", "")), str(about.get("sha256", ""))
    fix = Either("Provide it as `model`.", "Provide its directory with `--model`.")
    try:
        predictor = load_predictor(name)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"The model `{name}` that annotated the cells is not found under this name. ", fix) from error
    if sha256 and predictor.sha256 != sha256:
        raise ModelNotFoundError(f"The model `{name}` is another one than that which annotated the cells. ", fix)
    return predictor


def _features_of(explained: pd.DataFrame | None) -> FeatureSpace:
    table = pd.DataFrame(columns=["gene", "gene_id"]) if explained is None else explained.drop_duplicates(["gene", "gene_id"])
    ids = tuple(map(str, table["gene_id"]))
    symbols = ("" if name == term else str(name) for name, term in zip(table["gene"], ids, strict=True))
    return FeatureSpace(ids=ids, symbols=tuple(symbols))


def _weights_of(explained: pd.DataFrame | None, features: FeatureSpace, groups: pd.Categorical) -> NDArray[np.float64]:
    found = np.zeros((len(groups.categories), len(features)))
    if explained is not None:
        of_type = groups.categories.get_indexer(explained["type"].astype(str))
        of_gene = pd.MultiIndex.from_arrays([features.names, features.ids]).get_indexer(
            pd.MultiIndex.from_arrays([explained["gene"].astype(str), explained["gene_id"].astype(str)])
        )
        kept = (of_type >= 0) & (of_gene >= 0)
        found[of_type[kept], of_gene[kept]] = explained["weight"].to_numpy()[kept]
    return found


def _shares(groups: pd.Categorical, labels: NDArray[np.integer], n_labels: int) -> NDArray[np.float64]:
    """Fraction of the cells of each group that have each label, `(n_groups, n_labels)`."""
    found = np.zeros((len(groups.categories), n_labels))
    known = (groups.codes >= 0) & (labels >= 0)
    np.add.at(found, (groups.codes[known], labels[known]), 1)
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1)


def _tables(
    groups: pd.Categorical,
    features: FeatureSpace,
    sums: Expression,
    weights: NDArray[np.float64],
    origin: str,
    n_genes: int,
    min_expressed: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = list(groups.categories)
    by_size = np.argsort(-sums.sizes, kind="stable")
    others_mean, others_expressed = sums.elsewhere(sums.means), sums.elsewhere(sums.expressed)
    genes, expression = [], []
    for code in by_size:
        speaks = (sums.expressed[code] >= min_expressed) & ~(sums.means[code] <= others_mean[code])
        candidates = np.where(speaks, weights[code], 0)
        best = np.argsort(-candidates, kind="stable")[:n_genes]
        for rank, gene in enumerate(best[candidates[best] > 0], start=1):
            at = (code, gene)
            head = {"type": names[code], "rank": rank, "gene": features.names[gene]}
            genes.append(
                {
                    **head,
                    "gene_id": features.ids[gene],
                    "weight": weights[at],
                    "expressed": sums.expressed[at],
                    "expressed_elsewhere": others_expressed[at],
                    "mean": sums.means[at],
                    "mean_elsewhere": others_mean[at],
                    "source": origin,
                }
            )
            expression += [
                {
                    **head,
                    "group": names[other],
                    "cells": int(sums.sizes[other]),
                    "mean": sums.means[other, gene],
                    "expressed": sums.expressed[other, gene],
                }
                for other in by_size
            ]
    return pd.DataFrame(genes, columns=_GENE_COLUMNS), pd.DataFrame(expression, columns=_EXPRESSION_COLUMNS)


_GENE_COLUMNS = [
    *("type", "rank", "gene", "gene_id", "weight", "expressed", "expressed_elsewhere", "mean", "mean_elsewhere", "source"),
]
_EXPRESSION_COLUMNS = ["type", "rank", "gene", "group", "cells", "mean", "expressed"]
