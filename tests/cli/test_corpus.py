"""`sctab corpus` on the command line."""

import pytest
import yaml
from tests.corpus.studies import make_study
from typer.testing import CliRunner

from sctab.cli import app

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
    assert "`blood.corpus` is already there" in again.output


def test_a_damaged_corpus(config, tmp_path):
    pytest.importorskip("annbatch")
    sctab("build", config, "--output", tmp_path / "c")
    for path in (tmp_path / "c" / "train.zarr" / "dataset_0" / "X" / "data" / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    result = sctab("verify", tmp_path / "c")
    assert result.exit_code == 2
    assert "is damaged" in result.output
