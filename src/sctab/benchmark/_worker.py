"""One run in a process of its own: `python -m sctab.benchmark._worker FOLDER`, where `request.json` says what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from torch import nn

from sctab.benchmark._config import Subset, Task
from sctab.benchmark._files import HISTORY_FILE, PREDICTIONS_FILE, REQUEST_FILE, SCORES_FILE, SUMMARY_FILE
from sctab.benchmark._peers import run_peer
from sctab.benchmark._scores import score
from sctab.benchmark._tasks import Cells, load_task, over_shared_genes
from sctab.benchmark.peers._program import peak_memory
from sctab.inference import predict_cells
from sctab.model import model_by_name, new_model
from sctab.ontology import read_label_map, tissues_of


@dataclass(frozen=True)
class Outcome:
    """Predictions of a model or a peer for a query, and the time and memory that it took."""

    predicted: NDArray[np.object_]
    probabilities: pd.DataFrame
    seconds: float
    peak_memory: int
    n_parameters: int | None = None
    history: pd.DataFrame | None = None
    kept: str | None = None
    """Model that `auto` kept."""


def main(folder: Path) -> None:
    """Do what `request.json` in a folder says, and write the results there."""
    request = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    task = task_from_request(request["task"])
    cells = load_task(task, Path(request["data"]), fraction=request["fraction"], seed=request["seed"])
    learned = cells.learned
    summary = {"n_reference": len(learned), "n_query": cells.query.n_obs}
    if task.donor_key is not None:
        summary["n_donors"] = learned[task.donor_key].nunique()
    n_learned = learned[task.labels_key].astype(str).value_counts()
    truth = cells.query.obs[task.labels_key].astype(object)
    groups = None if task.group_key is None else cells.query.obs[task.group_key].astype(str)
    outcome = run_a_peer(request, task, cells, folder) if "peer" in request else run_a_model(request, cells)

    label_ids = None if task.label_map is None else read_label_map(Path(request["data"]) / task.label_map)
    scores = score(
        truth,
        outcome.predicted,
        outcome.probabilities,
        types=cells.types,
        n_reference=n_learned,
        groups=groups,
        label_ids=label_ids,
        tissues=tissues_of(cells.query.obs),
    )
    scores.to_parquet(folder / SCORES_FILE)
    predictions = pd.DataFrame(
        {
            "truth": truth.astype(str),
            "predicted": outcome.predicted.astype(str),
            "confidence": outcome.probabilities.max(axis=1).to_numpy(),
        }
    )
    predictions[truth.astype(str).isin(cells.types).to_numpy()].to_parquet(folder / PREDICTIONS_FILE)
    if outcome.history is not None:
        outcome.history.to_parquet(folder / HISTORY_FILE)
    summary |= {name: getattr(outcome, name) for name in ("seconds", "peak_memory", "n_parameters", "kept")}
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=1), encoding="utf-8")


def task_from_request(values: dict[str, Any]) -> Task:
    """A task as JSON has it."""
    subset = values.pop("subset")
    return Task(**values, subset=None if subset is None else Subset(subset["by"], tuple(subset["fractions"])))


def run_a_model(request: dict[str, Any], cells: Cells) -> Outcome:
    """Train a model of `sctab` on all genes of the reference, and let it name the query, whose genes it matches by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes for users: few cells of a type, missing genes
        start = time.perf_counter()
        model = new_model(cells.source, model_by_name(request["model"]), request["model_settings"])
        options = {"accelerator": request["accelerator"], "enable_progress_bar": False} | request["train_settings"]
        model.train(seed=request["seed"], **options)
        trained: Any = getattr(model, "best", model)  # `AutoClassifier` holds the classifier that it kept
        predictor = trained.predictor
        decision = predict_cells(predictor, cells.query, predictor.open_query(cells.query))
        names = list(predictor.spec.labels.names)
        probabilities = pd.DataFrame(decision.column(decision.probabilities), index=cells.query.obs_names, columns=names)
        predicted = decision.labels(names)
        seconds = time.perf_counter() - start
    return Outcome(
        predicted,
        probabilities,
        seconds,
        peak_memory(),
        count_parameters(model),
        tidy_history(trained.history),
        trained.spec.training.get("selection", {}).get("kept"),
    )


def count_parameters(model: Any) -> int | None:
    """Numbers that a network learns; `None` for what is not a network, and for `AutoClassifier`, whose size is not chosen."""
    module = getattr(model, "module", None)
    return sum(parameter.numel() for parameter in module.parameters()) or None if isinstance(module, nn.Module) else None


def tidy_history(history: dict[str, pd.DataFrame] | None) -> pd.DataFrame | None:
    """Curves of a training as one table: `epoch`, `curve`, `value`."""
    if not history:
        return None
    curves = [
        pd.DataFrame({"epoch": frame.index.to_numpy(dtype=float), "curve": name, "value": frame.iloc[:, 0].to_numpy(dtype=float)})
        for name, frame in history.items()
    ]
    return pd.concat(curves, ignore_index=True).dropna()


def run_a_peer(request: dict[str, Any], task: Task, cells: Cells, folder: Path) -> Outcome:
    """Run a peer on the shared genes, and measure its process."""
    reference, query = over_shared_genes(cells, task)
    for part, adata in (("reference", reference), ("query", query)):
        adata.obs = pd.DataFrame({"batch": batches(adata, task.donor_key, part)}, index=adata.obs_names.astype(str))
    reference.obs["label"] = cells.learned[task.labels_key].astype(str).to_numpy()
    with tempfile.TemporaryDirectory(dir=folder) as exchange:
        result = run_peer(
            request["peer"],
            Path(request["python"]),
            Path(exchange),
            reference=reference,
            query=query,
            seed=request["seed"],
            settings=request["settings"],
        )
    return Outcome(result.predicted.to_numpy(dtype=object), result.probabilities, result.seconds, result.peak_memory)


def batches(adata: AnnData, donor_key: str | None, part: str) -> NDArray[np.object_]:
    """Donor of each cell where it is known; otherwise which side it is on."""
    if donor_key is not None and donor_key in adata.obs:
        return adata.obs[donor_key].astype(str).to_numpy(dtype=object)
    return np.full(adata.n_obs, part, dtype=object)


def end_with_parent() -> None:
    """End this process and those that it started when the one that started it is gone, which closes our standard input.

    Without groups of processes, as on Windows, it ends alone.
    """

    def wait_for_parent() -> None:
        os.read(0, 1)  # blocks until the other end is closed
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    try:
        main(Path(sys.argv[1]))
    except subprocess.CalledProcessError as error:  # of a peer, which has said why: this process ends as it did
        if error.returncode < 0:
            signal.raise_signal(-error.returncode)
        sys.exit(error.returncode)
