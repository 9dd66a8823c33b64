"""Neighbourhoods of a query, against those of scikit-learn on the dense matrix."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from sctab.inference import _neighbourhoods
from sctab.inference._neighbourhoods import Neighbourhoods


def cells(n_obs=150, n_vars=60, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.gamma(1, 1, size=(3, n_vars))
    return sparse.csr_matrix(np.log1p(rng.poisson(centres[rng.integers(3, size=n_obs)])).astype(np.float32))


@pytest.fixture
def values():
    return cells()


def test_components_are_those_of_scikit_learn(values):
    found = Neighbourhoods.learn(values, n_genes=60).project(values)
    expected = PCA(20, svd_solver="full").fit_transform(values.toarray().astype(np.float64))
    found -= found.mean(axis=0)  # they are not centred
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found[:, :10] * signs[:10], expected[:, :10], atol=1e-3)


def test_each_cell_of_a_small_query_is_its_own_landmark(values):
    neighbourhoods = Neighbourhoods.learn(values, n_genes=60)
    assert len(neighbourhoods) == 150
    np.testing.assert_array_equal(neighbourhoods.assign(values), np.arange(150))


def test_means_are_over_the_nearest_neighbours_of_scikit_learn(values):
    neighbourhoods = Neighbourhoods.learn(values, n_genes=60)
    components = neighbourhoods.project(values)
    nearest = NearestNeighbors(n_neighbors=20).fit(components).kneighbors(components, return_distance=False)
    expected = values.toarray()[nearest].mean(axis=1)
    np.testing.assert_allclose(neighbourhoods.mean(values, values), expected, rtol=1e-5, atol=1e-6)


def test_fewer_landmarks_than_cells(values, monkeypatch):
    monkeypatch.setattr(_neighbourhoods, "_MOST_LANDMARKS", 7)
    neighbourhoods = Neighbourhoods.learn(values, n_genes=60)
    components = neighbourhoods.project(values)
    expected = NearestNeighbors(n_neighbors=1).fit(neighbourhoods.landmarks).kneighbors(components, return_distance=False)[:, 0]
    np.testing.assert_array_equal(neighbourhoods.assign(values), expected)
    assert neighbourhoods.mean(values, values).shape == (7, 60)


def test_landmarks_are_those_of_the_seed(values, monkeypatch):
    monkeypatch.setattr(_neighbourhoods, "_MOST_LANDMARKS", 7)
    first, again, other = (Neighbourhoods.learn(values, n_genes=60, seed=seed).landmarks for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_covariates_are_left_out(values):
    """Cells that differ in a covariate only are not apart."""
    known = sparse.csr_matrix(np.eye(2, dtype=np.float32)[np.arange(150) % 2] * 100)
    with_known = sparse.hstack([values, known], format="csr")
    found = Neighbourhoods.learn(with_known, n_genes=60)
    expected = Neighbourhoods.learn(values, n_genes=60)
    np.testing.assert_array_equal(found.project(with_known), expected.project(values))


@pytest.mark.parametrize(("n_obs", "n_measured"), [(35, 100), (35, 600), (8, 40), (2, 300)])
def test_most_genes_are_not_measured(n_obs, n_measured):
    dense = np.zeros((n_obs, 1_200), dtype=np.float32)
    rng = np.random.default_rng(0)
    measured = rng.permutation(1_200)[:n_measured]
    dense[:, measured] = np.log1p(50 * rng.poisson(rng.gamma(0.3, 2, n_measured), (n_obs, n_measured)))
    learned = Neighbourhoods.learn(sparse.csr_matrix(dense), n_genes=1_200)
    found = learned.project(sparse.csr_matrix(dense))
    among = np.argsort(-dense.var(axis=0), kind="stable")[:500]
    expected = PCA(1, svd_solver="full").fit_transform(dense[:, among].astype(np.float64))[:, 0]
    found = found[:, 0] - found[:, 0].mean()
    np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-2)


def test_few_cells():
    """Fewer cells than neighbours, and a single one."""
    for n_obs in (1, 5):
        values = cells(n_obs)
        neighbourhoods = Neighbourhoods.learn(values, n_genes=60)
        expected = np.repeat(values.toarray().mean(axis=0)[None], n_obs, axis=0)
        np.testing.assert_allclose(neighbourhoods.mean(values, values), expected, rtol=1e-5, atol=1e-6)
        assert neighbourhoods.assign(values).shape == (n_obs,)


@given(seed=st.integers(0, 99))
def test_blocks_do_not_matter(seed):
    values = cells(seed=seed)
    neighbourhoods = Neighbourhoods.learn(values, n_genes=60)
    parts = [neighbourhoods.assign(values[start : start + 40]) for start in range(0, 150, 40)]
    np.testing.assert_array_equal(np.concatenate(parts), neighbourhoods.assign(values))


@given(seed=st.integers(0, 99))
def test_order_of_genes_does_not_matter(seed):
    """Neither does the order of the stored values of a cell."""
    values = cells(seed=seed)
    order = np.random.default_rng(seed).permutation(60)
    shuffled = values[:, order]
    means = [Neighbourhoods.learn(each, n_genes=60).mean(each, values) for each in (values, shuffled)]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-5, atol=1e-5)
