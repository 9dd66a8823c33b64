"""`sctab check` as typed in a shell."""

import json

import numpy as np
import pytest
from tests.types_of_cells import cells_of
from typer.testing import CliRunner

from sctab.cli import app
from sctab.model import LinearClassifier
from sctab.pp import check_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a query of its types, and one of another type."""
    folder = tmp_path_factory.mktemp("files")
    reference = cells_of(np.random.default_rng(0).integers(3, size=450), 1)
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=20, accelerator="cpu", enable_progress_bar=False)
    model.save(folder / "model")
    cells_of(np.arange(300) % 3, 2).write_h5ad(folder / "query.h5ad")
    cells_of(np.full(200, 3), 4).write_h5ad(folder / "foreign.h5ad")
    return folder


def run(folder, *arguments):
    given = [*map(str, arguments), "--model", str(folder / "model"), "--accelerator", "cpu"]
    return CliRunner().invoke(app, ["check", *given])


def test_a_page_is_printed(folder):
    result = run(folder, folder / "query.h5ad", "--accepted-error", "0.3")
    assert result.exit_code == 0, result.output
    for title in (
        "matrix",
        "species",
        "genes",
        "antibodies",
        "empty cells",
        "depth",
        "shift",
        "unseen types",
        "leakage",
        "promise",
    ):
        assert any(line.startswith(title) for line in result.stdout.splitlines()), title
    expected = check_file(folder / "query.h5ad", folder / "model", accepted_error=0.3)
    assert result.stdout.strip() == str(expected).strip()


def test_findings_as_json(folder, tmp_path):
    result = run(folder, folder / "query.h5ad", "--json", tmp_path / "check.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "check.json").read_text())
    assert found == json.loads(json.dumps(check_file(folder / "query.h5ad", folder / "model").to_json()))
    assert found["n_obs"] == 300
    assert found["types"][0]["label"] == "B cell"
    again = run(folder, folder / "query.h5ad", "--json", tmp_path / "check.json")
    assert again.exit_code == 2
    assert "already exists" in " ".join(again.stderr.split())
    assert run(folder, folder / "query.h5ad", "--json", tmp_path / "check.json", "--overwrite").exit_code == 0


def test_cells_of_another_type_end_with_3(folder):
    result = run(folder, folder / "foreign.h5ad")
    assert result.exit_code == 3
    said = " ".join(result.stdout.split())
    assert "`sctab annotate` with `--unseen-fdr 0.1` refuses them, unless `--force` is given." in said


def test_what_cannot_be_annotated_ends_with_2(folder):
    adata = cells_of(np.arange(60) % 3, 2)
    adata.var_names = [f"gene{number}" for number in range(adata.n_vars)]
    adata.write_h5ad(folder / "other.h5ad")
    result = run(folder, folder / "other.h5ad")
    assert result.exit_code == 2
    assert "None of the model's 120 genes is in the data" in " ".join(result.stderr.split())
    assert not result.stdout


def test_json_is_not_an_input(folder):
    result = run(folder, folder / "query.h5ad", "--json", folder / "query.h5ad", "--overwrite")
    assert result.exit_code == 2
    assert (folder / "query.h5ad").stat().st_size > 1_000


def test_options_are_named_as_options(folder):
    result = run(folder, folder / "query.h5ad", "--accepted-error", "2")
    assert result.exit_code == 2
    assert "`--accepted-error 2.0` must be between 0 and 1" in " ".join(result.stderr.split())
