"""The test that fits a query, from some of its cells."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score
from tests.types_of_cells import N_GENES, NORMALIZATION, learn, programs, reference

from sctab.data import FeatureSpace, open_query
from sctab.inference import Evaluation, LogitTest, NeighbourhoodTest, _query_test
from sctab.inference._query_test import NO_MARKERS, NO_TYPES, fraction_unseen, sample_ranges, unseen_test

GENES = [f"ENSG{number:011d}" for number in range(N_GENES)]


class Logits:
    """Networks that give the first three inputs as logits."""

    def predict_rows(self, recipe, block, rows):
        values, measured = recipe.apply(*block, rows)
        return Evaluation(values[:, :3].toarray()[:, None], None, measured)


def open_cells(codes, *, genes=slice(None), empty=0):
    counts = np.random.default_rng(7).poisson(programs()[codes]).astype(np.float32)
    counts[:empty] = 0
    adata = AnnData(sparse.csr_matrix(counts[:, genes]), var=pd.DataFrame(index=np.array(GENES)[genes]))
    adata.obs_names = [f"cell{number}" for number in range(len(codes))]
    features = FeatureSpace(ids=tuple(GENES), symbols=("",) * N_GENES)
    return open_query(adata, features, NORMALIZATION)


@pytest.fixture(scope="module")
def seen():
    return learn(*reference())


def p_values(test, query):
    (block,) = query.read([(0, query.n_obs)])
    values, measured = query.recipe.apply(*block, slice(0, query.n_obs))
    return test.p_values(values, np.zeros((query.n_obs, 1, 3))), measured


@pytest.mark.parametrize("most", [10_000, 200])
def test_unseen_cells_have_small_p_values(seen, most, monkeypatch):
    """Also where the test is learned from half of the cells."""
    monkeypatch.setattr(_query_test, "MOST_CELLS", most)
    codes = np.arange(400) % 4
    query = open_cells(codes)
    test, note = unseen_test(seen, query, NORMALIZATION, Logits())
    assert isinstance(test, NeighbourhoodTest)
    assert len(test.of_landmarks) == min(most, 400)
    assert note == ""
    found, _ = p_values(test, query)
    assert roc_auc_score(codes == 3, -found) > 0.98


def test_genes_of_a_panel_come_from_the_match(seen):
    codes = np.arange(400) % 4
    query = open_cells(codes, genes=slice(None, None, 2))
    test, _ = unseen_test(seen, query, NORMALIZATION, Logits())
    assert roc_auc_score(codes == 3, -p_values(test, query)[0]) > 0.98


def test_cells_without_counts_are_not_learned_from(seen):
    query = open_cells(np.arange(130) % 3, empty=30)
    test, _ = unseen_test(seen, query, NORMALIZATION, Logits())
    assert len(test.of_landmarks) == 100


@pytest.mark.parametrize("n_obs", [1, 20, 79])
def test_few_cells_are_not_tested(seen, n_obs):
    """The difference between datasets cannot be estimated from them, and all would seem to be of unseen types."""
    test, note = unseen_test(seen, open_cells(np.arange(n_obs) % 3), NORMALIZATION, Logits())
    assert test is None
    assert note.startswith(f"Too few cells to look for unseen types: {n_obs} have counts in the model's genes")


def test_without_types_the_logits_are_looked_at(seen):
    query = open_cells(np.arange(100) % 3, empty=30)
    (block,) = query.read([(0, 100)])
    values, measured = query.recipe.apply(*block, slice(0, 100))
    expected = LogitTest.learn(values[measured][:, :3].toarray()[:, None])
    assert unseen_test(None, query, NORMALIZATION, Logits()) == (expected, NO_TYPES)


def test_without_markers_the_logits_are_looked_at(seen):
    genes = np.setdiff1d(np.arange(N_GENES), seen.genes)
    test, note = unseen_test(seen, open_cells(np.arange(100) % 3, genes=genes), NORMALIZATION, Logits())
    assert isinstance(test, LogitTest)
    assert note == NO_MARKERS


def test_a_query_without_counts_is_not_tested(seen):
    query = open_cells(np.arange(41) % 3, empty=40)
    object.__setattr__(query, "normalization", NORMALIZATION)
    empty = open_cells(np.arange(41) % 3, empty=40)
    first = type("First", (), {"n_obs": 40, "match": empty.match, "recipe": empty.recipe, "read": empty.read})
    for types in (seen, None):
        assert unseen_test(types, first, NORMALIZATION, Logits()) == (None, "")


@given(n_obs=st.integers(0, 5000), n_cells=st.integers(1, 2000))
def test_ranges_are_rows_of_the_query_each_once(n_obs, n_cells):
    ranges = sample_ranges(n_obs, n_cells)
    rows = np.concatenate([np.arange(*at) for at in ranges]) if ranges else np.zeros(0, dtype=int)
    assert len(rows) <= max(n_cells, 0)
    assert len(rows) >= min(n_obs, n_cells) - 50
    assert len(np.unique(rows)) == len(rows)
    assert rows.min(initial=0) >= 0
    assert rows.max(initial=-1) < n_obs


def test_the_sample_spans_the_query():
    ranges = sample_ranges(100_000, 10_000)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 100_000
    assert len(ranges) == 50


def test_fraction_of_reported_cells():
    assert fraction_unseen(np.array([0.01, 0.2, np.nan, 0.9]), 0.2) == pytest.approx(2 / 3)
    assert fraction_unseen(np.array([np.nan]), 0.2) == 0
