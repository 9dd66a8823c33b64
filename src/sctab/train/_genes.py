"""Selection of genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import FeatureSpace, normalise
from sctab.errors import Parameter, SettingError
from sctab.inference import ModelSpec
from sctab.train._settings import LARGE_REFERENCE

FEWEST_CELLS = 10
"""Cells that must show a gene before its variance is looked at."""
_N_BINS = 20
"""Bins of mean expression within which dispersions are compared."""


def fewer_genes_than_cells(n_obs: int) -> int | None:
    """No more genes than there are cells to learn them from: what is left out varies least. A thousand are enough for any panel."""
    return None if n_obs >= LARGE_REFERENCE else max(n_obs, 1000)


def most_variable_genes(counts: sparse.csr_matrix, spec: ModelSpec, n_top_genes: int) -> FeatureSpace:
    """The genes whose expression varies most from cell to cell, in the order of the reference.

    Dispersion normalised by mean expression (Satija et al. 2015, :doi:`10.1038/nbt.3192`), as in
    :func:`scanpy.pp.highly_variable_genes`, among the genes that at least ten cells show.

    Raises
    ------
    SettingError
        If `n_top_genes` is less than one.
    """
    if n_top_genes < 1:
        raise SettingError(Parameter("n_top_genes", n_top_genes), " must be at least 1, or `'all'`.")
    seen = np.flatnonzero(counts.getnnz(axis=0) >= min(FEWEST_CELLS, counts.shape[0]))
    if len(seen) > n_top_genes:
        dispersions = _normalised_dispersions(normalise(counts[:, seen], spec.normalization))
        known = np.sort(dispersions[~np.isnan(dispersions)])
        lowest = known[-min(n_top_genes, len(known))] if len(known) else -np.inf
        seen = seen[np.nan_to_num(dispersions, nan=-np.inf) >= lowest]
    return spec.features.subset(seen.tolist())


def _normalised_dispersions(logs: sparse.csr_matrix) -> NDArray[np.float64]:
    """Logarithm of variance over mean of each gene, standardised among genes of similar mean, `(n_vars,)`; NaN if it is constant.

    The same numbers as `dispersions_norm` of :func:`scanpy.pp.highly_variable_genes`, whose compilation takes seconds in every process.

    Parameters
    ----------
    logs
        log1p of scaled counts, `(n_obs, n_vars)`.
    """
    n_obs, n_vars = logs.shape
    values = np.expm1(logs.data).astype(np.float64)
    mean, mean_square = (np.bincount(logs.indices, weights, minlength=n_vars) / n_obs for weights in (values, values**2))
    variance = (mean_square - mean**2) * (n_obs / max(n_obs - 1, 1))
    mean[mean == 0] = 1e-12
    dispersion = variance / mean
    dispersion[dispersion == 0] = np.nan
    log_dispersion = pd.Series(np.log(dispersion))
    of_bin = log_dispersion.groupby(pd.cut(np.log1p(mean), bins=_N_BINS, labels=False))
    average, deviation = of_bin.transform("mean"), of_bin.transform("std")
    # A gene that is alone in its bin has the standardised dispersion 1.
    standardised = ((log_dispersion - average) / deviation).where(deviation.notna(), log_dispersion / average)
    return standardised.to_numpy(dtype=np.float64)
