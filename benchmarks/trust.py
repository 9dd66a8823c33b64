"""A label with a promise: confidence, abstention, promised terms and unseen types, on new donors and on other datasets, beside peers.

    uv run python benchmarks/trust.py benchmarks/trust.yaml --output DIR [--data FOLDER] [--jobs 2] [--parts NAME ...]

The file is one of `sctab benchmark run` with a section `trust`. Parts are

`confidence`: every model and every peer on every task. Expected calibration error (15 bins), log loss, and error of the most confident
cells. Models are calibrated as they are by default; ECE and log loss before calibration are given as well. Error of promised terms for each
accepted error, fraction of cells that keep a label without subtypes, mean number of labels below the term, and whether the promise was
withdrawn.

`donors`: promised terms for every way to learn some donors and to answer for the others.

`cells`: promised terms for other cells of one's own reference.

`unseen`: each type that reference and query share is left out of the reference, one after another, and the query is annotated: all of it
(full), or its cells of the left-out type and of its most frequent other type (skewed). Area under the ROC curve of the p-values; of peers,
of one minus the largest probability. These p-values do not depend on what a network has learned, only on its genes, so none is trained.

Query cells of types that the reference lacks do not count. What is finished is kept in `DIR`, and a run that was interrupted is resumed:
take a new directory for other code, data or settings. Scores are written to `trust.parquet`, and as tables to `trust.md`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from _measure import machine
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sctab.benchmark import Config, ModelEntry, PeerEntry, Task, read_config
from sctab.benchmark._peers import default_environments, make_environment
from sctab.benchmark._tasks import Cells, load_task
from sctab.benchmark._worker import run_a_peer
from sctab.inference import Evaluation, Predictor, Terms, decide, evaluate_cells, largest_p_value, load_predictor
from sctab.inference._query_test import unseen_test
from sctab.inference._unseen import types_of_arrays
from sctab.metrics import abstention, calibration_error_of
from sctab.model import model_by_name, new_model
from sctab.model._seen_types import learned_types
from sctab.train import MemoryReference

PARTS = ("confidence", "donors", "cells", "unseen")
WITHOUT_SEED = ("logistic_regression", "celltypist")
"""Peers in which nothing is random; they run once."""
FEWEST = 10
"""Cells of a type that reference and query must have for it to be left out."""
OF_LABEL = "error of terms, most probable label: "
COLUMNS = ["part", "task", "model", "seed", "setting", "metric", "value"]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Unit:
    """A part of the run that is done or not."""

    part: str
    task: Task
    label: str
    seed: int
    donors: tuple[str, ...] = ()
    """Donors that are learned."""

    @property
    def name(self) -> str:
        """Name of its directory."""
        words = (self.part, self.task.name, self.label, str(self.seed), *self.donors)
        return "-".join("".join(letter if letter.isalnum() else "_" for letter in word) for word in words)


@dataclass(frozen=True)
class Plan:
    """The declared benchmark, and its section `trust`."""

    config: Config
    trust: dict[str, Any]

    @classmethod
    def read(cls, path: Path, data: Path | None) -> Plan:
        """Read the file."""
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        trust = values.pop("trust")
        with tempfile.TemporaryDirectory() as folder:
            rest = Path(folder, path.name)
            rest.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
            return cls(read_config(rest, data=data or path.parent / values["data"]), trust)

    def units(self, parts: Sequence[str]) -> list[Unit]:
        """All units of some parts, the longest first."""
        config, trust = self.config, self.trust
        found = []
        for entry in reversed(config.entries):
            seeds = config.seeds[:1] if entry.name in WITHOUT_SEED else config.seeds
            found += [Unit("confidence", task, entry.label, seed) for seed in seeds for task in config.tasks]
        (task,) = (task for task in config.tasks if task.name == trust["donors"]["task"])
        donors = sorted(self.all_cells(task).obs[task.donor_key].astype(str).unique())
        learned = combinations(donors, trust["donors"]["n_learned"])
        found += [Unit("donors", task, trust["donors"]["model"], config.seeds[0], each) for each in learned]
        found += [Unit("cells", task, trust["cells"]["model"], seed) for task in config.tasks for seed in config.seeds]
        for label in trust["unseen"]["models"]:
            found += [Unit("unseen", task, label, seed) for task in config.tasks for seed in config.seeds]
        found += [Unit("unseen", task, label, config.seeds[0]) for task in config.tasks for label in trust["unseen"]["peers"]]
        return [unit for unit in found if unit.part in parts]

    def entry(self, label: str) -> ModelEntry | PeerEntry:
        """The model or peer with a label."""
        return next(entry for entry in self.config.entries if entry.label == label)

    def cells(self, task: Task) -> Cells:
        """Cells of a task."""
        return load_task(task, self.config.data)

    def all_cells(self, task: Task) -> AnnData:
        """Cells of the reference's file, whatever the task does with them."""
        cells = self.cells(task)
        return cells.reference if task.query is not None else concatenated(cells.reference, cells.query)


def concatenated(first: AnnData, second: AnnData) -> AnnData:
    """Cells over the same genes, one after the other."""
    import anndata as ad

    return ad.concat([first, second], merge="same")


# -------------------------------------------------------------------------------------------------------------- the units


def do(unit: Unit, plan: Plan, output: Path) -> float:
    """Do a unit, and give the seconds that it took; its directory is there whole, or not at all."""
    start = time.perf_counter()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=output) as folder:
        warnings.simplefilter("ignore")
        done = Path(folder) / "done"
        done.mkdir()
        {"confidence": do_confidence, "donors": do_donors, "cells": do_cells, "unseen": do_unseen}[unit.part](unit, plan, done)
        done.rename(output / "units" / unit.name)
    return time.perf_counter() - start


def do_confidence(unit: Unit, plan: Plan, folder: Path) -> None:
    """Let a model or a peer annotate the query."""
    entry, cells = plan.entry(unit.label), plan.cells(unit.task)
    if isinstance(entry, PeerEntry):
        probabilities = of_peer(entry, unit.task, cells, unit.seed, folder)
        probabilities.assign(truth=truth_of(cells.query, unit.task)).to_parquet(folder / "probabilities.parquet")
    else:
        keep_answers(cells.source, cells.query, unit, entry, folder)


def do_donors(unit: Unit, plan: Plan, folder: Path) -> None:
    """Annotate the other donors by a model of some."""
    cells, entry = plan.all_cells(unit.task), plan.entry(unit.label)
    is_learned = cells.obs[unit.task.donor_key].astype(str).isin(unit.donors).to_numpy()
    reference = MemoryReference.of(cells[is_learned].copy(), unit.task.labels_key, donor_key=unit.task.donor_key)
    keep_answers(reference, cells[~is_learned].copy(), unit, entry, folder)


def do_cells(unit: Unit, plan: Plan, folder: Path) -> None:
    """Annotate the other cells of a reference by a model of some, whose donors it does not know."""
    cells = plan.cells(unit.task).reference
    order = np.random.default_rng(unit.seed).permutation(cells.n_obs)
    learned, asked = np.split(order, [int(plan.trust["cells"]["fraction"] * cells.n_obs)])
    reference = MemoryReference.of(cells[np.sort(learned)].copy(), unit.task.labels_key)
    keep_answers(reference, cells[np.sort(asked)].copy(), unit, plan.entry(unit.label), folder)


def keep_answers(reference: MemoryReference, query: AnnData, unit: Unit, entry: ModelEntry, folder: Path) -> None:
    """Train a model, and keep it and its outputs for the query."""
    model = new_model(reference, model_by_name(entry.name), dict(entry.model))
    model.train(seed=unit.seed, accelerator="cpu", enable_progress_bar=False, **entry.train)
    model.save(folder / "model")
    predictor = model.predictor
    evaluation = evaluate_cells(predictor, query, predictor.open_query(query))
    np.savez(
        folder / "outputs.npz", logits=evaluation.logits, measured=evaluation.measured, truth=truth_of(query, unit.task).astype(str)
    )


def of_peer(entry: PeerEntry, task: Task, cells: Cells, seed: int, folder: Path) -> pd.DataFrame:
    """Probabilities of a peer, `(n_obs, n_types)`."""
    python = make_environment(entry.requirements, default_environments())
    request = {"peer": entry.name, "python": str(python), "seed": seed, "settings": dict(entry.settings)}
    return run_a_peer(request, task, cells, folder).probabilities.reset_index(drop=True)


def truth_of(adata: AnnData, task: Task) -> NDArray[np.str_]:
    """Labels of cells, `(n_obs,)`."""
    return adata.obs[task.labels_key].astype(str).to_numpy(dtype=str)


def do_unseen(unit: Unit, plan: Plan, folder: Path) -> None:
    """Look for cells of types that were left out of the reference, one after another."""
    entry, cells = plan.entry(unit.label), plan.cells(unit.task)
    names = cells.types
    query = cells.query[np.isin(truth_of(cells.query, unit.task), names)].copy()
    truth, learned = truth_of(query, unit.task), truth_of(cells.reference, unit.task)
    fdr, rows = plan.trust["unseen"]["fdr"], []
    asked = partial(p_values_of_model, unit=unit) if isinstance(entry, ModelEntry) else None
    for left_out in [name for name in names if min((learned == name).sum(), (truth == name).sum()) >= FEWEST]:
        reference = part_of(cells.source, learned != left_out)
        others = pd.Series(truth[truth != left_out]).value_counts()
        parts = {"full": np.ones(len(truth), dtype=bool), "skewed": (truth == left_out) | (truth == others.index[0])}
        if asked is None:
            of_all = of_peer(entry, unit.task, Cells(reference, query, names), unit.seed, folder).max(axis=1).to_numpy()
        for part, chosen in parts.items():
            is_new = truth[chosen] == left_out
            score = of_all[chosen] if asked is None else asked(entry, reference, [query[chosen].copy()])[0]
            about = {"setting": part, "type": left_out}
            rows.append({**about, "metric": "auroc", "value": roc_auc_score(is_new, -score)})
            if asked is not None:
                reported = score <= largest_p_value(score, fdr)
                rows.append({**about, "metric": "found", "value": reported[is_new].mean()})
                rows.append({**about, "metric": "false", "value": (reported & ~is_new).sum() / max(reported.sum(), 1)})
                rows.append({**about, "metric": "known and reported", "value": reported[~is_new].mean()})
    if asked is not None:
        (score,) = asked(entry, cells.source, [query])
        flagged = (score <= largest_p_value(score, fdr)).mean()
        rows.append({"setting": "known types only", "type": "", "metric": "known and reported", "value": flagged})
    pd.DataFrame(rows).to_parquet(folder / "unseen.parquet")


def part_of(reference: Any, chosen: NDArray[np.bool_]) -> Any:
    """Some cells of a reference."""
    return reference.part(np.flatnonzero(chosen))


def p_values_of_model(entry: ModelEntry, reference: MemoryReference, queries: list[AnnData], *, unit: Unit) -> list[NDArray[Any]]:
    """p-values of the cells of queries, as an annotation by a model of the reference has them, `(n_obs,)` each."""
    spec = new_model(reference, model_by_name(entry.name), dict(entry.model)).spec
    arrays = learned_types(reference, reference.data(spec), spec, seed=unit.seed)
    seen = types_of_arrays(arrays, n_genes=len(spec.features), n_labels=len(spec.labels))
    predictor = Predictor(spec, [], np.full(len(spec.features), 1 / len(spec.features), dtype=np.float32), arrays=arrays)
    found = []
    for adata in queries:
        query = predictor.open_query(adata)
        test, _ = unseen_test(seen, query, spec.normalization, None)  # type: ignore[arg-type]  # there are types: no logits are asked for
        values = [query.recipe.apply(*block, slice(0, block[0].shape[0]))[0] for block in query.read(query.ranges())]
        found.append(np.concatenate([test.p_values(each, np.zeros((each.shape[0], 1, 1))) for each in values]))
    return found


# ------------------------------------------------------------------------------------------------------------- the scores


def scores_of(unit: Unit, plan: Plan, folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of the table that a finished unit gives."""
    about = {"part": unit.part, "task": unit.task.name, "model": unit.label, "seed": unit.seed}
    if unit.part == "unseen":
        of_types = pd.read_parquet(folder / "unseen.parquet")
        means = of_types.groupby(["setting", "metric"], sort=False)["value"].mean().reset_index()
        yield from ({**about, **row} for row in means.to_dict("records"))
        worst = of_types[of_types["metric"] == "auroc"].groupby("setting")["value"].min()
        yield from (
            {**about, "setting": part, "metric": "auroc of the worst type", "value": value} for part, value in worst.items()
        )
        return
    if (folder / "probabilities.parquet").exists():
        found = pd.read_parquet(folder / "probabilities.parquet")
        truth, probabilities = found.pop("truth").to_numpy(dtype=str), found
        yield from ({**about, **row} for row in of_confidence(probabilities.to_numpy(), truth, list(probabilities.columns), plan))
        return
    stored = np.load(folder / "outputs.npz")
    predictor = load_predictor(folder / "model", accelerator="cpu")
    names = list(predictor.spec.labels.names)
    known = np.isin(stored["truth"], names)
    evaluation = Evaluation(stored["logits"][known], None, stored["measured"][known])
    truth = stored["truth"][known]
    yield from ({**about, **row} for row in of_promises(predictor, evaluation, truth, plan))
    if unit.part == "confidence":
        before = decide(evaluation).probabilities
        after = decide(evaluation, predictor.spec.calibration).probabilities
        yield from ({**about, **row} for row in of_confidence(after, truth, names, plan))
        for row in of_confidence(before, truth, names, plan):
            if row["metric"] in ("ECE", "log loss"):
                yield {**about, **row, "metric": f"{row['metric']} before calibration"}


def of_confidence(probabilities: NDArray[Any], truth: NDArray[np.str_], names: list[str], plan: Plan) -> Iterator[dict[str, Any]]:
    """Calibration error, log loss and error of the most confident cells, of those whose type the reference has."""
    known = np.isin(truth, names)
    values, codes = probabilities[known], pd.Index(names).get_indexer(truth[known])
    confidence, right = values.max(axis=1), values.argmax(axis=1) == codes
    of_truth = np.clip(values[np.arange(len(codes)), codes], 1e-7, None)
    yield {"setting": "", "metric": "ECE", "value": calibration_error_of(confidence, right)}
    yield {"setting": "", "metric": "log loss", "value": float(-np.log(of_truth).mean())}
    yield {"setting": "", "metric": "accuracy", "value": right.mean()}
    curve = abstention(confidence, right, 100)
    for answered in plan.trust["answered"]:
        row = curve[curve["answered"] >= answered - 1e-9].iloc[0]
        yield {"setting": f"{answered:.0%}", "metric": "error of answered cells", "value": row["error"]}


def of_promises(predictor: Predictor, evaluation: Evaluation, truth: NDArray[np.str_], plan: Plan) -> Iterator[dict[str, Any]]:
    """Scores of promised terms for each accepted error."""
    terms = Terms.of(predictor.spec.labels)
    codes = pd.Index(predictor.spec.labels.names).get_indexer(truth)
    for error in plan.trust["accepted_errors"]:
        rule = predictor.promise(error)
        decision = decide(evaluation, predictor.spec.calibration, rule)
        answered = decision.terms >= 0
        below = np.where(answered, terms.n_below[decision.terms], len(predictor.spec.labels))
        is_wrong = answered & ~terms.accepts[decision.terms, codes]
        values = {
            "error of terms": is_wrong.mean(),
            "keep a label": (answered & (below == 1)).mean(),
            "labels below": below.mean(),
            "without a term": (~answered).mean(),
            "withdrawn": float(bool(rule.check(decision.codes, decision.confidence).withdrawn)),
        } | {
            f"{OF_LABEL}{name}": is_wrong[decision.codes == code].mean()
            for code, name in enumerate(predictor.spec.labels.names)
            if (decision.codes == code).any()
        }
        yield from ({"setting": f"{error:g}", "metric": metric, "value": float(value)} for metric, value in values.items())


# ------------------------------------------------------------------------------------------------------------- the tables


def tables(scores: pd.DataFrame) -> Iterator[str]:
    """Tables of a report."""
    confidence = scores[scores["part"] == "confidence"]
    for metric in ("ECE", "log loss", "accuracy", "ECE before calibration", "log loss before calibration"):
        yield section(metric, spread(confidence[confidence["metric"] == metric], "task"))
    curve = confidence[confidence["metric"] == "error of answered cells"]
    for task, rows in curve.groupby("task", sort=False):
        yield section(f"Abstention: wrong labels among the most confident cells, {task}", spread(rows, "setting"))
    metrics = ["error of terms", "keep a label", "labels below", "without a term", "withdrawn"]
    promised = scores[scores["metric"].isin(metrics)]
    for (part, task), rows in promised.groupby(["part", "task"], sort=False):
        names = {"confidence": "the query", "donors": "all ways to divide donors", "cells": "other cells of the reference"}
        for model, own in rows.groupby("model", sort=False):
            n_runs = own.groupby(["setting", "metric"]).size().max()
            shown = spread(own.assign(model=own["setting"]), "metric").rename_axis("accepted error")
            yield section(f"Promised terms, {names[part]}: {task}, `{model}`, {n_runs} runs", shown)
    of_label = scores[scores["metric"].str.startswith(OF_LABEL) & (scores["part"] == "donors")]
    for (task, model), rows in of_label.groupby(["task", "model"], sort=False):
        by_label = spread(rows.assign(model=rows["metric"].str.removeprefix(OF_LABEL)), "setting").rename_axis(
            "most probable label"
        )
        yield section(f"Error of terms by most probable label, all ways to divide donors: {task}, `{model}`", by_label)
    unseen = scores[scores["part"] == "unseen"]
    for metric, rows in unseen.groupby("metric", sort=False):
        for part, own in rows.groupby("setting", sort=False):
            yield section(f"Unseen types, {metric}, {part}", spread(own, "task"))


def spread(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean ± standard deviation, a row per model, and a mean over tasks where these are the columns."""
    if rows.empty:
        return pd.DataFrame()
    order = {"index": list(dict.fromkeys(rows["model"])), "columns": list(dict.fromkeys(rows[column]))}
    groups = rows.groupby(["model", column])["value"]
    shown = groups.mean().map("{:.3f}".format) + groups.std().map(lambda sd: "" if np.isnan(sd) else f" ± {sd:.3f}")
    table = shown.unstack().reindex(**order).fillna("")  # noqa: PD010 - two indices, nothing to aggregate
    if column == "task":
        table.insert(0, "mean over tasks", groups.mean().groupby("model").mean().map("{:.3f}".format).reindex(table.index))
    return table


def section(title: str, table: pd.DataFrame) -> str:
    """A title and a table in Markdown."""
    head = [str(table.index.name or "model"), *map(str, table.columns)]
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    return f"### {title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


# ---------------------------------------------------------------------------------------------------------------- the run


def main() -> None:
    """Do what is not done yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of the data; by default what the file says")
    parser.add_argument("--jobs", type=int, default=1, help="units at a time, with one thread each")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", help="labels of models and peers to run; by default all")
    parser.add_argument("--scores-only", action="store_true", help="run nothing: score what is finished")
    arguments = parser.parse_args()
    plan, output = Plan.read(arguments.config, arguments.data), arguments.output
    (output / "units").mkdir(parents=True, exist_ok=True)
    units = plan.units(arguments.parts)
    asked = [unit for unit in units if arguments.models is None or unit.label in arguments.models]
    waiting = [] if arguments.scores_only else [unit for unit in asked if not (output / "units" / unit.name).is_dir()]
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(do, unit, plan, output): unit for unit in waiting}
        for number, future in enumerate(as_completed(futures), 1):
            print(f"{number}/{len(futures)} {futures[future].name}: {future.result():.0f} s", flush=True)
    rows: Rows = []
    for unit in plan.units(PARTS):
        if (output / "units" / unit.name).is_dir():
            rows += scores_of(unit, plan, output / "units" / unit.name)
    scores = pd.DataFrame(rows)[COLUMNS]
    scores.to_parquet(output / "trust.parquet")
    text = f"{machine()}\n\n" + "\n\n".join(tables(scores)) + "\n"
    (output / "trust.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
