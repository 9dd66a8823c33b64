"""Corpora built by the workers of a real cluster: the same as in threads, also when one of them dies."""

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml
from anndata.io import read_elem
from distributed import Client, LocalCluster
from scipy import sparse
from typer.testing import CliRunner

from sctab.cli import app
from sctab.corpus import Corpus, CorpusConfig, build as build_corpus
from sctab.errors import InputValueError, SettingError
from sctab.io import _tasks
from sctab.io._tasks import client_in_use, run_tasks

pytest.importorskip("annbatch")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """A client of it that is in use."""
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture
def config(declared):
    return CorpusConfig.of(declared | {"features": "union"})


@pytest.fixture
def in_threads(config, tmp_path):
    """The same corpus without a cluster."""
    assert client_in_use() is None
    return build_corpus(config, tmp_path / "threads.corpus", shard_size=40)


def assert_same(one, other):
    assert other.verify() == []
    assert one.manifest["sources"] == other.manifest["sources"]
    for split in ("train", "validation", "test"):
        assert one.obs(split).equals(other.obs(split))
        matrices = [
            sparse.vstack([read_elem(group["X"]) for group in corpus.collection(split)], format="csr") for corpus in (one, other)
        ]
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(*(getattr(matrix, part) for matrix in matrices))


class TestClusters:
    def test_the_same_as_in_threads(self, in_threads, config, client, tmp_path, monkeypatch):
        assert client_in_use() is client
        seen = []
        monkeypatch.chdir(tmp_path)  # the workers are elsewhere
        config = replace(config, sources=tuple(replace(entry, path=os.path.relpath(entry.path)) for entry in config.sources))
        corpus = build_corpus(config, "cluster.corpus", shard_size=40, on_progress=lambda *at: seen.append(at))
        assert_same(in_threads, corpus)
        assert [at for at in seen if at[0] == "read"] == [("read", 1, 3), ("read", 2, 3), ("read", 3, 3)]

    def test_the_command_line(self, declared, cluster, tmp_path, monkeypatch):
        monkeypatch.setattr(_tasks, "_in_threads", None)
        path = tmp_path / "blood.yaml"
        path.write_text(yaml.safe_dump(declared), encoding="utf-8")
        words = ["corpus", "build", path, "--output", tmp_path / "c", "--dask-scheduler", cluster.scheduler_address]
        built = CliRunner().invoke(app, [str(word) for word in words])
        assert built.exit_code == 0, built.output
        assert Corpus.open(tmp_path / "c").verify() == []

    def test_a_worker_that_dies(self, in_threads, config, client, tmp_path):
        workers = list(client.run(os.getpid).values())

        def watch(stage, done, n):
            if stage == "inspect" and workers:
                os.kill(workers.pop(), signal.SIGKILL)

        assert_same(in_threads, build_corpus(config, tmp_path / "c", shard_size=40, on_progress=watch))

    def test_errors_are_the_same(self, client, config, studies, tmp_path):
        adata = studies["two"].copy()
        adata.X = sparse.csr_matrix(-adata.X.toarray())
        adata.write_h5ad(tmp_path / "two.h5ad")
        with pytest.raises(InputValueError, match=r"two.h5ad`: .*negative"):
            build_corpus(config, tmp_path / "c")
        while any(client.run(lambda dask_worker: len(dask_worker.state.executing)).values()):
            time.sleep(0.05)  # a task that was running when the first one failed would write to its directory again
        studies["two"].write_h5ad(tmp_path / "two.h5ad")
        (tmp_path / "c.unfinished").rename(tmp_path / "gone")
        assert build_corpus(config, tmp_path / "c").n_obs == 360

    @pytest.mark.usefixtures("client")
    def test_the_first_error_ends_it(self, tmp_path):
        (tmp_path / "0").mkdir()
        with pytest.raises(FileExistsError):
            run_tasks(os.mkdir, lambda number: (tmp_path / str(number),), 500, n_jobs=1, stage="s", on_progress=lambda *_: None)
        assert len(list(tmp_path.iterdir())) < 100

    @pytest.mark.usefixtures("client")
    def test_an_interrupt_ends_it(self, tmp_path):
        def watch(*_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_tasks(os.mkdir, lambda number: (tmp_path / str(number),), 500, n_jobs=1, stage="s", on_progress=watch)
        assert len(list(tmp_path.iterdir())) < 100

    def test_no_workers(self):
        with (
            LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as cluster,
            Client(cluster),
            pytest.raises(SettingError, match="The Dask cluster has no workers"),
        ):
            run_tasks(abs, lambda number: (number,), 3, n_jobs=1, stage="s", on_progress=lambda *_: None)


def test_in_threads_the_first_error_ends_it(tmp_path):
    (tmp_path / "0").mkdir()
    with pytest.raises(FileExistsError):
        run_tasks(os.mkdir, lambda number: (tmp_path / str(number),), 5000, n_jobs=1, stage="s", on_progress=lambda *_: None)
    assert len(list(tmp_path.iterdir())) < 5000
