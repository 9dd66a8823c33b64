"""What a training writes while it runs, read back with the tools of those who made the formats."""

import contextlib
import csv
import json
import logging
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tests.reference import make_reference

from sctab import DataFileError, OutputError, OutputExistsError, SettingError
from sctab.augmentation import donor_differences
from sctab.data import FeatureSpace, Normalization, normalise
from sctab.model import SCTAB, LinearClassifier, load_model
from sctab.train._logging import (
    SaveCheckpoints,
    forget,
    log_epoch,
    read_augmentation,
    read_metrics,
    start_logging,
    write_augmentation,
)

EPOCHS = 3
SETTINGS = {"learning_rate": 0.01}
FACTS = {"gene_ids": '["", ""]', "gene_symbols": '["A", "B"]', "settings": "{}"}
METRICS = {"train_loss", "validation_loss", "validation_macro_f1", "learning_rate"}


class Watch(Callback):
    """What can be seen from outside while a training runs."""

    def __init__(self, run_dir):
        self.run_dir = run_dir
        self.weights, self.rates, self.epochs_in_table = [], [], []

    def on_train_batch_start(self, trainer, *_):
        self.rates.append((trainer.current_epoch, trainer.optimizers[0].param_groups[0]["lr"]))

    def on_validation_end(self, _, pl_module):
        self.weights.append({name: value.clone() for name, value in pl_module.network.state_dict().items()})

    def on_train_epoch_start(self, trainer, _):
        if trainer.current_epoch:
            self.epochs_in_table.append({int(row["epoch"]) for row in rows_of(self.run_dir)})


def rows_of(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def new_model():
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type", donor_key="donor_id")
    return SCTAB(reference), reference


def train(model, **options):
    model.train(
        calibrate=False,
        max_epochs=EPOCHS,
        batch_size=64,
        **({"accelerator": "cpu", "enable_progress_bar": False, "refit": False} | options),
    )


def settings_of(model):
    return {"model": "SCTAB"} | dict(model.spec.architecture) | dict(model.spec.training["settings"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training in an empty working directory: model, reference, run directory, what was seen."""
    place = tmp_path_factory.mktemp("run")
    model, reference = new_model()
    watch = Watch(place / "run")
    with contextlib.chdir(place):
        train(model, run_dir=place / "run", keep_checkpoints="all", callbacks=[watch])
    return model, reference, place / "run", watch


class TestRunDirectory:
    def test_holds_these_files_and_the_working_directory_none(self, run):
        _, _, run_dir, _ = run
        assert [path.name for path in run_dir.parent.iterdir()] == ["run"]
        assert {path.name for path in run_dir.iterdir()} == {
            "metrics.csv",
            "hparams.yaml",
            "tensorboard",
            "checkpoints",
            "state.safetensors",
        }

    def test_table_has_every_metric_of_every_epoch(self, run):
        model, _, run_dir, _ = run
        for name in METRICS:
            found = {int(row["epoch"]): float(row[name]) for row in rows_of(run_dir) if row[name]}
            assert list(found) == list(range(EPOCHS))
            assert list(found.values()) == model.history[name][name].tolist()

    def test_table_grows_while_the_training_runs(self, run):
        _, _, _, watch = run
        assert watch.epochs_in_table == [{0}, {0, 1}]

    def test_tensorboard_has_every_metric_of_every_epoch(self, run):
        model, _, run_dir, _ = run
        events = EventAccumulator(str(run_dir / "tensorboard"))
        events.Reload()
        assert set(events.Tags()["scalars"]) == METRICS | {"epoch"}
        for name in METRICS:
            np.testing.assert_allclose(
                [event.value for event in events.Scalars(name)], model.history[name][name].astype(float), rtol=1e-6
            )

    def test_tensorboard_has_the_settings_in_its_table(self, run):
        model, _, run_dir, _ = run
        events = EventAccumulator(str(run_dir / "tensorboard"))
        events.Reload()
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        found = HParamsPluginData.FromString(content).session_start_info.hparams
        settings = settings_of(model)
        assert set(found) == set(settings)
        assert found["learning_rate"].number_value == settings["learning_rate"]
        assert found["model"].string_value == "SCTAB"
        assert found["class_weights"].bool_value is True

    def test_tensorboard_has_other_settings_as_text(self, tmp_path):
        for logger in start_logging(tmp_path, None, {"n_top_genes": None}):
            logger.finalize("success")
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        assert HParamsPluginData.FromString(content).session_start_info.hparams["n_top_genes"].string_value == "None"

    def test_settings_are_beside_the_table(self, run):
        model, _, run_dir, _ = run
        assert yaml.safe_load((run_dir / "hparams.yaml").read_text()) == settings_of(model)

    def test_learning_rate_is_the_mean_over_the_steps(self, run):
        model, _, _, watch = run
        for epoch in range(EPOCHS):
            expected = np.mean([rate for of, rate in watch.rates if of == epoch])
            assert model.history["learning_rate"].loc[epoch, "learning_rate"] == pytest.approx(expected, rel=1e-6)

    def test_history_is_read_back(self, run):
        model, _, run_dir, _ = run
        history = read_metrics(run_dir)
        assert set(history) == METRICS
        for name, values in history.items():
            assert values[name].tolist() == pytest.approx(model.history[name][name].tolist(), rel=1e-12)
            assert values.index.tolist() == list(range(EPOCHS))

    def test_of_somebody_else_is_not_forgotten(self, tmp_path):
        """`hparams.yaml` and `checkpoints` are names that Lightning gives to other trainings too."""
        for name in ("checkpoints/best.ckpt", "hparams.yaml", "metrics.csv"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("mine")
        forget(tmp_path)
        assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["best.ckpt", "checkpoints", "hparams.yaml", "metrics.csv"]
        (tmp_path / "checkpoints/best.ckpt").rename(tmp_path / "checkpoints/epoch_000")
        forget(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_is_not_used_twice(self, run):
        model, _, run_dir, _ = run
        before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
        with pytest.raises(OutputExistsError, match="is not empty: every training has a directory of its own"):
            train(model, run_dir=run_dir)
        assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before

    def test_may_be_there_when_it_is_empty(self, tmp_path):
        for logger in start_logging(tmp_path, None, SETTINGS):
            logger.finalize("success")
        assert {path.name for path in tmp_path.iterdir()} == {"hparams.yaml", "tensorboard"}

    def test_is_no_file(self, tmp_path):
        (tmp_path / "run").write_text("mine")
        with pytest.raises(OutputExistsError, match="is a file"):
            start_logging(tmp_path / "run", None, SETTINGS)
        assert (tmp_path / "run").read_text() == "mine"

    def test_is_not_below_a_file(self, tmp_path):
        (tmp_path / "mine").write_text("mine")
        with pytest.raises(OutputError, match=r"cannot be made: Not a directory\. Choose another `run_dir`"):
            start_logging(tmp_path / "mine" / "run", None, SETTINGS)

    def test_without_one_nothing_is_written(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        model, _ = new_model()
        train(model)
        assert list(tmp_path.iterdir()) == []
        assert set(model.history) == METRICS
        assert capsys.readouterr().out == ""

    def test_does_not_show_in_the_progress_bar(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes any stream for a terminal
        monkeypatch.setenv("COLUMNS", "200")  # room for all that is beside the bar
        model, _ = new_model()
        train(model, run_dir=tmp_path / "run", enable_progress_bar=True)
        bar = "".join(capsys.readouterr())
        assert "train_loss=" in bar
        assert "v_num" not in bar


class TestCheckpoints:
    def test_are_one_per_epoch_and_whole(self, run):
        _, _, run_dir, _ = run
        assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == [
            f"epoch_{epoch:03d}" for epoch in range(EPOCHS)
        ]
        for path in (run_dir / "checkpoints").iterdir():
            assert {file.name for file in path.iterdir()} == {"model.safetensors", "model.json"}

    @pytest.mark.parametrize("epoch", range(EPOCHS))
    def test_predict_as_the_model_did_then(self, run, epoch):
        _, reference, run_dir, watch = run
        checkpoint = load_model(run_dir / f"checkpoints/epoch_{epoch:03d}", accelerator="cpu")
        then, _ = new_model()
        then.module.load_state_dict(watch.weights[epoch])
        then.module.eval()
        then.is_trained_ = True
        np.testing.assert_array_equal(checkpoint.predict(reference, soft=True), then.predict(reference, soft=True))

    def test_epochs_differ_and_one_of_them_was_kept(self, run):
        model, _, run_dir, _ = run
        weights = [load_model(path, accelerator="cpu").module.state_dict() for path in sorted((run_dir / "checkpoints").iterdir())]
        same = [all(torch.equal(found[name], value) for name, value in model.module.state_dict().items()) for found in weights]
        assert [epoch for epoch in range(EPOCHS) if same[epoch]] == [model.spec.training["best_epoch"]]

    def test_those_of_the_best_and_the_last_epoch_are_kept_by_default(self, run, tmp_path):
        whole, _, run_dir, _ = run
        model, _ = new_model()
        train(model, run_dir=tmp_path / "run")
        kept = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
        assert kept == sorted({f"epoch_{epoch:03d}" for epoch in (whole.spec.training["best_epoch"], EPOCHS - 1)})
        for name in kept:
            first, second = (folder / "checkpoints" / name / "model.safetensors" for folder in (run_dir, tmp_path / "run"))
            assert first.read_bytes() == second.read_bytes()

    @pytest.mark.parametrize(
        ("best", "diverges_at", "kept"),
        [
            ([None, None, 2, 2, 2], None, [2, 4]),  # none counts before the last fifth
            ([0, 1, 2, 3, 4], None, [4]),
            ([0, 0, 0, 0, 0], None, [0, 4]),
            ([0, 1, 1, 1, 1], 3, [1, 2]),  # nothing is written then
        ],
    )
    def test_which_are_kept(self, tmp_path, best, diverges_at, kept):
        epoch = 0
        callback = SaveCheckpoints(
            tmp_path, lambda path: path.mkdir() if diverges_at is None or epoch < diverges_at else None, lambda: best[epoch], "best"
        )
        for epoch in range(5):
            callback.on_validation_end(SimpleNamespace(is_global_zero=True, current_epoch=epoch), None)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"epoch_{number:03d}" for number in kept]

    def test_another_choice_is_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(SettingError, match="`keep_checkpoints='some'` must be `best` or `all`"):
            train(new_model()[0], run_dir=tmp_path / "run", keep_checkpoints="some")
        assert not (tmp_path / "run").exists()


class TestLoggers:
    def test_lightning_loggers_get_the_same_as_the_directory(self, tmp_path):
        model, _ = new_model()
        own = [CSVLogger(tmp_path / "a", name="", version=""), TensorBoardLogger(tmp_path / "b", name="", version="")]
        train(model, run_dir=tmp_path / "run", logger=own)
        assert rows_of(tmp_path / "a") == rows_of(tmp_path / "run")
        events = EventAccumulator(str(tmp_path / "b"))
        events.Reload()
        assert set(events.Tags()["scalars"]) >= METRICS

    def test_one_logger_without_a_directory(self, tmp_path):
        model, _ = new_model()
        train(model, logger=CSVLogger(tmp_path, name="", version=""))
        assert {int(row["epoch"]) for row in rows_of(tmp_path)} == set(range(EPOCHS))

    def test_a_training_without_lightning_is_logged_alike(self, tmp_path):
        loggers = start_logging(tmp_path / "run", None, SETTINGS)
        for epoch, loss in enumerate([0.5, 0.25]):
            log_epoch(loggers, epoch, {"train_loss": loss})
        for logger in loggers:
            logger.finalize("success")
        assert read_metrics(tmp_path / "run")["train_loss"]["train_loss"].to_dict() == {0: 0.5, 1: 0.25}
        assert loggers[0].history["train_loss"]["train_loss"].to_dict() == {0: 0.5, 1: 0.25}
        events = EventAccumulator(str(tmp_path / "run/tensorboard"))
        events.Reload()
        assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [(0, 0.5), (1, 0.25)]

    @pytest.mark.parametrize("choice", ["wandb", True, 3, [CSVLogger("x"), "csv"]])
    def test_others_are_refused_before_anything_is_written(self, choice, tmp_path):
        with pytest.raises(SettingError, match=r"must be a logger of `lightning.pytorch.loggers`, `neptune`, or a list"):
            start_logging(tmp_path / "run", choice, SETTINGS)
        assert not (tmp_path / "run").exists()


# What Neptune is built on asks for a class that jsonschema will remove.
@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")
class TestNeptune:
    @pytest.fixture(autouse=True)
    def _no_account(self, monkeypatch):
        for name in ("NEPTUNE_API_TOKEN", "NEPTUNE_PROJECT", "NEPTUNE_MODE", "NEPTUNE_DATA_DIRECTORY"):
            monkeypatch.delenv(name, raising=False)

    @staticmethod
    def operations(directory):
        """What Neptune would send, as it keeps it on disk."""
        (run,) = (directory / "offline").iterdir()
        (log,) = run.glob("data-*.log")
        return [json.loads(line)["obj"] for line in log.read_text().splitlines()]

    def test_offline_run_has_metrics_and_settings(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("NEPTUNE_MODE", "offline")
        monkeypatch.chdir(tmp_path)
        model, _ = new_model()

        train(model, run_dir=tmp_path / "run", logger="neptune")

        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        operations = self.operations(tmp_path / "run" / "neptune")
        for name in METRICS:
            logged = [entry["values"][0]["value"] for entry in operations if entry["path"] == [name]]
            assert logged == model.history[name][name].tolist()
        settings = {entry["path"][1]: entry["value"] for entry in operations if entry["path"][0] == "settings"}
        assert settings == {name: "None" if value is None else value for name, value in settings_of(model).items()}
        assert model.trainer.loggers[-1].experiment.get_state() == "stopped"
        assert capsys.readouterr().out == ""
        assert "NEPTUNE_DATA_DIRECTORY" not in os.environ
        assert logging.getLogger("neptune").getEffectiveLevel() < logging.WARNING

    def test_own_data_directory_goes_first(self, tmp_path, monkeypatch):
        monkeypatch.setenv("NEPTUNE_MODE", "offline")
        monkeypatch.setenv("NEPTUNE_DATA_DIRECTORY", str(tmp_path / "mine"))
        loggers = start_logging(tmp_path / "run", "neptune", SETTINGS)
        loggers[-1].finalize("success")
        assert self.operations(tmp_path / "mine")
        assert not (tmp_path / "run" / "neptune").exists()

    def test_without_an_account_says_what_is_needed(self, tmp_path):
        with pytest.raises(
            SettingError,
            match=r"`NEPTUNE_API_TOKEN` and `NEPTUNE_PROJECT` are not set.*`NEPTUNE_MODE=offline` to keep the run on disk",
        ):
            start_logging(tmp_path / "run", "neptune", SETTINGS)
        assert not (tmp_path / "run").exists()

    def test_without_a_project_says_what_is_needed(self, tmp_path, monkeypatch):
        monkeypatch.setenv("NEPTUNE_API_TOKEN", "token")
        with pytest.raises(SettingError, match="send the run: `NEPTUNE_PROJECT` is not set"):
            start_logging(tmp_path / "run", "neptune", SETTINGS)


class TestReadMetrics:
    def test_no_run(self, tmp_path):
        with pytest.raises(DataFileError, match=r"is not the directory of a training: it has no `metrics.csv`"):
            read_metrics(tmp_path)

    @pytest.mark.parametrize("content", ["", "a,b\n1,2\n"])
    def test_another_table(self, content, tmp_path):
        (tmp_path / "metrics.csv").write_text(content)
        with pytest.raises(DataFileError, match="cannot be read.*with the column `epoch`"):
            read_metrics(tmp_path)


@pytest.fixture(scope="module")
def augmented(tmp_path_factory):
    """Model, reference and directory of a training with vectors, and the model saved."""
    place = tmp_path_factory.mktemp("augmented")
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    train(model, augment=True, refit=True, run_dir=place / "run", seed=4)
    model.save(place / "model")
    return model, reference, place


class TestAugmentation:
    """What an augmented training leaves, read back with the library of those who made the format."""

    def test_are_the_vectors_of_the_training_cells(self, augmented):
        model, reference, place = augmented
        learned = reference[model.train_indices]
        expected = donor_differences(
            normalise(learned.X, Normalization()),
            learned.obs["cell_type"].cat.codes.to_numpy(),
            pd.factorize(reference.obs["donor_id"])[0][model.train_indices],
            rng=np.random.default_rng(4),
        )
        with safe_open(place / "run" / "augmentation.safetensors", framework="numpy") as file:
            data, indices, indptr = (file.get_tensor(name) for name in ("data", "indices", "indptr"))
            facts = {name: json.loads(value) for name, value in file.metadata().items()}
        np.testing.assert_allclose(data, expected.data, rtol=1e-6)
        np.testing.assert_array_equal(indices, expected.indices)
        np.testing.assert_array_equal(indptr, expected.indptr)
        assert len(data)
        assert facts["gene_symbols"] == list(reference.var_names)
        assert facts["gene_ids"] == reference.var["ensembl_id"].tolist()
        assert facts["settings"].items() >= {"smallest": 0.25, "n_clusters": 50, "seed": 4, "target_sum": 1e4}.items()

    def test_are_no_part_of_any_model(self, augmented):
        model, _, place = augmented
        directories = [place / "model", *(place / "run" / "checkpoints").iterdir()]
        assert len(directories) > 1
        for directory in directories:
            assert {path.name for path in directory.iterdir()} == {"model.json", "model.safetensors"}
            with safe_open(directory / "model.safetensors", framework="numpy") as file:
                assert set(file.keys()) == {"gene_importance", *(f"network.{name}" for name in model.module.state_dict())}

    def test_are_not_written_without_augmentation(self, run):
        _, _, run_dir, _ = run
        assert not list(run_dir.rglob("augmentation*"))
        with pytest.raises(DataFileError, match="has no `augmentation.safetensors`. A training leaves it there with"):
            read_augmentation(run_dir)

    def test_are_read_back(self, tmp_path):
        differences = sparse.random(7, 4, 0.5, format="csr", dtype=np.float32, rng=0)
        genes = FeatureSpace(ids=("ENSG00000167286", "", "", ""), symbols=("CD3D", "MS4A1", "A", "B"))
        write_augmentation(tmp_path, differences, genes, {"seed": 1})
        found, its_genes, settings = read_augmentation(tmp_path)
        assert (found != differences).nnz == 0
        assert (its_genes, settings) == (genes, {"seed": 1})
        assert [path.name for path in tmp_path.iterdir()] == ["augmentation.safetensors"]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(path.read_bytes()[:-5]),
            lambda path: path.write_text("text"),
            lambda path: save_file({"data": np.ones(3)}, path),
            lambda path: save_file({"data": np.ones(1), "indices": np.array([9]), "indptr": np.array([0, 1])}, path, FACTS),
        ],
        ids=["truncated", "another file", "without genes", "a column that does not exist"],
    )
    def test_what_is_damaged_is_refused(self, tmp_path, damage):
        write_augmentation(tmp_path, sparse.eye(2, format="csr"), FeatureSpace(ids=("", ""), symbols=("A", "B")), {})
        damage(tmp_path / "augmentation.safetensors")
        with pytest.raises(
            DataFileError, match=r"augmentation.safetensors` cannot be read: .* Copy the directory of the training again"
        ):
            read_augmentation(tmp_path)
