"""The genes of a model in a dataset."""

import numpy as np
import pytest
from tests.reference import make_reference

import sctab
from sctab.model import LinearClassifier


@pytest.fixture(scope="module")
def model():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    return model


def test_agrees_with_the_annotation(model):
    query = make_reference(40, seed=7)[:, 3:].copy()
    table = sctab.get.genes(query, model)
    sctab.tl.annotate(query, model)
    run = query.uns["sctab"]["genes"]
    assert len(table) == run["n_model"]
    assert table["found"].sum() == run["n_matched"] == len(table) - 3
    assert table.loc[table["found"], "importance"].sum() == pytest.approx(run["coverage"])
    assert table["importance"].sum() == pytest.approx(1)
    assert table["importance"].is_monotonic_decreasing
    importance = model.gene_importance[[model.spec.features.names.index(name) for name in table.index]]
    np.testing.assert_allclose(table["importance"], importance / importance.sum(), rtol=1e-6)
    assert set(table.index[~table["found"]]) == set(make_reference(40).var_names[:3])


def test_the_features_of_the_matrix_that_is_used(model):
    query = make_reference(40, seed=7)
    query.raw = query
    few = query[:, :10].copy()
    assert sctab.get.genes(few, model, layer="raw")["found"].all()
    assert sctab.get.genes(few, model, layer="X")["found"].sum() == 10


def test_no_coverage_is_too_low_to_be_looked_at(model):
    table = sctab.get.genes(make_reference(40, seed=7)[:, :1].copy(), model)
    assert table["found"].sum() == 1


def test_the_user_s_data_is_left_alone(model):
    query = make_reference(40, seed=7)
    before = query.copy()
    sctab.get.genes(query, model)
    assert not query.uns
    assert query.obs.equals(before.obs)
    assert query.var.equals(before.var)
