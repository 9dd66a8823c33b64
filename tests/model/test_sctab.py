"""SCTAB as a user meets it: set up, train, predict, save, load, continue from a reference."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import f1_score
from tests.reference import TYPES, make_reference

from sctab import (
    ModelFormatError,
    SettingError,
)
from sctab.model import SCTAB, LinearClassifier, _crossfit

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "refit": False}
QUICK = QUIET | {"max_epochs": 20, "batch_size": 16, "gene_dropout": 0.3}
"""Some 250 steps: enough for the running statistics of the batch norms to settle."""


def fresh_model(adata=None, *, donor_key=None, **architecture):
    adata = make_reference() if adata is None else adata
    SCTAB.setup_anndata(adata, labels_key="cell_type", donor_key=donor_key)
    return SCTAB(adata, **architecture)


@pytest.fixture(scope="module")
def trained():
    model = fresh_model(donor_key="donor_id")
    model.train(calibrate=False, **QUICK, seed=1)
    return model


@pytest.fixture(scope="module")
def query():
    return make_reference(90, seed=7)


class TestTraining:
    def test_the_kept_weights_are_those_of_the_best_settled_epoch(self, trained):
        """With a one-cycle schedule that is the best of the last fifth, here of four epochs in twenty."""
        best = trained.history["validation_macro_f1"].to_numpy().ravel().astype(float)
        best[:16] = -1
        training = trained.spec.training
        assert training["validation"]["macro_f1"] == pytest.approx(best.max())
        assert training["best_epoch"] == np.flatnonzero(best == best.max())[-1]
        held_out = trained.adata[trained.validation_indices]
        again = f1_score(held_out.obs["cell_type"], trained.predict(held_out.copy()), average="macro")
        assert again == pytest.approx(best.max(), abs=1e-6)

    def test_the_best_epoch_is_kept_and_not_the_last(self):
        model = fresh_model()
        model.train(calibrate=False, **QUICK | {"schedule": "step", "learning_rate": 0.1, "lr_decay": 1.0, "max_epochs": 18})
        values = model.history["validation_macro_f1"].to_numpy().ravel().astype(float)
        held_out = model.adata[model.validation_indices].copy()
        assert f1_score(held_out.obs["cell_type"], model.predict(held_out), average="macro") == pytest.approx(
            values.max(), abs=1e-6
        )

    def test_cells_without_a_label_are_not_learned_from(self):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
        adata.obs.iloc[:30, 0] = "unknown"
        SCTAB.setup_anndata(adata, "cell_type", unlabeled_category="unknown")
        model = SCTAB(adata)
        assert model.spec.labels.names == TYPES
        model.train(calibrate=False, **QUICK)
        assert model.spec.training["n_labeled"] == 210
        assert min(*model.train_indices, *model.validation_indices) >= 30
        assert set(model.predict(adata)) <= set(TYPES)

    def test_masks_pay_for_looking_at_many_genes(self):
        """The loss of the first step grows by `lambda_sparse` times the entropy of the masks, which is not negative."""
        losses = []
        for lambda_sparse in (0.0, 10.0):
            model = fresh_model(lambda_sparse=lambda_sparse)
            model.train(calibrate=False, **QUICK | {"max_epochs": 1, "batch_size": 300})
            losses.append(float(model.history["train_loss"].iloc[0, 0]))
        assert 0 < losses[1] - losses[0] < 10 * np.log(60)

    def test_early_stopping_stops(self):
        model = fresh_model()
        model.train(calibrate=False, **QUICK | {"max_epochs": 60}, early_stopping=True, patience=2)
        assert model.spec.training["epochs"] < 60

    @pytest.mark.parametrize(
        "kind", [sp.csc_matrix, sp.csr_array, sp.coo_matrix, lambda x: x.toarray(), lambda x: x.astype(np.int64)]
    )
    def test_any_storage_trains_the_same(self, kind, query):
        expected = fresh_model()
        expected.train(calibrate=False, **QUICK)
        adata = make_reference()
        adata.X = sp.csr_matrix(kind(adata.X)) if kind is sp.coo_matrix else kind(adata.X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Training will be faster when sparse matrix is formatted as CSR")
            model = fresh_model(adata)
        model.train(calibrate=False, **QUICK)
        np.testing.assert_allclose(model.predict(query, soft=True), expected.predict(query, soft=True), atol=1e-5)

    def test_counts_in_a_layer(self, query):
        adata = make_reference()
        adata.layers["counts"] = adata.X.copy()
        adata.X = adata.X * -1.0
        SCTAB.setup_anndata(adata, "cell_type", layer="counts")
        model = SCTAB(adata)
        model.train(calibrate=False, **QUICK)
        assert f1_score(query.obs["cell_type"], model.predict(query), average="macro") > 0.9
        assert len(model.predict()) == adata.n_obs  # the reference, from its own layer

    def test_every_architecture_trains(self, query):
        model = fresh_model(n_steps=2, mask_type="sparsemax", n_shared=0, n_independent=2, n_d=8, n_a=4, dense_decision=False)
        model.train(calibrate=False, **QUICK)
        assert model.get_latent_representation(query).shape == (90, 8)

    def test_paper_settings_are_those_of_the_table(self):
        settings = SCTAB.paper_settings()
        table = {
            "n_d": 128,
            "n_a": 64,
            "n_shared": 3,
            "n_independent": 5,
            "n_steps": 1,
            "lambda_sparse": 1e-5,
            "mask_type": "entmax",
        }
        assert settings["model"].items() >= (table | {"virtual_batch_size": 256, "dense_decision": False}).items()
        table = {"batch_size": 2048, "learning_rate": 0.005, "weight_decay": 0.05, "schedule": "step", "lr_decay": 0.9}
        assert settings["train"].items() >= table.items()
        model = fresh_model(**settings["model"] | {"n_d": 8, "n_a": 4})
        model.train(calibrate=False, **QUIET, max_epochs=2, **settings["train"])

    @pytest.mark.parametrize(
        "setting",
        [
            {"max_epochs": 0},
            {"batch_size": 1},
            {"learning_rate": 0.0},
            {"gene_dropout": 1.5},
            {"train_size": 0.0},
            {"schedule": "cosine"},
        ],
    )
    def test_senseless_settings_are_refused(self, setting):
        name, value = next(iter(setting.items()))
        with pytest.raises(SettingError, match=f"`{name}={value!r}` must be"):
            fresh_model().train(calibrate=False, **setting)

    def test_senseless_architecture_is_refused(self):
        with pytest.raises(SettingError, match="`n_steps=0` must be between 1 and 1000"):
            fresh_model(n_steps=0)


class TestPrediction:
    def test_mask_is_sparse_and_sums_to_one(self, trained, query):
        mask = trained.get_feature_mask(query)
        assert sp.issparse(mask)
        assert mask.shape == (90, len(trained.spec.features))
        np.testing.assert_allclose(np.asarray(mask.sum(axis=1)).ravel(), 1, atol=1e-5)
        assert mask.nnz < mask.shape[0] * mask.shape[1]


class TestFiles:
    def test_another_class_is_refused(self, tmp_path):
        adata = make_reference(60)
        LinearClassifier.setup_anndata(adata, "cell_type")
        linear = LinearClassifier(adata)
        linear.train(calibrate=False, max_epochs=1, enable_progress_bar=False)
        linear.save(tmp_path / "model")
        with pytest.raises(ModelFormatError, match="holds a LinearClassifier, not a SCTAB"):
            SCTAB.load(tmp_path / "model")


class TestQueryData:
    def test_only_the_last_layer_learns_and_new_types_are_added(self, trained):
        adata = make_reference(120, seed=9)
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"monocyte": "platelet"})
        model = SCTAB.load_query_data(adata, trained)
        assert model.spec.labels.names == (*TYPES, "platelet")
        before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        torch.testing.assert_close(before["classifier.weight"][:3], trained.module.state_dict()["classifier.weight"])
        model.train(calibrate=False, **QUICK)
        changed = {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"classifier.weight"}
        assert f1_score(adata.obs["cell_type"], model.predict(adata), average="macro") > 0.9

    def test_it_is_calibrated_by_models_of_which_only_the_last_layer_learned(self, trained, monkeypatch):
        held_out = []
        evaluate = _crossfit.evaluate_fold
        monkeypatch.setattr(_crossfit, "evaluate_fold", lambda fold, model: held_out.append(model) or evaluate(fold, model))
        model = SCTAB.load_query_data(make_reference(120, seed=9), trained)
        model.train(**QUICK)
        assert len(held_out) == model._reference.n_folds(None)  # cells one by one, and no clusters of them
        start = trained.module.state_dict()
        for predictor in held_out:
            of_fold = predictor.networks[0].state_dict()
            assert {name for name, tensor in of_fold.items() if not torch.equal(tensor, start[name])} == {"classifier.weight"}

    def test_unfrozen_all_weights_learn(self, trained):
        model = SCTAB.load_query_data(make_reference(120, seed=9), trained, unfrozen=True)
        before = model.module.input_norm.weight.clone()
        model.train(calibrate=False, **QUICK)
        assert not torch.equal(model.module.input_norm.weight, before)
