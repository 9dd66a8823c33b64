"""What only XGBoostClassifier has: components of the training cells, trees, and their bytes."""

import copy
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from scipy.special import softmax
from sklearn.decomposition import PCA
from tests.reference import make_reference

from sctab import MissingDependencyError, ModelFormatError, SettingError
from sctab.data import Normalization, normalise
from sctab.model import XGBoostClassifier, load_model

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "refit": False}


def fresh_model(**settings):
    adata = make_reference()
    XGBoostClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    return XGBoostClassifier(adata, **settings)


@pytest.fixture(scope="module")
def trained():
    model = fresh_model(n_components=5)
    model.train(calibrate=False, **QUIET, learning_rate=0.3)
    return model


def test_components_are_those_of_the_training_cells(trained):
    values = normalise(trained.adata.X, Normalization()).toarray()
    expected = PCA(5, svd_solver="full").fit(values[trained.train_indices])
    own = trained.get_latent_representation()
    # Three types differ along two directions; the others are noise, whose directions are next to arbitrary.
    np.testing.assert_allclose(np.abs(own[:, :2]), np.abs(expected.transform(values)[:, :2]), atol=0.01)
    assert own[trained.train_indices].var(axis=0).sum() > 0.98 * expected.explained_variance_.sum()
    np.testing.assert_allclose(trained.module.mean, values[trained.train_indices].mean(axis=0), atol=1e-5)


def test_stored_trees_are_those_of_xgboost(trained, tmp_path):
    """Follow the stored arrays by hand, from the root of each tree to a leaf."""
    query = make_reference(90, seed=7)
    trained.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    stored = load_file(tmp_path / "model" / "model.safetensors")
    left, right, feature, threshold = (stored[f"network.tree_{name}"] for name in ("left", "right", "feature", "threshold"))
    latent = load_model(tmp_path / "model").get_latent_representation(query)
    margins = np.tile(stored["network.tree_base"].astype(float), (len(latent), 1))
    root = 0
    for number, size in enumerate(stored["network.tree_sizes"]):
        for cell, values in enumerate(latent):
            node = 0
            while left[root + node] >= 0:
                is_left = values[feature[root + node]] < threshold[root + node]
                node = (left if is_left else right)[root + node]
            margins[cell, number % 3] += threshold[root + node]
        root += size
    np.testing.assert_allclose(softmax(margins, axis=1), trained.predict(query, soft=True), atol=1e-5)


@pytest.mark.parametrize("name", ["left", "right", "feature", "threshold", "sizes", "default_left"])
def test_damaged_trees_never_reach_xgboost(trained, name):
    model = copy.deepcopy(trained.module)
    buffer = model.get_buffer(f"tree_{name}")
    buffer[0] = float("nan") if buffer.is_floating_point() else 100
    model._booster = None
    with pytest.raises(ModelFormatError, match="The trees of the model are damaged"):
        model(torch.zeros(2, 60))
    with pytest.raises(ModelFormatError, match="The trees of the model are damaged"):
        trained.module.load_state_dict(model.state_dict())
    assert trained.module(torch.zeros(2, 60)).logits.isfinite().all()


def test_training_stops_and_the_best_round_is_kept(trained):
    losses = trained.history["validation_loss"].to_numpy().ravel()
    training = trained.spec.training
    assert training["epochs"] == len(losses) < 800
    assert training["best_epoch"] == losses.argmin()
    assert trained.module.booster.num_boosted_rounds() == losses.argmin() + 1
    assert len(losses) == losses.argmin() + 1 + 10  # patience


def test_every_round_is_logged(tmp_path):
    model = fresh_model()
    model.train(calibrate=False, **QUIET, max_epochs=4, run_dir=tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "metrics.csv", index_col="epoch")
    assert list(table.index) == [0, 1, 2, 3]
    for name in ("train_loss", "validation_loss", "validation_macro_f1", "learning_rate"):
        np.testing.assert_allclose(table[name], model.history[name][name])


def test_training_on_adds_trees_to_those_that_are_there():
    model = fresh_model()
    for _ in range(2):
        model.train(calibrate=False, **QUIET, max_epochs=3, train_size=1.0)
    assert model.module.booster.num_boosted_rounds() == 6


def test_penalties_are_those_of_xgboost():
    """With a penalty that no leaf outweighs, nothing is learned."""
    model = fresh_model()
    model.train(calibrate=False, **QUIET, max_epochs=2, l1=1e6)
    np.testing.assert_allclose(model.predict(soft=True), 1 / 3, atol=1e-5)


def test_a_query_model_keeps_the_components_and_grows_new_trees(trained):
    model = XGBoostClassifier.load_query_data(make_reference(120, seed=9), trained)
    model.train(calibrate=False, **QUIET, max_epochs=3)
    np.testing.assert_array_equal(model.module.loadings, trained.module.loadings)
    assert model.module.booster.num_boosted_rounds() <= 3


@pytest.mark.parametrize("setting", [{"batch_size": 64}, {"gene_dropout": 0.5}, {"schedule": "step"}, {"callbacks": []}])
def test_what_trees_do_not_have_is_refused(setting):
    with pytest.raises(
        SettingError, match=f"`{next(iter(setting))}` cannot be set for `XGBoostClassifier`.*Available: `max_epochs`"
    ):
        fresh_model().train(calibrate=False, **QUIET, **setting)


@pytest.mark.parametrize("setting", [{"n_components": 0}, {"max_depth": 0}, {"subsample": 0.0}])
def test_senseless_trees_are_refused(setting):
    with pytest.raises(SettingError, match=f"`{next(iter(setting))}"):
        fresh_model(**setting)


def test_without_xgboost_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sctab\[xgboost\]'"):
        fresh_model()
