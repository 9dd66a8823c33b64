"""What models keep of their types, and from which cells."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tests.types_of_cells import cells_of, learn

from sctab.data import Normalization, normalise
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier, load_model
from sctab.model._seen_types import sample_of_labels

QUICK = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture
def reference():
    adata = cells_of(np.random.default_rng(0).integers(3, size=300), 1)
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    return adata


def test_types_are_those_of_all_cells_with_whole_donors_held_out(reference):
    model = LinearClassifier(reference)
    model.train(**QUICK)
    codes = np.array([model.spec.labels.names.index(name) for name in reference.obs["cell_type"]])
    donors = np.unique(reference.obs["donor_id"], return_inverse=True)[1]
    expected = learn(normalise(reference.X, Normalization()), codes, donors).to_arrays()
    for name, values in expected.items():
        np.testing.assert_allclose(model.predictor.arrays[f"types.{name}"], values, rtol=1e-5)


def test_whole_datasets_are_held_out_where_there_are_several(reference):
    reference.obs["study"] = np.repeat(["x", "y"], 150)
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id", dataset_key="study")
    model = LinearClassifier(reference)
    model.train(**QUICK)
    units = model.predictor.arrays["types.units"]
    assert np.bincount(units).tolist() == [150, 150]


def test_no_types_without_calibration(reference):
    model = LinearClassifier(reference)
    model.train(**QUICK, calibrate=False)
    assert not model.predictor.arrays


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
@pytest.mark.parametrize("kind", ["ensemble", "auto"])
def test_ensembles_and_auto_keep_and_store_them(reference, tmp_path, kind):
    if kind == "auto":
        model = AutoClassifier(reference, candidates=["linear", "mlp"])
    else:
        model = DeepEnsemble(LinearClassifier, n_members=2)
        model.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model.train(**QUICK)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model").predictor.arrays
    names = {name for name in again if name.startswith("types.")}
    assert names == {"types.genes", "types.expression", "types.mean_expression", "types.scores", "types.units"}
    for name in names:
        np.testing.assert_array_equal(again[name], model.predictor.arrays[name])


def test_sample_worked_by_hand():
    """Room for 12: the rare label has all of its two, and the others share the ten that are left."""
    labels = np.repeat([0, 1, 2, -1], [50, 2, 30, 9])
    chosen = sample_of_labels(labels, 12, np.random.default_rng(0))
    assert np.bincount(labels[chosen]).tolist() == [5, 2, 5]
    assert (np.diff(chosen) > 0).all()


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), most=st.integers(6, 100))
def test_samples_have_as_many_as_there_is_room_for(sizes, most):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    chosen = sample_of_labels(labels, most, np.random.default_rng(0))
    assert len(np.unique(chosen)) == len(chosen)
    assert len(chosen) <= most
    assert len(chosen) > min(sum(sizes), most) - len(sizes)
    counts = np.bincount(labels[chosen], minlength=len(sizes))
    limit = counts.max(initial=0)
    assert all(count in (size, limit) for count, size in zip(counts, sizes, strict=True))
