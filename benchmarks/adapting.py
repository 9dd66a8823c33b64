"""Compare models as they are and adapted to a query with programs that learn the reference again for each query.

    uv run python benchmarks/adapting.py --data FOLDER --output DIR [--models linear mlp sctab] [--peers celltypist scanvi scarches]
        [--tasks NAME ...] [--panels all random-100 ...] [--seeds 0 1 2]
    uv run python benchmarks/adapting.py --table FILE [FILE ...]

A model learns all genes of a reference and keeps a sketch of it; peers, and logistic regression with and without balanced classes, learn
the whole reference on the genes that the query measures. Panels are cut from the genes that both have: all, a number of them at random, or
those of largest variance in the reference. The method was chosen on `--tasks dev`, which are those of `_common.fold_tasks`; `test` are
those of `blood.yaml`.

Scores are macro F1 over the types of the reference, expected calibration error, and seconds: of models those of `annotate`, of others those
of learning and predicting. Rows are appended to `adapting.jsonl` as each is finished; finished rows are skipped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import Data, Task, fit_logistic_regression_to, fold_tasks, score
from _measure import head, machine, row
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

import sctab
from sctab.benchmark._peers import PEERS, default_environments, make_environment, run_peer
from sctab.data import Normalization, normalise
from sctab.metrics import calibration_error_of
from sctab.model import model_by_name

MODELS = ("linear", "mlp", "sctab")
WAYS = (False, "genes", "query", "auto")
REGRESSIONS = ("logistic regression", "logistic regression, balanced")
PEER_NAMES = ("celltypist", "scanvi", "scarches")
PANELS = ("all", "random-100", "random-300", "random-1000", "variable-100", "variable-300", "variable-1000")
SETTINGS: dict[str, dict[str, Any]] = {name: {"max_epochs": 100, "max_epochs_scanvi": 20} for name in ("scanvi", "scarches")}
"""As in `trust.yaml`: scvi-tools would take 400 epochs on references of this size."""
SKETCH = 2_000
ROWS = "adapting.jsonl"


def tasks(data: Data, names: list[str]) -> Iterator[Task]:
    """Tasks of these names; `dev` and `test` are many."""
    for task in fold_tasks(data):
        if "dev" in names or task.name in names:
            yield task
    kang = data.kang(test=False), data.kang(test=True)
    facs, pbmc3k = data["pbmc_zheng_facs"], data["pbmc3k_10x"]
    for task in (
        Task("Kang, five donors to three", *kang, "cell_type", "donor_id"),
        Task("FACS to pbmc3k", facs, pbmc3k, "cell_type_coarse"),
        Task("pbmc3k to FACS", pbmc3k, facs, "cell_type_coarse"),
    ):
        if "test" in names or task.name in names:
            yield task


def genes_of(task: Task, panel: str, seed: int) -> list[str]:
    """Genes of a panel, in the order of the reference; none if there are too few."""
    shared = np.array(task.reference.var_names[task.reference.var_names.isin(task.query.var_names)])
    if panel == "all":
        return list(shared)
    kind, size = panel.split("-")
    if int(size) >= len(shared):
        return []
    if kind == "random":
        order = np.random.default_rng(seed).permutation(len(shared))
    else:
        values = normalise(sparse.csr_matrix(task.reference[:, shared].X, dtype=np.float32), Normalization())
        mean = np.asarray(values.mean(axis=0)).ravel()
        order = np.argsort(mean**2 - np.asarray(values.multiply(values).mean(axis=0)).ravel(), kind="stable")
    return list(shared[np.sort(order[: int(size)])])


def scores(task: Task, labels: NDArray[np.object_], confidence: NDArray[np.floating], seconds: float) -> dict[str, float]:
    """Scores of labels of all cells of a query."""
    truth = task.query.obs[task.labels_key].astype(str).to_numpy()
    known = np.isin(truth, task.reference.obs[task.labels_key].astype(str).unique()) & np.isfinite(confidence)
    return {
        "macro_f1": score(task, labels),
        "calibration_error": float(calibration_error_of(confidence[known], labels[known] == truth[known])),
        "seconds": seconds,
    }


def of_model(name: str, task: Task, seed: int) -> Callable[[AnnData], Iterator[tuple[str, dict[str, float]]]]:
    """Train a model, and give what scores it on a query in each way."""
    model_class = model_by_name(name)
    model_class.setup_anndata(task.reference, task.labels_key, donor_key=task.donor_key)
    model = model_class(task.reference)
    model.train(seed=seed, accelerator="cpu", enable_progress_bar=False, sketch=SKETCH)

    def annotated(query: AnnData) -> Iterator[tuple[str, dict[str, float]]]:
        for way in WAYS:
            start = time.perf_counter()
            sctab.tl.annotate(query, model, adapt=way, min_gene_coverage=0.0)
            seconds = time.perf_counter() - start
            labels = query.obs["sctab_label"].astype(str).to_numpy().astype(object)
            found = scores(task, labels, query.obs["sctab_confidence"].to_numpy(), seconds)
            run = query.uns["sctab"]
            adapted = run.get("adapted", {})
            yield (
                f"{name}, adapt={way}",
                found
                | {"coverage": run["genes"]["coverage"], "is_adapted": bool(adapted)}
                | {key: adapted[key] for key in ("expected_macro_f1",) if key in adapted},
            )

    return annotated


def of_regression(name: str, task: Task, query: AnnData, genes: list[str]) -> dict[str, float]:
    """Scores of logistic regression."""
    start = time.perf_counter()
    model, values = fit_logistic_regression_to(task.reference, query, genes, task.labels_key, balanced="balanced" in name)
    probabilities = model.predict_proba(values)
    labels = model.classes_[probabilities.argmax(axis=1)].astype(object)
    return scores(task, labels, probabilities.max(axis=1), time.perf_counter() - start)


def of_peer(name: str, task: Task, query: AnnData, genes: list[str], seed: int) -> dict[str, float]:
    """Scores of another program, in a process and an environment of its own."""
    reference = AnnData(task.reference[:, genes].X, var=pd.DataFrame(index=genes))
    reference.obs["label"] = task.reference.obs[task.labels_key].astype(str).to_numpy()
    asked = AnnData(query[:, genes].X, var=pd.DataFrame(index=genes))
    if task.donor_key is None:
        reference.obs["batch"], asked.obs["batch"] = "reference", "query"
    else:
        reference.obs["batch"] = task.reference.obs[task.donor_key].astype(str).to_numpy()
        asked.obs["batch"] = query.obs[task.donor_key].astype(str).to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        python = make_environment(PEERS[name], default_environments())
        found = run_peer(name, python, Path(folder), reference=reference, query=asked, seed=seed, settings=SETTINGS.get(name, {}))
    confidence = found.probabilities.to_numpy().max(axis=1)
    return scores(task, found.predicted.astype(str).to_numpy().astype(object), confidence, found.seconds)


def run(task: Task, seed: int, options: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Missing rows of a task."""

    def is_done(panel: str, name: str) -> bool:
        return (task.name, panel, name, seed) in done

    def entry(panel: str, name: str, found: dict[str, float]) -> dict[str, Any]:
        return {"task": task.name, "panel": panel, "name": name, "seed": seed, **found, "machine": machine()}

    panels = {panel: genes for panel in options.panels if (genes := genes_of(task, panel, seed))}
    queries = {panel: task.query[:, genes].copy() for panel, genes in panels.items()}
    for name in options.models:
        if all(is_done(panel, f"{name}, adapt={way}") for panel in panels for way in WAYS):
            continue
        annotated = of_model(name, task, seed)
        for panel, query in queries.items():
            yield from (entry(panel, way, found) for way, found in annotated(query) if not is_done(panel, way))
    for panel, genes in panels.items():
        for name in options.regressions:
            if not is_done(panel, name):
                yield entry(panel, name, of_regression(name, task, queries[panel], genes))
        for name in options.peers:
            if not is_done(panel, name):
                yield entry(panel, name, of_peer(name, task, queries[panel], genes, seed))


def read_rows(*files: Path) -> list[dict[str, Any]]:
    """Rows of files that exist; a line that was not written to its end does not count."""
    lines = [line for file in files if file.exists() for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print a table of each score: mean ± standard deviation over seeds, tasks below each other."""
    table = pd.DataFrame(rows)
    names = list(dict.fromkeys(table["name"]))
    for value, title, digits in (("macro_f1", "Macro F1", 3), ("calibration_error", "Expected calibration error", 3)):
        head(title, "task", "genes", *names)
        for (task, panel), own in table.groupby(["task", "panel"], sort=False):
            cells = []
            for name in names:
                found = own.loc[own["name"] == name, value]
                deviation = f" ± {found.std(ddof=1):.{digits}f}" if len(found) > 1 else ""
                cells.append(f"{found.mean():.{digits}f}{deviation}" if len(found) else "–")
            row(task, panel, *cells)
    head("Median seconds", *names)
    row(*(f"{table.loc[table['name'] == name, 'seconds'].median():.1f}" for name in names))
    print("\n" + "\n".join(f"- {each}" for each in dict.fromkeys(table["machine"])))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--output", type=Path, help="folder of the rows")
    parser.add_argument("--table", type=Path, nargs="+", help="files of rows")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--regressions", nargs="*", default=list(REGRESSIONS), choices=list(REGRESSIONS))
    parser.add_argument("--peers", nargs="*", default=list(PEER_NAMES), choices=list(PEER_NAMES))
    parser.add_argument("--tasks", nargs="+", default=["dev"])
    parser.add_argument("--panels", nargs="+", default=list(PANELS), choices=list(PANELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if options.table:
        print_tables(read_rows(*options.table))
        return
    if options.data is None or options.output is None:
        parser.error("--data and --output are required, unless --table is given")
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / ROWS
    done = {tuple(each[key] for key in ("task", "panel", "name", "seed")) for each in read_rows(file)}
    warnings.simplefilter("ignore")
    for seed in options.seeds:
        for task in tasks(Data(options.data), options.tasks):
            for each in run(task, seed, options, done):
                with file.open("a", encoding="utf-8") as rows:
                    rows.write(json.dumps(each) + "\n")
                print(*(each[key] for key in ("task", "panel", "name", "seed")), round(each["macro_f1"], 3), flush=True)
    print_tables(read_rows(file))


if __name__ == "__main__":
    main()
