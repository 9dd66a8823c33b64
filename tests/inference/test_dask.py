"""A real cluster of worker processes: the same numbers, also when a worker dies on the way."""

import os
import signal
import time
import warnings

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from scipy import sparse
from tests.cite_seq import as_mudata, cite_seq
from tests.reference import make_reference
from typer.testing import CliRunner

import sctab
from sctab import ClusterError, DataFileError, InputValueError, SettingError
from sctab.cli import app
from sctab.inference import BlockPredictor, Evaluation, _dask as on_dask, decide, engine_for, load_predictor
from sctab.io import client_in_use

pytestmark = [
    pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning"),
    pytest.mark.filterwarnings("ignore:Sending large graph"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


def assert_same_labels(got, expected):
    columns = [column for column in expected.obs if column.startswith("sctab_")]
    pd.testing.assert_frame_equal(got.obs[columns], expected.obs[columns], rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.obsm["X_sctab"], expected.obsm["X_sctab"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_files(client, model_path, query, annotated, tmp_path, suffix):
    path = tmp_path / f"query{suffix}"
    (query.write_h5ad if suffix == ".h5ad" else query.write_zarr)(path)
    sctab.tl.annotate_files(path, model_path, output=tmp_path / "out.h5ad", block_size=20, client=client)
    assert_same_labels(ad.read_h5ad(tmp_path / "out.h5ad"), annotated)


def test_antibodies_of_another_modality(client, tmp_path):
    reference, query = cite_seq(200), cite_seq(90, seed=1)
    sctab.model.LinearClassifier.setup_mudata(reference, "cell_type")
    model = sctab.model.LinearClassifier(reference)
    model.train(max_epochs=4, enable_progress_bar=False, accelerator="cpu", calibrate=False)
    model.save(tmp_path / "model")
    stored = as_mudata(rna=query["rna"].copy(), prot=query["prot"][::-1].copy())
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        stored.write(tmp_path / "query.h5mu")
        sctab.tl.annotate(stored, tmp_path / "model")
    output = tmp_path / "out.parquet"
    sctab.tl.annotate_files(tmp_path / "query.h5mu", tmp_path / "model", output=output, block_size=20, client=client)
    found = pd.read_parquet(output).set_index("cell")
    assert list(found["sctab_label"].astype(str)) == list(stored.obs["sctab_label"].loc[found.index].astype(str))
    np.testing.assert_allclose(found["sctab_confidence"], stored.obs["sctab_confidence"].loc[found.index], rtol=0, atol=1e-5)


def test_cells_are_tested_for_unseen_types_by_workers(client, model_path, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    expected = sctab.tl.annotate(query, model_path, unseen_fdr=0.1, force=True, copy=True)
    output = tmp_path / "out.h5ad"
    sctab.tl.annotate_files(
        tmp_path / "query.h5ad", model_path, output=output, block_size=20, client=client, unseen_fdr=0.1, force=True
    )
    assert_same_labels(ad.read_h5ad(output), expected)


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_a_damaged_file_is_refused_by_a_worker_as_it_is_here(client, model_path, query, tmp_path, kind):
    path = tmp_path / "query.h5ad"
    stored = query.copy()
    stored.X = query.X.asformat(kind)
    stored.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X"]["indices"][-1] = 10**6
    with pytest.raises(
        DataFileError, match=rf"query.h5ad`: `X` is not a valid {kind.upper()} matrix: `indices` must lie between 0 and"
    ):
        sctab.tl.annotate_files(path, model_path, layer="X", output=tmp_path / "out.csv", block_size=20, client=client)
    assert not (tmp_path / "out.csv").exists()


def test_a_damaged_block_is_refused_by_a_worker_as_it_is_here(client, model_path, query):
    adata = query.copy()
    matrix = query.X.copy()
    matrix.indices[-1] = 10**6
    adata.X = da.from_array(matrix, chunks=(100, -1), asarray=False)
    with pytest.raises(InputValueError, match="`X` is not a valid CSR matrix: `indices` must lie between 0 and"):
        sctab.tl.annotate(adata, model_path, layer="X")


def test_the_command_line(cluster, model_path, query, annotated, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    arguments = [
        "annotate",
        tmp_path / "query.h5ad",
        "--model",
        model_path,
        "--output",
        tmp_path / "out.h5ad",
        "--accelerator",
        "cpu",
    ]
    result = CliRunner().invoke(app, [*map(str, arguments), "--dask-scheduler", cluster.scheduler_address])
    assert result.exit_code == 0, result.output
    assert_same_labels(ad.read_h5ad(tmp_path / "out.h5ad"), annotated)


@pytest.mark.parametrize("rows", [(7, 293), (100, 100, 100), (1,) * 300, (300,)])
def test_an_adata_on_dask(client, model_path, query, annotated, rows):
    X = da.from_array(query.X, chunks=(rows, -1), asarray=False)
    lazy = ad.AnnData(X=X, obs=query.obs, var=query.var)
    client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_log.clear())
    sctab.tl.annotate(lazy, model_path)
    assert_same_labels(lazy, annotated)
    names = client.run_on_scheduler(lambda dask_scheduler: {str(entry[0]) for entry in dask_scheduler.transition_log})
    assert any("_predict" in name for name in names)  # it was the workers that named the cells


def test_an_adata_on_dask_without_a_client(model_path, query, annotated):
    assert client_in_use() is None
    lazy = ad.AnnData(X=da.from_array(query.X, chunks=(70, -1), asarray=False), obs=query.obs, var=query.var)
    sctab.tl.annotate(lazy, model_path)
    assert_same_labels(lazy, annotated)


def test_weights_are_sent_once(client, model_path, query, monkeypatch):
    """As one object for all workers, and not with each block."""
    model = load_predictor(model_path)
    opened = model.open_query(query)
    engine = engine_for(model, client=client)
    sent = []

    def count(self, protocol):
        sent.append(self)
        return object.__reduce_ex__(self, protocol)

    monkeypatch.setattr(BlockPredictor, "__reduce_ex__", count, raising=False)
    assert sum(stop - start for (start, stop), _ in engine.predict(query, opened, opened.ranges(10), batch_size=512)) == 300
    assert len(sent) == 1


@pytest.fixture
def slow(monkeypatch):
    """Blocks that take long enough for a worker to be killed in the middle."""
    evaluate = on_dask._predict

    def takes_time(*arguments):
        time.sleep(0.1)
        return evaluate(*arguments)

    monkeypatch.setattr(on_dask, "_predict", takes_time)


@pytest.mark.usefixtures("slow")
def test_blocks_of_a_worker_that_is_lost_are_named_by_another_one(client, model_path, query, annotated):
    model = load_predictor(model_path)
    opened = model.open_query(query)
    parts, n_seen = {}, 0
    for at, evaluation in engine_for(model, client=client).predict(query, opened, opened.ranges(10), batch_size=512):
        parts[at] = evaluation
        n_seen += 1
        if n_seen == 5:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
    assert n_seen == 30
    assert sorted(parts) == opened.ranges(10)
    decision = decide(Evaluation.join([parts[at] for at in sorted(parts)]))
    probabilities = decision.column(decision.probabilities)
    np.testing.assert_allclose(probabilities, annotated.obsm["sctab_probabilities"], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("slow")
def test_weights_are_sent_again_when_the_last_worker_that_had_them_is_lost(model_path, query, annotated):
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(1)
        model = load_predictor(model_path)
        opened = model.open_query(query)
        parts = {}
        for at, evaluation in engine_for(model, client=client).predict(query, opened, opened.ranges(10), batch_size=512):
            parts[at] = evaluation
            if len(parts) == 5:
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        decision = decide(Evaluation.join([parts[at] for at in sorted(parts)]))
        probabilities = decision.column(decision.probabilities)
        np.testing.assert_allclose(probabilities, annotated.obsm["sctab_probabilities"], rtol=0, atol=1e-5)


def test_blocks_that_kill_every_worker_are_given_up(client, model_path, query, monkeypatch):
    monkeypatch.setattr(on_dask, "_predict", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))  # instead of three
    model = load_predictor(model_path)
    opened = model.open_query(query)
    with pytest.raises(ClusterError, match="lost repeatedly"):
        list(engine_for(model, client=client).predict(query, opened, opened.ranges(100), batch_size=512))
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 3))


def test_no_workers(model_path, query):
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as cluster, Client(cluster) as client:
        model = load_predictor(model_path)
        opened = model.open_query(query)
        with pytest.raises(SettingError, match="has no workers. Start some"):
            list(engine_for(model, client=client).predict(query, opened, opened.ranges(), batch_size=512))


def test_refusals_come_from_workers_as_they_are(client, model_path, query, tmp_path):
    scaled = ad.AnnData(X=query.X.toarray() - 1, obs=query.obs, var=query.var)
    scaled.write_h5ad(tmp_path / "scaled.h5ad")
    with pytest.raises(InputValueError, match="`X` holds negative values"):
        sctab.tl.annotate_files(tmp_path / "scaled.h5ad", model_path, output=tmp_path / "out.csv", client=client)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scaled.h5ad"]


def test_a_csc_file_and_rows_of_reference(client, model_path, tmp_path):
    cells = make_reference(120, seed=9)
    expected = sctab.tl.annotate(cells, model_path, copy=True)
    cells.X = sparse.csc_matrix(cells.X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    sctab.tl.annotate_files(tmp_path / "cells.h5ad", model_path, output=tmp_path / "out.h5ad", block_size=50, client=client)
    assert_same_labels(ad.read_h5ad(tmp_path / "out.h5ad"), expected)
