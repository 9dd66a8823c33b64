"""Tables of results."""

import numpy as np
import pandas as pd
import pytest
from tests.clusters import cells_of_types
from tests.reference import make_reference

from sctab import DataFileError, NotTrainedError, get, zoo
from sctab.model import SCTAB, SCDeepCluster

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "batch_size": 64}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of three epochs, and the directory of its training."""
    run_dir = tmp_path_factory.mktemp("training") / "run"
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = SCTAB(reference)
    model.train(calibrate=False, max_epochs=3, run_dir=run_dir, **QUIET)
    return model, run_dir


def new_model():
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type")
    return SCTAB(reference)


class TestTraining:
    def test_is_a_row_per_metric_and_epoch(self, trained):
        model, _ = trained
        table = get.training(model)
        assert list(table.columns) == ["metric", "epoch", "value", "kept"]
        assert not table.duplicated(["metric", "epoch"]).any()
        assert set(table["metric"]) == set(model.history)
        for name, curve in table.groupby("metric"):
            assert curve["epoch"].tolist() == [0, 1, 2]
            assert curve["value"].tolist() == model.history[name][name].tolist()
        assert table["value"].dtype == np.float64
        assert table["epoch"].dtype == np.int64

    def test_is_the_same_from_a_model_and_from_its_directory(self, trained, tmp_path):
        model, _ = trained
        model.save(tmp_path / "model")
        pd.testing.assert_frame_equal(get.training(tmp_path / "model"), get.training(model))

    def test_is_the_same_from_the_directory_of_the_training_but_for_what_was_kept(self, trained):
        model, run_dir = trained
        found = get.training(run_dir)
        assert not found["kept"].any()
        pd.testing.assert_frame_equal(found.drop(columns="kept"), get.training(str(run_dir)).drop(columns="kept"))
        pd.testing.assert_frame_equal(found.drop(columns="kept"), get.training(model).drop(columns="kept"), rtol=1e-12)

    def test_marks_the_best_epoch(self, trained):
        model, _ = trained
        table = get.training(model)
        assert set(table.loc[table["kept"], "epoch"]) == {model.spec.training["best_epoch"]}

    def test_marks_the_best_epoch_of_a_training_that_stopped_early(self):
        model = new_model()
        model.train(calibrate=False, max_epochs=40, early_stopping=True, patience=2, **QUIET)
        table = get.training(model)
        scores = table[table["metric"] == "validation_macro_f1"].set_index("epoch")
        assert len(scores) < 40
        assert scores.loc[scores["kept"], "value"].tolist() == [model.spec.training["validation"]["macro_f1"]]
        assert scores.loc[scores["kept"], "value"].item() == scores["value"].max()

    def test_marks_the_last_epoch_without_validation(self):
        model = new_model()
        model.train(calibrate=False, max_epochs=2, train_size=1.0, **QUIET)
        table = get.training(model)
        assert set(table.loc[table["kept"], "epoch"]) == {1}

    def test_goes_on_when_a_model_is_trained_again(self):
        model = new_model()
        model.train(calibrate=False, max_epochs=2, **QUIET)
        first = get.training(model)
        model.train(calibrate=False, max_epochs=3, **QUIET)
        table = get.training(model)
        losses = table[table["metric"] == "train_loss"]
        assert losses["epoch"].tolist() == [0, 1, 2, 3, 4]
        assert losses["value"].tolist()[:2] == first.loc[first["metric"] == "train_loss", "value"].tolist()
        assert set(table.loc[table["kept"], "epoch"]) == {2 + model.spec.training["best_epoch"]}

    def test_of_a_packaged_model(self):
        table = get.training(zoo.packaged_path("pbmc"))
        metrics = {"learning_rate", "train_loss", "validation_loss", "validation_macro_f1"}
        assert set(table["metric"]) == metrics
        assert table["kept"].sum() == len(metrics)

    def test_of_a_model_that_was_not_trained(self):
        with pytest.raises(NotTrainedError, match="There is no history of a training. Train the model with `train`"):
            get.training(new_model())

    def test_of_another_directory(self, tmp_path):
        with pytest.raises(DataFileError, match=r"is not the directory of a training: it has no `metrics.csv`"):
            get.training(tmp_path)

    def test_of_a_clustering(self, tmp_path):
        adata = cells_of_types(depth=8)
        SCDeepCluster.setup_anndata(adata, labels_key="type")
        model = SCDeepCluster(adata, n_clusters=3, encoder=(16, 8), n_latent=4)
        model.train(pretrain_epochs=5, tolerance=0.99, run_dir=tmp_path / "run", enable_progress_bar=False, accelerator="cpu")
        table = get.training(model)
        assert set(table["metric"]) == {
            "pretrain_loss",
            "train_loss",
            "zinb_loss",
            "cluster_loss",
            "changed",
            "nmi",
            "ari",
            "accuracy",
        }
        first = table.groupby("metric")["epoch"].min()
        assert first["pretrain_loss"] == 0
        assert (first.drop("pretrain_loss") == 5).all()
        assert table["value"].notna().all()
        assert set(table.loc[table["kept"], "epoch"]) == {table["epoch"].max()}
        for name, curve in table.groupby("metric"):
            assert curve["value"].tolist() == model.history[name][name].tolist()
        model.save(tmp_path / "model")
        pd.testing.assert_frame_equal(get.training(tmp_path / "model"), table)
        pd.testing.assert_frame_equal(get.training(tmp_path / "run"), table.assign(kept=False), rtol=1e-12)
