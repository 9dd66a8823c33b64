"""Means over groups of cells that are read in part."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sctab.data import FeatureSpace, Source, inspect_matrix
from sctab.get import _expression
from sctab.get._expression import inspect_some, summarise


def source_of(counts):
    var = pd.DataFrame(index=[f"ENSG{number:011d}" for number in range(counts.shape[1])])
    return Source("X", counts, var, inspect_matrix(counts)), FeatureSpace.from_var(var)


def test_a_sample_of_each_group_and_sizes_of_all(monkeypatch, rng):
    monkeypatch.setattr(_expression, "_ALL_READ", 100)
    monkeypatch.setattr(_expression, "_AT_ONCE", 7)
    groups = pd.Categorical.from_codes(np.array([0] * 400 + [1] * 5 + [-1] * 20), categories=["many", "few"])
    counts = sparse.csr_matrix(rng.poisson(np.where(np.arange(425)[:, None] < 400, 2.0, 6.0), size=(425, 12)).astype(np.float32))
    source, features = source_of(counts)
    found = summarise(source, features, None, pd.DataFrame(index=range(425)), groups, 50)
    assert found.sizes.tolist() == [400, 5]
    chosen = np.linspace(0, 399, 50).astype(int)
    dense = counts.toarray()
    shown = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(found.means, [shown[chosen].mean(axis=0), shown[400:405].mean(axis=0)], rtol=1e-5)
    np.testing.assert_allclose(found.expressed, [(dense[chosen] > 0).mean(axis=0), (dense[400:405] > 0).mean(axis=0)])
    np.testing.assert_allclose(found.elsewhere(found.means)[0], found.means[1])
    assert found.attention is None


def test_all_cells_of_few(rng):
    counts = sparse.csr_matrix(rng.poisson(2.0, size=(30, 12)).astype(np.float32))
    source, features = source_of(counts)
    groups = pd.Categorical(["a"] * 30)
    found = summarise(source, features, None, pd.DataFrame(index=range(30)), groups, 1)
    np.testing.assert_allclose(found.expressed[0], (counts.toarray() > 0).mean(axis=0))
    assert np.isnan(found.elsewhere(found.means)).all()


@pytest.mark.parametrize("most", [10, 1000])
def test_content_from_some_rows_is_that_of_all(monkeypatch, rng, most):
    monkeypatch.setattr(_expression, "_ALL_READ", most)
    monkeypatch.setattr(_expression, "_RANGE", 8)
    counts = sparse.csr_matrix(rng.poisson(2.0, size=(300, 12)).astype(np.float32))
    assert inspect_some(counts, name="X", columns=None).content == inspect_matrix(counts).content
