"""The genes of a model as a table: which of them a dataset has, under which names, and how much each matters."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data.genes._match import GeneMatch
from sctab.data.genes._space import FeatureSpace


def gene_table(
    features: FeatureSpace, match: GeneMatch, var: pd.DataFrame, importance: NDArray[np.floating] | None
) -> pd.DataFrame:
    """List the genes of a model, the most important first.

    Parameters
    ----------
    features
        The genes of the model.
    match
        What :meth:`FeatureSpace.match` found among the features of a dataset.
    var
        Annotation of these features, `(n_query_vars, …)`.
    importance
        What fraction of the model's decisions each gene carries, `(n_vars,)`; `None` weighs all alike.

    Returns
    -------
    A row per gene, see :func:`sctab.get.genes`.

    Examples
    --------
    >>> space = FeatureSpace(ids=("ENSG00000167286", ""), symbols=("CD3D", "MS4A1"))
    >>> var = pd.DataFrame(index=["ms4a1", "ACTB"])
    >>> gene_table(space, space.match(var), var, np.array([1.0, 3.0]))[["found", "feature", "importance"]]
           found feature  importance
    gene
    MS4A1   True   ms4a1        0.75
    CD3D   False                0.25
    """
    columns = np.flatnonzero(match.positions >= 0)
    order = columns[np.lexsort((columns, match.positions[columns]))]
    genes, names = match.positions[order], var.index.to_numpy(dtype=object)
    sources = np.array([*match.sources, ""], dtype=object)[match.named_by]
    first = np.flatnonzero(np.diff(genes, prepend=-1))
    feature, source = np.full(len(features), "", dtype=object), np.full(len(features), "", dtype=object)
    feature[genes[first]] = [str(name) for name in names[order[first]]]
    source[genes[first]] = sources[order[first]]
    weights = np.ones(len(features)) if importance is None else np.asarray(importance, dtype=np.float64)
    table = pd.DataFrame(
        {
            "gene_id": features.ids,
            "gene_symbol": features.symbols,
            "found": match.found,
            "feature": feature,
            "n_features": np.bincount(genes, minlength=len(features)),
            "source": source,
            "importance": weights / weights.sum() if weights.sum() > 0 else weights,
        },
        index=pd.Index(list(features.names), name="gene"),
    )
    return table.sort_values("importance", ascending=False, kind="stable")
