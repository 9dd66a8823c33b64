"""The `sctab` command as typed in a shell."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tests.reference import LABEL_MAPS, TYPES, make_reference, with_labels_of_authors
from typer.testing import CliRunner

import sctab
from sctab.cli import _app, app
from sctab.data import fingerprint
from sctab.model import DeepEnsemble, load_model
from sctab.train import _memory, _reference
from sctab.train._reference import content_hash


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A reference, a query and a model that the command trained."""
    folder = tmp_path_factory.mktemp("files")
    make_reference().write_h5ad(folder / "reference.h5ad")
    query = make_reference(90, seed=7)
    query.write_h5ad(folder / "query.h5ad")
    query.write_zarr(folder / "query.zarr")
    result = run("train", folder / "reference.h5ad", "--labels-key", "cell_type", "--donor-key", "donor_id",
                 "--output", folder / "model", "--model", "sctab",
                 "--max-epochs", 20, "--batch-size", 16, "--accelerator", "cpu")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Validation macro F1" in result.stdout
    assert "whole donors held out" in result.stdout
    assert "expect less on new donors" not in result.stdout
    assert "Calibrated on 4 donors, each held out: expected calibration error " in result.stdout
    assert "With `--accepted-error`, 0.2 is the smallest error that can be promised for a new donor." in result.stdout
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result, message):
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert message in result.stderr


class TestTrain:
    def train(self, files, tmp_path, *options):
        return run("train", files / "reference.h5ad", "--labels-key", "cell_type", "--output", tmp_path / "model",
                   "--accelerator", "cpu", *options)  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "cls"), [("linear", "LinearClassifier"), ("mlp", "MLPClassifier"), ("xgboost", "XGBoostClassifier")]
    )
    def test_every_model_can_be_named(self, files, tmp_path, name, cls):
        result = self.train(files, tmp_path, "--model", name, "--max-epochs", 20, "--no-logs")
        assert result.exit_code == 0, result.output
        assert (
            "(a fraction of each type held out).\nDonors of these cells were learned, too, so expect less on new donors. `--donor-key` "
            "holds out whole donors.\n"
        ) in result.stdout
        assert sctab.model.load_model(tmp_path / "model").spec.model_class == cls
        annotated = run("annotate", files / "query.h5ad", "--model", tmp_path / "model", "--csv", tmp_path / "a.csv")
        assert annotated.exit_code == 0, annotated.output
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]

    def test_auto_prints_what_it_compared(self, files, tmp_path):
        result = self.train(files, tmp_path, "--donor-key", "donor_id", "--max-epochs", 12, "--resume")  # `auto` is the default
        assert "Note: `auto` trains several models and is not resumed" in result.stderr
        assert result.exit_code == 0, result.output
        for name in ("linear", "mlp", "xgboost", "sctab", "kept", "standard error"):
            assert name in result.stdout
        assert "cells that no candidate had learned in 3 parts (whole donors held out)." in result.stdout
        assert "selection" in sctab.model.load_model(tmp_path / "model").spec.training

    def test_curves_are_written_beside_the_model(self, files, tmp_path):
        for _ in range(2):
            result = self.train(files, tmp_path, "--model", "linear", "--max-epochs", 2, "--overwrite")
            assert result.exit_code == 0, result.output
        assert (tmp_path / "model.run" / "metrics.csv").is_file()
        assert (tmp_path / "model.run-1" / "tensorboard").is_dir()
        assert "model.run-1" in result.stdout.replace("\n", "")

    def test_an_ensemble_goes_on_where_it_was(self, files, tmp_path):
        options = ("--model", "linear", "--max-epochs", 2, "--members", 2)
        assert self.train(files, tmp_path, *options).exit_code == 0
        shutil.rmtree(tmp_path / "model")
        weights = tmp_path / "model.run/member_0/model.safetensors"
        written = weights.stat().st_mtime_ns
        result = self.train(files, tmp_path, *options)
        assert result.exit_code == 0, result.output
        assert "2 of 2 members are finished" in result.stderr
        assert "Validation macro F1 of the members" in result.stdout
        assert weights.stat().st_mtime_ns == written
        assert len(sctab.model.load_model(tmp_path / "model").members) == 2

    @pytest.mark.parametrize("options", [("--model", "linear"), ("--model", "linear", "--members", 2), ()], ids=str)
    def test_a_finished_training_is_not_done_again(self, files, tmp_path, options):
        """With `--resume` from the start, as in a script that is run until it ends well."""
        options = (*options, "--max-epochs", 2, "--resume")
        assert self.train(files, tmp_path, *options).exit_code == 0
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
        again = self.train(files, tmp_path, *options)
        assert (again.exit_code, again.stdout) == (
            0,
            f"`{tmp_path / 'model'}` is finished, by the same training: there is nothing to do.\n",
        )
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()} == before
        for other in (("--seed", 1), ("--donor-key", "donor_id"), ("--max-epochs", 3), ("--no-calibrate",)):
            refused(
                self.train(files, tmp_path, *options, *other), "is from another reference, model or settings, so it is not resumed."
            )
        refused(self.train(files, tmp_path, *options[:-1]), "already exists")
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize("options", [("--model", "linear"), ("--model", "linear", "--members", 2), ()], ids=str)
    def test_the_reference_is_hashed_once(self, files, tmp_path, options, monkeypatch):
        """Of all that compares references (run directories, members, finished models), the first one hashes the matrix."""
        hashed = []

        def count(source, *columns):
            hashed.append(source.matrix.shape)
            return fingerprint(source, *columns)

        def refuse_matrices(*arrays):
            assert all(array.size < 60 * 240 for array in arrays)
            return content_hash(*arrays)

        monkeypatch.setattr(_memory, "fingerprint", count)
        monkeypatch.setattr(_reference, "content_hash", refuse_matrices)
        result = self.train(files, tmp_path, *options, "--max-epochs", 2)
        assert result.exit_code == 0, result.output
        assert hashed == [(240, 60)]
        if options:  # `auto` may keep trees, which have no state
            assert list((tmp_path / "model.run").rglob("state.safetensors"))

    def test_a_model_of_elsewhere_is_not_taken_for_that_of_a_training(self, files, tmp_path):
        load_model(files / "model").save(tmp_path / "model")
        model = load_model(tmp_path / "model")
        model.spec = replace(model.spec, training={name: value for name, value in model.spec.training.items() if name != "run"})
        model.save(tmp_path / "model", overwrite=True)
        refused(self.train(files, tmp_path, "--resume"), "does not say from which training it is, so it is not resumed.")

    def test_a_directory_that_is_no_model_is_never_replaced(self, files, tmp_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model/notes.txt").write_text("mine")
        result = self.train(files, tmp_path, "--model", "linear", "--max-epochs", 1, "--overwrite", "--no-logs")
        assert result.exit_code == 2
        assert "is not a model directory" in result.stderr
        assert (tmp_path / "model/notes.txt").read_text() == "mine"

    def test_settings_file(self, files, tmp_path):
        sctab.tuning.Settings("mlp", {"n_hidden": 8}, {"max_epochs": 3}).write(tmp_path / "settings.json")
        result = self.train(files, tmp_path, "--settings", tmp_path / "settings.json", "--no-logs")
        assert result.exit_code == 0, result.output
        spec = sctab.model.load_model(tmp_path / "model").spec
        assert (spec.model_class, spec.architecture["n_hidden"], spec.training["epochs"]) == ("MLPClassifier", 8, 3)

    @pytest.mark.parametrize("form", LABEL_MAPS)
    def test_a_label_map_gives_the_model_ids(self, tmp_path, form):
        with_labels_of_authors(make_reference(90)).write_h5ad(tmp_path / "reference.h5ad")
        (tmp_path / "labels.tsv").write_text(LABEL_MAPS[form])
        result = self.train(
            tmp_path, tmp_path, "--model", "linear", "--max-epochs", 1, "--no-logs", "--label-map", tmp_path / "labels.tsv"
        )
        assert result.exit_code == 0, result.output
        labels = sctab.model.load_model(tmp_path / "model").spec.labels
        assert dict(zip(labels.names, labels.ids, strict=True)) == {
            "DC2": "CL:0002399",
            "cluster 7": None,
            "monocyte": "CL:0000576",
        }
        assert "DC2" not in result.stderr  # confirmed
        annotated = run("annotate", tmp_path / "reference.h5ad", "--model", tmp_path / "model", "--csv", tmp_path / "a.csv")
        assert annotated.exit_code == 0, annotated.output
        ids = pd.read_csv(tmp_path / "a.csv").set_index("sctab_label")["sctab_label_id"]
        assert set(ids.get(["DC2"], [])) <= {"CL:0002399"}

    def test_a_label_map_with_an_id_that_is_none(self, files, tmp_path):
        (tmp_path / "labels.tsv").write_text("B cell\tCL:7777777\n")
        result = self.train(files, tmp_path, "--model", "linear", "--max-epochs", 1, "--label-map", tmp_path / "labels.tsv")
        refused(result, "`B cell: CL:7777777` in `label_ids` is not in the Cell Ontology")
        assert [path.name for path in tmp_path.iterdir()] == ["labels.tsv"]

    def test_options_that_disagree_are_refused(self, files, tmp_path):
        sctab.tuning.Settings("mlp").write(tmp_path / "settings.json")
        refused(
            self.train(files, tmp_path, "--settings", tmp_path / "settings.json", "--model", "linear"),
            "settings of `mlp`, not of `linear`",
        )
        refused(self.train(files, tmp_path, "--settings", tmp_path / "settings.json", "--paper-settings"), "both say how to train")
        refused(self.train(files, tmp_path, "--model", "auto", "--paper-settings"), "`--paper-settings` needs one model class")
        refused(self.train(files, tmp_path, "--model", "forest"), "Available: `linear`")
        refused(self.train(files, tmp_path, "--model", "mlp", "--jobs", 2), "Provide `--members` too")
        refused(self.train(files, tmp_path, "--model", "auto", "--members", 3), "`--members` needs one model class")
        refused(self.train(files, tmp_path, "--model", "linear", "--logger", "wandb"), "`--logger wandb` must be")
        for name, meant in (("MLPClassifier", "mlp"), ("tabnet", "sctab"), ("sctabb", "sctab")):
            refused(self.train(files, tmp_path, "--model", name), f"Did you mean `{meant}`?")
        old = self.train(files, tmp_path, "--subset", 0.5)
        refused(old, "`--fraction` cannot be given with a reference")
        assert "`--subset` is deprecated since sctab 0.1 and will be removed in 0.3. Use `--fraction`." in old.stderr.replace(
            "\n", " "
        )
        refused(self.train(files, tmp_path, "--keep-checkpoints", "all", "--no-logs"), "which `--no-logs` omits")
        assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "linear", "--batch-size", 0), "batch"),
        (("--model", "xgboost", "--loss", "hierarchical"), "`--loss` cannot be set for `xgboost`. Omit it."),
        (("--model", "mlp", "--logger", "wandb"), "`--logger wandb` must be"),
        (("--model", "sctab", "--members", 1), "`--members 1` must be at least 2."),
    ],
)
def test_what_is_refused_is_not_announced(files, tmp_path, options, message):
    result = run("train", files / "reference.h5ad", "--labels-key", "cell_type", "--output", tmp_path / "model", *options)
    refused(result, message)
    assert "Learning" not in result.stderr
    assert "Classifier" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_annotate_writes_data_and_table(files, tmp_path):
    result = run(
        "annotate", files / "query.h5ad", "--model", files / "model", "--output", tmp_path / "a.h5ad", "--csv", tmp_path / "a.csv",
        "--genes-table", tmp_path / "genes.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    annotated, table = ad.read_h5ad(tmp_path / "a.h5ad"), pd.read_csv(tmp_path / "a.csv", index_col="cell")
    assert list(table.columns) == ["sctab_label", "sctab_label_id", "sctab_confidence", "sctab_uncertainty"]
    assert list(table.index) == list(annotated.obs_names)
    assert list(table["sctab_label"]) == list(annotated.obs["sctab_label"])
    assert (annotated.obs["sctab_label"].astype(str) == annotated.obs["cell_type"].astype(str)).mean() > 0.9
    assert annotated.uns["sctab"]["model"]["name"] == "model"
    assert pd.read_csv(tmp_path / "genes.csv")["found"].sum() == annotated.uns["sctab"]["genes"]["n_matched"]
    for name in TYPES:
        assert name in result.stdout


def test_annotate_reports_cells_that_no_label_fits(files, tmp_path):
    result = run(
        "annotate", files / "query.h5ad", "--model", files / "model", "--csv", tmp_path / "a.csv", "--unseen-fdr", 0.1, "--force"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "a.csv", index_col="cell")
    assert list(table.columns[-2:]) == ["sctab_unseen", "sctab_is_unseen"]
    assert table["sctab_unseen"].between(0, 1).all()
    assert table["sctab_is_unseen"].dtype == bool


def test_the_table_of_an_ensemble_says_how_its_members_differ(files, tmp_path):
    model = load_model(files / "model")
    DeepEnsemble.from_members([model, model]).save(tmp_path / "ensemble")
    result = run("annotate", files / "query.h5ad", "--model", tmp_path / "ensemble", "--csv", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "a.csv", index_col="cell")
    assert list(table.columns[-2:]) == ["sctab_expected_entropy", "sctab_mutual_information"]
    assert table["sctab_expected_entropy"].between(0, np.log(len(TYPES)), inclusive="neither").all()
    np.testing.assert_allclose(table["sctab_mutual_information"], 0, atol=1e-6)  # they do not


def test_annotate_with_jax(files, tmp_path):
    options = ("annotate", files / "query.h5ad", "--model", files / "model", "--csv", tmp_path / "labels.csv", "--backend")
    refused(run(*options, "jax", "--accelerator", "cpu"), "`--accelerator cpu` is for PyTorch. With `--backend jax`, set the")
    refused(run(*options, "tpu"), "`--backend tpu` is unknown. Choose one of: `torch`, `jax`.")
    result = run(*options, "jax")
    assert result.exit_code == 0, result.output
    found = pd.read_csv(tmp_path / "labels.csv")["sctab_label"]
    assert run(*options, "torch", "--overwrite").exit_code == 0
    assert list(found) == list(pd.read_csv(tmp_path / "labels.csv")["sctab_label"])


def test_annotate_reads_and_writes_zarr(files, tmp_path):
    result = run("annotate", files / "query.zarr", "--model", files / "model", "--output", tmp_path / "a.zarr")
    assert result.exit_code == 0, result.output
    assert "sctab_label" in ad.read_zarr(tmp_path / "a.zarr").obs


def test_nothing_is_overwritten_unless_asked(files, tmp_path):
    (tmp_path / "a.csv").write_text("precious")
    arguments = ("annotate", files / "query.h5ad", "--model", files / "model", "--csv", tmp_path / "a.csv")
    refused(run(*arguments), "already exists")
    assert (tmp_path / "a.csv").read_text() == "precious"
    assert run(*arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "a.csv").read_text().startswith("cell,")


def test_a_model_is_not_overwritten_unless_asked(files):
    arguments = ("train", files / "reference.h5ad", "--labels-key", "cell_type", "--output", files / "model", "--max-epochs", 1)
    refused(run(*arguments), "already exists")


@pytest.mark.parametrize("option", [("--output", "model"), ("--output", "model/a.h5ad"), ("--csv", "model/a.csv")])
def test_nothing_is_written_into_the_model(files, monkeypatch, option):
    monkeypatch.chdir(files)
    refused(run("annotate", "query.h5ad", "--model", "model", *option, "--overwrite"), "`model`")
    assert sorted(path.name for path in (files / "model").iterdir()) == ["model.json", "model.safetensors", "reference.safetensors"]


@pytest.mark.parametrize("name", [".", "..", "/"])
@pytest.mark.parametrize("command", ["train", "tune"])
def test_an_output_needs_a_name(files, tmp_path, monkeypatch, command, name):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    refused(run(command, files / "reference.h5ad", "--labels-key", "cell_type", "--output", name), "is not the name of an output")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize(
    "options",
    [
        ("train", "--output", "model", "--settings"),
        ("tune", "--output", "a.json", "--storage"),
        ("tune", "--output", "a.json", "--label-map"),
    ],
)
def test_what_is_read_is_a_regular_file(files, tmp_path, monkeypatch, make, options):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "given")
    command, *rest = options
    refused(run(command, files / "reference.h5ad", "--labels-key", "cell_type", *rest, "given"), "given` ")
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_annotate_into_a_directory_with_model_and_query(files, tmp_path, monkeypatch):
    shutil.copytree(files / "model", tmp_path / "p/model")
    (tmp_path / "p/raw").mkdir()
    shutil.copy(files / "query.h5ad", tmp_path / "p/raw/x.h5ad")
    monkeypatch.chdir(tmp_path)
    for output in ("p", ".", "p/out.h5ad"):
        result = run("annotate", "p/raw/x.h5ad", "--model", "p/model", "--output", output)
        assert result.exit_code == 0, result.output
    assert sorted(entry.name for entry in (tmp_path / "p").iterdir()) == ["model", "out.h5ad", "raw", "x.h5ad"]
    refused(run("annotate", "p/raw/x.h5ad", "--model", "p/model", "--output", "p/model"), "`p/model`")
    refused(run("annotate", "p/raw/x.h5ad", "--model", "p/model", "--output", "p/raw", "--overwrite"), "never replaced")


def test_annotate_without_an_output(files):
    refused(run("annotate", files / "query.h5ad"), "Nothing would be written. Provide `--output annotated.h5ad`")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.h5ad", None, "not found. Check the path"),
        ("damaged.h5ad", b"no hdf5", "cannot be read as .h5ad"),
        ("table.csv", b"a,b", "is a text table, and none of the formats that are read"),
    ],
)
def test_files_that_cannot_be_read(name, content, message, files, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(run("annotate", tmp_path / name, "--model", files / "model", "--csv", tmp_path / "out.csv"), message)
    assert not (tmp_path / "out.csv").exists()


def test_truncated_data(files, tmp_path):
    content = (files / "query.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(content[: len(content) // 2])
    refused(
        run("annotate", tmp_path / "cut.h5ad", "--model", files / "model", "--csv", tmp_path / "out.csv"),
        f"is incomplete: it has {len(content) // 2:,} of {len(content):,} bytes",
    )


def test_unknown_output_type(files, tmp_path):
    refused(
        run("annotate", files / "query.h5ad", "--model", files / "model", "--output", tmp_path / "a.loom"),
        "is none of `.parquet`, `.csv`, `.h5ad`, `.zarr`, `.h5mu`. Provide a name with one of these suffixes",
    )


def test_a_place_that_cannot_be_written(files, tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "a.csv"
    refused(run("annotate", files / "query.h5ad", "--model", files / "model", "--csv", target), "could not be written")


def test_wrong_labels_key(files, tmp_path):
    result = run("train", files / "reference.h5ad", "--labels-key", "celltype", "--output", tmp_path / "m")
    refused(result, "`--labels-key celltype` is not in `obs`. Did you mean `cell_type`? Columns: `cell_type`, `donor_id`.")
    assert not list(tmp_path.iterdir())


def test_unknown_model(files, tmp_path):
    refused(
        run("annotate", files / "query.h5ad", "--model", "absent", "--csv", tmp_path / "a.csv"),
        "There is no model `absent`",
    )


def test_debug_shows_where(files, tmp_path):
    result = run("annotate", files / "query.h5ad", "--model", "absent", "--csv", tmp_path / "a.csv", "--debug")
    assert isinstance(result.exception, sctab.ModelNotFoundError)


def test_notes_go_to_stderr(files, tmp_path):
    query = ad.read_h5ad(files / "query.h5ad")
    query.layers["counts"] = query.X.copy()
    query.X = query.X.toarray() - 1
    query.write_h5ad(tmp_path / "q.h5ad")
    result = run("annotate", tmp_path / "q.h5ad", "--model", files / "model", "--csv", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    assert "Note: `layers['counts']` was used" in result.stderr
    assert "Note" not in result.stdout


def test_models_lists_the_packaged_model():
    result = run("models")
    assert result.exit_code == 0, result.output
    assert "pbmc" in result.stdout


@pytest.mark.parametrize(
    "command", [(), ("train",), ("tune",), ("annotate",), ("models",), ("demo",), ("benchmark", "run"), ("benchmark", "report")]
)
def test_help_has_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout if command else "annotate" in result.stdout


def test_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "Macro F1" in result.stdout
    assert "With an accepted error of 0.2" in result.stdout
    assert "left open" in result.stdout
    assert run("demo").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sctab-demo-1.h5ad", "sctab-demo.h5ad"]
    assert "sctab_label" in ad.read_h5ad("sctab-demo.h5ad").obs


def test_the_command_is_installed(tmp_path):
    """In a process of its own, as from a shell: exit code, and one paragraph on stderr."""
    command = [sys.executable, "-c", "from sctab.cli import main; main()", "annotate", "nothing.h5ad", "--csv", "a.csv"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stderr.strip() == "Error: `nothing.h5ad` not found. Check the path."
    assert result.stdout == ""


@pytest.mark.parametrize(("before", "after"), [(None, "passive"), ("active", "active")])
def test_threads_wait_without_taking_a_core_unless_told_otherwise(before, after, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is put back
    monkeypatch.setattr(_app, "app", lambda: None)
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    _app.main()
    assert os.environ["OMP_WAIT_POLICY"] == after
