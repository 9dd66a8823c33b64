"""SCTAB as a user meets it: set up, train, predict, save, load, go on from a reference."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import f1_score
from tests.reference import TYPES, make_reference

from sctab import (
    GeneOverlapError,
    InputValueError,
    KeyNotFoundError,
    LabelError,
    ModelFormatError,
    ModelNotFoundError,
    NotTrainedError,
    OutputExistsError,
    SctabWarning,
    SettingError,
)
from sctab.model import SCTAB, load_model

QUIET = {"accelerator": "cpu", "enable_progress_bar": False}
QUICK = QUIET | {"max_epochs": 20, "batch_size": 16, "gene_dropout": 0.3}
"""Some 250 steps: enough for the running statistics of the batch norms to settle."""


def fresh_model(adata=None, *, donor_key=None, **architecture):
    adata = make_reference() if adata is None else adata
    SCTAB.setup_anndata(adata, labels_key="cell_type", donor_key=donor_key)
    return SCTAB(adata, **architecture)


@pytest.fixture(scope="module")
def trained():
    model = fresh_model(donor_key="donor_id")
    model.train(**QUICK, seed=1)
    return model


@pytest.fixture(scope="module")
def query():
    return make_reference(90, seed=7)


class TestTraining:
    def test_it_learns_what_can_be_learned(self, trained, query):
        assert f1_score(query.obs["cell_type"], trained.predict(query), average="macro") > 0.95

    def test_whole_donors_validate(self, trained):
        validation = trained.spec.training["validation"]
        assert validation["by"] == "donor"
        donors = trained.adata.obs["donor_id"].to_numpy()
        assert not set(donors[trained.train_indices]) & set(donors[trained.validation_indices])
        assert len(trained.train_indices) + len(trained.validation_indices) == trained.adata.n_obs

    def test_history_has_losses_and_macro_f1_of_every_epoch(self, trained):
        assert {"train_loss", "validation_loss", "validation_macro_f1"} <= set(trained.history)
        assert len(trained.history["validation_macro_f1"]) == QUICK["max_epochs"]

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
        model.train(**QUICK | {"schedule": "step", "learning_rate": 0.01, "lr_decay": 1.3})
        values = model.history["validation_macro_f1"].to_numpy().ravel().astype(float)
        held_out = model.adata[model.validation_indices].copy()
        assert f1_score(held_out.obs["cell_type"], model.predict(held_out), average="macro") == pytest.approx(
            values.max(), abs=1e-6
        )

    def test_the_same_seed_gives_the_same_model_and_another_seed_another(self, query):
        probabilities = []
        for seed in (3, 3, 4):
            model = fresh_model()
            model.train(**QUICK, seed=seed)
            probabilities.append(model.predict(query, soft=True).to_numpy())
        np.testing.assert_array_equal(probabilities[0], probabilities[1])
        assert np.abs(probabilities[0] - probabilities[2]).max() > 1e-4

    def test_the_global_random_state_is_left_alone(self):
        model = fresh_model()
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        model.train(**QUICK | {"max_epochs": 1})
        torch.testing.assert_close(torch.rand(3), expected)

    def test_cells_without_a_label_are_not_learned_from(self):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
        adata.obs.iloc[:30, 0] = "unknown"
        SCTAB.setup_anndata(adata, "cell_type", unlabeled_category="unknown")
        model = SCTAB(adata)
        assert model.spec.labels.names == TYPES
        model.train(**QUICK)
        assert model.spec.training["n_labeled"] == 210
        assert min(*model.train_indices, *model.validation_indices) >= 30
        assert set(model.predict(adata)) <= set(TYPES)

    def test_without_validation_the_last_weights_are_kept(self):
        model = fresh_model()
        model.train(**QUICK, train_size=1.0)
        assert model.spec.training["validation"]["by"] == "none"
        assert model.spec.training["best_epoch"] is None

    def test_early_stopping_stops(self):
        model = fresh_model()
        model.train(**QUICK | {"max_epochs": 60}, early_stopping=True, patience=2)
        assert model.spec.training["epochs"] < 60

    def test_training_again_goes_on(self, query):
        model = fresh_model()
        model.train(**QUICK)
        before = model.predict(query, soft=True).to_numpy()
        model.train(**QUICK | {"max_epochs": 1}, learning_rate=1e-9)
        np.testing.assert_allclose(model.predict(query, soft=True).to_numpy(), before, atol=0.05)

    @pytest.mark.parametrize(
        "kind", [sp.csc_matrix, sp.csr_array, sp.coo_matrix, lambda x: x.toarray(), lambda x: x.astype(np.int64)]
    )
    def test_any_storage_trains_the_same(self, kind, query):
        expected = fresh_model()
        expected.train(**QUICK)
        adata = make_reference()
        adata.X = sp.csr_matrix(kind(adata.X)) if kind is sp.coo_matrix else kind(adata.X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Training will be faster when sparse matrix is formatted as CSR")
            model = fresh_model(adata)
        model.train(**QUICK)
        np.testing.assert_allclose(model.predict(query, soft=True), expected.predict(query, soft=True), atol=1e-5)

    def test_counts_in_a_layer(self, query):
        adata = make_reference()
        adata.layers["counts"] = adata.X.copy()
        adata.X = adata.X * -1.0
        SCTAB.setup_anndata(adata, "cell_type", layer="counts")
        model = SCTAB(adata)
        model.train(**QUICK)
        assert f1_score(query.obs["cell_type"], model.predict(query), average="macro") > 0.9
        assert len(model.predict()) == adata.n_obs  # the reference, from its own layer

    def test_every_architecture_trains(self, query):
        model = fresh_model(n_steps=2, mask_type="sparsemax", n_shared=0, n_independent=2, n_d=8, n_a=4, dense_decision=False)
        model.train(**QUICK)
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
        model.train(**QUIET, max_epochs=2, **settings["train"])

    def test_gene_importance_points_at_the_markers(self, trained):
        importance = trained.gene_importance
        assert importance.sum() == pytest.approx(1, abs=1e-4)
        assert importance[:30].sum() > 2 * importance[30:].sum()

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
            fresh_model().train(**setting)

    def test_senseless_architecture_is_refused(self):
        with pytest.raises(SettingError, match="`n_steps=0` must be at least 1"):
            fresh_model(n_steps=0)


class TestSetup:
    def test_unknown_labels_key(self):
        with pytest.raises(
            KeyNotFoundError, match="`labels_key='celltype'` is not in `adata.obs`. Columns: `cell_type`, `donor_id`."
        ):
            SCTAB.setup_anndata(make_reference(), "celltype")

    def test_missing_labels_key(self):
        with pytest.raises(TypeError, match="labels_key"):
            SCTAB.setup_anndata(make_reference())

    def test_unknown_donor_key(self):
        with pytest.raises(KeyNotFoundError, match="`donor_key='donor'` is not in `adata.obs`"):
            SCTAB.setup_anndata(make_reference(), "cell_type", donor_key="donor")

    def test_unknown_layer(self):
        with pytest.raises(KeyNotFoundError, match=r"`layer='counts'` is not in the data. It has: `X`"):
            SCTAB.setup_anndata(make_reference(), "cell_type", layer="counts")

    def test_unknown_gene_column(self):
        with pytest.raises(KeyNotFoundError, match="`gene_name` is not a column of `adata.var`. Columns: `ensembl_id`."):
            SCTAB.setup_anndata(make_reference(), "cell_type", gene_symbol_key="gene_name")

    def test_missing_labels(self):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
        adata.obs.iloc[3, 0] = np.nan
        with pytest.raises(LabelError, match=r"has no label \(NaN\) for 1 of 240 cells.*`unlabeled_category`"):
            SCTAB.setup_anndata(adata, "cell_type")

    def test_missing_donors(self):
        adata = make_reference()
        adata.obs["donor_id"] = adata.obs["donor_id"].astype(object)
        adata.obs.iloc[3, 1] = None
        with pytest.raises(LabelError, match="has no donor"):
            SCTAB.setup_anndata(adata, "cell_type", donor_key="donor_id")

    def test_one_type(self):
        adata = make_reference()
        with pytest.raises(LabelError, match=r"has 1 cell type \(`B cell`\); at least two are needed"):
            SCTAB.setup_anndata(adata[adata.obs["cell_type"] == "B cell"].copy(), "cell_type")

    def test_type_with_one_cell_is_trained_with_a_warning(self):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
        adata.obs.iloc[0, 0] = "platelet"
        SCTAB.setup_anndata(adata, "cell_type", donor_key="donor_id")
        with pytest.warns(SctabWarning, match="1 cell type has one cell only and can hardly be learned: `platelet`"):
            model = SCTAB(adata)
        model.train(**QUICK)
        assert 0 in model.train_indices
        assert "platelet" in model.spec.labels.names

    def test_label_that_the_ontology_does_not_know_is_listed_once(self):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"monocyte": "my odd cells"})
        SCTAB.setup_anndata(adata, "cell_type")
        with pytest.warns(SctabWarning, match="1 of 3 labels are not in the Cell Ontology.*`my odd cells`") as record:
            model = SCTAB(adata)
        assert sum("my odd cells" in str(warning.message) for warning in record) == 1
        assert model.spec.labels.ids == ("CL:0000236", "CL:0000084", None)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda x: x * -1, "negative values"),
            (lambda x: x * np.nan, "NaN or infinite"),
            (lambda x: x * np.inf, "NaN or infinite"),
        ],
    )
    def test_impossible_values(self, spoil, message):
        adata = make_reference()
        adata.X = sp.csr_matrix(spoil(adata.X.toarray() + 1))
        with pytest.raises(InputValueError, match=message):
            SCTAB.setup_anndata(adata, "cell_type")

    @pytest.mark.parametrize("part", [np.s_[:0], np.s_[:, :0]])
    def test_empty_reference(self, part):
        with pytest.raises(InputValueError, match="there is nothing to learn from"):
            SCTAB.setup_anndata(make_reference()[part].copy(), "cell_type")

    def test_view(self):
        with pytest.raises(InputValueError, match=r"adata = adata.copy\(\)"):
            SCTAB.setup_anndata(make_reference()[:100], "cell_type")

    def test_no_reference(self):
        with pytest.raises(SettingError, match=r"needs a reference that went through `SCTAB.setup_anndata`"):
            SCTAB()

    def test_setup_can_be_viewed(self, trained, capsys):
        trained.view_anndata_setup()
        assert "cell_type" in capsys.readouterr().out


class TestPrediction:
    def test_soft_prediction_is_a_frame_of_probabilities(self, trained, query):
        soft = trained.predict(query, soft=True)
        assert list(soft.columns) == list(TYPES)
        assert list(soft.index) == list(query.obs_names)
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
        assert list(soft.idxmax(axis=1)) == list(trained.predict(query))

    def test_mask_is_sparse_and_sums_to_one(self, trained, query):
        mask = trained.get_feature_mask(query)
        assert sp.issparse(mask)
        assert mask.shape == (90, len(trained.spec.features))
        np.testing.assert_allclose(np.asarray(mask.sum(axis=1)).ravel(), 1, atol=1e-5)
        assert mask.nnz < mask.shape[0] * mask.shape[1]

    @pytest.mark.parametrize("batch_size", [1, 7, 1000])
    def test_batch_size_does_not_matter(self, trained, query, batch_size):
        np.testing.assert_allclose(
            trained.predict(query, soft=True, batch_size=batch_size), trained.predict(query, soft=True), atol=1e-5
        )

    def test_batch_size_zero_is_refused(self, trained, query):
        with pytest.raises(SettingError, match="`batch_size=0`"):
            trained.predict(query, batch_size=0)

    def test_the_query_is_not_changed(self, trained, query):
        before = query.copy()
        trained.predict(query)
        assert (before.X != query.X).nnz == 0
        pd.testing.assert_frame_equal(before.obs, query.obs)
        assert not query.uns

    def test_a_cell_without_counts_has_no_label(self, trained, query):
        empty = query.copy()
        empty.X = sp.vstack([sp.csr_matrix((1, empty.n_vars), dtype=np.float32), empty.X[1:]], format="csr")
        labels = trained.predict(empty)
        assert pd.isna(labels[0])
        assert not pd.isna(labels[1:]).any()

    @pytest.mark.parametrize("method", ["predict", "get_latent_representation", "get_feature_mask", "save"])
    def test_untrained_model_says_so(self, method, tmp_path):
        with pytest.raises(NotTrainedError, match=r"Call `model.train\(\)` first"):
            getattr(fresh_model(), method)(*([tmp_path / "model"] if method == "save" else []))


class TestFiles:
    def test_round_trip(self, trained, query, tmp_path):
        trained.save(tmp_path / "model")
        for loaded in (SCTAB.load(tmp_path / "model"), load_model(tmp_path / "model")):
            np.testing.assert_array_equal(loaded.predict(query, soft=True), trained.predict(query, soft=True))
            np.testing.assert_array_equal(loaded.gene_importance, trained.gene_importance)
            assert loaded.spec == trained.spec
            assert loaded.is_trained
        assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]

    def test_loaded_model_says_what_needs_a_reference(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        loaded = SCTAB.load(tmp_path / "model")
        with pytest.raises(SettingError, match="loaded without its reference"):
            loaded.predict()
        with pytest.raises(SettingError, match="loaded without a reference"):
            loaded.train()

    def test_loaded_with_a_reference_it_trains_on(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        loaded = SCTAB.load(tmp_path / "model", make_reference(seed=3))
        loaded.train(**QUICK | {"max_epochs": 1})
        assert len(loaded.predict()) == 240

    def test_loaded_with_other_labels_is_refused(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"B cell": "platelet"})
        with pytest.raises(LabelError, match="does not know: `platelet`. Use `load_query_data`"):
            SCTAB.load(tmp_path / "model", adata)

    def test_nothing_is_overwritten(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        with pytest.raises(OutputExistsError, match="already there"):
            trained.save(tmp_path / "model")
        trained.save(tmp_path / "model", overwrite=True)
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
        with pytest.raises(OutputExistsError, match="is not a model directory"):
            trained.save(tmp_path / "thesis", overwrite=True)
        assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"

    def test_another_class_is_refused(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        spec = tmp_path / "model" / "model.json"
        spec.write_text(spec.read_text().replace('"SCTAB"', '"LinearClassifier"'))
        with pytest.raises(ModelFormatError, match="holds a LinearClassifier, not a SCTAB"):
            SCTAB.load(tmp_path / "model")

    def test_missing_directory(self, tmp_path):
        with pytest.raises(ModelNotFoundError, match="there is no such directory"):
            SCTAB.load(tmp_path / "nothing")


class TestQueryData:
    def test_prepared_query_has_the_genes_of_the_model(self, trained, query):
        shuffled = query[:, ::-1][:, :40].copy()
        prepared = SCTAB.prepare_query_anndata(shuffled, trained)
        assert list(prepared.var_names) == list(trained.spec.features.names)
        assert prepared.var["in_query"].sum() == 40
        common = [name for name in prepared.var_names if name in set(shuffled.var_names)]
        np.testing.assert_array_equal(prepared[:, common].X.toarray(), shuffled[:, common].X.toarray())
        assert prepared.X.sum() == shuffled.X.sum()
        assert sp.issparse(prepared.X)
        assert prepared.X.dtype == np.float32

    def test_only_the_last_layer_learns_and_new_types_are_added(self, trained):
        adata = make_reference(120, seed=9)
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"monocyte": "platelet"})
        model = SCTAB.load_query_data(adata, trained)
        assert model.spec.labels.names == (*TYPES, "platelet")
        before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        torch.testing.assert_close(before["classifier.weight"][:3], trained.module.state_dict()["classifier.weight"])
        model.train(**QUICK)
        changed = {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"classifier.weight"}
        assert f1_score(adata.obs["cell_type"], model.predict(adata), average="macro") > 0.9

    def test_unfrozen_all_weights_learn(self, trained):
        model = SCTAB.load_query_data(make_reference(120, seed=9), trained, unfrozen=True)
        before = model.module.input_norm.weight.clone()
        model.train(**QUICK)
        assert not torch.equal(model.module.input_norm.weight, before)

    def test_query_without_the_labels_column(self, trained):
        adata = make_reference(60)
        del adata.obs["cell_type"]
        with pytest.raises(KeyNotFoundError, match="`labels_key='cell_type'` is not in `adata.obs`"):
            SCTAB.load_query_data(adata, trained)

    def test_query_without_a_gene_in_common(self, trained):
        adata = make_reference(60)
        adata.var_names = [f"probe-{i}" for i in range(adata.n_vars)]
        del adata.var["ensembl_id"]
        with pytest.raises(GeneOverlapError, match="None of the model's 60 genes is in the data"):
            trained.predict(adata)
