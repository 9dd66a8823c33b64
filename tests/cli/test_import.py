"""`sctab import-checkpoint`, against the numbers of the published implementation and as typed in a shell."""

import shlex

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tests.published import lightning_checkpoint, published_tabnet, write_tables
from typer.testing import CliRunner

import sctab
from sctab.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["import-checkpoint", *map(str, arguments)])


@pytest.mark.parametrize("own_hyperparameters", [False, True])
def test_the_published_numbers(oracle_path, own_hyperparameters, tmp_path):
    checkpoint = next(oracle_path.glob("*.ckpt"))
    hparams = () if own_hyperparameters else ("--hparams", oracle_path / "hparams.yaml")
    result = run(checkpoint, *hparams, "--genes", oracle_path / "var.parquet", "--labels", oracle_path / "cell_type.parquet",
                 "--output", tmp_path / "model")  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = np.load(oracle_path / "expected.npz")
    counts = sparse.csr_matrix((expected["counts_data"], expected["counts_indices"], expected["counts_indptr"]), expected["shape"])
    genes = pd.read_parquet(oracle_path / "var.parquet").set_index("feature_name")
    cells = AnnData(counts, var=genes)[:, ::-1].copy()
    model = sctab.model.load_model(tmp_path / "model", accelerator="cpu")
    predicted = model.predict(cells, soft=True)
    assert list(predicted.columns) == list(pd.read_parquet(oracle_path / "cell_type.parquet")["label"])
    np.testing.assert_allclose(predicted, expected["probabilities"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.get_latent_representation(cells), expected["embedding"], rtol=1e-5, atol=1e-5)
    sctab.tl.annotate(cells, model)
    assert list(cells.obs["sctab_label"]) == list(predicted.columns[expected["probabilities"].argmax(axis=1)])
    assert model.spec.labels.without_id == ()


@pytest.fixture
def files(tmp_path):
    import torch

    tables = write_tables(tmp_path)
    torch.save(lightning_checkpoint(*published_tabnet()), tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt", "--genes", tables["genes"], "--labels", tables["labels"]


def test_it_says_what_it_did(files, tmp_path):
    result = run(*files, "--output", tmp_path / "model", "--description", "mine")
    assert result.exit_code == 0, result.output
    for words in ("Imported `best.ckpt`.", "SCTAB with 4 cell types and 40 genes.\n", "Wrote"):
        assert words in result.stdout
    command = f"sctab annotate query.h5ad --model {shlex.quote(str(tmp_path / 'model'))} --output annotated.h5ad"
    assert result.stdout.splitlines()[-1].strip() == command
    assert sctab.model.load_model(tmp_path / "model").spec.description == "mine"


def test_errors_are_one_paragraph(files, tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"junk")
    result = run(*files, "--output", tmp_path / "model")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert "is not a checkpoint in the zip format of PyTorch" in result.stderr
    assert not (tmp_path / "model").exists()


def test_notes_are_shown(files, tmp_path):
    (tmp_path / "labels.csv").write_text("label\nB cell\nT cell\nmonocyte\nmystery\n")
    result = run(*files[:-1], tmp_path / "labels.csv", "--output", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert "Note:" in result.stderr
    assert "`mystery`" in result.stderr


def test_every_missing_file_is_named(tmp_path):
    names = [tmp_path / name for name in ("a.ckpt", "g.parquet", "l.parquet")]
    arguments = ["import-checkpoint", names[0], "--genes", names[1], "--labels", names[2], "--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2
    expected = f"`{names[0]}`, `--genes {names[1]}`, `--labels {names[2]}` not found. Check the paths."
    assert expected in result.stderr.replace("\n", "")
    assert not list(tmp_path.iterdir())
