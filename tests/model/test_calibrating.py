"""Calibration on labelled cells of other data: which cells count, and what is said of what changed."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference

import sctab
from sctab.inference import Calibration, HeldOutCells
from sctab.model import DeepEnsemble, LinearClassifier
from sctab.model._calibrating import labels_of_model, warn_of_changes
from sctab.ontology import CellOntology, LabelSpace

QUICK = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture
def model():
    adata = make_reference()
    LinearClassifier.setup_anndata(adata, "cell_type")
    model = LinearClassifier(adata)
    model.train(**QUICK, calibrate=False)
    return model


@pytest.fixture
def other():
    return make_reference(seed=7)


def held_out_of(model):
    return HeldOutCells.from_arrays(model.predictor.arrays, model.predictor.spec)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ("cell", 240)),
        ({"donor_key": "donor_id"}, ("donor", 4)),
        ({"donor_key": "donor_id", "dataset_key": "study"}, ("dataset", 2)),
    ],
)
def test_a_model_is_calibrated_on_other_cells(model, other, keys, expected):
    other.obs["study"] = np.where(np.arange(240) < 90, "one", "two")
    model.calibrate(other[:, ::-1].copy(), "cell_type", **keys)
    assert (model.spec.calibration.unit, model.spec.calibration.n_units) == expected
    truth = pd.Index(model.spec.labels.names).get_indexer(other.obs["cell_type"])
    np.testing.assert_array_equal(held_out_of(model).truth, truth)
    np.testing.assert_array_equal(
        held_out_of(model).members.log_mean.argmax(axis=1), pd.Index(model.spec.labels.names).get_indexer(model.predict(other))
    )
    query = make_reference(60, seed=8)
    sctab.tl.annotate(query, model, accepted_error=0.4)
    assert query.obs["sctab_term"].notna().any()


def test_other_cells_need_a_label_of_the_model(model, other):
    other.obs["cell_type"] = other.obs["cell_type"].cat.rename_categories(["platelet", "neuron", "hepatocyte"])
    with pytest.raises(sctab.LabelError, match="below one in the Cell Ontology. Its labels are `B cell`, `T cell`, `monocyte`"):
        model.calibrate(other, "cell_type")
    assert model.spec.calibration is None


@pytest.mark.parametrize("members", [1, 2])
def test_finer_labels_count_as_the_closest_label_above_them(model, other, members):
    if members > 1:
        model = DeepEnsemble.from_members([model, model])
    renamed = {"B cell": "naive B cell", "T cell": "CD8-positive, alpha-beta T cell", "monocyte": "neuron"}
    other.obs["author"] = other.obs["cell_type"].cat.rename_categories(renamed)
    said = "80 of 240 cells do not count: `neuron` is neither a label of the model nor below one"
    with pytest.warns(sctab.SctabWarning, match=said):
        model.calibrate(other, "author")
    counted = other.obs["cell_type"][other.obs["author"] != "neuron"]
    names = np.array(model.spec.labels.names)
    assert names[held_out_of(model).truth].tolist() == counted.tolist()
    assert held_out_of(model).is_known.all()


def test_labels_of_a_model():
    labels = LabelSpace.from_names(
        ["T cell", "CD4-positive, alpha-beta T cell", "mine"], CellOntology.embedded(), label_ids={"mine": None}
    )
    names = ["CD4-positive helper T cell", "T-cell", "T lymphocyte", "leukocyte", "mine", "another"]
    assert dict(labels_of_model(names, labels, [])) == {
        "CD4-positive helper T cell": "CD4-positive, alpha-beta T cell",
        "T-cell": "T cell",
        "T lymphocyte": "T cell",
        "mine": "mine",
    }


def test_a_type_below_two_labels_that_are_not_above_each_other_counts_as_none():
    labels = LabelSpace.from_names(["alpha-beta T cell", "mature T cell"], CellOntology.embedded())
    assert dict(labels_of_model(["mature alpha-beta T cell"], labels, [])) == {}


def test_a_change_of_what_promises_hold_for_is_said(model, other):
    model.calibrate(other, "cell_type", donor_key="donor_id")
    with pytest.warns(sctab.SctabWarning, match="held for new donors, and now hold for other cells of the same data"):
        model.calibrate(other, "cell_type")
    with pytest.warns(sctab.SctabWarning, match="held for other cells of the same data, and now hold for new donors"):
        model.calibrate(other, "cell_type", donor_key="donor_id")
    with warnings.catch_warnings():
        warnings.simplefilter("error", sctab.SctabWarning)
        model.calibrate(other, "cell_type", donor_key="donor_id")


def test_a_larger_calibration_error_is_said(model, other):
    model.calibrate(other, "cell_type")
    cells, labels = held_out_of(model), model.spec.labels
    before = model.spec.calibration
    worse = replace(before, calibration_error=before.calibration_error + 0.5)
    with pytest.warns(sctab.SctabWarning, match=f"expected calibration error, {worse.calibration_error:.3f}, than the one before"):
        warn_of_changes(before, worse, cells, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sctab.SctabWarning)
        warn_of_changes(before, before, cells, labels)
        warn_of_changes(None, worse, cells, labels)
        warn_of_changes(before, Calibration(unit=before.unit), cells, labels)
