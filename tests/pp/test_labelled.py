"""Labelled cells of a query: how many there are, and what they are good for."""

import warnings

import numpy as np
import pandas as pd
import pytest
from tests.types_of_cells import cells_of

import sctab
from sctab import KeyNotFoundError
from sctab.model import LinearClassifier

QUICK = {"max_epochs": 20, "accelerator": "cpu", "enable_progress_bar": False}


def trained(**settings):
    reference = cells_of(np.random.default_rng(0).integers(3, size=300), 1)
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(**QUICK, **settings)
    return model


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture
def query():
    query = cells_of(np.arange(120) % 3, 2)
    query.obs["known"] = query.obs["cell_type"].astype(str)
    query.obs.loc[query.obs_names[90:], "known"] = np.nan
    query.obs.loc[query.obs_names[87:90], "known"] = "unknown"
    return query


def test_labels_are_counted(model, query):
    found = sctab.pp.check(query, model, labels_key="known").labelled
    assert (found["n_cells"], found["n_types"], found["n_per_type"], found["unknown"]) == (87, 3, 29, [])


def test_enough_labels_are_worth_a_training(model, query):
    found = sctab.pp.check(query, model, labels_key="known")
    assert found.labelled["choice"] == "fine-tune"
    assert any("29 labelled cells of each type" in str(note) and "load_query_data" in str(note) for note in found.warnings)
    assert "best choice: fine-tune" in " ".join(str(found).split())


def test_few_labels_are_not(model, query):
    query.obs.loc[query.obs_names[30:], "known"] = np.nan
    found = sctab.pp.check(query, model, labels_key="known")
    assert found.labelled["choice"] == "as it is"
    assert not any("load_query_data" in str(note) for note in found.warnings)


def test_types_that_the_model_does_not_know(model, query):
    query.obs["known"] = pd.Categorical(np.where(np.arange(120) < 60, "neuron", "astrocyte"))
    found = sctab.pp.check(query, model, labels_key="known")
    assert found.labelled["choice"] == "from scratch"
    assert sorted(found.labelled["unknown"]) == ["astrocyte", "neuron"]
    assert any("has learned none of the 2 types" in str(note) for note in found.warnings)


def test_other_names_of_the_same_types(model, query):
    others = dict.fromkeys(model.spec.labels.names, "unlike any name") | {"B cell": "B lymphocyte"}
    query.obs["known"] = query.obs["cell_type"].astype(str).map(others)
    assert "B cell" in model.spec.labels.names
    assert sctab.pp.check(query, model, labels_key="known").labelled["unknown"] == ["unlike any name"]


def test_a_model_with_a_sketch_is_refitted(query):
    found = sctab.pp.check(query, trained(sketch=60), labels_key="known")
    assert found.has_sketch
    assert found.labelled["choice"] == "refit"


def test_few_genes(model, query):
    few = query[:, model.gene_importance.argsort()[:15]].copy()
    found = sctab.pp.check(few, model, min_gene_coverage=0)
    assert 0 < found.coverage < 0.5
    assert any("refitted" in str(note) and "sketch=2000" in str(note) for note in found.warnings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sctab.tl.annotate(few, model, min_gene_coverage=0)
    assert any("sketch=2000" in str(each.message) for each in caught)
    assert any("sketch=2000" in note for note in few.uns["sctab"]["warnings"])
    assert not any("sketch=2000" in str(note) for note in sctab.pp.check(query, model).warnings)


def test_a_file(model, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    found = sctab.pp.check_file(tmp_path / "query.h5ad", model, labels_key="known")
    assert found.labelled == sctab.pp.check(query, model, labels_key="known").labelled


def test_a_column_that_is_not_there(model, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    for check in (
        lambda: sctab.pp.check(query, model, labels_key="absent"),
        lambda: sctab.pp.check_file(tmp_path / "query.h5ad", model, labels_key="absent"),
    ):
        with pytest.raises(KeyNotFoundError, match="absent"):
            check()


def test_no_cell_has_a_label(model, query):
    query.obs["known"] = np.nan
    found = sctab.pp.check(query, model, labels_key="known")
    assert (found.labelled["n_cells"], found.labelled["choice"]) == (0, "as it is")
