"""Selection of the most variable genes: the same as scanpy's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from hypothesis import given, settings, strategies as st
from scipy import sparse

from sctab.data import FeatureSpace, Normalization, normalise
from sctab.errors import SettingError
from sctab.train import fewer_genes_than_cells, most_variable_genes


def selected(counts, n_top_genes):
    """Positions of the selected genes."""
    names = tuple(f"G{i}" for i in range(counts.shape[1]))
    spec = SimpleNamespace(normalization=Normalization(), features=FeatureSpace(ids=("",) * len(names), symbols=names))
    return [int(symbol[1:]) for symbol in most_variable_genes(counts, spec, n_top_genes).symbols]


def by_scanpy(counts, n_top_genes):
    """Positions that scanpy selects among genes that ten cells show, and the normalised dispersion of every gene, NaN where few show it."""
    seen = np.flatnonzero(counts.getnnz(axis=0) >= min(10, counts.shape[0]))
    logs = AnnData(normalise(counts[:, seen], Normalization()))
    found = sc.pp.highly_variable_genes(logs, n_top_genes=n_top_genes, inplace=False)
    dispersions = np.full(counts.shape[1], np.nan)
    dispersions[seen] = found["dispersions_norm"]
    return seen[found["highly_variable"].to_numpy()].tolist(), dispersions


def random_counts(seed, n_obs, n_vars):
    """Counts of genes of different means and dispersions."""
    rng = np.random.default_rng(seed)
    means, shapes = rng.lognormal(0, 1.5, n_vars), rng.lognormal(0, 1, n_vars)
    return sparse.csr_matrix(rng.poisson(means * rng.gamma(shapes, 1 / shapes, (n_obs, n_vars))).astype(np.float32))


class TestMostVariableGenes:
    @pytest.mark.parametrize("n_top_genes", [1, 50, 200, 500])
    def test_of_real_cells(self, n_top_genes):
        adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
        adata.X.data = np.expm1(adata.X.data)
        counts = sparse.csr_matrix(adata.X)
        assert selected(counts, n_top_genes) == by_scanpy(counts, n_top_genes)[0]

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**6), st.integers(12, 120), st.integers(60, 300))
    def test_of_random_cells(self, seed, n_obs, n_vars):
        """Two genes alone in a bin have the same dispersion but for rounding, and either may be the last: dispersions are compared."""
        counts = random_counts(seed, n_obs, n_vars)
        n_top_genes = max(1, int((counts.getnnz(axis=0) >= 10).sum()) // 3)
        expected, dispersions = by_scanpy(counts, n_top_genes)
        found = selected(counts, n_top_genes)
        n = min(len(found), len(expected))
        assert n >= n_top_genes
        highest = [np.sort(dispersions[positions])[::-1][:n] for positions in (found, expected)]
        np.testing.assert_allclose(*highest, rtol=1e-6, atol=1e-9)

    def test_a_gene_that_is_alone_among_similar_means_has_the_dispersion_one(self):
        counts = random_counts(0, 60, 100).tolil()
        counts[:, 7] = np.full((60, 1), 40_000) + np.arange(60)[:, None] * 100
        counts = counts.tocsr()
        found, (expected, dispersions) = selected(counts, 20), by_scanpy(counts, 20)
        assert dispersions[7] == 1
        assert found == expected
        assert 7 in found

    def test_few_genes_are_all_taken_but_those_that_few_cells_show(self):
        counts = sparse.csr_matrix(np.column_stack([np.ones(30), np.arange(30) < 9, np.arange(30) < 10]).astype(np.float32))
        assert selected(counts, 10) == [0, 2]

    def test_refuses_none(self):
        with pytest.raises(SettingError, match=r"`n_top_genes=0` must be at least 1, or `'all'`"):
            selected(random_counts(0, 12, 20), 0)


@pytest.mark.parametrize(("n_obs", "n_genes"), [(100, 1000), (5000, 5000), (500_000, None)])
def test_fewer_genes_than_cells(n_obs, n_genes):
    assert fewer_genes_than_cells(n_obs) == n_genes
