"""Votes in files are those in memory."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference
from typer.testing import CliRunner

import sctab
from sctab import InputValueError, KeyNotFoundError, OutputExistsError
from sctab.cli import app
from sctab.model import LinearClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*cells? ha(ve|s) no count:sctab.errors.SctabWarning"),
    pytest.mark.filterwarnings("ignore:.*The promise (is|of the cells' terms was) withdrawn:sctab.errors.SctabWarning"),
]
COLUMNS = ["sctab_vote", "sctab_vote_id", "sctab_vote_share", "sctab_vote_term", "sctab_vote_term_id"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=3, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    model.save(tmp_path_factory.mktemp("model") / "model")
    return model


@pytest.fixture(scope="module")
def query():
    """Clusters of mixed types, a cell without a count, one without a cluster, and a cluster none of whose cells was measured."""
    query = make_reference(90, seed=7)
    rng = np.random.default_rng(0)
    clusters = np.where(rng.random(90) < 0.7, query.obs["cell_type"].cat.codes, rng.integers(0, 3, 90)).astype(float)
    clusters[[0, 1]] = [7, np.nan]
    query.obs["cluster"] = clusters
    query.X = query.X.multiply((~np.isin(np.arange(90), [0, 5]))[:, None]).tocsr()
    return query


@pytest.fixture(scope="module")
def expected(model, query):
    found = sctab.tl.annotate(query, model, accepted_error=0.3, copy=True)
    sctab.tl.vote(found, "cluster")
    assert sctab.get.vote(found)["label"].tolist()[-1] == ""
    return found


@pytest.fixture
def path(query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    return tmp_path / "query.h5ad"


def assert_same_columns(found, expected, names=COLUMNS):
    for name in names:
        if name == "sctab_vote_share":
            np.testing.assert_allclose(found[name].astype(float), expected[name])
        else:
            assert found[name].astype(object).fillna("").tolist() == expected[name].astype(object).fillna("").tolist()


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_copies(model, path, expected, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    sctab.tl.annotate_files(path, model, output=output, accepted_error=0.3, vote="cluster", block_size=17)
    found = ad.read_h5ad(output) if suffix == "h5ad" else ad.read_zarr(output)
    assert_same_columns(found.obs, expected.obs)
    pd.testing.assert_frame_equal(sctab.get.vote(found), sctab.get.vote(expected), check_dtype=False)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables(model, path, expected, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    sctab.tl.annotate_files(path, model, output=output, accepted_error=0.3, vote="cluster", block_size=17)
    found = pd.read_csv(output, index_col=0) if suffix == "csv" else pd.read_parquet(output)
    assert_same_columns(found, expected.obs)
    assert "sctab_probabilities" not in found


def test_files_vote_apart(model, query, path, expected, tmp_path):
    other = query.copy()
    other.obs["cluster"] = "all"
    other.write_h5ad(tmp_path / "other.h5ad")
    output = tmp_path / "out.parquet"
    sctab.tl.annotate_files([path, tmp_path / "other.h5ad"], model, output=output, accepted_error=0.3, vote="cluster")
    found = pd.read_parquet(output)
    assert_same_columns(found.iloc[:90], expected.obs)
    assert len(set(found.iloc[90:]["sctab_vote"])) == 1


def test_without_terms(model, path, query, tmp_path):
    sctab.tl.annotate_files(path, model, output=tmp_path / "out.h5ad", vote="cluster")
    expected = sctab.tl.annotate(query, model, copy=True)
    sctab.tl.vote(expected, "cluster")
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    assert_same_columns(found.obs, expected.obs, COLUMNS[:3])
    assert "sctab_vote_term" not in found.obs


def test_a_finished_run_is_of_the_same_column(model, path, tmp_path):
    settings = {"output": tmp_path / "out.parquet", "vote": "cluster"}
    sctab.tl.annotate_files(path, model, **settings)
    assert sctab.tl.annotate_files(path, model, **settings, resume=True).runs == {}
    with pytest.raises(OutputExistsError, match="is from other files, settings or another model"):
        sctab.tl.annotate_files(path, model, **{**settings, "vote": "cell_type"}, resume=True)


def test_refusals_before_any_work(model, query, tmp_path):
    query = query.copy()
    query.obs["share"] = 0.5
    query.write_h5ad(tmp_path / "query.h5ad")
    with pytest.raises(KeyNotFoundError, match=r"query.h5ad`: `vote='clusters'` is not in .*Did you mean `cluster`"):
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=tmp_path / "out.csv", vote="clusters")
    with pytest.raises(InputValueError, match="`vote='share'` holds fractions, which are not groups"):
        sctab.tl.annotate_files(tmp_path / "query.h5ad", model, output=tmp_path / "out.csv", vote="share")
    assert [entry.name for entry in tmp_path.iterdir()] == ["query.h5ad"]


def test_the_command(model, path, expected, tmp_path):
    model.save(tmp_path / "model")
    arguments = ["annotate", path, "--model", tmp_path / "model", "--output", tmp_path / "out.h5ad", "--accepted-error", "0.3"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--vote", "cluster", "--accelerator", "cpu"])
    assert result.exit_code == 0, result.output
    assert_same_columns(ad.read_h5ad(tmp_path / "out.h5ad").obs, expected.obs)
    result = CliRunner().invoke(app, [*map(str, arguments), "--overwrite", "--vote", "Cluster"])
    assert result.exit_code == 2
    assert "`--vote Cluster` is not in `obs`. Did you mean `cluster`?" in result.stderr
