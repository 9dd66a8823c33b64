"""What is not needed is not loaded: commands that only show something, and annotating, start fast."""

import subprocess
import sys
import warnings

import pytest
import scanpy as sc

TRAINING = {"scvi", "lightning", "matplotlib", "optuna", "scanpy", "tensorboard", "distributed", "mudata", "xgboost"}
"""What nothing but training, tuning and drawing needs."""
ANNOTATING = {"sklearn", "sympy", "jax", "onnx"}  # PyTorch loads the latter with its compiler
"""What annotating does not need either."""
TRAINED_WITHOUT = {
    "optuna",
    "xgboost",
    "tensorboard",
    "distributed",
    "neptune",
    "jax",
    "annbatch",
    "tiledbsoma",
    "seaborn",
    "IPython",
}
"""What training a network without a run directory does not need."""
COMPUTING = {"numpy", "scipy", "pandas", "anndata", "h5py", "zarr", "torch", "numba", "sklearn", "pyarrow", "dask"}
REPORT = """
import sys

def loaded():
    return " ".join(sorted({name.partition(".")[0] for name in sys.modules}))
"""
COMMAND = """
from sctab.cli import main

sys.argv[0] = "sctab"
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(loaded())
"""
IN_PYTHON = """
import anndata
import sctab

adata = anndata.read_h5ad(sys.argv[1])
sctab.tl.annotate(adata)
sctab.tl.explain(adata)
sctab.get.explanation(adata)
sctab.tl.annotate_files(sys.argv[1], output=[sys.argv[2] + "/labels.csv", sys.argv[2] + "/annotated.h5ad"])
print(loaded())
"""


def modules_of(program, *arguments):
    """Names of the packages that a program has loaded when it ends."""
    command = [sys.executable, "-W", "ignore", "-c", REPORT + program, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture(scope="module")
def query(tmp_path_factory):
    """700 cells, log1p of all genes that were kept."""
    with warnings.catch_warnings(action="ignore"):
        adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    path = tmp_path_factory.mktemp("query") / "query.h5ad"
    adata.write_h5ad(path)
    return path


def test_the_package_loads_nothing():
    assert modules_of("import sctab\nprint(loaded())").isdisjoint(TRAINING | COMPUTING | {"typer", "rich"})


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("models",), *((name, "--help") for name in ("annotate", "evaluate", "train", "tune", "corpus"))],
    ids=" ".join,
)
def test_commands_that_show_something_load_nothing(arguments):
    assert modules_of(COMMAND, *arguments).isdisjoint(TRAINING | COMPUTING)


def test_annotating_and_explaining_load_nothing_of_training(query, tmp_path):
    assert modules_of(IN_PYTHON, query, tmp_path).isdisjoint(TRAINING | ANNOTATING)


def test_the_command_line_annotates_and_evaluates_without_training(query, tmp_path):
    annotated = tmp_path / "annotated.h5ad"
    options = ("--output", annotated, "--csv", tmp_path / "labels.csv", "--accelerator", "cpu")
    assert modules_of(COMMAND, "annotate", query, *options).isdisjoint(TRAINING | ANNOTATING)
    found = modules_of(COMMAND, "evaluate", annotated, "--labels-key", "bulk_labels", "--n-bootstrap", 2)
    assert found.isdisjoint(TRAINING | {"torch"})


def test_training_loads_no_other_models_and_no_loggers(query, tmp_path):
    options = ("--labels-key", "bulk_labels", "--layer", "X", "--model", "linear", "--max-epochs", "1", "--no-logs")
    found = modules_of(COMMAND, "train", query, *options, "--accelerator", "cpu", "--output", tmp_path / "model")
    assert found.isdisjoint(TRAINED_WITHOUT)
