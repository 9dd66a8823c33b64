"""A linear model that is trained in seconds, on a few thousand cells and on the genes that a query measures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_MOST_GENES = 4_000
"""Genes of largest variance that are learned from; with 1,000 of them, logistic regression does as well as with all."""
_N_COMPONENTS = 50
_SHRINKAGE = 0.1
"""Shrinkage of the covariance within types, towards a multiple of the identity."""
_NOT_LEARNED = -30.0
"""Bias of a label without cells."""


class LinearFit(NamedTuple):
    """A linear model of normalised expression."""

    weights: NDArray[np.float32]
    """`(n_genes, n_labels)`; zero for genes that were not learned from."""
    bias: NDArray[np.float32]
    """`(n_labels,)`."""

    def logits_of(self, values: sparse.csr_matrix) -> NDArray[np.float32]:
        """Logits, `(n_cells, n_labels)`, of normalised expression, `(n_cells, n_genes)`."""
        logits: NDArray[np.float32] = values @ self.weights + self.bias
        return logits


def refit(
    values: sparse.csr_matrix,
    codes: NDArray[np.integer],
    n_labels: int,
    *,
    like: sparse.csr_matrix | None = None,
    seed: int = 0,
) -> LinearFit:
    """Train a linear model on a few labelled cells.

    Its probabilities are the geometric mean of those of three models: logistic regression, the same with balanced classes, and linear
    discriminant analysis of principal components, which is robust where datasets differ in what they capture of each gene.

    Parameters
    ----------
    values
        Normalised expression, `(n_cells, n_genes)`; genes that a query does not measure are zero.
    codes
        Label of each cell, `(n_cells,)`.
    n_labels
        Labels of the model; those without cells get next to no probability.
    like
        Normalised expression of cells to annotate, `(n_others, n_genes)`, whose principal components are used; by default those of
        `values`.
    seed
        Seed of random numbers.
    """
    genes = _most_variable(values)
    known, codes = np.unique(codes, return_inverse=True)
    own = sparse.csr_matrix(values[:, genes])
    found, bias = _linear(own, codes, own if like is None else sparse.csr_matrix(like[:, genes]), seed)
    weights = np.zeros((values.shape[1], n_labels), dtype=np.float32)
    weights[np.ix_(genes, known)] = found
    biases = np.full(n_labels, _NOT_LEARNED, dtype=np.float32)
    biases[known] = bias - bias.mean()
    return LinearFit(weights, biases)


def _most_variable(values: sparse.csr_matrix) -> NDArray[np.int64]:
    """Genes with the largest variance of normalised expression, of those that are not zero everywhere."""
    mean = np.asarray(values.mean(axis=0)).ravel()
    variance = np.asarray(values.multiply(values).mean(axis=0)).ravel() - mean**2
    return np.sort(np.argsort(-variance, kind="stable")[: min(_MOST_GENES, max(1, int((variance > 0).sum())))])


def _linear(
    values: sparse.csr_matrix, codes: NDArray[np.integer], like: sparse.csr_matrix, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights `(n_genes, n_types)` and biases `(n_types,)`: the mean of three linear models."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import MaxAbsScaler

    n_types = int(codes.max()) + 1
    if n_types == 1:
        return np.zeros((values.shape[1], 1)), np.zeros(1)
    scaler = MaxAbsScaler().fit(values)
    models = [
        LogisticRegression(max_iter=500, tol=1e-3, class_weight=weights).fit(scaler.transform(values), codes)
        for weights in (None, "balanced")
    ]
    found = [(model.coef_.T / scaler.scale_[:, None], model.intercept_) for model in models]
    if n_types == 2:  # scikit-learn has one row for both
        found = [(np.hstack([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2) for weights, bias in found]
    found.append(_discriminant(values, codes, like, seed))
    return np.mean([weights for weights, _ in found], axis=0), np.mean([bias for _, bias in found], axis=0)


def _discriminant(
    values: sparse.csr_matrix, codes: NDArray[np.integer], like: sparse.csr_matrix, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear discriminant analysis of principal components, with a shrunken covariance (Friedman 1989, :doi:`10.2307/2289860`)."""
    from sklearn.utils.extmath import randomized_svd

    n_components = min(_N_COMPONENTS, *(size - 1 for size in (*values.shape, *like.shape)))
    if n_components < 1:
        return np.zeros((values.shape[1], int(codes.max()) + 1)), np.zeros(int(codes.max()) + 1)
    components = randomized_svd(like, n_components, n_iter=7, random_state=seed)[2].T
    latent = values @ components
    of_type = np.eye(int(codes.max()) + 1)[codes]
    n_cells = of_type.sum(axis=0)
    means = (of_type.T @ latent) / n_cells[:, None]
    centred = latent - means[codes]
    covariance = centred.T @ centred / len(latent)
    ridge = np.trace(covariance) / len(covariance)
    covariance = (1 - _SHRINKAGE) * covariance + max(_SHRINKAGE * ridge, 1e-8) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, means.T)
    return components @ weights, np.log(n_cells / n_cells.sum()) - np.einsum("kd,dk->k", means, weights) / 2
