"""Commands on `.h5mu` files."""

import warnings

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from tests.cite_seq import as_mudata, cite_seq
from typer.testing import CliRunner

import sctab
from sctab.cli import app

QUICK = ("--max-epochs", 4, "--no-logs", "--accelerator", "cpu")


def run(*arguments, code=0):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def write(mdata, path):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        mdata.write(path)
    return path


def read(path):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        return mudata.read_h5mu(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reference, a query, a model of both and the annotated query."""
    folder = tmp_path_factory.mktemp("h5mu")
    write(cite_seq(240), folder / "reference.h5mu")
    whole = cite_seq(90, seed=1, antibodies=("CD3", "CD4", "CD8", "CD19", "CD45RA"))
    query = as_mudata(prot=whole["prot"][::-1].copy(), rna=whole["rna"][10:].copy())
    query.obs["cell_type"] = whole.obs["cell_type"].loc[query.obs_names].to_numpy()
    query.obs["donor"] = np.resize(["a", "b"], query.n_obs)
    write(query, folder / "query.h5mu")
    said = run(
        "train",
        folder / "reference.h5mu",
        "--labels-key",
        "cell_type",
        "--model",
        "linear",
        "--output",
        folder / "model",
        "--max-epochs",
        30,
        *QUICK[2:],
    )
    (folder / "train.txt").write_text(said)
    said = run(
        "annotate",
        folder / "query.h5mu",
        "--model",
        folder / "model",
        "--output",
        folder / "annotated.h5mu",
        "--csv",
        folder / "labels.csv",
    )
    (folder / "annotate.txt").write_text(said)
    return folder


class TestTrain:
    def test_learns_proteins(self, folder):
        assert "Learning 4 cell types from 240 cells, and 6 antibodies, with `linear`" in (folder / "train.txt").read_text()
        assert sctab.zoo.load_predictor(folder / "model").spec.proteins is not None

    def test_without_proteins(self, folder, tmp_path):
        arguments = ("--labels-key", "cell_type", "--model", "linear", "--no-calibrate", *QUICK)
        said = run("train", folder / "reference.h5mu", *arguments, "--protein-modality", "none", "--output", tmp_path / "model")
        assert "from 240 cells with `linear`" in said
        assert sctab.zoo.load_predictor(tmp_path / "model").spec.proteins is None

    def test_a_layer_of_antibodies(self, folder, tmp_path):
        mdata = read(folder / "reference.h5mu")
        mdata["prot"].layers["counts"], mdata["prot"].X = mdata["prot"].X.copy(), np.log1p(mdata["prot"].X.toarray())
        path = write(mdata, tmp_path / "reference.h5mu")
        arguments = ("--labels-key", "cell_type", "--model", "linear", "--no-calibrate", *QUICK)
        run("train", path, *arguments, "--protein-layer", "counts", "--output", tmp_path / "model")
        assert sctab.zoo.load_predictor(tmp_path / "model").spec.proteins.values == "counts"

    def test_refuses_for_another_file(self, folder, tmp_path):
        read(folder / "query.h5mu")["rna"].write_h5ad(tmp_path / "rna.h5ad")
        arguments = ("--labels-key", "cell_type", "--output", tmp_path / "model", "--protein-modality", "prot")
        said = run("train", tmp_path / "rna.h5ad", *arguments, code=2)
        assert "`--protein-modality prot` is for a MuData, such as a `.h5mu`" in said

    def test_refuses_what_is_not_there(self, folder, tmp_path):
        arguments = ("--labels-key", "cell_type", "--output", tmp_path / "model")
        said = run("train", folder / "reference.h5mu", *arguments, "--modality", "gex", code=2)
        assert "has no modality `gex`" in said
        said = run("train", folder / "reference.h5mu", *arguments, "--protein-modality", "adt", code=2)
        assert "`--protein-modality adt` is not another modality of the data" in said


def test_annotate_says_which_antibodies_are_missing(folder):
    said = (folder / "annotate.txt").read_text()
    assert "5 of 6 antibodies of the model found; missing: `CD14`." in said
    assert "sctab_label" in read(folder / "annotated.h5mu").obs


def test_results_are_those_of_python(folder):
    query = read(folder / "query.h5mu")
    with warnings.catch_warnings(action="ignore"):
        sctab.tl.annotate(query, folder / "model")
    found, cells = read(folder / "annotated.h5mu"), query["rna"].obs_names
    np.testing.assert_array_equal(found.obs["sctab_confidence"].loc[cells], query.obs["sctab_confidence"].loc[cells])
    table = pd.read_csv(folder / "labels.csv", index_col="cell")
    assert list(table.index) == list(cells)


def test_check(folder, tmp_path):
    said = run("check", folder / "query.h5mu", "--model", folder / "model")
    assert "antibodies 5; 5 of 6 antibodies of the model (missing: `CD14`)" in said
    said = run("check", folder / "query.h5mu", "--model", folder / "model", "--protein-modality", "none", "--modality", "rna")
    assert "antibodies 5; 0 of 6 antibodies of the model" in said


def test_evaluate(folder, tmp_path):
    said = run(
        "evaluate", folder / "annotated.h5mu", "--labels-key", "cell_type", "--csv", tmp_path / "scores.csv", "--n-bootstrap", 0
    )
    assert "80" in said
    assert len(pd.read_csv(tmp_path / "scores.csv"))


def test_report(folder, tmp_path):
    run("report", folder / "annotated.h5mu", "--output", tmp_path / "report.html", "--model", folder / "model")
    page = (tmp_path / "report.html").read_text()
    assert "80 cells" in page
    assert "GENE" in page


def test_consensus(folder, tmp_path):
    run("consensus", folder / "annotated.h5mu", "--key", "sctab_label", "--key", "cell_type", "--csv", tmp_path / "out.csv")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 80
    run("consensus", folder / "annotated.h5mu", "--key", "sctab_label", "--key", "cell_type", "--output", tmp_path / "out.h5ad")
    assert "sctab_consensus" in anndata.read_h5ad(tmp_path / "out.h5ad").obs


def test_export(folder, tmp_path):
    run("export", folder / "annotated.h5mu", "--format", "table", "--output", tmp_path / "types.csv")
    assert len(pd.read_csv(tmp_path / "types.csv"))


def test_review(folder, tmp_path):
    run(
        "review", folder / "annotated.h5mu", "--labels-key", "cell_type", "--model", folder / "model", "--csv", tmp_path / "out.csv"
    )
    assert len(pd.read_csv(tmp_path / "out.csv"))


@pytest.mark.filterwarnings("ignore")
def test_tune(folder, tmp_path):
    arguments = ("--labels-key", "cell_type", "--model", "linear", "--n-trials", 1, "--max-epochs", 2, "--accelerator", "cpu")
    run("tune", folder / "reference.h5mu", *arguments, "--output", tmp_path / "settings.json")
    assert (tmp_path / "settings.json").exists()
