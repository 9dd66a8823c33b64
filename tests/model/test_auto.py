"""AutoClassifier: what it compares on, what it keeps, and what it says of it."""

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from sklearn.metrics import f1_score
from tests.reference import make_reference

import sctab
from sctab import NotTrainedError, OutputExistsError, SettingError
from sctab.io import _progress
from sctab.model import MODEL_NAMES, AutoClassifier, LinearClassifier, load_model, model_by_name
from sctab.model._comparison import compare

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "refit": False}
QUICK = {
    "linear": {"train": {"max_epochs": 20, "batch_size": 16}},
    "mlp": {"model": {"n_hidden": 8}, "train": {"max_epochs": 1, "batch_size": 240, "learning_rate": 1e-9}},
}


def fresh_model(**settings):
    adata = make_reference()
    AutoClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    return AutoClassifier(adata, **{"candidates": ("linear", "mlp"), "settings": QUICK} | settings)


@pytest.fixture(scope="module")
def trained():
    model = fresh_model(candidates=("mlp", "linear"))
    model.train(**QUIET)
    return model


def test_it_keeps_the_better_one_though_the_other_is_simpler(trained):
    """The perceptron, which is named first here, has not learned anything."""
    assert isinstance(trained.best, LinearClassifier)
    assert list(trained.table.index) == ["mlp", "linear"]
    assert list(trained.table.columns) == ["macro_f1", "behind", "standard_error", "kept", "seconds"]
    assert trained.table.loc["mlp", "behind"] > trained.table.loc["mlp", "standard_error"]


def test_candidates_in_processes_of_their_own_give_the_same(trained):
    model = fresh_model(candidates=("mlp", "linear"))
    model.train(**QUIET, n_jobs=2)
    pd.testing.assert_frame_equal(model.table.drop(columns="seconds"), trained.table.drop(columns="seconds"))
    assert (model.table["seconds"] > 0).all()


def test_candidates_in_processes_of_their_own_are_counted(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", -1)
    fresh_model(candidates=("linear",)).train(accelerator="cpu", refit=False, n_jobs=2, n_folds=2)
    shown = [line.partition(",")[0] for line in capsys.readouterr().err.splitlines() if line.startswith("Comparing")]
    assert shown == [f"Comparing model classes: {done} of 2 trainings" for done in (1, 2)]


def test_no_jobs():
    with pytest.raises(SettingError, match="`n_jobs=0` must be at least 1"):
        fresh_model().train(**QUIET, n_jobs=0)


def test_every_cell_is_named_by_a_model_that_has_not_seen_its_donor():
    """The same by hand: with as many parts as donors, each part is a donor."""
    adata = make_reference()
    model = fresh_model(candidates=("linear",))
    model.train(**QUIET, n_folds=4)
    predicted = pd.Series(index=adata.obs_names, dtype=object)
    for donor in adata.obs["donor_id"].unique():
        known, rest = adata[adata.obs["donor_id"] != donor].copy(), adata[adata.obs["donor_id"] == donor].copy()
        LinearClassifier.setup_anndata(known, "cell_type", donor_key="donor_id")
        one = LinearClassifier(known)
        one.train(**QUIET | QUICK["linear"]["train"])
        predicted[rest.obs_names] = one.predict(rest)
    expected = f1_score(adata.obs["cell_type"], predicted, average="macro")
    assert model.table.loc["linear", "macro_f1"] == pytest.approx(expected)
    selection = model.spec.training["selection"]
    assert selection | {"held_out_by": "donor", "n_folds": 4, "n_held_out": 240, "kept": "linear"} == selection


def test_without_donors_parts_have_cells_of_every_type():
    adata = make_reference()
    AutoClassifier.setup_anndata(adata, "cell_type")
    model = AutoClassifier(adata, candidates=("linear",), settings=QUICK)
    model.train(**QUIET)
    selection = model.spec.training["selection"]
    assert (selection["held_out_by"], selection["n_folds"], selection["n_held_out"]) == ("stratified", 3, 240)


def test_cells_without_a_label_are_not_compared_on():
    adata = make_reference()
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"monocyte": "unknown"})
    AutoClassifier.setup_anndata(adata, "cell_type", unlabeled_category="unknown")
    model = AutoClassifier(adata, candidates=("linear",), settings=QUICK)
    model.train(**QUIET)
    assert model.spec.training["selection"]["n_held_out"] == 160
    assert model.spec.labels.names == ("B cell", "T cell")


def test_references_that_were_set_up_before_stay_so(trained):
    other = make_reference(seed=4)
    LinearClassifier.setup_anndata(other, "cell_type")
    model = fresh_model()
    LinearClassifier.setup_anndata(model.adata, "cell_type", donor_key="donor_id")
    model.train(**QUIET)
    assert LinearClassifier(other).adata is other
    assert LinearClassifier(model.adata).adata is model.adata


def test_backed_reference(tmp_path):
    make_reference().write_h5ad(tmp_path / "reference.h5ad")
    adata = read_h5ad(tmp_path / "reference.h5ad", backed="r")
    AutoClassifier.setup_anndata(adata, "cell_type")
    model = AutoClassifier(adata, candidates=("linear",), settings=QUICK)
    model.train(**QUIET)
    assert f1_score(make_reference().obs["cell_type"], model.predict(make_reference()), average="macro") > 0.9


def test_it_annotates_and_shows_its_curves(trained):
    query = make_reference(90, seed=7)
    sctab.tl.annotate(query, trained)
    assert list(query.obs["sctab_label"]) == list(trained.predict(query))
    assert sctab.get.training(trained).equals(sctab.get.training(trained.best))


def test_what_is_kept_has_learned_the_whole_reference(trained):
    assert trained.spec.training["n_labeled"] == 240


def test_it_is_used_and_stored_like_the_model_that_it_kept(trained, tmp_path):
    query = make_reference(90, seed=7)
    assert f1_score(query.obs["cell_type"], trained.predict(query), average="macro") > 0.95
    trained.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, LinearClassifier)
    np.testing.assert_array_equal(loaded.predict(query, soft=True), trained.predict(query, soft=True))
    assert loaded.spec.training["selection"]["kept"] == "linear"


def test_the_same_seed_keeps_the_same_model(trained):
    again = fresh_model(candidates=("mlp", "linear"))
    again.train(**QUIET)
    pd.testing.assert_frame_equal(again.table.drop(columns="seconds"), trained.table.drop(columns="seconds"))
    np.testing.assert_array_equal(again.predict(soft=True), trained.predict(soft=True))


class TestComparison:
    truth = np.repeat(np.array(["B", "T"], dtype=object), 50)

    def spoiled(self, n_wrong):
        labels = self.truth.copy()
        labels[:n_wrong] = "T"
        return labels

    def test_of_nearly_equal_ones_the_simplest_is_kept(self):
        other = self.truth.copy()
        other[50:55] = "B"
        table = compare(self.truth, {"linear": self.spoiled(6), "mlp": other}, np.random.default_rng(0))
        assert table.loc["mlp", "behind"] == 0
        assert list(table["kept"]) == [True, False]

    def test_a_subtype_is_right_even_if_no_held_out_cell_is_of_it(self):
        truth = np.repeat(np.array(["B cell", "T cell"], dtype=object), 50)
        finer = np.where(truth == "T cell", "CD4-positive, alpha-beta T cell", truth)
        table = compare(truth, {"linear": finer, "mlp": np.full(100, "B cell", dtype=object)}, np.random.default_rng(0))
        assert table.loc["linear", "macro_f1"] == 1

    def test_of_clearly_different_ones_the_best_is_kept(self):
        table = compare(self.truth, {"linear": self.spoiled(30), "mlp": self.spoiled(5)}, np.random.default_rng(0))
        assert list(table["kept"]) == [False, True]

    def test_scores_are_those_of_scikit_learn(self):
        labels = self.spoiled(7)
        table = compare(self.truth, {"linear": labels, "mlp": self.truth}, np.random.default_rng(0))
        score = f1_score(self.truth, labels, average="macro")
        assert table.loc["linear", "macro_f1"] == pytest.approx(score)
        assert table.loc["linear", "behind"] == pytest.approx(1 - score)

    def test_the_standard_error_is_that_of_resampled_cells(self):
        """Accuracy and macro F1 of two types of the same size move alike: their spread is about that of a proportion."""
        table = compare(self.truth, {"linear": self.spoiled(20), "mlp": self.truth}, np.random.default_rng(0))
        assert table.loc["linear", "standard_error"] == pytest.approx(np.sqrt(0.2 * 0.8 / 100), rel=0.25)
        assert table.loc["mlp", "standard_error"] == 0

    def test_over_donors_it_is_that_of_resampled_donors(self):
        """One donor in ten is named wrongly: resampled with NumPy and scored by scikit-learn, donor by donor."""
        truth = np.tile(np.array(["B", "T"], dtype=object), 100)
        donors = np.repeat(np.array([f"donor {i}" for i in range(10)], dtype=object), 20)
        labels = np.where(donors == "donor 3", "T", truth)
        table = compare(truth, {"linear": labels, "mlp": truth}, np.random.default_rng(0), donors=donors)
        rng = np.random.default_rng(1)
        scores = []
        for _ in range(2000):
            cells = np.concatenate([np.flatnonzero(donors == f"donor {i}") for i in rng.integers(10, size=10)])
            scores.append(f1_score(truth[cells], labels[cells], average="macro"))
        assert table.loc["linear", "standard_error"] == pytest.approx(np.std(scores) * np.sqrt(10 / 9), rel=0.15)

    def test_more_cells_of_the_same_donors_do_not_make_it_surer(self):
        truth = np.tile(np.array(["B", "T"], dtype=object), 30)
        donors = np.repeat(np.array(list("abcdef"), dtype=object), 10)
        labels = np.where((donors == "a") | (donors == "b"), "T", truth)

        def error(times, donors):
            many = {"linear": np.repeat(labels, times), "mlp": np.repeat(truth, times)}
            given = None if donors is None else np.repeat(donors, times)
            return compare(np.repeat(truth, times), many, np.random.default_rng(0), donors=given).loc["linear", "standard_error"]

        assert error(25, donors) == pytest.approx(error(1, donors))
        assert error(25, None) == pytest.approx(error(1, None) / 5, rel=0.2)
        assert error(25, donors) > 3 * error(25, None)


class TestRefusals:
    def test_without_set_up(self):
        with pytest.raises(SettingError, match=r"Call `AutoClassifier.setup_anndata\(adata, labels_key=…\)` first"):
            AutoClassifier(make_reference())

    def test_before_training(self):
        with pytest.raises(NotTrainedError, match="No model was chosen yet"):
            fresh_model().predict()

    @pytest.mark.parametrize("settings", [{"candidates": ("forest",)}, {"settings": {"forest": {}}}])
    def test_unknown_candidate(self, settings):
        with pytest.raises(SettingError, match="`forest` is not a model class that can be tried. Available: `linear`, `mlp`"):
            fresh_model(**settings)

    def test_settings_of_another_shape(self):
        with pytest.raises(
            SettingError, match=r"`settings\['mlp'\]` has `n_hidden`. It takes `model`, for the constructor, and `train`"
        ):
            fresh_model(settings={"mlp": {"n_hidden": 8}})

    def test_a_run_directory_that_is_not_empty(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        model = fresh_model()
        with pytest.raises(OutputExistsError, match="is not empty"):
            model.train(**QUIET, run_dir=tmp_path)
        assert not hasattr(model, "table")

    def test_no_candidate(self):
        with pytest.raises(SettingError, match="`candidates` names no model class"):
            fresh_model(candidates=())

    def test_one_part(self):
        with pytest.raises(SettingError, match="`n_folds=1` must be at least 2"):
            fresh_model().train(n_folds=1)

    def test_a_setting_that_one_candidate_does_not_have(self):
        with pytest.raises(SettingError, match="`batch_size` cannot be set for `xgboost`, one of the candidates. Omit it"):
            fresh_model(candidates=("linear", "xgboost")).train(**QUIET, batch_size=16)

    def test_nothing_to_hold_out(self):
        adata = make_reference(6)
        AutoClassifier.setup_anndata(adata, "cell_type")
        with pytest.raises(SettingError, match="No type has 3 cells, one for each part"):
            AutoClassifier(adata, candidates=("linear",)).train(**QUIET)

    def test_unknown_name(self):
        with pytest.raises(
            SettingError, match="`forest` is not a model class. Available: `linear`, `mlp`, `xgboost`, `sctab`, `auto`"
        ):
            model_by_name("forest")


def test_every_name_has_a_class():
    assert [model_by_name(name).__name__ for name in MODEL_NAMES] == [
        "LinearClassifier",
        "MLPClassifier",
        "XGBoostClassifier",
        "SCTAB",
        "AutoClassifier",
    ]
