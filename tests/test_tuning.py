"""Tuning: what a study finds, what it judges by, and that it outlives the process that it runs in."""

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.pruners import NopPruner
from sklearn.metrics import f1_score

import sctab
from sctab.io import _progress
from sctab.model import Choice, LinearClassifier, Range, SearchSpace
from sctab.train import MemoryReference
from sctab.tuning import Settings, tune
from sctab.tuning._cells import hold_out
from sctab.tuning._result import _importance
from sctab.tuning._study import open_study, quiet
from sctab.tuning._task import make_task
from tests.reference import make_reference

SPACE = SearchSpace(model={}, train={"learning_rate": Range(1e-5, 1e-1, log=True), "gene_dropout": Range(0.0, 0.9)})
LIGHT = {"max_epochs": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def reference():
    """Four donors, three types."""
    return make_reference(120)


@pytest.fixture(scope="module")
def stored(reference, tmp_path_factory):
    """A study of one trial in a file."""
    path = tmp_path_factory.mktemp("study") / "s.db"
    search(reference, n_trials=1, storage=path)
    return path


def search(reference, **changes):
    """A quick study of the linear model."""
    options = {"model": "linear", "space": SPACE, "train_settings": LIGHT, "donor_key": "donor_id", "accelerator": "cpu"}
    return tune(reference, "cell_type", **options | changes)


def task_of(reference, **changes):
    options = {"fixed": Settings("linear", train_settings=LIGHT), "space": SPACE, "seed": 0, "accelerator": "cpu"}
    return make_task(cells_of(reference), **options | changes)


def cells_of(reference, **changes):
    setup = {"labels_key": "cell_type", "donor_key": "donor_id"} | changes
    return hold_out(MemoryReference.of(reference, **setup), train_size=0.75, seed=0)


def with_donors(reference, donors_of_types):
    """Cells of as many types as there are donors for, shared out among the donors of their type in turn."""
    types = dict(zip(reference.obs["cell_type"].cat.categories, donors_of_types, strict=False))
    adata = reference[reference.obs["cell_type"].isin(types)].copy()
    order = adata.obs.groupby("cell_type", observed=True).cumcount()
    adata.obs["donor_id"] = [types[name][i % len(types[name])] for name, i in zip(adata.obs["cell_type"], order, strict=True)]
    return adata


@pytest.mark.filterwarnings("ignore:Settings are judged by cells of the donors:sctab.SctabWarning")
class TestDifferencesBetweenDonors:
    def test_are_searched_where_a_type_has_several(self, reference):
        task = task_of(reference, space=None)
        assert task.space.train["augment"] == Choice((False, True))
        assert 0 <= task.evaluate(task.settings({"augment": True})).score <= 1

    def test_are_not_searched_without_a_donor_key(self, reference):
        assert "augment" not in search(reference, donor_key=None, space=None, n_trials=1).trials

    @pytest.mark.parametrize("donors", [["p", "p"], ["p", "q", "r"], ["pq", "rs"]])
    def test_are_not_searched_where_no_type_has_two_to_learn_from(self, donors, reference):
        """One donor; one for each type; two for each, of which the study or the validation holds one out."""
        adata = with_donors(reference, donors)
        task = task_of(adata, space=None)
        assert set(LinearClassifier.search_space().train) - set(task.space.train) == {"augment"}
        with pytest.raises(sctab.SettingError, match="needs a cell type of which two training donors have cells"):
            task.evaluate(Settings("linear", train_settings=LIGHT | {"augment": True}))
        assert list(search(adata, space=None, n_trials=2).trials["state"]) == ["complete", "complete"]


class TestSettings:
    def test_come_back_from_their_file(self, tmp_path):
        settings = Settings("mlp", {"n_layers": 3}, {"learning_rate": 0.01, "augment": True})
        settings.write(tmp_path / "settings.json")
        assert Settings.read(tmp_path / "settings.json") == settings
        assert json.loads((tmp_path / "settings.json").read_text()) == {
            "format": "sctab-settings",
            "format_version": 1,
            "model": "mlp",
            "model_settings": {"n_layers": 3},
            "train_settings": {"learning_rate": 0.01, "augment": True},
        }

    def test_are_not_overwritten_unless_asked(self, tmp_path):
        Settings("mlp").write(tmp_path / "settings.json")
        with pytest.raises(sctab.OutputExistsError):
            Settings("linear").write(tmp_path / "settings.json")
        assert Settings.read(tmp_path / "settings.json").model == "mlp"

    def test_are_in_a_file_that_is_there(self, tmp_path):
        with pytest.raises(sctab.DataFileError, match="not found"):
            Settings.read(tmp_path / "settings.json")

    @pytest.mark.parametrize(
        ("content", "error", "message"),
        [
            ("{", sctab.DataFileError, "is not JSON"),
            ("[]", sctab.DataFileError, "`format` must be `sctab-settings`"),
            ({"format": "sctab-model"}, sctab.DataFileError, "`format` must be `sctab-settings`"),
            ({"format_version": 2}, sctab.DataFileError, "`format_version` 2; this version of sctab reads 1"),
            ({"model": "forest"}, sctab.SettingError, "`model='forest'` is not a model class. Available: `linear`, `mlp`"),
            ({"model_setting": {}}, sctab.SettingError, "has `model_setting`, which a settings file does not have"),
            (
                {"train_settings": [1]},
                sctab.SettingError,
                r"`train_settings` in `.*` must be settings by name, `{…}`, and is \[1\]",
            ),
            ({"model_settings": {"n_layer": 3}}, sctab.SettingError, "`n_layer` cannot be among the `model_settings`"),
            ({"train_settings": {"lr": 1}}, sctab.SettingError, "`lr` cannot be among the `train_settings`"),
        ],
    )
    def test_that_make_no_sense(self, content, error, message, tmp_path):
        known = {"format": "sctab-settings", "format_version": 1, "model": "mlp"}
        text = content if isinstance(content, str) else json.dumps(known | content)
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(error, match=message):
            Settings.read(tmp_path / "settings.json")

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            *((model, name) for model in ("linear", "auto") for name in ("seed", "accelerator", "devices", "run_dir", "logger")),
            ("mlp", "callbacks"),
            ("auto", "enable_progress_bar"),
            ("linear", "n_folds"),
            ("xgboost", "batch_size"),
        ],
    )
    def test_are_not_of_a_run_nor_of_another_class(self, model, name):
        with pytest.raises(sctab.SettingError, match=f"`{name}` cannot be among the `train_settings`. Available: "):
            Settings(model, train_settings={name: 3})

    @pytest.mark.parametrize("model", ["linear", "mlp", "xgboost", "sctab"])
    def test_that_were_published_are_known(self, model):
        published = sctab.model.model_by_name(model).paper_settings()
        assert Settings(model, published["model"], published["train"]).model == model

    def test_for_all_candidates_are_known(self):
        settings = Settings("auto", {"candidates": ["linear"]}, {"max_epochs": 5, "n_folds": 4})
        assert settings.train_settings == {"max_epochs": 5, "n_folds": 4}

    def test_need_no_optuna(self, monkeypatch, reference):
        monkeypatch.setitem(sys.modules, "optuna", None)
        assert Settings("mlp").train_settings == {}
        with pytest.raises(sctab.MissingDependencyError, match=r"pip install 'sctab\[tune\]'"):
            search(reference)


class TestJudging:
    def test_is_by_donors_that_training_does_not_see(self, reference):
        task = task_of(reference)
        learned, judged = set(task.cells.reference.obs["donor_id"]), set(task.cells.units)
        assert task.cells.by == "donor"
        assert judged
        assert not learned & judged
        assert learned | judged == set(reference.obs["donor_id"])

    def test_gives_the_macro_f1_of_a_model_that_is_trained_by_hand(self, reference):
        task = task_of(reference)
        settings = task.settings({"learning_rate": 1e-4, "gene_dropout": 0.5})
        outcome = task.evaluate(settings)
        held_out = reference.obs["donor_id"].isin(task.cells.units).to_numpy()
        training, query = reference[~held_out].copy(), reference[held_out].copy()
        LinearClassifier.setup_anndata(training, "cell_type", donor_key="donor_id")
        model = LinearClassifier(training)
        quiet = {"accelerator": "cpu", "enable_progress_bar": False}
        model.train(calibrate=False, learning_rate=1e-4, gene_dropout=0.5, refit=False, seed=0, **quiet, **LIGHT)
        expected = f1_score(query.obs["cell_type"].astype(str), model.predict(query).astype(str), average="macro")
        assert outcome.score == pytest.approx(expected)
        assert outcome.validation == model.spec.training["validation"]["macro_f1"]
        assert 0 < outcome.score < 1

    def test_leaves_out_cells_without_a_label(self, reference):
        cells = cells_of(reference, unlabeled_category="B cell")
        assert set(cells.truth) == set(cells.reference.obs["cell_type"]) == {"T cell", "monocyte"}
        task = make_task(cells, Settings("linear", train_settings=LIGHT), space=SPACE, seed=0, accelerator="cpu")
        assert 0 <= task.evaluate(task.fixed).score <= 1

    def test_knows_a_reference_by_its_covariates_too(self, reference):
        prints = []
        for tissues in (["lung", "blood"], ["blood", "lung"]):
            adata = reference.copy()
            adata.obs["tissue"] = np.resize(tissues, adata.n_obs)
            with pytest.warns(sctab.SctabWarning, match="no `donor_key` was given"):
                cells = cells_of(adata, donor_key=None, categorical_covariate_keys=["tissue"])
            prints.append(cells.identity["data"])
        assert prints[0] != prints[1]

    def test_without_donors_says_so(self, reference):
        with pytest.warns(sctab.SctabWarning, match="since no `donor_key` was given: expect less on new donors"):
            found = search(reference, donor_key=None, n_trials=1)
        assert found.split == "stratified"
        assert found.n_held_out == 30  # a quarter of the 40 cells of each of three types

    def test_leaves_the_reference_as_it_was(self, reference):
        before = reference.copy()
        search(reference, n_trials=1)
        assert list(reference.obs.columns) == list(before.obs.columns)
        assert reference.uns == before.uns
        assert (reference.X != before.X).nnz == 0

    def test_leaves_the_reference_set_up(self, reference):
        own = reference.copy()
        LinearClassifier.setup_anndata(own, "cell_type")
        before = dict(own.uns)
        search(own, n_trials=1)
        assert own.uns == before
        assert LinearClassifier(own).adata is own

    def test_uses_the_layer_that_was_named(self, reference):
        layered = reference.copy()
        layered.layers["counts"] = layered.X.copy()
        layered.X = layered.X * 0
        assert search(layered, layer="counts", n_trials=1).best_value == search(reference, n_trials=1).best_value


class TestStudy:
    def test_begins_with_the_defaults_and_is_never_worse(self, reference):
        found = search(reference, n_trials=4)
        assert list(found.trials["is_default"]) == [True, False, False, False]
        defaults = LinearClassifier._default_training(len(reference))
        assert found.trials.loc[0, "learning_rate"] == defaults.learning_rate
        assert found.trials.loc[0, "gene_dropout"] == defaults.gene_dropout
        assert found.default_value == found.trials.loc[0, "value"] <= found.best_value == found.trials["value"].max()
        assert list(found.trials["best"]) == list(np.maximum.accumulate(found.trials["value"]))

    def test_says_how_many_trials_are_finished(self, reference, capsys, monkeypatch):
        monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", -1)
        search(reference, n_trials=2, show_progress=True)
        assert "Tuning: 2 of 2 trials" in capsys.readouterr().err

    def test_keeps_the_defaults_where_nothing_is_better(self, reference):
        hopeless = SearchSpace(model={}, train={"learning_rate": Range(1e-12, 1e-11, log=True)})
        found = search(reference, space=hopeless, n_trials=3)
        assert found.best == Settings("linear", {}, LIGHT)
        assert found.trials.loc[0, "learning_rate"] > 1e-11  # outside of the space, and tried all the same

    def test_finds_what_is_better(self, reference):
        bad = {"train_settings": LIGHT | {"gene_dropout": 0.0}}
        space = SearchSpace(model={"n_layers": Choice((1,)), "n_hidden": Range(8, 16)}, train={"learning_rate": Range(0.02, 0.05)})
        found = search(reference, model="mlp", space=space, n_trials=5, **bad)
        best = found.trials.loc[found.trials["value"].idxmax()]
        assert found.best.model_settings == {"n_layers": 1, "n_hidden": best["n_hidden"]}
        assert found.best.train_settings == {**LIGHT, "gene_dropout": 0.0, "learning_rate": best["learning_rate"]}
        assert found.best_value > found.default_value
        assert all(type(n) is int and 8 <= n <= 16 for n in found.trials["n_hidden"][1:].tolist())

    def test_ends_hopeless_trials_early(self, reference, tmp_path):
        space = SearchSpace(model={}, train={"learning_rate": Choice((0.01, 0.02, 1e-12))})
        found = search(reference, space=space, train_settings=LIGHT | {"max_epochs": 4}, n_trials=9, storage=tmp_path / "s.db")
        pruned = found.trials[found.trials["state"] == "pruned"]
        assert len(found.trials) == 9
        assert len(pruned) > 0
        assert set(pruned["learning_rate"]) == {1e-12}
        assert pruned["value"].isna().all()
        assert (pruned.index >= 5).all()
        epochs = dict(
            rows(
                tmp_path / "s.db", "SELECT number, COUNT(*) FROM trials JOIN trial_intermediate_values USING (trial_id) GROUP BY 1"
            )
        )
        assert {epochs[number] for number in pruned.index} == {2}  # the first one, a third of four, is waited for
        assert {epochs[number] for number in found.trials.index.difference(pruned.index)} == {4}

    def test_is_the_same_with_the_same_seed(self, reference, tmp_path):
        one, two = search(reference, n_trials=3), search(reference, n_trials=3, storage=tmp_path / "s.db")
        other = search(reference, n_trials=3, seed=1)
        columns = ["value", "learning_rate", "gene_dropout"]
        pd.testing.assert_frame_equal(one.trials[columns], two.trials[columns])
        assert one.trials.loc[1, "learning_rate"] != other.trials.loc[1, "learning_rate"]

    def test_knows_what_matters(self, reference):
        space = SearchSpace(model={}, train={"learning_rate": Choice((0.02, 1e-12)), "l1": Range(0.0, 1e-12)})
        found = search(reference, space=space, n_trials=8)
        assert list(found.importance["setting"]) == ["learning_rate", "l1"]
        assert found.importance["importance"].sum() == pytest.approx(1)
        assert found.importance.loc[0, "importance"] > 0.8
        assert found.importance_note == ""

    def test_knows_nothing_of_importance_from_trials_that_are_equally_good(self):
        study = optuna.create_study(direction="maximize")
        dimensions = {"l1": optuna.distributions.FloatDistribution(0, 1)}
        for l1 in (0.1, 0.5, 0.9):
            study.add_trial(optuna.trial.create_trial(params={"l1": l1}, distributions=dimensions, value=0.5))
        importance, note = _importance(study, SimpleNamespace(dimensions=dimensions, seed=0))
        assert importance.empty
        assert note == "The importance of settings needs trials that differ, and all 3 complete trials are equally good."

    def test_knows_nothing_of_importance_from_one_trial(self, reference):
        found = search(reference, n_trials=1)
        assert found.importance.empty
        n_settings = len(found.trials.columns) - list(found.trials.columns).index("seconds") - 1
        assert f"needs at least {n_settings + 1} complete trials, and there is 1. " in found.importance_note

    def test_takes_models_without_epochs(self, reference):
        pytest.importorskip("xgboost")
        space = SearchSpace(model={}, train={"learning_rate": Range(0.05, 0.3)})
        found = search(reference, model="xgboost", space=space, train_settings={"max_epochs": 2}, n_trials=2)
        assert list(found.trials["state"]) == ["complete", "complete"]

    @pytest.mark.parametrize("model", ["linear", "mlp", "xgboost", "sctab"])
    def test_varies_what_the_class_says(self, model, reference):
        task = task_of(reference, space=None)
        own = sctab.model.model_by_name("linear").search_space()
        assert set(task.dimensions) == {*own.model, *own.train} - set(LIGHT)
        task = task_of(reference, fixed=Settings(model, train_settings={"max_epochs": 1}), space=None)
        assert task.dimensions
        assert set(task.defaults()) == set(task.dimensions)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"n_trials": 0}, "`n_trials=0` must be at least 1"),
            ({"train_size": 1}, "`train_size=1` must be above 0 and below 1"),
            ({"model": "forest"}, "`model='forest'` is not a model class"),
            ({"model": "auto", "train_settings": {}}, "`auto` has no settings of its own"),
            ({"train_settings": {"learning_rate": 1, "gene_dropout": 0}}, "There is nothing to tune"),
            ({"space": SearchSpace({}, {"rate": Range(0, 1)})}, "`rate` cannot be among the `train_settings`"),
            ({"timeout": 0}, "No trial is complete yet"),
            ({"train_settings": {"seed": 3}}, "`seed` cannot be among the `train_settings`"),
            ({"train_settings": {"max_epochs": "5"}}, "`max_epochs='5'` must be an integer: write `5`"),
            ({"train_settings": {"max_epochs": 0}}, "`max_epochs=0` must be at least 1"),
        ],
    )
    def test_that_makes_no_sense(self, changes, message, reference):
        with pytest.raises(sctab.SettingError, match=message):
            search(reference, **changes)

    def test_of_too_few_cells(self, reference):
        with pytest.raises(sctab.InputValueError, match="No cell can be held out to judge by"):
            search(reference[:6].copy(), donor_key=None)

    def test_of_a_column_that_is_not_there(self, reference):
        with pytest.raises(sctab.KeyNotFoundError, match="`donor_key='donor'` is not in `adata.obs`"):
            search(reference, donor_key="donor")


class TestFile:
    def test_holds_a_study_that_goes_on(self, reference, tmp_path):
        first = search(reference, n_trials=1, storage=tmp_path / "deep" / "s.db").trials
        again = search(reference, n_trials=1, storage=tmp_path / "deep" / "s.db").trials
        longer = search(reference, n_trials=2, storage=tmp_path / "deep" / "s.db").trials
        pd.testing.assert_frame_equal(first, again)
        pd.testing.assert_frame_equal(first, longer[:1])
        assert len(longer) == 2
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.db"]

    @pytest.mark.parametrize("part", ["counts", "labels", "donors", "genes", "cells"])
    def test_refuses_other_data(self, part, reference, stored):
        other = reference.copy()
        if part == "counts":
            other.X[0, other.X[0].indices[0]] += 1
        elif part == "labels":
            other.obs["cell_type"] = np.roll(other.obs["cell_type"].to_numpy(), 1)
        elif part == "donors":
            other.obs["donor_id"] = np.roll(other.obs["donor_id"].to_numpy(), 1)
        elif part == "genes":
            other.var_names = [f"{name}X" for name in other.var_names]
        else:
            other = other[:-3].copy()
        with pytest.raises(sctab.SettingError, match=r"was started with other `data`\. Resume with the original settings"):
            search(other, storage=stored)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": "mlp"}, r"other `model` \(`model` was linear and is mlp\)"),
            ({"space": SearchSpace({}, {"learning_rate": Range(0.1, 1)})}, "other `space`"),
            ({"train_settings": {"max_epochs": 3}}, "other `train_settings`"),
            ({"train_size": 0.5}, "`train_size` was 0.75 and is 0.5"),
            ({"seed": 1}, "`seed` was 0 and is 1"),
            ({"unlabeled_category": "B cell"}, "other `unlabeled_category` .* was None and is B cell"),
            ({"gene_id_key": "ensembl_id"}, r"other `gene_id_key` \(`gene_id_key` was None and is ensembl_id\)"),
            ({"gene_symbol_key": "symbol"}, "other `gene_symbol_key`"),
            ({"layer": "counts"}, "`layer` was None and is counts"),
            ({"donor_key": "sample"}, "`donor_key` was donor_id and is sample"),
        ],
    )
    def test_refuses_another_question(self, changes, message, reference, stored):
        before = stored.read_bytes()
        same = reference.copy()
        same.layers["counts"], same.var["symbol"], same.obs["sample"] = same.X, same.var_names, same.obs["donor_id"]
        with pytest.raises(sctab.SettingError, match=message):
            search(same, storage=stored, **changes)
        assert stored.read_bytes() == before

    def test_refuses_to_go_on_with_another_version(self, reference, stored, tmp_path):
        shutil.copy(stored, tmp_path)
        with closing(sqlite3.connect(tmp_path / stored.name)) as connection:
            connection.execute("UPDATE study_user_attributes SET value_json = '\"0.0.1\"' WHERE key = 'sctab_version'")
            connection.commit()
        message = rf"other `sctab_version` \(`sctab_version` was 0\.0\.1 and is {re.escape(sctab.__version__)}\)\. Resume with"
        with pytest.raises(sctab.SettingError, match=message):
            search(reference, storage=tmp_path / stored.name)

    def test_a_full_disk(self, tmp_path):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, hard))
        try:
            message = r"The study in `.*/a\.db` could not be written: .*\. Finished trials are kept\. Free some space"
            with pytest.raises(sctab.OutputError, match=message), quiet(), open_study(tmp_path / "a.db", {}, NopPruner()):
                pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []

    def test_of_something_else_is_left_alone(self, reference, tmp_path):
        (tmp_path / "text.db").write_text("precious " * 100)
        with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
            connection.execute("CREATE TABLE precious (value)")
            connection.commit()
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        for path in before:
            with pytest.raises(sctab.DataFileError, match="holds no study"):
                search(reference, storage=path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


SCRIPT = """
from pathlib import Path
from tests.reference import make_reference
from tests.test_tuning import search
search(make_reference(120), train_settings={{"max_epochs": 4, "batch_size": 2}}, n_trials={n_trials}, storage=Path({path!r}))
"""


def begin(repository, path, *, n_trials):
    """A study in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(path=str(path), n_trials=n_trials)],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows(path, query):
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        return connection.execute(query).fetchall()


def trials_of(path, state):
    """What the file says of the trials in a state: number, beginning, end and value."""
    return rows(
        path,
        "SELECT number, datetime_start, datetime_complete, value FROM trials LEFT JOIN trial_values USING (trial_id) "
        f"WHERE state = '{state}' ORDER BY number",
    )


def wait_for(process, path, query, n):
    """Wait until a query of the file gives so many rows."""
    deadline = time.monotonic() + 600
    while not (path.exists() and len(rows(path, query)) >= n):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "the study makes no progress"
        time.sleep(0.02)


def test_a_killed_study_goes_on_where_it_was(reference, repository, tmp_path):
    path, light = tmp_path / "s.db", {"train_settings": {"max_epochs": 4, "batch_size": 2}}
    process = begin(repository, path, n_trials=50)
    wait_for(process, path, "SELECT 1 FROM trials JOIN trial_intermediate_values USING (trial_id) WHERE number = 2", 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = trials_of(path, "COMPLETE")
    assert [number for number, *_ in done] == [0, 1]
    assert [number for number, *_ in trials_of(path, "RUNNING")] == [2]  # killed in the middle of it

    found = search(reference, n_trials=3, storage=path, **light)
    assert list(found.trials.index) == [0, 1, 3]
    assert trials_of(path, "COMPLETE")[:2] == done

    # Without a sign of life for a minute, the trial counts as lost and is tried once more, with the settings that it had.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-61 seconds')")
        connection.commit()
    found = search(reference, n_trials=4, storage=path, **light)
    assert list(found.trials.index) == [0, 1, 3, 4]
    assert [number for number, *_ in trials_of(path, "FAIL")] == [2]
    assert trials_of(path, "COMPLETE")[:2] == done
    values = rows(path, "SELECT number, param_name, param_value FROM trials JOIN trial_params USING (trial_id)")
    of = {n: {(name, value) for number, name, value in values if number == n} for n in (2, 4)}
    assert of[2] == of[4] != set()


def test_a_study_that_was_killed_at_its_first_trial_still_tries_the_defaults(reference, tmp_path):
    path = tmp_path / "s.db"
    search(reference, n_trials=1, storage=path)
    with closing(sqlite3.connect(path)) as connection:  # what is left of a trial whose process was killed
        connection.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL")
        connection.execute("DELETE FROM trial_values")
        connection.commit()
    found = search(reference, n_trials=2, storage=path)
    assert list(found.trials.index) == [1, 2]
    assert list(found.trials["is_default"]) == [False, True]


def test_two_processes_share_a_study(reference, repository, tmp_path):
    path, light = tmp_path / "s.db", {"train_settings": {"max_epochs": 4, "batch_size": 2}}
    process = begin(repository, path, n_trials=4)
    wait_for(process, path, "SELECT 1 FROM trials WHERE state = 'RUNNING'", 1)
    search(reference, n_trials=4, storage=path, **light)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    found = search(reference, n_trials=4, storage=path, **light)
    assert len(found.trials) in (4, 5)  # each ends with the trial that it is at
    assert found.trials["is_default"].sum() == 1
    assert found.trials["learning_rate"].is_unique
    assert rows(path, "SELECT COUNT(*) FROM trials WHERE state IN ('FAIL', 'RUNNING', 'WAITING')") == [(0,)]
    overlaps = rows(
        path,
        "SELECT COUNT(*) FROM trials a JOIN trials b ON a.number < b.number AND b.datetime_start < a.datetime_complete",
    )
    assert overlaps[0][0] > 0
