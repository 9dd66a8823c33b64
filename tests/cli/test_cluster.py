"""`sctab cluster` as typed in a shell: outputs, options of the published program, and interrupted runs."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from tests.formats import write_scdeepcluster
from typer.testing import CliRunner

import sctab
from sctab.cli import app

N_OBS, N_VARS = 120, 30
TYPES = np.repeat(["A", "B", "C"], N_OBS // 3)
QUICK = ("--pretrain-epochs", 8, "--max-epochs", 3, "--n-clusters", 3, "--batch-size", 64, "--accelerator", "cpu")
KILLED = """
import os, signal, sys
import sctab.train._cluster_loop as loop
from sctab.cli import app
loop._SECONDS_BETWEEN_STATES = 0.0
log = loop._Training._log
def kill(self, metrics, epoch, progress):
    log(self, metrics, epoch, progress)
    if epoch == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
loop._Training._log = kill
app(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def counts():
    """Cells of three types that differ in ten genes each; the eighth cell has no count."""
    rng = np.random.default_rng(0)
    means = np.full((3, N_VARS), 0.3)
    for number in range(3):
        means[number, 10 * number : 10 * number + 10] = 4
    found = rng.poisson(means.repeat(N_OBS // 3, axis=0)).astype(np.float32)
    found[7] = 0
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory, counts):
    folder = tmp_path_factory.mktemp("files")
    obs = pd.DataFrame({"cell_type": TYPES, "sample": np.array(["s1", "s2"])[np.arange(N_OBS) % 2]})
    obs.index = [f"cell {i}" for i in range(N_OBS)]
    adata = AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(N_VARS)]))
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(folder / "cells.h5ad")
    write_scdeepcluster(counts, folder / "data.h5", labels=pd.factorize(TYPES)[0], batches=np.arange(N_OBS) % 2)
    write_scdeepcluster(counts, folder / "plain.h5")
    (folder / "not.h5ad").write_text("nothing")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["cluster", *map(str, arguments)])


def succeeded(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def said(result):
    return " ".join(result.stderr.split())


def same(one, other):
    """Two annotated files with the same clusters and latents."""
    found, expected = ad.read_h5ad(one), ad.read_h5ad(other)
    assert found.obs["scdeepcluster"].astype(str).tolist() == expected.obs["scdeepcluster"].astype(str).tolist()
    np.testing.assert_array_equal(found.obsm["X_scdeepcluster"], expected.obsm["X_scdeepcluster"])


class TestOutputs:
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_data_with_clusters_and_a_model(self, files, tmp_path, suffix):
        output, model = tmp_path / f"clustered{suffix}", tmp_path / "model"
        options = (*QUICK, "--batch-key", "sample", "--labels-key", "cell_type", "--save-model", model)
        result = succeeded(files / "cells.h5ad", "--output", output, *options)
        adata = ad.read_h5ad(output) if suffix == ".h5ad" else ad.read_zarr(output)
        clusters = adata.obs["scdeepcluster"]
        assert set(clusters.cat.categories) <= {"0", "1", "2"}
        assert clusters.isna().to_numpy().nonzero()[0].tolist() == [7]
        assert adata.obsm["X_scdeepcluster"].shape == (N_OBS, 32)
        assert adata.obs["cell_type"].tolist() == TYPES.tolist()
        assert not [key for key in (*adata.obs, *adata.uns) if "scvi" in key]
        assert re.search(r"Found [123] clusters of 119 cells\. 1 cell has no count", " ".join(result.stdout.split()))
        assert re.search(r"Agreement with `cell_type`: NMI \d\.\d{4}, ARI -?\d\.\d{4}, accuracy \d\.\d{4}\.", result.stdout)
        assert (tmp_path / f"clustered{suffix}.run" / "metrics.csv").exists()
        again = succeeded(files / "cells.h5ad", "--model", model, "--output", tmp_path / "again.h5ad", "--accelerator", "cpu")
        assert "Wrote" in again.stdout
        assert ad.read_h5ad(tmp_path / "again.h5ad").obs["scdeepcluster"].astype(str).tolist() == clusters.astype(str).tolist()

    def test_text_files_of_the_published_program(self, files, tmp_path, monkeypatch):
        """Without another output they get its names; both spellings of options are read."""
        monkeypatch.chdir(tmp_path)
        options = "--pretrain_epochs 8 --maxiter 3 --n_clusters=3 --batch_size 64 --device cpu --tol 0.01 --select_genes 0"
        result = succeeded("--data_file", files / "data.h5", *options.split())
        assert "Agreement with `Y`: NMI" in result.stdout
        latent = np.loadtxt("final_latent_file.txt", delimiter=",")
        labels = np.loadtxt("pred_labels.txt", dtype=int)
        assert latent.shape == (N_OBS, 32)
        assert labels.shape == (N_OBS,)
        assert np.isnan(latent[7]).all()
        assert labels[7] == -1
        assert np.isfinite(np.delete(latent, 7, axis=0)).all()
        assert set(np.delete(labels, 7)) <= {0, 1, 2}

    def test_spellings_give_the_same(self, files, tmp_path):
        ours = ("--n-clusters", 3, "--max-epochs", 2, "--tolerance", 0.01, "--pretrain-epochs", 3, "--accelerator", "cpu")
        theirs = ("--n_clusters", 3, "--maxiter", 2, "--tol", 0.01, "--pretrain_epochs", 3, "--device", "cpu", "--knn", 20)
        succeeded(files / "data.h5", *ours, "--output", tmp_path / "ours.h5ad")
        succeeded("--data_file", files / "data.h5", *theirs, "--output", tmp_path / "theirs.h5ad")
        same(tmp_path / "ours.h5ad", tmp_path / "theirs.h5ad")

    def test_weights_go_out_and_in(self, files, tmp_path):
        """The weights after pretraining are those that a run without them clusters."""
        weights = tmp_path / "AE_weights.pth.tar"
        succeeded(files / "data.h5", *QUICK, "--ae_weight_file", weights, "--output", tmp_path / "one.h5ad")
        state = torch.load(weights, weights_only=True)["ae_state_dict"]
        assert state["encoder.0.weight"].shape == (256, N_VARS + 2)
        assert state["_dec_pi.0.bias"].shape == (N_VARS,)
        succeeded("--data_file", files / "data.h5", *QUICK, "--ae_weights", weights, "--output", tmp_path / "two.h5ad")
        same(tmp_path / "one.h5ad", tmp_path / "two.h5ad")

    def test_clusters_of_a_published_checkpoint_are_kept(self, files, tmp_path):
        """Cells are assigned to its centroids, here those of a model that was trained before."""
        options = ("--n-clusters", 3, "--pretrain-epochs", 8, "--maxiter", 3, "--device", "cpu", "--tol", 0)
        succeeded(files / "plain.h5", *options, "--save-model", tmp_path / "model", "--predict-label-file", tmp_path / "labels.txt")
        module = sctab.model.SCDeepCluster.load(tmp_path / "model").module
        sctab.zoo.export_scdeepcluster(module.state_dict(), tmp_path / "AE_weights.pth.tar")
        state = torch.load(tmp_path / "AE_weights.pth.tar", weights_only=True)["ae_state_dict"] | {"mu": module.centroids.detach()}
        torch.save({"epoch": 3, "state_dict": state, "y_pred": np.arange(3)}, tmp_path / "FTcheckpoint_3.pth.tar")
        weights = ("--ae-weights", tmp_path / "FTcheckpoint_3.pth.tar", "--maxiter", 0)
        succeeded(files / "plain.h5", "--n-clusters", 3, *weights, "--predict-label-file", tmp_path / "again.txt")
        np.testing.assert_array_equal(np.loadtxt(tmp_path / "again.txt"), np.loadtxt(tmp_path / "labels.txt"))

    def test_number_of_clusters_is_estimated(self, files, tmp_path):
        pytest.importorskip("igraph", reason="the extra `cluster` is not installed")
        options = ("--n-clusters", 0, "--pretrain-epochs", 8, "--maxiter", 2, "--knn", 10, "--resolution", 0.5, "--device", "cpu")
        succeeded(files / "plain.h5", *options, "--predict-label-file", tmp_path / "labels.txt")
        assert np.loadtxt(tmp_path / "labels.txt", dtype=int).max() >= 1


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("", "Provide the cells once, as an argument or with `--data-file`."),
            ("cells.h5ad --data-file cells.h5ad --output o.h5ad", "Provide the cells once"),
            ("cells.h5ad", "Nothing would be written. Provide `--output clustered.h5ad`."),
            ("missing.h5ad --output o.h5ad", "`missing.h5ad` not found. Check the path."),
            ("cells.h5ad --output o.csv", "`o.csv` is neither `.h5ad` nor `.zarr`."),
            ("cells.h5ad --output cells.h5ad --overwrite", "is an input"),
            ("cells.h5ad --output o.h5ad --predict-label-file o.h5ad", "o.h5ad"),
            ("cells.h5ad --output not.h5ad", "`not.h5ad` already exists."),
            ("not.h5ad --output o.h5ad", "`not.h5ad`"),
            ("cells.h5ad --output o.h5ad --ae-weights missing.pth.tar", "`--ae-weights missing.pth.tar` not found."),
            ("cells.h5ad --output o.h5ad --ae-weights not.h5ad", "zip format of PyTorch. Provide `AE_weights.pth.tar`"),
            ("cells.h5ad --output o.h5ad --model missing", "`--model missing` not found."),
            (
                "cells.h5ad --output o.h5ad --model . --n-clusters 3 --resume",
                "`--n-clusters`, `--resume` cannot be set with `--model`",
            ),
            ("cells.h5ad --output o.h5ad --batch-key samples", "`--batch-key samples` is not in `obs`. Did you mean `sample`?"),
            ("cells.h5ad --output o.h5ad --labels-key celltype", "`--labels-key celltype` is not in `obs`."),
            ("cells.h5ad --output o.h5ad --layer count", "`--layer count` is not in the data."),
            ("cells.h5ad --output o.h5ad --n-clusters 1", "`--n-clusters 1` must be"),
            ("cells.h5ad --output o.h5ad --n-clusters 5000", "`--n-clusters 5000` is more than"),
            ("cells.h5ad --output o.h5ad --resolution 0", "`--resolution 0.0` must be above 0"),
            ("cells.h5ad --output o.h5ad --community x", "`--community x` must be `louvain` or `leiden`"),
            ("cells.h5ad --output o.h5ad --knn 1", "`--n-neighbors 1` must be at least 2"),
            ("cells.h5ad --output o.h5ad --tol -1", "`--tolerance -1.0` must be at least 0"),
            ("cells.h5ad --output o.h5ad --sigma -1", "`--sigma -1.0` must be a number, at least 0"),
            ("cells.h5ad --output o.h5ad --key-added a/b", "`--key-added a/b` cannot be the name of something in a file."),
        ],
    )
    def test_messages(self, files, monkeypatch, arguments, expected):
        monkeypatch.chdir(files)
        before = sorted(path.name for path in files.iterdir())
        result = run(*arguments.split(), "--pretrain-epochs", 1, "--accelerator", "cpu")
        assert result.exit_code == 2, result.output
        assert expected in said(result)
        assert not re.search(r"`\w+=|adata|sctab\.tl|setup_anndata|None`", result.stderr)
        after = sorted(path.name for path in files.iterdir() if not path.name.endswith(".run"))
        assert after == [name for name in before if not name.endswith(".run")]

    def test_weights_for_other_genes(self, files, tmp_path, counts):
        weights = tmp_path / "AE_weights.pth.tar"
        write_scdeepcluster(counts[:, :20], tmp_path / "fewer.h5")
        succeeded(tmp_path / "fewer.h5", *QUICK, "--ae-weight-file", weights)
        result = run(files / "plain.h5", "--ae-weights", weights, *QUICK, "--output", tmp_path / "o.h5ad")
        assert result.exit_code == 2
        assert "the weights are for 20 genes, and the data has 30" in said(result)
        result = run(files / "data.h5", "--ae-weights", weights, *QUICK, "--output", tmp_path / "o.h5ad", "--ae-weight-file", "x")
        assert "`--ae-weight-file` writes weights of a pretraining, and there is none" in said(result)

    def test_values_that_are_no_counts(self, tmp_path, counts):
        write_scdeepcluster(np.log1p(counts), tmp_path / "data.h5")
        result = run("--data-file", tmp_path / "data.h5", *QUICK, "--output", tmp_path / "o.h5ad")
        assert result.exit_code == 2
        assert "`X` must hold counts" in said(result)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5"]


class TestInterrupted:
    @pytest.mark.parametrize("epoch", [4, 9])
    def test_a_killed_run_is_resumed(self, files, tmp_path, epoch):
        """Killed in the pretraining and in the clustering; what is resumed gives what a whole run gives."""
        options = (files / "data.h5", *QUICK, "--tolerance", 0, "--n-init", 1)
        succeeded(*options, "--output", tmp_path / "whole.h5ad")
        command = [str(each) for each in ("cluster", *options, "--output", tmp_path / "o.h5ad")]
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(epoch), *command], check=False, cwd=Path(__file__).parents[2], capture_output=True
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert not (tmp_path / "o.h5ad").exists()
        succeeded(*command[1:], "--resume")
        same(tmp_path / "o.h5ad", tmp_path / "whole.h5ad")
        done = succeeded(*command[1:], "--resume")
        assert "finished, by the same run: there is nothing to do." in " ".join(done.stdout.split())
        result = run(*command[1:], "--seed", 3, "--resume")
        assert "already exists" in said(result)
        os.utime(tmp_path / "o.h5ad", (0, 0))
        assert "already exists" in said(run(*command[1:], "--resume"))

    def test_a_stopped_run_says_how_to_resume(self, files, tmp_path, monkeypatch):
        def stop(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(sctab.model.SCDeepCluster, "train", stop)
        result = run(files / "data.h5", *QUICK, "--output", tmp_path / "o.h5ad")
        assert result.exit_code == 128 + signal.SIGINT
        assert "run the same command with `--resume` to continue" in said(result)

    def test_a_second_run_gets_a_directory_of_its_own(self, files, tmp_path):
        for _ in range(2):
            succeeded(files / "plain.h5", *QUICK, "--output", tmp_path / "o.h5ad", "--overwrite")
        assert {"o.h5ad", "o.h5ad.run", "o.h5ad.run-1"} == {path.name for path in tmp_path.iterdir()}
        note = json.loads((tmp_path / "o.h5ad.run-1" / "outputs.json").read_text())
        assert [*note["outputs"]] == [str(tmp_path / "o.h5ad")]
