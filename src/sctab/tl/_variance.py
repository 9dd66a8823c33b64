"""Variance explained by types and donors, before and after augmentation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab import augmentation
from sctab.data import Normalization, choose_source, gene_expression, normalise, require_anndata
from sctab.errors import LabelError, missing_key, warn
from sctab.io import to_csr


def explained_variance(adata: AnnData, labels_key: str, donor_key: str, *, layer: str | None = None, seed: int = 0) -> pd.DataFrame:
    """Compute the variance of expression explained by types and donors, before and after augmentation.

    Augmentation should make cells look as if they came from other donors without changing their type: types and donors should explain
    nearly as much variance as before. This function computes difference vectors as a training with `augment=True` does, adds them, and
    compares the fits of a linear model; see :func:`sctab.augmentation.explained_variance`.

    Parameters
    ----------
    adata
        Annotated cells, `(n_obs, n_vars)`; they are not changed.
    labels_key
        Column of `adata.obs` with cell types.
    donor_key
        Column of `adata.obs` with donors. Cells without a type or without a donor (NaN) are left out.
    layer
        Layer to use, or `"X"` or `"raw"`; by default the best match. Expression is log1p of 10,000 counts per cell.
    seed
        Random seed of the drawn vectors.

    Returns
    -------
    :math:`R^2` as a frame with the rows `original` and `augmented`. `uniform_average` is the mean over genes; `variance_weighted` weights
    genes by their variance.

    Raises
    ------
    KeyNotFoundError
        If a column or layer does not exist.
    LabelError
        If no type has cells of two donors.
    InputValueError
        If no matrix holds counts or values convertible to counts.

    Examples
    --------
    >>> import warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["donor"] = [f"donor {i % 3}" for i in range(adata.n_obs)]  # made up, so that they explain nothing
    >>> with warnings.catch_warnings(action="ignore"):  # `X` is scaled: it warns that it used `raw.X`
    ...     table = sctab.tl.explained_variance(adata, "bulk_labels", "donor")
    >>> list(table.index), list(table.columns)
    (['original', 'augmented'], ['uniform_average', 'variance_weighted'])
    """
    require_anndata(adata)
    labels, donors = (_codes(adata, key, parameter) for key, parameter in ((labels_key, "labels_key"), (donor_key, "donor_key")))
    cells = np.flatnonzero((labels >= 0) & (donors >= 0))
    source, notes = choose_source(adata, layer=layer)
    matrix, is_gene = to_csr(source.matrix, source.name), gene_expression(source.var)

    def rows(chosen: NDArray[np.int64]) -> sparse.csr_matrix:
        return normalise(source.content.to_linear(matrix[cells[chosen]])[:, is_gene], Normalization())

    rng = np.random.default_rng(seed)
    differences = augmentation.donor_differences(rows, labels[cells], donors[cells], rng=rng)
    if not differences.shape[0]:
        raise LabelError(
            f"No type in `adata.obs[{labels_key!r}]` has cells of two donors in `adata.obs[{donor_key!r}]`: there is no difference "
            "between donors to add. Are these the right columns?"
        )
    table = augmentation.explained_variance(rows, labels[cells], donors[cells], differences, rng=rng)
    for note in notes:
        warn(note)
    return table


def _codes(adata: AnnData, key: str, parameter: str) -> NDArray[np.int64]:
    """Numbers for the values of a column, -1 where there is none."""
    if key not in adata.obs:
        raise missing_key(parameter, key, adata.obs.columns)
    return pd.factorize(adata.obs[key], sort=True)[0].astype(np.int64)
