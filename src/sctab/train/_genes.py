"""Selection of genes."""

from __future__ import annotations

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from sctab.data import FeatureSpace, normalise
from sctab.errors import Parameter, SettingError
from sctab.inference import ModelSpec
from sctab.train._settings import LARGE_REFERENCE

FEWEST_CELLS = 10
"""Cells that must show a gene before its variance is looked at."""


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
        values = AnnData(normalise(counts[:, seen], spec.normalization))
        found = sc.pp.highly_variable_genes(values, n_top_genes=n_top_genes, inplace=False)
        seen = seen[found["highly_variable"].to_numpy()]
    return spec.features.subset(seen.tolist())
