"""Whole benchmarks, with real processes on a real Dask cluster."""

import os
import signal
import subprocess
import sys
import time

import distributed
import pandas as pd
import pytest
from tests.benchmark.conftest import OFFLINE

from sctab import OutputError, OutputExistsError
from sctab.benchmark import read_config, read_results, run_benchmark, write_report

BROKEN = {"name": "celltypist", "label": "broken", "requirements": ["no-such-package==0"]}
RUN = "import sys; from sctab.benchmark import *; run_benchmark(read_config(sys.argv[1]), sys.argv[2], n_jobs=1)"


def watched():
    """A list of what has ended, and what fills it."""
    seen = []
    return seen, lambda progress: seen.append((progress.run.entry.label, progress.state))


def finished(directory):
    """Runs that are there, with the time at which they were written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in directory.glob("runs/*/summary.json")}


def test_what_cannot_be_done_is_reported_and_the_rest_is_done_once(write_config, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    directory = tmp_path / "out"
    failing = OFFLINE | {"label": "failing", "settings": {"C": -1.0}}
    config = read_config(write_config(peers=[OFFLINE, BROKEN, failing]))
    seen, said = [], []

    def watch(progress):
        seen.append((progress.run.entry.label, progress.state))
        unfinished = read_results(directory).unfinished  # what has failed is in the report while others still run
        said.extend([progress.reason] * (progress.reason in set(unfinished["reason"])))

    run_benchmark(config, directory, n_jobs=2, environments=tmp_path / "environments", on_progress=watch)
    assert sorted(seen) == [("broken", "unavailable"), ("failing", "failed"), ("logistic_regression", "done")]

    results = read_results(directory)
    assert set(results.scores["model"]) == {"logistic_regression"}
    pd.testing.assert_frame_equal(pd.read_parquet(directory / "results.parquet"), results.scores)
    reasons = results.unfinished.set_index("model")["reason"]
    assert "no-such-package" in reasons["broken"]
    assert reasons["failing"].startswith("sklearn.utils._param_validation.InvalidParameterError: The 'C' parameter")
    assert len([reason for reason in said if reason]) == 2
    assert "InvalidParameterError" in next((directory / "failures").iterdir()).read_text(encoding="utf-8")
    report = write_report(results, directory).read_text(encoding="utf-8")
    assert "| broken | unavailable | 1 | donors |" in report

    before = finished(directory)
    again, watch = watched()
    run_benchmark(read_config(write_config()), directory, on_progress=watch)
    assert again == [("logistic_regression", "done")]
    assert finished(directory) == before
    assert read_results(directory).unfinished.empty


def test_goes_on_after_it_was_killed_on_a_cluster_that_is_there(write_config, tmp_path):
    directory = tmp_path / "out"
    path = write_config(seeds=[0, 1])
    process = subprocess.Popen([sys.executable, "-c", RUN, str(path), str(directory)])
    deadline = time.monotonic() + 600
    while not finished(directory) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    while not list(directory.glob("runs/.sctab-*.part/*/log.txt")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)  # until the second run has begun
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = finished(directory)
    assert len(before) == 1
    assert list(directory.glob("runs/.sctab-*.part"))
    _wait_until_nothing_runs_in(directory)

    seen, watch = watched()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        run_benchmark(read_config(path), directory, dask_scheduler=cluster.scheduler_address, on_progress=watch)
    assert [state for _, state in seen] == ["done", "done"]
    after = finished(directory)
    assert len(after) == 2
    assert before.items() <= after.items()
    assert not list(directory.glob("runs/.sctab-*.part"))


def _wait_until_nothing_runs_in(directory):
    """The process of a run ends by itself when the benchmark is gone."""
    deadline = time.monotonic() + 300
    while _runs_in(directory):
        assert time.monotonic() < deadline, "a run outlived its benchmark"
        time.sleep(0.05)


def _runs_in(directory):
    listed = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "sctab.benchmark._worker" in line and str(directory) in line]


def test_a_directory_of_somebody_else_is_not_written_to(write_config, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/report.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds no benchmark: `report.md` would be mixed with its files"):
        run_benchmark(read_config(write_config()), tmp_path / "thesis")
    assert [entry.name for entry in (tmp_path / "thesis").iterdir()] == ["report.md"]


def test_one_benchmark_at_a_time(write_config, tmp_path):
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="Another benchmark runs in"):
            run_benchmark(read_config(write_config()), tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_cannot_be_written(write_config, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        run_benchmark(read_config(write_config()), tmp_path / "out")
