import numpy as np
import pytest
from scipy import sparse

from sctab.train._gene_sums import GeneSums


def _counts(seed=0, n_obs=200, n_vars=150):
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.3, 4, n_vars) * rng.gamma(0.4, 2.5, (n_obs, n_vars)))


def _by_bisection(counts, n):
    """The published search for an offset, written from its description."""
    detected = (counts > 0).sum(axis=0)
    usable = detected >= 10
    dropout = 1 - detected / len(counts)
    logs = np.where(counts > 0, np.log2(np.maximum(counts, 1)), 0).sum(axis=0) / np.maximum(detected, 1)
    low, high, offset = 0.0, 10.0, 5.0
    for _ in range(200):
        selected = usable & (dropout > np.exp(-1.5 * (logs - offset)) + 0.02)
        if selected.sum() == n:
            break
        low, high = (low, offset) if selected.sum() < n else (offset, high)
        offset = (low + high) / 2
    return np.flatnonzero(selected)


def test_sums_do_not_depend_on_blocks():
    counts = sparse.csr_matrix(_counts())
    whole, parts = GeneSums.of([counts], 150), GeneSums.of([counts[:70], counts[70:]], 150)
    np.testing.assert_array_equal(whole.totals, counts.toarray().sum(axis=0))
    np.testing.assert_array_equal(whole.n_detected, (counts.toarray() > 0).sum(axis=0))
    np.testing.assert_allclose(whole.log2_sums, parts.log2_sums)
    assert whole.n_obs == parts.n_obs == 200


@pytest.mark.parametrize("n", [1, 10, 40])
@pytest.mark.parametrize("seed", range(3))
def test_genes_are_those_of_the_published_search(n, seed):
    counts = _counts(seed)
    found = GeneSums.of([sparse.csr_matrix(counts)], counts.shape[1]).genes_by_dropout(n)
    np.testing.assert_array_equal(found, _by_bisection(counts, n))


def test_fewer_genes_are_found_where_fewer_follow_the_rule():
    counts = np.ones((50, 3), dtype=int)  # in all cells: nothing drops out
    counts[:20, 0] = 0
    counts[20:, 0] = 40
    assert GeneSums.of([sparse.csr_matrix(counts)], 3).genes_by_dropout(2).tolist() == [0]


def test_stored_zeros_are_not_counts():
    counts = sparse.csr_matrix((np.array([0.0, 3.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    sums = GeneSums.of([counts], 2)
    assert sums.n_detected.tolist() == [0, 1]
    assert np.isfinite(sums.log2_sums).all()
