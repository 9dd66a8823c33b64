"""Calibration and promises, on new donors and on other datasets.

    uv run python benchmarks/trust.py --data FOLDER [--models linear sctab] [--seeds 3] [--parts calibration promise]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md.

`calibration`: expected calibration error (15 bins) and log loss on the three tasks of benchmarks/blood.yaml, with and without the
temperature that training learned, beside balanced logistic regression. Cells of types that the reference lacks do not count. Mean and range
over seeds.

`promise`: error of the promised terms, fraction of cells that keep a label without subtypes, and whether the promise was withdrawn, for
accepted errors of 0.05, 0.1, 0.2 and 0.3: for every way to learn five of Kang's eight donors and to answer for the other three (or
`--splits` of them, drawn at random), and for the two tasks from one dataset to another.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from _common import Data, Task, fit_logistic_regression_to
from _measure import head, machine, row, spread

from sctab.inference import Calibration, Terms, decide, evaluate_cells
from sctab.metrics import calibration_error_of
from sctab.model import model_by_name

ERRORS = (0.05, 0.1, 0.2, 0.3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["linear", "sctab"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=["calibration", "promise"], default=["calibration", "promise"])
    parser.add_argument("--splits", type=int, help="ways to divide Kang's donors; by default all 56")
    arguments = parser.parse_args()
    data = Data(arguments.data)
    print(machine())
    if "calibration" in arguments.parts:
        calibration(data, arguments.models, arguments.seeds)
    if "promise" in arguments.parts:
        promises(data, arguments.models[0], arguments.splits)


def tasks(data: Data) -> Iterator[Task]:
    """New donors, and two other datasets."""
    yield Task("Kang, five donors to three", data.kang(test=False), data.kang(test=True), "cell_type", "donor_id")
    yield Task("FACS to pbmc3k", data["pbmc_zheng_facs"], data["pbmc3k_10x"], "cell_type_coarse")
    yield Task("pbmc3k to FACS", data["pbmc3k_10x"], data["pbmc_zheng_facs"], "cell_type_coarse")


def calibration(data: Data, models: list[str], n_seeds: int) -> None:
    """Calibration error and log loss, with and without the temperature."""
    head("Calibration", "task", "model", "temperature", "ECE before", "ECE", "log loss before", "log loss")
    for task in tasks(data):
        for name in models:
            found = []
            for seed in range(n_seeds):
                model = trained(task, name, seed)
                evaluation, truth = evaluated(model, task)
                learned = model.spec.calibration
                before, after = (scores(decide(evaluation, each).probabilities, truth) for each in (None, learned))
                found.append((learned.temperature, before[0], after[0], before[1], after[1]))
            row(task.name, name, *(spread(list(values), 3) for values in zip(*found, strict=True)))
        error, loss = scores(*logistic_regression(task))
        row(task.name, "logistic regression, balanced", "", "", f"{error:.3f}", "", f"{loss:.3f}")


def logistic_regression(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of scikit-learn's balanced logistic regression on the shared genes, and labels of the cells."""
    genes = list(task.reference.var_names.intersection(task.query.var_names))
    model, values = fit_logistic_regression_to(task.reference, task.query, genes, task.labels_key, balanced=True)
    names, labels = list(model.classes_), task.query.obs[task.labels_key].astype(str)
    known = labels.isin(names).to_numpy()
    return model.predict_proba(values[known]), codes(labels[known], names)


def promises(data: Data, name: str, n_splits: int | None) -> None:
    """Error of terms that were promised."""
    kang = data["pbmc_kang_ctrl_8donors"]
    donors = sorted(kang.obs["donor_id"].unique())
    splits = list(combinations(donors, 5))
    if n_splits is not None:
        chosen = np.random.default_rng(0).permutation(len(splits))[:n_splits]
        splits = [splits[i] for i in chosen]
    results: dict[float, list[tuple[float, float, float, bool]]] = {error: [] for error in ERRORS}
    for learned in splits:
        is_learned = kang.obs["donor_id"].isin(learned).to_numpy()
        task = Task("", kang[is_learned].copy(), kang[~is_learned].copy(), "cell_type", "donor_id")
        for error, found in answers(trained(task, name, 0), task).items():
            results[error].append(found)
    columns = ("accepted error", "error of terms", "keep a label", "without a term", "withdrawn")
    head(f"Promises of `{name}`, five of Kang's donors to three, {len(splits)} ways", *columns)
    for error, found in results.items():
        row(error, *(spread([each[i] for each in found], 3) for i in range(3)), sum(each[3] for each in found))
    for task in list(tasks(data))[1:]:
        head(f"Promises of `{name}`, {task.name}", *columns)
        for error, each in answers(trained(task, name, 0), task).items():
            row(error, *(f"{value:.3f}" for value in each[:3]), int(each[3]))


def trained(task: Task, name: str, seed: int):
    """A model of the reference, calibrated."""
    cls = model_by_name(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cls.setup_anndata(task.reference, task.labels_key, donor_key=task.donor_key)
        model = cls(task.reference)
        model.train(seed=seed, accelerator="cpu", enable_progress_bar=False)
    return model


def evaluated(model, task: Task):
    """Outputs for the query's cells of types that the model knows, and their labels."""
    names = list(model.spec.labels.names)
    labels = task.query.obs[task.labels_key].astype(str)
    query = task.query[labels.isin(names).to_numpy()].copy()
    predictor = model.predictor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluation = evaluate_cells(predictor, query, predictor.open_query(query))
    return evaluation, codes(labels[labels.isin(names)], names)


def codes(labels, names: list[str]) -> np.ndarray:
    """Positions of labels."""
    return np.array([names.index(label) for label in labels])


def scores(probabilities: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Expected calibration error and log loss."""
    right = probabilities.argmax(axis=1) == truth
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth], 1e-7, None)
    return calibration_error_of(probabilities.max(axis=1), right), float(-np.log(of_truth).mean())


def answers(model, task: Task) -> dict[float, tuple[float, float, float, bool]]:
    """For each accepted error: error of terms, cells that keep a label without subtypes, cells without a term, and withdrawal."""
    evaluation, truth = evaluated(model, task)
    terms, found = Terms.of(model.spec.labels), {}
    for error in ERRORS:
        rule = model.predictor.promise(error)
        decision = decide(evaluation, model.spec.calibration or Calibration(), rule)
        has_term = decision.terms >= 0
        is_wrong = has_term & ~terms.accepts[decision.terms, truth]
        is_leaf = has_term & (terms.n_below[decision.terms] == 1)
        withdrawn = bool(rule.check(decision.codes, decision.confidence).withdrawn)
        found[error] = (float(is_wrong.mean()), float(is_leaf.mean()), float((~has_term).mean()), withdrawn)
    return found


if __name__ == "__main__":
    main()
