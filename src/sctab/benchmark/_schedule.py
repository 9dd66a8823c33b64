"""All runs of a benchmark, several at a time, on a Dask cluster."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sctab._deprecation import renamed_argument
from sctab.benchmark._config import Config, PeerEntry
from sctab.benchmark._files import MANIFEST_FILE, RUNS_FOLDER
from sctab.benchmark._peers import PeerUnavailableError, default_environments, make_environment
from sctab.benchmark._runs import DONE, FAILED, UNAVAILABLE, WAITING, Run, execute, plan
from sctab.errors import OutputError, OutputExistsError, listing, require
from sctab.io import as_path, entries_of, written_beside

_LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Progress:
    """A run that has ended, or that needed nothing."""

    run: Run
    state: str
    reason: str
    n_ended: int
    n_runs: int


@renamed_argument("jobs", "n_jobs", since="0.1", removed_in="0.3")
def run_benchmark(
    config: Config,
    directory: str | os.PathLike[str],
    *,
    n_jobs: int | None = None,
    dask_scheduler: str | None = None,
    environments: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Do the runs of a benchmark that are not done, and write down which there are.

    Each run is a process of its own with one thread. What is finished is kept, so that a benchmark that was interrupted is resumed where
    it was, and a changed one does what has changed. A run that fails and a peer that cannot be installed are written down, with the
    reason, and tried again the next time.

    Parameters
    ----------
    config
        What to compare.
    directory
        Where results are kept.
    n_jobs
        Runs at a time; by default as many as there are processors.
    dask_scheduler
        Address of a Dask scheduler to use instead of a cluster of our own. Its workers must see the same files.
    environments
        Folder of the environments of peers; by default in the user's cache.
    on_progress
        Called when a run has ended.

    Raises
    ------
    DataFileError
        If a file of a task does not exist.
    OutputError
        If another benchmark runs in `directory`, or if it cannot be written.
    MissingDependencyError
        If `distributed` is not installed.
    """
    require("distributed", extra="benchmark")
    directory = as_path(directory)
    runs = plan(config)
    with _locked(directory):
        states = {run.key: {"state": DONE if run.is_done(directory) else WAITING, "reason": ""} for run in runs}
        _write_manifest(directory, config, runs, states)
        n_ended = 0

        def ended(run: Run) -> None:
            nonlocal n_ended
            n_ended += 1
            if states[run.key]["state"] != DONE:  # what is done is known by its files
                _write_manifest(directory, config, runs, states)
            on_progress(Progress(run, **states[run.key], n_ended=n_ended, n_runs=len(states)))

        for run in {run.key: run for run in runs if states[run.key]["state"] == DONE}.values():
            ended(run)
        waiting = list({run.key: run for run in runs if states[run.key]["state"] == WAITING}.values())
        pythons = _environments(waiting, as_path(environments) if environments is not None else default_environments())
        requests = []
        for run in waiting:
            python = pythons.get(run.entry.label) if isinstance(run.entry, PeerEntry) else None
            if isinstance(python, PeerUnavailableError):
                states[run.key] = {"state": UNAVAILABLE, "reason": str(python)}
                ended(run)
            else:
                requests.append((run, run.request(config, python)))
        for run, outcome in _scheduled(requests, directory.absolute(), n_jobs, dask_scheduler):
            states[run.key] = outcome
            ended(run)
        _write_manifest(directory, config, runs, states)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other benchmarks out of a directory, and remove what an earlier one that was killed has left half-done."""
    _require_own(directory)
    try:
        (directory / RUNS_FOLDER).mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / _LOCK_FILE, timeout=0).acquire()
    except Timeout as error:
        raise OutputError(f"Another benchmark runs in `{directory}`. Wait until it ends, or choose another directory.") from error
    except OSError as error:
        raise OutputError(f"`{directory}` cannot be written: {error.strerror}. Choose another directory.") from error
    with lock:  # the system releases the lock when the process ends, however it ends
        for leftover in (directory / RUNS_FOLDER).glob(".sctab-*.part"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _require_own(directory: Path) -> None:
    """Refuse a directory that holds something and no benchmark: its `report.md` may be somebody's own."""
    if directory.is_dir() and not (directory / MANIFEST_FILE).is_file():
        foreign = [path.name for path in entries_of(directory) if path.name not in (RUNS_FOLDER, _LOCK_FILE)]
        if foreign:
            raise OutputExistsError(
                f"`{directory}` exists and holds no benchmark: {listing(foreign)} would be mixed with its files. Choose another "
                "directory."
            )


def _environments(waiting: Sequence[Run], folder: Path) -> dict[str, Path | PeerUnavailableError]:
    """Python of the environment of every peer that has something to do, by its label, or why there is none."""
    found: dict[str, Path | PeerUnavailableError] = {}
    for entry in [run.entry for run in waiting if isinstance(run.entry, PeerEntry)]:
        if entry.label not in found:
            try:
                found[entry.label] = make_environment(entry.requirements, folder)
            except PeerUnavailableError as error:
                found[entry.label] = error
    return found


def _scheduled(
    requests: Sequence[tuple[Run, dict[str, Any]]], directory: Path, n_jobs: int | None, dask_scheduler: str | None
) -> Iterator[tuple[Run, dict[str, str]]]:
    """Runs with their outcomes, in the order in which they end."""
    if not requests:
        return
    distributed = require("distributed", extra="benchmark")

    with _client(n_jobs, dask_scheduler) as client:
        futures = {client.submit(execute, request, run.key, str(directory), pure=False): run for run, request in requests}
        for future in distributed.as_completed(list(futures)):
            error = future.exception()
            outcome = future.result() if error is None else {"state": FAILED, "reason": f"{type(error).__name__}: {error}"}
            yield futures[future], outcome


@contextmanager
def _client(n_jobs: int | None, dask_scheduler: str | None) -> Iterator[Any]:
    """A client of a Dask cluster: of an existing one, or of a local one whose worker has a thread per run."""
    distributed = require("distributed", extra="benchmark")

    if dask_scheduler is not None:
        with distributed.Client(dask_scheduler) as client:
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=n_jobs or os.cpu_count() or 1,
            processes=False,  # each run is a process that we start, so that its memory can be distinguished from that of others
            memory_limit=0,
            dashboard_address="127.0.0.1:0",  # any port that is free
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _write_manifest(directory: Path, config: Config, runs: Sequence[Run], states: dict[str, dict[str, str]]) -> None:
    manifest = {
        "format": "sctab-benchmark",
        "format_version": 1,
        "baseline": config.baseline,
        "runs": [run.describe() | states[run.key] for run in runs],
    }
    with written_beside(directory / MANIFEST_FILE, overwrite=True) as path:
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
