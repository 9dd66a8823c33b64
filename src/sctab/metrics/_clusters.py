"""Agreement of clusters, which have no names, with labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from sctab.metrics._lengths import require_same_length


def cluster_accuracy(truth: ArrayLike, clusters: ArrayLike) -> float:
    r"""Fraction of the cells that are right when clusters are matched with types one to one, in the best possible way.

    .. math:: \max_m \frac{1}{n} \sum_{i=1}^{n} 1\{l_i = m(c_i)\}

    for types :math:`l_i`, clusters :math:`c_i` and all one-to-one matchings :math:`m`. The best one is found by the Hungarian
    algorithm. Cells of a cluster without a type are wrong, as are those of a type without a cluster: a type that is divided into two
    clusters counts only with one of them. So the number of clusters matters, and a fair comparison is one between equal numbers.

    Parameters
    ----------
    truth
        Type of each cell, `(n_obs,)`. Cells whose type is missing do not count.
    clusters
        Cluster of each cell, `(n_obs,)`. Cells without a cluster are wrong.

    Returns
    -------
    Between 0 and 1; `NaN` without a cell that counts.

    Raises
    ------
    ValueError
        Where the two are of different lengths.

    References
    ----------
    Tian, Wan, Song, Wei, Clustering single-cell RNA-seq data with a model-based deep learning approach, Nature Machine Intelligence
    2019, :doi:`10.1038/s42256-019-0037-0`, "Evaluation metrics".

    Examples
    --------
    >>> cluster_accuracy(["B", "B", "T", "T"], ["1", "1", "0", "1"])
    0.75
    """
    require_same_length(truth=truth, clusters=clusters)
    types, found = _codes(truth), _codes(clusters)
    n_obs = int((types >= 0).sum())
    if n_obs == 0:
        return float("nan")
    both = (types >= 0) & (found >= 0)
    if not both.any():
        return 0.0
    counts = np.zeros((types.max() + 1, found[both].max() + 1), dtype=np.int64)
    np.add.at(counts, (types[both], found[both]), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / n_obs)


def cluster_scores(truth: ArrayLike, clusters: ArrayLike) -> dict[str, float]:
    """Agreement of clusters with types, over the cells that have both.

    Parameters
    ----------
    truth, clusters
        Type and cluster of each cell, `(n_obs,)`.

    Returns
    -------
    Normalised mutual information (`nmi`), adjusted Rand index (`ari`) and :func:`cluster_accuracy` (`accuracy`); `NaN` without a cell.

    Raises
    ------
    ValueError
        Where the two are of different lengths.

    Examples
    --------
    >>> cluster_scores(["B", "B", "T"], [1, 1, 0])
    {'nmi': 1.0, 'ari': 1.0, 'accuracy': 1.0}
    """
    require_same_length(truth=truth, clusters=clusters)
    types, found = _codes(truth), _codes(clusters)
    both = (types >= 0) & (found >= 0)
    if not both.any():
        return dict.fromkeys(("nmi", "ari", "accuracy"), float("nan"))
    types, found = types[both], found[both]
    return {
        "nmi": float(normalized_mutual_info_score(types, found)),
        "ari": float(adjusted_rand_score(types, found)),
        "accuracy": cluster_accuracy(types, found),
    }


def _codes(values: ArrayLike) -> NDArray[np.integer]:
    """Integers from 0 in place of labels, -1 for a missing one."""
    return pd.factorize(np.asarray(values, dtype=object))[0]
