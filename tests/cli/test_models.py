"""`sctab models` as typed in a shell."""

import re

import pytest
from tests.zoo_models import hosted, index_file
from typer.testing import CliRunner

import sctab
from sctab.cli import app
from sctab.zoo import _cache


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCTAB_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("SCTAB_OFFLINE", raising=False)
    folder = tmp_path / "zoo"
    folder.mkdir()
    index_file(folder / "models.json", hosted(folder, sctab.zoo.packaged_path("pbmc"), name="blood", tissues=["blood"]))
    monkeypatch.setenv("SCTAB_ZOO", str(folder))
    return folder


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_list():
    listed = run("models").stdout
    assert re.search(r"pbmc +1.0 +packaged", listed)
    assert re.search(r"blood +2.1 +available", listed)
    assert "Cache" not in listed
    assert "No model fits" in run("models", "--tissue", "heart").stdout
    run("models", "fetch", "blood")
    assert "fetched" in run("models", "--all").stdout
    assert "Cache: 1 model, " in run("models").stdout


def test_long_values_are_shown_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = run("models", "info", "blood").stdout
    assert re.search(r"^SHA-256 +[0-9a-f]{64}$", shown, re.MULTILINE)
    assert re.search(r"^version +2.1$", shown, re.MULTILINE)


def test_a_directory_has_no_version(tmp_path):
    shown = run("models", "info", sctab.zoo.packaged_path("pbmc")).stdout
    assert re.search(r"^state +directory$", shown, re.MULTILINE)
    assert not re.search(r"^version", shown, re.MULTILINE)
    assert re.search(r"^card +/.*MODEL_CARD.md$", shown, re.MULTILINE)


def test_fetch_use_and_remove(tmp_path):
    path = run("models", "fetch", "blood@2.1").stdout.strip()
    assert path.endswith("blood@2.1")
    assert re.search(r"^size +[0-9.]+ MB$", run("models", "info", "blood").stdout, re.MULTILINE)
    assert "CL:0000236  B cell" in run("models", "info", "pbmc").stdout
    assert run("models", "verify").stdout.endswith(": sound\n")
    run("models", "verify", "pbmc")
    (cached,) = _cache.everything()
    (cached.path / "model.safetensors").write_bytes(b"x")
    assert "has 1 bytes and not" in run("models", "verify", code=1).stdout
    assert run("models", "remove", "blood").stdout.startswith("Removed `blood`")
    assert "The cache has no models" in run("models", "verify").stdout
    assert "is not in the cache" in run("models", "remove", "blood", code=2).stderr


def test_prune():
    run("models", "fetch", "blood")
    assert run("models", "prune").stdout == "Freed 0.0 MB.\n"
    assert "Removed `blood@2.1`" in run("models", "prune", "--days", 0).stdout


def test_publish(tmp_path):
    published = run("models", "publish", "pbmc", "--to", tmp_path / "new", "--version", "1.0", "--name", "mine").stdout
    assert published.startswith("Published `mine@1.0`")
    assert "mine@1.0" in run("models", "fetch", "mine", "--index", tmp_path / "new").stdout
    sctab.zoo.load("pbmc").save(tmp_path / "other")
    refused = run("models", "publish", tmp_path / "other", "--to", tmp_path / "new", "--version", "1.0", code=2).stderr
    assert "`--draft`" in refused
    assert "`--facts …`" in refused


def test_offline(monkeypatch):
    for arguments in (("models", "fetch", "blood", "--offline"), ("--offline", "models", "fetch", "blood")):
        assert "the network is not used" in run(*arguments, code=2).stderr
    run("models", "fetch", "blood")


def test_options_of_a_subcommand_follow_its_name():
    assert "Write options of `sctab models fetch` after its name" in run("models", "--offline", "fetch", "blood", code=2).stderr


def test_a_fetched_model_annotates(tmp_path, monkeypatch):
    import warnings

    import scanpy as sc

    with warnings.catch_warnings(action="ignore"):
        sc.datasets.pbmc68k_reduced()[:50].raw.to_adata().write_h5ad(tmp_path / "query.h5ad")
    table = tmp_path / "labels.csv"
    run("annotate", tmp_path / "query.h5ad", "--model", "blood@2.1", "--csv", table)
    assert table.exists()
    run("check", tmp_path / "query.h5ad", "--model", tmp_path / "zoo/blood-2.1.tar")
