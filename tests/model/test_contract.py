"""What every model class has in common, as a user meets it: set up, train, predict, save, load, continue from a reference."""

import copy
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import read_h5ad
from lightning.pytorch.callbacks import LambdaCallback
from sklearn.metrics import f1_score
from tests.reference import TYPES, make_reference

import sctab
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
from sctab.model import (
    SCTAB,
    CellTypeClassifier,
    LinearClassifier,
    MLPClassifier,
    SearchSpace,
    XGBoostClassifier,
    load_model,
    model_by_name,
    model_classes,
    new_model,
)
from sctab.train import MemoryReference

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 20, "refit": False}
GRADIENT = QUIET | {"batch_size": 16, "gene_dropout": 0.3}
"""Some 250 steps: enough for the running statistics of batch norms to settle."""
QUICK = {LinearClassifier: GRADIENT, MLPClassifier: GRADIENT, XGBoostClassifier: QUIET | {"learning_rate": 0.3}, SCTAB: GRADIENT}


@pytest.fixture(scope="module", params=QUICK, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


def fresh_model(cls, adata=None, *, donor_key=None, **architecture):
    adata = make_reference() if adata is None else adata
    cls.setup_anndata(adata, labels_key="cell_type", donor_key=donor_key)
    return cls(adata, **architecture)


@pytest.fixture(scope="module")
def trained(cls):
    model = fresh_model(cls, donor_key="donor_id")
    model.train(calibrate=False, **QUICK[cls], seed=1)
    return model


@pytest.fixture(scope="module")
def query():
    return make_reference(90, seed=7)


def test_every_class_is_here():
    assert set(QUICK) == set(model_classes().values()) == set(CellTypeClassifier.__subclasses__())


def test_a_model_whose_weights_are_not_finite_annotates_nothing(cls, trained, query, tmp_path):
    model = copy.deepcopy(trained)
    name, tensor = next((name, tensor) for name, tensor in model.module.state_dict().items() if tensor.is_floating_point())
    tensor.view(-1)[0] = float("nan")
    for use in (
        lambda: model.predict(query),
        lambda: sctab.tl.annotate(query.copy(), model),
        lambda: model.save(tmp_path / "model"),
    ):
        with pytest.raises(ModelFormatError, match=f"The weights `{name}` hold NaN or infinite numbers: the training diverged"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", [LinearClassifier, MLPClassifier, SCTAB])
def test_a_training_that_diverges_says_so(network):
    model = fresh_model(network)
    with pytest.raises(SettingError, match="NaN or infinite numbers: the training diverged. Train again with a lower"):
        model.train(calibrate=False, **GRADIENT | {"learning_rate": 1e38, "max_epochs": 3}, train_size=1.0)
    with pytest.raises(NotTrainedError):
        model.predict(make_reference(30))
    model.train(calibrate=False, **GRADIENT | {"max_epochs": 1})
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    with pytest.raises(SettingError, match="the training diverged"):
        model.train(calibrate=False, **GRADIENT | {"learning_rate": 1e38, "max_epochs": 3}, train_size=1.0)
    for name, tensor in model.module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


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
        assert len(trained.history["validation_macro_f1"]) == 20

    def test_the_same_seed_gives_the_same_model_and_another_seed_another(self, cls, query):
        probabilities = []
        for seed in (3, 3, 4):
            model = fresh_model(cls)
            model.train(calibrate=False, **QUICK[cls], seed=seed)
            probabilities.append(model.predict(query, soft=True).to_numpy())
        np.testing.assert_array_equal(probabilities[0], probabilities[1])
        assert np.abs(probabilities[0] - probabilities[2]).max() > 1e-4

    def test_the_global_random_state_is_left_alone(self, cls):
        model = fresh_model(cls)
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        model.train(calibrate=False, **QUICK[cls] | {"max_epochs": 1})
        torch.testing.assert_close(torch.rand(3), expected)

    def test_without_validation_the_last_weights_are_kept(self, cls):
        model = fresh_model(cls)
        model.train(calibrate=False, **QUICK[cls], train_size=1.0)
        assert model.spec.training["validation"]["by"] == "none"
        assert model.spec.training["best_epoch"] is None

    @pytest.mark.parametrize("network", [LinearClassifier, MLPClassifier, SCTAB])
    def test_small_batches_are_computed_in_one_thread(self, network):
        seen = []
        watch = LambdaCallback(on_train_batch_start=lambda *_: seen.append(torch.get_num_threads()))
        n_threads = torch.get_num_threads()
        torch.set_num_threads(4)
        try:
            fresh_model(network).train(calibrate=False, **QUIET | {"max_epochs": 1}, batch_size=16, callbacks=[watch])
            assert torch.get_num_threads() == 4
        finally:
            torch.set_num_threads(n_threads)
        assert set(seen) == {1}

    def test_training_again_goes_on(self, cls, query):
        model = fresh_model(cls)
        model.train(calibrate=False, **QUICK[cls])
        before = model.predict(query, soft=True).to_numpy()
        model.train(calibrate=False, **QUICK[cls] | {"max_epochs": 1, "learning_rate": 1e-9})
        np.testing.assert_allclose(model.predict(query, soft=True).to_numpy(), before, atol=0.05)

    def test_gene_importance_points_at_the_markers(self, trained):
        importance = trained.gene_importance
        assert importance.sum() == pytest.approx(1, abs=1e-4)
        assert importance[:30].sum() > 2 * importance[30:].sum()


class TestRefit:
    def train(self, cls, **settings):
        model = fresh_model(cls, donor_key="donor_id")
        model.train(calibrate=False, **QUICK[cls] | {"seed": 1} | settings)
        return model

    def test_all_cells_are_learned_from_and_validation_stays_what_it_was(self, cls, trained):
        model = self.train(cls, refit=True)
        before, after = trained.spec.training, model.spec.training
        assert after["validation"] == before["validation"]
        assert after["history"] == before["history"]
        np.testing.assert_array_equal(model.train_indices, trained.train_indices)
        assert np.abs(model.predict(soft=True) - trained.predict(soft=True)).to_numpy().max() > 1e-4

    def test_it_is_the_model_of_all_cells(self, cls):
        """The same as training on all cells for as long: the whole cycle, or the rounds up to the best."""
        model = self.train(cls, refit=True)
        epochs = 20 if cls is not XGBoostClassifier else model.spec.training["best_epoch"] + 1
        expected = self.train(cls, train_size=1.0, max_epochs=epochs)
        np.testing.assert_allclose(model.predict(soft=True), expected.predict(soft=True), atol=1e-5)

    def test_small_references_are_learned_whole_by_default(self, cls):
        assert cls._default_training(10_000).refit
        assert not cls._default_training(100_000).refit


class TestSetup:
    def test_unknown_labels_key(self, cls):
        with pytest.raises(
            KeyNotFoundError,
            match=r"`labels_key='celltype'` is not in `adata.obs`\. Did you mean `cell_type`\? Columns: `cell_type`, `donor_id`",
        ):
            cls.setup_anndata(make_reference(), "celltype")

    def test_missing_labels_key(self, cls):
        with pytest.raises(TypeError, match="labels_key"):
            cls.setup_anndata(make_reference())

    def test_unknown_donor_key(self, cls):
        with pytest.raises(KeyNotFoundError, match="`donor_key='donor'` is not in `adata.obs`"):
            cls.setup_anndata(make_reference(), "cell_type", donor_key="donor")

    def test_unknown_layer(self, cls):
        with pytest.raises(KeyNotFoundError, match=r"`layer='counts'` is not in the data. Available: `X`"):
            cls.setup_anndata(make_reference(), "cell_type", layer="counts")

    def test_unknown_gene_column(self, cls):
        with pytest.raises(KeyNotFoundError, match="`gene_symbol_key='gene_name'` is not in `adata.var`. Columns: `ensembl_id`."):
            cls.setup_anndata(make_reference(), "cell_type", gene_symbol_key="gene_name")

    def test_missing_labels(self, cls):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
        adata.obs.iloc[3, 0] = np.nan
        with pytest.raises(LabelError, match=r"has no label \(NaN\) for 1 of 240 cells.*`unlabeled_category`"):
            cls.setup_anndata(adata, "cell_type")

    def test_missing_donors(self, cls):
        adata = make_reference()
        adata.obs["donor_id"] = adata.obs["donor_id"].astype(object)
        adata.obs.iloc[3, 1] = None
        with pytest.raises(LabelError, match="has no donor"):
            cls.setup_anndata(adata, "cell_type", donor_key="donor_id")

    def test_one_type(self, cls):
        adata = make_reference()
        with pytest.raises(LabelError, match=r"has 1 cell type \(`B cell`\); at least two are needed"):
            cls.setup_anndata(adata[adata.obs["cell_type"] == "B cell"].copy(), "cell_type")

    def test_type_with_one_cell_is_trained_with_a_warning(self, cls):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
        adata.obs.iloc[0, 0] = "platelet"
        cls.setup_anndata(adata, "cell_type", donor_key="donor_id")
        with pytest.warns(SctabWarning, match="1 cell type has only one cell and can barely be learned: `platelet`"):
            model = cls(adata)
        model.train(calibrate=False, **QUICK[cls])
        assert 0 in model.train_indices
        assert "platelet" in model.spec.labels.names

    def test_label_that_the_ontology_does_not_know_is_listed_once(self, cls):
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"monocyte": "my odd cells"})
        cls.setup_anndata(adata, "cell_type")
        with pytest.warns(SctabWarning, match="1 of 3 labels is not in the Cell Ontology.*`my odd cells`") as record:
            model = cls(adata)
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
    def test_impossible_values(self, cls, spoil, message):
        adata = make_reference()
        adata.X = sp.csr_matrix(spoil(adata.X.toarray() + 1))
        with pytest.raises(InputValueError, match=message):
            cls.setup_anndata(adata, "cell_type")

    @pytest.mark.parametrize("part", [np.s_[:0], np.s_[:, :0]])
    def test_empty_reference(self, cls, part):
        with pytest.raises(InputValueError, match="there is nothing to learn from"):
            cls.setup_anndata(make_reference()[part].copy(), "cell_type")

    def test_without_a_count(self, cls):
        adata = make_reference()
        adata.layers["mine"] = adata.X
        adata.X = sp.csr_matrix(adata.shape)
        with pytest.raises(InputValueError, match=r"`X` must hold counts .* are zero\. `layers\['mine'\]` .* with `layer='mine'`"):
            cls.setup_anndata(adata, "cell_type")

    def test_view(self, cls):
        with pytest.raises(InputValueError, match=r"adata = adata.copy\(\)"):
            cls.setup_anndata(make_reference()[:100], "cell_type")

    def test_no_reference(self, cls):
        with pytest.raises(SettingError, match=f"needs a reference that went through `{cls.__name__}.setup_anndata`"):
            cls()

    def test_set_up_for_another_class(self, cls):
        adata = make_reference()
        next(other for other in QUICK if other is not cls).setup_anndata(adata, "cell_type")
        with pytest.raises(SettingError, match=rf"was not set up for `{cls.__name__}`. Call `{cls.__name__}.setup_anndata"):
            cls(adata)

    def test_setup_can_be_viewed(self, trained, capsys):
        trained.view_anndata_setup()
        assert "cell_type" in capsys.readouterr().out


class TestNewModel:
    def test_writes_nothing_into_the_reference(self, cls):
        adata = make_reference()
        before = adata.copy()
        model = new_model(MemoryReference.of(adata, "cell_type", donor_key="donor_id"), cls, {})
        model.train(calibrate=False, **QUICK[cls] | {"max_epochs": 1})
        pd.testing.assert_frame_equal(adata.obs, before.obs)
        assert dict(adata.uns) == {}
        assert len(model.predict()) == adata.n_obs

    def test_is_the_model_that_is_set_up_by_hand(self, cls):
        adata = make_reference()
        model = new_model(MemoryReference.of(adata, "cell_type", donor_key="donor_id"), cls, {"n_top_genes": 20})
        expected = fresh_model(cls, adata, donor_key="donor_id", n_top_genes=20)
        assert model.spec == expected.spec

    def test_refuses_settings_that_the_class_does_not_have(self, cls):
        with pytest.raises(SettingError, match=f"`{cls.__name__}` has no `n_trees`. .*Available: .*`n_top_genes`"):
            new_model(MemoryReference.of(make_reference(), "cell_type"), cls, {"n_trees": 8})


class TestPrediction:
    def test_soft_prediction_is_a_frame_of_probabilities(self, trained, query):
        soft = trained.predict(query, soft=True)
        assert list(soft.columns) == list(TYPES)
        assert list(soft.index) == list(query.obs_names)
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
        assert list(soft.idxmax(axis=1)) == list(trained.predict(query))

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

    @pytest.mark.parametrize("method", ["predict", "get_latent_representation", "save"])
    def test_untrained_model_says_so(self, cls, method, tmp_path):
        with pytest.raises(NotTrainedError, match=r"Call `model.train\(\)` first"):
            getattr(fresh_model(cls), method)(*([tmp_path / "model"] if method == "save" else []))


class TestFiles:
    def test_round_trip(self, cls, trained, query, tmp_path):
        trained.save(tmp_path / "model")
        for loaded in (cls.load(tmp_path / "model"), load_model(tmp_path / "model")):
            np.testing.assert_array_equal(loaded.predict(query, soft=True), trained.predict(query, soft=True))
            np.testing.assert_array_equal(loaded.gene_importance, trained.gene_importance)
            assert loaded.spec == trained.spec
            assert loaded.is_trained
        assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]

    def test_loaded_model_says_what_needs_a_reference(self, cls, trained, tmp_path):
        trained.save(tmp_path / "model")
        loaded = cls.load(tmp_path / "model")
        with pytest.raises(SettingError, match="loaded without its reference"):
            loaded.predict()
        with pytest.raises(SettingError, match="loaded without a reference"):
            loaded.train()

    def test_loaded_with_a_reference_it_trains_on(self, cls, trained, tmp_path):
        trained.save(tmp_path / "model")
        loaded = cls.load(tmp_path / "model", make_reference(seed=3))
        loaded.train(calibrate=False, **QUICK[cls] | {"max_epochs": 1})
        assert len(loaded.predict()) == 240

    def test_loaded_with_other_labels_is_refused(self, cls, trained, tmp_path):
        trained.save(tmp_path / "model")
        adata = make_reference()
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"B cell": "platelet"})
        with pytest.raises(LabelError, match="does not know: `platelet`. Use `load_query_data`"):
            cls.load(tmp_path / "model", adata)

    def test_nothing_is_overwritten(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        with pytest.raises(OutputExistsError, match="already exists"):
            trained.save(tmp_path / "model")
        trained.save(tmp_path / "model", overwrite=True)
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
        with pytest.raises(OutputExistsError, match="is not a model directory"):
            trained.save(tmp_path / "thesis", overwrite=True)
        assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"

    def test_missing_directory(self, cls, tmp_path):
        with pytest.raises(ModelNotFoundError, match="there is no such directory"):
            cls.load(tmp_path / "nothing")


class TestQueryData:
    def test_prepared_query_has_the_genes_of_the_model(self, cls, trained, query):
        shuffled = query[:, ::-1][:, :40].copy()
        prepared = cls.prepare_query_anndata(shuffled, trained)
        assert list(prepared.var_names) == list(trained.spec.features.names)
        assert prepared.var["in_query"].sum() == 40
        common = [name for name in prepared.var_names if name in set(shuffled.var_names)]
        np.testing.assert_array_equal(prepared[:, common].X.toarray(), shuffled[:, common].X.toarray())
        assert prepared.X.sum() == shuffled.X.sum()
        assert sp.issparse(prepared.X)
        assert prepared.X.dtype == np.float32

    def test_query_without_the_labels_column(self, cls, trained):
        adata = make_reference(60)
        del adata.obs["cell_type"]
        with pytest.raises(KeyNotFoundError, match="`labels_key='cell_type'` is not in `adata.obs`"):
            cls.load_query_data(adata, trained)

    def test_query_without_a_gene_in_common(self, trained):
        adata = make_reference(60)
        adata.var_names = [f"probe-{i}" for i in range(adata.n_vars)]
        del adata.var["ensembl_id"]
        with pytest.raises(GeneOverlapError, match="None of the model's 60 genes is in the data"):
            trained.predict(adata)


class TestSettings:
    @pytest.mark.parametrize(
        "setting", [{"max_epochs": 0}, {"learning_rate": 0.0}, {"train_size": 0.0}, {"patience": 0}, {"l1": -1.0}, {"l2": -0.5}]
    )
    def test_senseless_settings_are_refused(self, cls, setting):
        name, value = next(iter(setting.items()))
        with pytest.raises(SettingError, match=f"`{name}={value!r}` must be"):
            fresh_model(cls).train(calibrate=False, **setting)

    def test_one_that_is_misspelt_is_refused(self, cls):
        with pytest.raises(
            SettingError,
            match=f"`lerning_rate` cannot be set for `{cls.__name__}`. Did you mean `learning_rate`\\? Available: `max_epochs`",
        ):
            fresh_model(cls).train(calibrate=False, lerning_rate=0.1)

    def test_all_at_once_go_behind_single_ones(self, cls):
        options = {name: QUIET[name] for name in ("accelerator", "enable_progress_bar")}
        settings = replace(cls._default_training(240), max_epochs=5, learning_rate=0.0123, refit=False, seed=7)
        model = fresh_model(cls)
        model.train(2, settings=settings, **options, patience=3, seed=None)
        assert model.spec.training["settings"] == asdict(replace(settings, max_epochs=2, patience=3))

    def test_of_another_class_are_refused(self, cls):
        other = LinearClassifier if cls is XGBoostClassifier else XGBoostClassifier
        own, given = (type(each._default_training(240)).__name__ for each in (cls, other))
        with pytest.raises(SettingError, match=f"`settings` must be `{own}` for `{cls.__name__}`, and is `{given}`"):
            fresh_model(cls).train(calibrate=False, settings=other._default_training(240))

    def test_class_weights_bring_rare_types_forward(self, cls, query):
        """Of a type with few cells more are found when classes weigh the same."""
        adata = make_reference(600)
        rare = (adata.obs["cell_type"] == "monocyte").to_numpy()
        adata = adata[~rare | (np.arange(600) % 30 == 2)].copy()
        found = []
        for class_weights in (False, True):
            model = fresh_model(cls, adata)
            model.train(calibrate=False, **QUICK[cls] | {"max_epochs": 3}, class_weights=class_weights)
            found.append(model.predict(query, soft=True)["monocyte"].mean())
        assert found[1] > found[0]

    def test_published_settings_are_accepted(self, cls):
        settings = cls.paper_settings()
        model = fresh_model(cls, **settings["model"])
        model.train(calibrate=False, **QUIET | settings["train"] | {"max_epochs": 1})
        assert model.spec.training["settings"].items() >= (settings["train"] | {"max_epochs": 1}).items()

    def test_what_can_be_searched_can_be_set(self, cls):
        """Both ends of every range are accepted by the constructor and by `train`."""
        space = cls.search_space()
        assert isinstance(space, SearchSpace)
        for end in (0, -1):
            ends = [
                {
                    name: values.values[end] if hasattr(values, "values") else (values.low, values.high)[end]
                    for name, values in part.items()
                }
                for part in (space.model, space.train)
            ]
            model = fresh_model(cls, donor_key="donor_id", **ends[0])
            model.train(calibrate=False, **QUIET | ends[1] | {"max_epochs": 1})
            assert model.spec.architecture.items() >= ends[0].items()

    def test_short_name(self, cls):
        assert sum(model_by_name(name) is cls for name in ("linear", "mlp", "xgboost", "sctab")) == 1


class TestAnnotate:
    def test_annotates_as_it_predicts(self, trained, query, tmp_path):
        """Permuted genes with Ensembl ids in the index change nothing, and the latent is there where the model has one."""
        trained.save(tmp_path / "model")
        adata = query[:, ::-1].copy()
        adata.var_names = adata.var.pop("ensembl_id")
        sctab.tl.annotate(adata, tmp_path / "model")
        assert list(adata.obs["sctab_label"]) == list(trained.predict(query))
        np.testing.assert_allclose(adata.obsm["sctab_probabilities"], trained.predict(query, soft=True), atol=1e-5)
        assert ("X_sctab" in adata.obsm) == (not isinstance(trained, LinearClassifier))

    def test_backed_reference(self, cls, query, tmp_path):
        make_reference().write_h5ad(tmp_path / "reference.h5ad")
        model, expected = fresh_model(cls, read_h5ad(tmp_path / "reference.h5ad", backed="r")), fresh_model(cls)
        for one in (model, expected):
            one.train(calibrate=False, **QUICK[cls])
        np.testing.assert_allclose(model.predict(query, soft=True), expected.predict(query, soft=True), atol=1e-5)


class TestGoingOn:
    def test_new_types_are_learned_behind_the_known_ones(self, cls, trained):
        adata = make_reference(120, seed=9)
        adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"monocyte": "platelet"})
        cls.setup_anndata(adata, "cell_type")
        model = cls.load_query_data(adata, trained)
        assert cls(adata).adata is adata
        assert model.spec.labels.names == (*TYPES, "platelet")
        model.train(calibrate=False, **QUICK[cls])
        assert f1_score(adata.obs["cell_type"], model.predict(adata), average="macro") > 0.9

    def test_few_cells_of_new_types_are_enough(self, cls, trained):
        adata, others = make_reference(60 if cls is XGBoostClassifier else 12, seed=9), make_reference(120, seed=10)
        for each in (adata, others):
            each.obs["cell_type"] = each.obs["cell_type"].cat.rename_categories({label: f"new {label}" for label in TYPES})
        model = cls.load_query_data(adata, trained)
        model.train(calibrate=False, accelerator="cpu", enable_progress_bar=False)
        assert f1_score(others.obs["cell_type"], model.predict(others), average="macro") > 0.8

    def test_a_model_of_another_class_is_refused(self, cls, trained, tmp_path):
        trained.save(tmp_path / "model")
        other = next(other for other in QUICK if other is not cls)
        with pytest.raises(ModelFormatError, match=f"holds a {cls.__name__}, not a {other.__name__}"):
            other.load(tmp_path / "model")
        with pytest.raises(ModelFormatError, match=f"is a {cls.__name__}, not a {other.__name__}"):
            other.load_query_data(make_reference(60), trained)
