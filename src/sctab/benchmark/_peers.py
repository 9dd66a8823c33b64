"""Other programs: what they need, the environment that each has of its own, and how one is run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from sctab.errors import OutputExistsError, SctabError, require
from sctab.io import written_beside

PEERS: dict[str, tuple[str, ...]] = {
    "celltypist": ("celltypist==1.7.1", "scikit-learn<1.7", "pyarrow"),
    "scvi_knn": ("scvi-tools==1.5.1", "scanpy>=1.11", "scikit-learn==1.9.1", "pyarrow"),
    "scanvi": ("scvi-tools==1.5.1", "scanpy>=1.11", "pyarrow"),
    "scarches": ("scvi-tools==1.5.1", "scanpy>=1.11", "pyarrow"),
    "logistic_regression": ("scikit-learn==1.9.1", "anndata", "pyarrow"),
}
"""Requirements of the environment of each."""
PROGRAMS = Path(__file__).parent / "peers"


class PeerUnavailableError(SctabError, RuntimeError):
    """The environment of a peer could not be made."""


@dataclass(frozen=True)
class PeerResult:
    """Predictions of a peer for a query."""

    predicted: pd.Series
    probabilities: pd.DataFrame
    seconds: float
    peak_memory: int


def default_environments() -> Path:
    """Folder of the environments: `sctab/environments` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sctab" / "environments"


def make_environment(requirements: Sequence[str], folder: Path) -> Path:
    """Python of an environment that has the requirements; made with uv the first time, and there the next.

    Parameters
    ----------
    requirements
        As for `pip install`. Without any it is the Python that runs `sctab`.
    folder
        Where environments are kept.

    Raises
    ------
    PeerUnavailableError
        If there is no uv, or if something cannot be installed.
    """
    python = environment_of(requirements, folder)
    target = python.parents[1]
    if requirements and not target.is_dir():
        uv = _find_uv()
        try:
            with written_beside(target) as fresh:
                _call_uv(uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(fresh))
                _call_uv(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(fresh), *requirements)
        except OutputExistsError:
            pass  # another process made it at the same time
    return python


def environment_of(requirements: Sequence[str], folder: Path) -> Path:
    """Python of the environment that :func:`make_environment` makes, whether or not it is there."""
    if not requirements:
        return Path(sys.executable)
    identity = json.dumps([sys.version, sorted(requirements)])
    return _python(folder / hashlib.sha256(identity.encode()).hexdigest()[:16])


def _find_uv() -> str:
    try:
        return require("uv", extra="benchmark").find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        found = shutil.which("uv")
        if found is None:
            raise PeerUnavailableError(
                "uv, which creates its environment, is not installed. Install it with `pip install uv`."
            ) from error
        return found


def _call_uv(uv: str, *arguments: str) -> None:
    done = subprocess.run([uv, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if done.returncode:
        raise PeerUnavailableError(f"its environment could not be made: `uv {arguments[0]}` says: {' '.join(done.stderr.split())}")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run_peer(
    name: str, python: Path, folder: Path, *, reference: AnnData, query: AnnData, seed: int, settings: dict[str, Any]
) -> PeerResult:
    """Let a peer learn a reference and name a query, in a process of its own that sees no label of the query.

    Parameters
    ----------
    name
        Which peer.
    python
        Of its environment.
    folder
        Empty, for what is exchanged.
    reference
        With `obs["label"]` and `obs["batch"]`.
    query
        With `obs["batch"]`, and the genes of the reference.
    seed
        Of everything that is random.
    settings
        Passed to the peer.

    Raises
    ------
    subprocess.CalledProcessError
        When the process ends with an error, which it has printed.
    """
    reference.write_h5ad(folder / "reference.h5ad")
    query.write_h5ad(folder / "query.h5ad")
    (folder / "request.json").write_text(json.dumps({"seed": seed, "settings": settings}), encoding="utf-8")
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([python, PROGRAMS / "_program.py", name, folder], check=True, stdin=subprocess.DEVNULL, env=alone)  # noqa: S603
    usage = json.loads((folder / "usage.json").read_text(encoding="utf-8"))
    probabilities = pd.read_parquet(folder / "probabilities.parquet")
    predicted = pd.read_parquet(folder / "predicted.parquet")["predicted"]
    return PeerResult(predicted, probabilities, usage["seconds"], usage["peak_memory"])
