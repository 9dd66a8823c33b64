"""Numbers of the cells of a query, and what follows from a sample of them."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import false_discovery_control
from tests.types_of_cells import cells_of

from sctab.data import FeatureSpace, Normalization, open_query
from sctab.inference._backoff import BackOff
from sctab.inference._exchangeable import ConfidenceRanks
from sctab.inference._query_check import PromiseCheck, SampledCells, count_cells, holds_counts


def query_of(adata):
    features = FeatureSpace(ids=tuple(f"ENSG{number:011d}" for number in range(50)), symbols=("",) * 50)
    return open_query(adata, features, Normalization())


@pytest.fixture
def adata():
    adata = cells_of(np.arange(2_100) % 3, 0)
    dense = adata.X.toarray()
    dense[7] = 0
    dense[9, :50] = 0
    adata.X = sparse.csr_matrix(dense)
    return adata


def test_counts_are_those_of_numpy(adata):
    found, dense = count_cells(query_of(adata), None), adata.X.toarray()
    np.testing.assert_allclose(found.n_counts, dense[:, :50].sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found.n_detected, (dense[:, :50] > 0).sum(axis=1))
    assert np.flatnonzero(found.is_empty).tolist() == [7]
    assert np.flatnonzero(~found.measured).tolist() == [7, 9]
    assert found.is_learned is None


def test_counts_and_what_is_proportional_to_them(adata):
    assert holds_counts(query_of(adata))
    adata.X = adata.X.multiply(1e4 / np.maximum(adata.X.sum(axis=1), 1)).tocsr()
    assert not holds_counts(query_of(adata))


def sampled(p_values, codes=None, confidence=None):
    codes = np.zeros(len(p_values), dtype=np.int32) if codes is None else codes
    return SampledCells(
        int((codes >= 0).sum()), codes, np.ones(len(codes)) if confidence is None else confidence, np.asarray(p_values), ""
    )


def test_unseen_cells_are_those_of_scipy():
    p_values = np.random.default_rng(0).beta(0.4, 1, size=500).astype(np.float32)
    expected = int((false_discovery_control(p_values) <= 0.2).sum())
    assert expected > 10
    assert sampled(p_values).n_unseen(0.2) == expected


def test_cells_without_counts_are_not_counted():
    codes = np.array([0, 0, -1], dtype=np.int32)
    found = sampled(np.array([0.4, 0.2, 0.0], dtype=np.float32), codes)
    assert found.n_unseen(0.1) == 0
    assert found.shift == pytest.approx(0.7)
    assert sampled(np.zeros(1, dtype=np.float32), np.array([-1])).shift is None


def test_promise_is_tested_with_the_confidence():
    rng = np.random.default_rng(0)
    ranks = ConfidenceRanks((np.sort(rng.uniform(size=400)),), 0.05)
    backoff = BackOff(None, np.zeros(1), 0.1, "donor", 5, "a note", ranks)
    alike, unlike = (sampled(np.ones(300), confidence=rng.uniform(0, high, size=300)) for high in (1, 0.5))
    assert PromiseCheck.of(backoff, alike).holds
    assert not PromiseCheck.of(backoff, unlike).holds
    found = PromiseCheck.of(backoff, unlike).to_json()
    assert found["distance"] == pytest.approx(0.25 - 3 * np.sqrt((1 / 400 + 1 / 300) / 12), abs=0.03)
    assert (found["unit"], found["n_units"], found["note"], found["holds"]) == ("donor", 5, "a note", False)
    assert PromiseCheck.of(BackOff(None, np.zeros(1), 0.1, "donor", 5), alike) is None
