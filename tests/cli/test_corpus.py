"""`sctab corpus` on the command line."""

import subprocess
import sys
import time

import pytest
import yaml
from tests.studies import make_study
from typer.testing import CliRunner

from sctab.cli import app
from sctab.tuning import Settings

runner = CliRunner()


@pytest.fixture
def config(tmp_path):
    """Three studies in a file of their own."""
    for seed in (1, 2, 3):
        make_study(seed).write_h5ad(tmp_path / f"study {seed}.h5ad")
    path = tmp_path / "blood.yaml"
    declared = {"sources": ["*.h5ad"], "labels_key": "cell_type", "donor_key": "donor_id", "filters": ["primary_data"]}
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    return path


def sctab(*arguments):
    return runner.invoke(app, ["corpus", *map(str, arguments)], catch_exceptions=False, terminal_width=120)


def test_a_plan_writes_nothing(config):
    before = sorted(config.parent.iterdir())
    result = sctab("plan", config)
    assert result.exit_code == 0, result.output
    assert "primary_data" in result.output
    assert "study 2" in result.output
    assert sorted(config.parent.iterdir()) == before


def test_build_info_and_verify(config, tmp_path, monkeypatch):
    pytest.importorskip("annbatch")
    monkeypatch.chdir(tmp_path)
    built = sctab("build", config)
    assert built.exit_code == 0, built.output
    assert "3 types" in built.output
    assert sctab("info", "blood.corpus").output == built.stdout
    verified = sctab("verify", "blood.corpus")
    assert verified.exit_code == 0
    assert "cells are as they were built" in verified.output
    again = sctab("build", config)
    assert again.exit_code == 2
    assert "`blood.corpus` already exists" in again.output
    resumed = sctab("build", config, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout.strip() == "`blood.corpus` is finished, of the same declaration and sources: there is nothing to do."
    other = sctab("build", config, "--resume", "--features", "union")
    assert other.exit_code == 2
    assert "belongs to another declaration, or its sources changed" in " ".join(other.output.split())


def test_a_damaged_corpus(config, tmp_path):
    pytest.importorskip("annbatch")
    sctab("build", config, "--output", tmp_path / "c")
    for path in (tmp_path / "c" / "train.zarr" / "dataset_0" / "X" / "data" / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    result = sctab("verify", tmp_path / "c")
    assert result.exit_code == 2
    assert "is damaged" in result.output


def test_a_model_is_trained_from_it(config, tmp_path):
    pytest.importorskip("annbatch")
    built = sctab("build", config, "--output", tmp_path / "c", "--features", "intersection")
    assert built.exit_code == 0, built.output

    def train(*options):
        words = [
            "train",
            "--corpus",
            tmp_path / "c",
            "--output",
            tmp_path / "model",
            "--model",
            "linear",
            "--accelerator",
            "cpu",
            *options,
        ]
        return runner.invoke(app, [str(word) for word in words], terminal_width=200)

    trained = train("--max-epochs", 2, "--fraction", 0.5, "--precision", "bf16-mixed")
    assert trained.exit_code == 0, trained.output
    assert "cells (those of the corpus)" in " ".join(trained.stdout.split())
    assert (tmp_path / "model.run" / "state.safetensors").exists()
    again = train("--max-epochs", 2, "--fraction", 0.5, "--precision", "bf16-mixed", "--resume", "--overwrite")
    assert again.exit_code == 0, again.output
    assert "Trained for 2 epochs" in again.stdout
    for options, message in (
        (["--labels-key", "cell_type", "--overwrite"], "`--labels-key` cannot be given with a corpus"),
        (["--fraction", "0.3", "--max-epochs", "2", "--resume", "--overwrite"], "belongs to a training with other `reference`"),
    ):
        refused = train(*options)
        assert refused.exit_code == 2, refused.output
        assert message in " ".join(refused.stderr.split())
    settings = tmp_path / "settings.json"
    tune = ["tune", "--corpus", tmp_path / "c", "--fraction", 0.7, "--model", "linear", "--max-epochs", 1, "--n-trials", 1]
    tuned = runner.invoke(app, [str(word) for word in (*tune, "--output", settings)], terminal_width=200)
    assert tuned.exit_code == 0, tuned.output
    assert "(the validation cells of the corpus)" in " ".join(tuned.stdout.split())
    assert Settings.read(settings).train_settings["max_epochs"] == 1
    both = runner.invoke(app, [str(word) for word in (*tune, "--train-size", 0.5, "--output", settings)], terminal_width=200)
    assert "`--train-size` cannot be given with a corpus" in both.stderr
    neither = runner.invoke(app, ["train", "--output", str(tmp_path / "other")], terminal_width=200)
    assert "Provide either a reference or a corpus" in neither.stderr
    refused = runner.invoke(app, ["train", "r.h5ad", "--labels-key", "x", "--fraction", "0.5", "--output", str(tmp_path / "other")])
    assert "`--fraction` cannot be given with a reference" in " ".join(refused.stderr.split())


def test_told_to_end_it_says_how_to_go_on(config, tmp_path):
    pytest.importorskip("annbatch")
    sctab("build", config, "--output", tmp_path / "c")
    words = ["train", "--corpus", tmp_path / "c", "--output", tmp_path / "model", "--model", "linear", "--max-epochs", "100000"]
    command = [sys.executable, "-c", "from sctab.cli import main; main()", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "model.run" / "state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.1)
    process.terminate()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "run the same command with `--resume` to continue" in " ".join(said.split())
    assert not (tmp_path / "model").exists()
