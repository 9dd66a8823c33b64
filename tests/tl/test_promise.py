"""Promised terms in an AnnData, in files and on the command line."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.reference import make_reference
from typer.testing import CliRunner

import sctab
from sctab.cli import app
from sctab.model import LinearClassifier

KEYS = ["sctab_term", "sctab_term_id", "sctab_n_labels_below"]
QUICK = {"max_epochs": 10, "batch_size": 32, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that is not sure of all cells, calibrated on nine donors."""
    adata = make_reference(360, n_donors=9)
    rng = np.random.default_rng(0)
    mixed = rng.permutation(360)[:120]
    dense = adata.X.toarray()
    dense[mixed] = dense[mixed[rng.permutation(120)]]
    adata.X = sparse.csr_matrix(dense)
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(**QUICK)
    path = tmp_path_factory.mktemp("model") / "model"
    model.save(path)
    return path


@pytest.fixture
def query():
    return make_reference(90, seed=5)


def test_columns(model, query):
    sctab.tl.annotate(query, model, accepted_error=0.3)
    terms, open_labels = query.obs["sctab_term"], query.obs["sctab_n_labels_below"]
    assert terms.dtype == "category"
    assert open_labels[terms.isna()].eq(3).all()
    is_label = terms.isin(["B cell", "T cell", "monocyte"])
    assert is_label.any()
    assert (open_labels[is_label] == 1).all()
    assert (terms[is_label].astype(str) == query.obs["sctab_label"][is_label].astype(str)).all()
    assert (query.obs["sctab_term_id"][terms == "B cell"] == "CL:0000236").all()
    promise = query.uns["sctab"]["promise"]
    assert (promise["accepted_error"], promise["unit"], promise["n_units"]) == (0.3, "donor", 9)
    assert query.uns["sctab"]["calibration"]["unit"] == "donor"
    counted = (open_labels == 1).sum(), (terms.notna() & (open_labels > 1)).sum(), terms.isna().sum()
    assert tuple(promise[name] for name in ("n_label", "n_broader", "n_open")) == counted
    assert sum(counted) == query.n_obs


def test_the_command_counts_terms(model, query, tmp_path):
    for name in "ab":
        query.write_h5ad(tmp_path / f"{name}.h5ad")
    options = ["--model", model, "--csv", tmp_path / "a.csv", "--accepted-error", 0.3, "--unseen-fdr", 0.1, "--force"]
    result = CliRunner().invoke(app, list(map(str, ["annotate", tmp_path / "a.h5ad", tmp_path / "b.h5ad", *options])))
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "a.csv")
    is_leaf, is_open = table["sctab_n_labels_below"] == 1, table["sctab_term"].isna()
    shown = [
        f"{mask.sum():,} ({'<1' if 0 < mask.mean() < 0.005 else round(100 * mask.mean())}%)"
        for mask in (is_leaf, ~is_leaf & ~is_open, is_open)
    ]
    assert f"of {len(table):,} cells: their label {shown[0]}, a broader term {shown[1]}, none {shown[2]}." in result.stdout
    assert f"Unseen types: {table['sctab_is_unseen'].sum()} of {len(table)} cells fit no label." in result.stdout


def test_less_error_leaves_more_open(model, query):
    n_open = []
    for accepted_error in (0.11, 0.2, 0.5):
        sctab.tl.annotate(query, model, accepted_error=accepted_error)
        n_open.append(query.obs["sctab_n_labels_below"].sum())
    assert n_open == sorted(n_open, reverse=True)


def test_columns_go_with_the_promise(model, query):
    sctab.tl.annotate(query, model, accepted_error=0.3)
    sctab.tl.annotate(query, model)
    assert not set(KEYS) & set(query.obs)
    assert "promise" not in query.uns["sctab"]


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr", ".csv", ".parquet"])
def test_files_hold_the_same(model, query, tmp_path, suffix):
    query.write_h5ad(tmp_path / "query.h5ad")
    output = tmp_path / f"out{suffix}"
    sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=output, accepted_error=0.2, block_size=32)
    sctab.tl.annotate(query, model, accepted_error=0.2)
    if suffix == ".csv":
        found = pd.read_csv(output, index_col=0)
    elif suffix == ".parquet":
        found = pd.read_parquet(output)
    else:
        written = ad.read_h5ad(output) if suffix == ".h5ad" else ad.read_zarr(output)
        found = written.obs
        assert written.uns["sctab"]["promise"]["accepted_error"] == 0.2
        for name in ("n_label", "n_broader", "n_open"):
            assert written.uns["sctab"]["promise"][name] == query.uns["sctab"]["promise"][name]
    for key in KEYS:
        expected = query.obs[key].astype(object).where(query.obs[key].notna(), None).tolist()
        assert found[key].astype(object).where(found[key].notna(), None).tolist() == expected


def test_a_run_is_resumed_with_the_same_promise_only(model, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    arguments = {"output": tmp_path / "out.parquet", "resume": True}
    sctab.tl.annotate_files(tmp_path / "query.h5ad", model, accepted_error=0.2, **arguments)
    assert not sctab.tl.annotate_files(tmp_path / "query.h5ad", model, accepted_error=0.2, **arguments).runs
    with pytest.raises(sctab.OutputExistsError, match="other files, settings or another model"):
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, accepted_error=0.3, **arguments)


def test_on_the_command_line(model, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    (tmp_path / "tree.tsv").write_text("child\tparent\nB cell\tround\nT cell\tround\n")
    arguments = ["annotate", tmp_path / "query.h5ad", "--model", model, "--csv", tmp_path / "out.csv", "--accepted-error", 0.2]
    result = CliRunner().invoke(app, [*map(str, arguments), "--label-hierarchy", str(tmp_path / "tree.tsv")])
    assert result.exit_code == 0, result.output
    found = pd.read_csv(tmp_path / "out.csv")
    assert set(found["sctab_term"].dropna()) <= {"B cell", "T cell", "monocyte", "round"}
    assert "round" in set(found["sctab_term"])


@pytest.mark.parametrize("form", ["mapping", "table", "file"])
def test_every_form_of_a_hierarchy_gives_the_same_terms(model, query, tmp_path, form):
    (tmp_path / "tree.csv").write_text("child,parent\nB cell,round\nT cell,round\n")
    tree = {"B cell": "round", "T cell": "round"}
    forms = {"mapping": tree, "table": pd.DataFrame({"child": [*tree], "parent": "round"}), "file": tmp_path / "tree.csv"}
    sctab.tl.annotate(query, model, accepted_error=0.2, label_hierarchy={"round": ["B cell", "T cell"]})
    expected = query.obs["sctab_term"].astype(str).tolist()
    assert "round" in expected
    sctab.tl.annotate(query, model, accepted_error=0.2, label_hierarchy=forms[form])
    assert query.obs["sctab_term"].astype(str).tolist() == expected


def test_a_hierarchy_that_nothing_uses_is_refused(model, query, tmp_path):
    with pytest.raises(sctab.SettingError, match="`label_hierarchy` is used for promised terms. Provide `accepted_error`, too"):
        sctab.tl.annotate(query, model, label_hierarchy={"B cell": "round"})
    query.write_h5ad(tmp_path / "query.h5ad")
    (tmp_path / "tree.tsv").write_text("child\tparent\nB cell\tround\n")
    arguments = ["annotate", tmp_path / "query.h5ad", "--model", model, "--output", tmp_path / "out.csv"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--label-hierarchy", str(tmp_path / "tree.tsv")])
    assert result.exit_code == 2
    assert "`--label-hierarchy` is used for promised terms. Provide `--accepted-error`, too." in " ".join(result.output.split())
    assert not (tmp_path / "out.csv").exists()


def test_a_promise_needs_held_out_cells(query):
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(**QUICK, calibrate=False)
    with pytest.raises(sctab.SettingError, match="needs a model that was calibrated on held-out cells, and this one was not"):
        sctab.tl.annotate(query, model, accepted_error=0.1)
    assert "sctab_label" not in query.obs


def test_it_is_withdrawn_where_cells_are_unlike_held_out_ones(model, query):
    rng = np.random.default_rng(0)
    noise = make_reference(300, seed=6)
    noise.X.data[:] = rng.permutation(noise.X.data)
    noise.X.indices[:] = rng.permutation(noise.X.indices)
    noise.X.sum_duplicates()
    with pytest.warns(sctab.SctabWarning, match="The promise is withdrawn: confidence in these cells differs"):
        sctab.tl.annotate(noise, model, accepted_error=0.3)
    assert not noise.uns["sctab"]["promise"]["is_kept"]
    assert any("withdrawn" in note for note in noise.uns["sctab"]["warnings"])
    sctab.tl.annotate(query, model, accepted_error=0.3)


def test_few_donors_are_said(model, query):
    with pytest.warns(sctab.SctabWarning, match="With 9 donors to calibrate on, the smallest error that can be promised"):
        sctab.tl.annotate(query, model, accepted_error=0.05)
    assert query.uns["sctab"]["promise"]["unit"] == "cell"


def test_a_run_is_not_resumed_with_other_labels_below_the_same_terms(model, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    arguments = {"output": tmp_path / "out.parquet", "resume": True, "accepted_error": 0.2}
    one, other = {"B cell": "round", "T cell": "round"}, {"B cell": "round", "monocyte": "round"}
    sctab.tl.annotate_files(tmp_path / "query.h5ad", model, label_hierarchy=one, **arguments)
    assert not sctab.tl.annotate_files(tmp_path / "query.h5ad", model, label_hierarchy=one, **arguments).runs
    with pytest.raises(sctab.OutputExistsError, match="other files, settings or another model"):
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, label_hierarchy=other, **arguments)
