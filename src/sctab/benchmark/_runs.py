"""The runs of a benchmark, each known by the content of what decides its result, and how one is done."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sctab.benchmark._config import Config, ModelEntry, PeerEntry, Task
from sctab.benchmark._files import FAILURES_FOLDER, LOG_FILE, REQUEST_FILE, RUNS_FOLDER, SUMMARY_FILE
from sctab.corpus import Corpus
from sctab.errors import DataFileError, OutputExistsError
from sctab.inference import library_versions
from sctab.io import written_beside
from sctab.ontology import read_label_map

DONE, FAILED, UNAVAILABLE, WAITING = "done", "failed", "unavailable", "waiting"

_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
_SOURCE = Path(__file__).parents[1]
_PACKAGE = _SOURCE.name
_CODE = {".py", ".pyi", ".pyc", ".typed"}
_PEERS = ("benchmark/_peers.py", "benchmark/_scores.py", "benchmark/_tasks.py")
_MODELS = ("benchmark/_worker.py",)
"""Files that decide a result, of peers and of models, together with all that they import."""
_DECIDE_NOTHING = {"benchmark/_config.py", "benchmark/_files.py"}
"""Files that are imported for what a run is asked, which its key has anyway."""
_LIBRARIES = ("cellxgene-ontology-guide", "numba", "annbatch", "xgboost", "scikit-learn", "scanpy", "entmax", "lightning", "pandas")
"""Those that decide a result besides the ones that models record."""


@dataclass(frozen=True)
class Run:
    """One model or peer, on one task, with one seed."""

    task: Task
    entry: ModelEntry | PeerEntry
    seed: int
    fraction: float
    """Fraction of the reference that is learned from."""
    key: str
    """Hash of all that decides the result."""

    def is_done(self, directory: Path) -> bool:
        """Return whether its results are in the directory of a benchmark."""
        return (directory / RUNS_FOLDER / self.key / SUMMARY_FILE).is_file()

    def describe(self) -> dict[str, Any]:
        """Columns of the table of results for this run."""
        return {
            "task": self.task.name,
            "model": self.entry.label,
            "family": self.entry.name,
            "kind": "model" if isinstance(self.entry, ModelEntry) else "peer",
            "seed": self.seed,
            "subset": self.task.subset.by if self.task.subset is not None else "",
            "fraction": self.fraction,
            "key": self.key,
        }

    def request(self, config: Config, python: Path | None) -> dict[str, Any]:
        """Request to the process of this run, as JSON has it."""
        common = {"task": asdict(self.task), "data": str(config.data.absolute()), "fraction": self.fraction, "seed": self.seed}
        return common | _asked_of(self.entry, config) | ({} if python is None else {"python": str(python)})


def plan(config: Config) -> list[Run]:
    """All runs of a benchmark, in the order of its file.

    Raises
    ------
    DataFileError
        If a file of a task does not exist, a directory is not a corpus, or a label map has no labels.
    LabelError
        If a label map has ids that are not in the Cell Ontology.
    """
    runs = []
    file_hash = cache(_file_hash)
    for task in config.tasks:
        content = _content(task, config.data, file_hash)
        for fraction in _fractions(task):
            for entry in config.entries:
                if fraction == 1 or _learns_parts(task, entry):
                    runs += [
                        Run(task, entry, seed, fraction, _key(content, task, entry, seed, fraction, config))
                        for seed in config.seeds
                    ]
    return runs


def _fractions(task: Task) -> list[float]:
    return sorted({1.0, *(task.subset.fractions if task.subset is not None else ())}, reverse=True)


def _learns_parts(task: Task, entry: ModelEntry | PeerEntry) -> bool:
    return task.subset is not None and (not task.subset.models or entry.label in task.subset.models)


def _key(content: Mapping[str, Any], task: Task, entry: ModelEntry | PeerEntry, seed: int, fraction: float, config: Config) -> str:
    part = [] if fraction == 1 or task.subset is None else [task.subset.by, fraction]
    is_model = isinstance(entry, ModelEntry)
    versions = _versions()
    identity = {
        "task": content,
        "part": part,
        "asked": _asked_of(entry, config),
        "seed": seed,
        "versions": versions if is_model or not entry.requirements else [versions["python"], *entry.requirements],  # type: ignore[union-attr]
        "source": _source_hash(_MODELS if is_model else _PEERS),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def _asked_of(entry: ModelEntry | PeerEntry, config: Config) -> dict[str, Any]:
    if isinstance(entry, PeerEntry):
        return {"peer": entry.name, "settings": dict(entry.settings)}
    settings = {"model_settings": dict(entry.model), "train_settings": dict(entry.train)}
    return {"model": entry.name, "accelerator": config.accelerator} | settings


def _content(task: Task, data: Path, file_hash: Callable[[Path], str]) -> dict[str, Any]:
    """A task by its content: hashes of files and ids of labels instead of names of files, and no name."""
    fields = {key: value for key, value in asdict(task).items() if key not in {"name", "subset"}}
    if task.modality is None:  # as before there was a choice
        del fields["modality"]
    files: dict[str, Any] = {key: file_hash(data / name) for key in ("reference", "query") if (name := fields[key]) is not None}
    if task.label_map is not None:
        files["label_map"] = read_label_map(data / task.label_map)
    return fields | files


def _file_hash(path: Path) -> str:
    if path.is_dir():
        return Corpus.open(path).sha256
    if not path.is_file():
        raise DataFileError(f"`{path}` not found. Set the data folder with `data:` in the file, or with `--data`.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _source_hash(roots: tuple[str, ...]) -> str:
    """Hash of what files and all that they import compute: neither comments and docstrings nor the layout of the text count.

    Data files beside them count too, and so do the programs of peers and the file that starts a run.
    """
    files = _closure([_SOURCE / name for name in roots])
    files |= {_SOURCE / name for name in _MODELS} | set((_SOURCE / "benchmark/peers").glob("*.py"))
    data = {
        path
        for folder in {file.parent for file in files}
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in _CODE
    }
    digest = hashlib.sha256()
    for file in sorted(files | data):
        digest.update(file.read_bytes() if file in data else _code(file).encode())
    return digest.hexdigest()


def _closure(waiting: list[Path]) -> set[Path]:
    """Files of the package that some of its files import, however deep, and they themselves."""
    skipped = {_SOURCE / name for name in _DECIDE_NOTHING}
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found | skipped:
            found.add(file)
            waiting += _imported(file)
    return found


def _imported(file: Path) -> list[Path]:
    """Files of the package that one of its files imports, also in its functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [path for name in names if (path := _file_of(name)) is not None]


def _file_of(name: str) -> Path | None:
    """The file of a module of the package, or of the one that has such a name in it, which the stub of a room knows."""
    first, *parts = name.split(".")
    if first != _PACKAGE:
        return None
    for path in (_SOURCE.joinpath(*parts), _SOURCE.joinpath(*parts[:-1])):
        if (file := path / "__init__.py").is_file() and parts and path.name != parts[-1]:
            return path.joinpath(*_offered(path / "__init__.pyi").get(parts[-1], "__init__").split(".")).with_suffix(".py")
        if file.is_file() or (parts and (file := path.with_suffix(".py")).is_file()):
            return file
    return None


@cache
def _offered(stub: Path) -> dict[str, str]:
    """Module of each name that a room offers, relative to it."""
    nodes = ast.parse(stub.read_bytes()).body if stub.is_file() else []
    return {alias.name: node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module for alias in node.names}


def _code(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    return ast.dump(tree)


def _versions() -> dict[str, str]:
    """Versions of Python and of all libraries that decide a result; those that are not installed are left out."""
    versions = library_versions()
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def execute(request: Mapping[str, Any], key: str, directory: str) -> dict[str, str]:
    """Do one run in a process of its own with one thread; what it writes is there whole, or not at all.

    Returns
    -------
    `state`, and `reason` where it failed. The log of a failed run is kept in `failures/`.
    """
    failure = Path(directory, FAILURES_FOLDER, f"{key}.txt")
    try:
        with written_beside(Path(directory, RUNS_FOLDER, key)) as folder:
            folder.mkdir()
            (folder / REQUEST_FILE).write_text(json.dumps(request, indent=1), encoding="utf-8")
            _run_process(folder, failure)
    except RunFailedError as error:
        return {"state": FAILED, "reason": str(error)}
    except OutputExistsError:
        pass  # another worker has done it in the meantime
    failure.unlink(missing_ok=True)
    return {"state": DONE, "reason": ""}


class RunFailedError(Exception):
    """The process of a run ended with an error."""


def _run_process(folder: Path, failure: Path) -> None:
    log = folder / LOG_FILE
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sctab.benchmark._worker", folder],
            stdin=subprocess.PIPE,  # it ends when this end is closed, so that nothing outlives a benchmark that is killed
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | _ONE_THREAD,
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            if process.stdin is not None:
                process.stdin.close()
    if code:
        failure.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, failure)
        last_line = _last_line(log).replace(f"{folder}{os.sep}", "")
        raise RunFailedError(last_line if code > 0 else f"its process was ended by signal {-code}; memory may have run out")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "no message")
