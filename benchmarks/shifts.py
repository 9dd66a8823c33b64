"""Compare temperatures from held-out cells that were changed, or chosen to differ from those that were learned, on another dataset.

    uv run python benchmarks/shifts.py --data FOLDER [--model linear] [--seeds 0]

A temperature is learned from held-out cells of the reference: random ones as they are; the same with genes hidden, with fewer counts, with
other efficiencies of genes (log-normal factors, one per gene, or one per gene and type), or with counts of other cells mixed in; and
clusters of cells within each type that were held out whole. Printed are its value, the accuracy on these cells, and the expected
calibration error and log loss on the query that follow, beside those of the temperature that suits the query best.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import Data, Task
from _measure import head, machine, row, spread
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.inference import Calibration, HeldOutCells, Members, Predictor, decide, evaluate_cells
from sctab.inference._calibration import fit_calibration
from sctab.metrics import calibration_error_of
from sctab.model import model_by_name
from sctab.model._crossfit import FoldOutput, join_folds
from sctab.train import HeldOut, MemoryReference

Change = Callable[[sparse.csr_matrix, NDArray[np.object_], np.random.Generator], sparse.csr_matrix]


def hidden(fraction: float) -> Change:
    """Cells in which a fraction of the genes is not measured."""
    return lambda counts, _, rng: scaled(counts, (rng.random(counts.shape[1]) >= fraction).astype(float))


def thinned(fraction: float) -> Change:
    """Cells with a fraction of their counts."""

    def change(counts: sparse.csr_matrix, _: NDArray[np.object_], rng: np.random.Generator) -> sparse.csr_matrix:
        fewer = counts.copy()
        fewer.data = rng.binomial(np.round(counts.data).astype(np.int64), fraction).astype(np.float32)
        return fewer

    return change


def other_efficiencies(deviation: float) -> Change:
    """Cells of a protocol in which genes are captured with other probabilities."""
    return lambda counts, _, rng: scaled(counts, np.exp(rng.normal(0, deviation, counts.shape[1])))


def other_types(deviation: float) -> Change:
    """Cells whose types express genes to other degrees."""

    def change(counts: sparse.csr_matrix, truth: NDArray[np.object_], rng: np.random.Generator) -> sparse.csr_matrix:
        of_types = [np.flatnonzero(truth == label) for label in sorted(set(truth))]
        changed = [scaled(counts[cells], np.exp(rng.normal(0, deviation, counts.shape[1]))) for cells in of_types]
        return sparse.vstack(changed, format="csr")[np.argsort(np.concatenate(of_types))]

    return change


def mixed(fraction: float) -> Change:
    """Cells with counts of all other cells."""

    def change(counts: sparse.csr_matrix, _: NDArray[np.object_], rng: np.random.Generator) -> sparse.csr_matrix:
        profile, total = (np.asarray(counts.sum(axis=axis), dtype=float).ravel() for axis in (0, 1))
        n_added = rng.poisson(fraction * total)
        genes = rng.choice(len(profile), size=n_added.sum(), p=profile / profile.sum())
        ones = np.ones(len(genes), dtype=np.float32)
        return counts + sparse.csr_matrix((ones, (np.repeat(np.arange(len(total)), n_added), genes)), shape=counts.shape)

    return change


def scaled(counts: sparse.csr_matrix, factors: NDArray[np.floating]) -> sparse.csr_matrix:
    """Counts times a factor per gene."""
    return sparse.csr_matrix(counts @ sparse.diags(factors.astype(np.float32)))


CHANGES: dict[str, Change] = {
    "random cells": lambda counts, *_: counts,
    "30 % of the genes hidden": hidden(0.3),
    "60 % of the genes hidden": hidden(0.6),
    "90 % of the genes hidden": hidden(0.9),
    "half of the counts": thinned(0.5),
    "a fifth of the counts": thinned(0.2),
    "other efficiencies of genes, σ = 1": other_efficiencies(1.0),
    "other efficiencies of genes by type, σ = 1": other_types(1.0),
    "a fifth of other cells' counts mixed in": mixed(0.2),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="linear")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data = Data(arguments.data)
    print(machine())
    for task in (
        Task("FACS to pbmc3k", data["pbmc_zheng_facs"], data["pbmc3k_10x"], "cell_type_coarse"),
        Task("pbmc3k to FACS", data["pbmc3k_10x"], data["pbmc_zheng_facs"], "cell_type_coarse"),
    ):
        found: dict[str, list[tuple[float, ...]]] = {}
        for seed in arguments.seeds:
            for name, values in measured(task, arguments.model, seed).items():
                found.setdefault(name, []).append(values)
        head(f"{task.name}, `{arguments.model}`", "held-out cells", "accuracy on them", "temperature", "ECE", "log loss")
        for name, values in found.items():
            row(name, *(spread(list(each), 3) for each in zip(*values, strict=True)))


def measured(task: Task, name: str, seed: int) -> dict[str, tuple[float, ...]]:
    """Accuracy on held-out cells, temperature, and scores of the query, by kind of held-out cells."""
    reference = MemoryReference.of(task.reference, task.labels_key)
    cls = model_by_name(name)
    model = trained(cls._of(reference), seed, refit=True)
    spec, known = model.spec, task.query.obs[task.labels_key].astype(str).isin(reference.label_names).to_numpy()
    query = task.query[known].copy()
    evaluation = evaluate_cells(model, query, model.open_query(query))
    truth = np.array([spec.labels.names.index(label) for label in query.obs[task.labels_key].astype(str)])
    parts: dict[str, list[FoldOutput]] = {}
    for by, changes in (("stratified", CHANGES), ("cluster", {"clusters within each type": CHANGES["random cells"]})):
        for number, fold in enumerate(reference.folds(None, by=by, seed=seed)):
            predictor = trained(cls._with(fold.reference, spec.with_training({}), register=False), seed, refit=False)
            for kind, change in changes.items():
                parts.setdefault(kind, []).append(output_of(fold, predictor, change, np.random.default_rng([seed, number])))
    held_out: dict[str, HeldOutCells] = {kind: join_folds(outputs, spec) for kind, outputs in parts.items()}
    found = {kind: (accuracy_of(cells), *scores(evaluation, truth, cells.calibrate(spec))) for kind, cells in held_out.items()}
    is_right = np.eye(len(spec.labels), dtype=bool)
    best = fit_calibration(Members.of(evaluation.logits), truth, is_right, unit="cell", n_units=len(truth))
    right = evaluation.logits[:, 0].argmax(axis=1) == truth
    return found | {"the query itself, with its labels": (float(right.mean()), *scores(evaluation, truth, best))}


def trained(model: Any, seed: int, *, refit: bool) -> Predictor:
    """Train a model, and do not calibrate it."""
    model.train(seed=seed, refit=refit, calibrate=False, accelerator="cpu", enable_progress_bar=False)
    return model.predictor


def output_of(fold: HeldOut, predictor: Predictor, change: Change, rng: np.random.Generator) -> FoldOutput:
    """Outputs for held-out cells that were changed."""
    (cells,) = fold.parts()
    changed = AnnData(change(sparse.csr_matrix(cells.X), fold.truth, rng), obs=cells.obs, var=cells.var)
    evaluation = evaluate_cells(predictor, changed, predictor.open_query(changed, layer="X"))
    return FoldOutput(
        logits=evaluation.logits,
        measured=evaluation.measured,
        names=predictor.spec.labels.names,
        learned=fold.reference.label_names,
        by=fold.by,
        truth=fold.truth,
        unit=fold.unit,
        units=fold.units,
    )


def accuracy_of(cells: HeldOutCells) -> float:
    """Fraction of held-out cells with the right label."""
    return float((cells.members.log_mean.argmax(axis=1) == cells.truth).mean())


def scores(evaluation, truth: NDArray[np.integer], calibration: Calibration) -> tuple[float, float, float]:
    """Temperature, expected calibration error and log loss of the query."""
    probabilities = decide(evaluation, calibration).probabilities
    right = probabilities.argmax(axis=1) == truth
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth], 1e-7, None)
    error = calibration_error_of(probabilities.max(axis=1), right)
    return calibration.temperature, error, float(-np.log(of_truth).mean())


if __name__ == "__main__":
    main()
