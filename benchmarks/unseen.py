"""Cells of a type that was left out of the reference: how well scores tell them from the others, and what is reported.

    uv run python benchmarks/unseen.py auroc --data FOLDER [--seeds 0 1 2] [--models linear sctab] [--tasks NAME ...]
    uv run python benchmarks/unseen.py reports --data FOLDER [--fdr 0.1] [--seeds 0 1 2]

`auroc` leaves each type that reference and query share out of the reference, one after another, and annotates the query: all of it (full),
or its cells of the left-out type and of its most frequent other type (skewed). Query cells of types that the reference never had are left
out. It prints the mean over types of the area under the ROC curve of each score, per task, as mean ± standard deviation over seeds. Scores
of a model are there for each class in `--models`; without any, nothing is trained.

`reports` prints which fraction of the cells of left-out types is reported at a false discovery rate (power), which fraction of the reported
cells are of known types (false), which fraction is reported of a query of known types only, of one of a left-out type only, and of cancer
cell lines.

The three tasks of blood.yaml come first. The kind of score was chosen on them; how the difference between datasets is removed was compared
on all.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, Task, markdown
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from sctab.data import FeatureSpace, Normalization, open_query
from sctab.inference import Neighbourhoods, SeenTypes, largest_p_value, learn_types
from sctab.model import model_by_name

FEWEST = 10
"""Cells of a type that reference and query must have for it to be left out."""
NORMALIZATION = Normalization()
Scores = NDArray[np.floating]


def tasks(data: Data) -> Iterator[Task]:
    """The three tasks of blood.yaml, and five more between the same studies and between runs."""
    facs, pbmc3k, lines = (data[name] for name in ("pbmc_zheng_facs", "pbmc3k_10x", "celllines_scmixology_5runs"))
    learned, tested = data.kang(test=False), data.kang(test=True)
    dropseq = (lines.obs["batch"] == "sc_dropseq").to_numpy()
    yield Task("FACS to pbmc3k", facs, pbmc3k, "cell_type_coarse")
    yield Task("Kang, five donors to three", learned, tested, "cell_type", "donor_id")
    yield Task("pbmc3k to FACS", pbmc3k, facs, "cell_type_coarse")
    yield Task("pbmc3k to Kang", pbmc3k, tested, "cell_type_coarse")
    yield Task("FACS to Kang", facs, tested, "cell_type_coarse")
    yield Task("Kang to pbmc3k", learned, pbmc3k, "cell_type_coarse", "donor_id")
    yield Task("Kang to FACS", learned, facs, "cell_type_coarse", "donor_id")
    yield Task("cell lines, CEL-seq2 to Drop-seq", lines[~dropseq].copy(), lines[dropseq].copy(), "cell_type", "batch")


def truth_of(adata: AnnData, task: Task) -> NDArray[np.str_]:
    """Labels of the task, `(n_obs,)`."""
    return adata.obs[task.labels_key].astype(str).to_numpy(dtype=str)


def left_out_types(task: Task) -> list[str]:
    """Types of which both have enough cells."""
    counts = [pd.Series(truth_of(adata, task)).value_counts() for adata in (task.reference, task.query)]
    return [name for name in sorted(counts[0].index) if min(count.get(name, 0) for count in counts) >= FEWEST]


def with_known_types(task: Task) -> Task:
    """The task with the cells of the query whose type the reference has, and the genes that both have."""
    known = np.isin(truth_of(task.query, task), truth_of(task.reference, task))
    genes = task.reference.var_names.intersection(task.query.var_names)
    return replace(task, reference=task.reference[:, genes].copy(), query=task.query[known][:, genes].copy())


@dataclass(frozen=True)
class Learned:
    """A reference without one type, as types in marker genes and in all genes."""

    seen: SeenTypes
    linear: NDArray[np.float64]
    """Mean expression of each type, `(n_labels, n_genes)`."""
    log: NDArray[np.float64]
    """Mean logarithm of the expression of each type, `(n_labels, n_genes)`."""

    @classmethod
    def from_reference(cls, reference: AnnData, task: Task, seed: int) -> Learned:
        """Learn all labels that are in a reference."""
        values = values_of(reference)
        names, codes = np.unique(truth_of(reference, task), return_inverse=True)
        units = None if task.donor_key is None else pd.factorize(reference.obs[task.donor_key])[0]
        seen = learn_types(values, codes, units, n_labels=len(names), normalization=NORMALIZATION, seed=seed)
        linear = values.expm1()
        means = [
            np.stack([np.asarray(each[codes == label].mean(axis=0)).ravel() for label in range(len(names))])
            for each in (linear, values)
        ]
        return cls(seen, *means)

    @cached_property
    def variable(self) -> NDArray[np.intp]:
        """The 2,000 genes that differ most between types."""
        return np.sort(np.argsort(-self.log.var(axis=0), kind="stable")[:2000])


@dataclass(frozen=True)
class Cells:
    """A query, or some of its cells, in their neighbourhoods."""

    values: sparse.csr_matrix
    neighbourhoods: Neighbourhoods
    assigned: NDArray[np.int32]

    @classmethod
    def of(cls, values: sparse.csr_matrix, seed: int) -> Cells:
        """Learn the neighbourhoods of all cells."""
        neighbourhoods = Neighbourhoods.learn(values, n_genes=values.shape[1], seed=seed)
        return cls(values, neighbourhoods, neighbourhoods.assign(values))

    def mean(self, values: sparse.csr_matrix) -> NDArray[np.float64]:
        """Mean over the cells of each neighbourhood, `(n_landmarks, n_vars)`."""
        return self.neighbourhoods.mean(self.values, values)

    def scores(self, learned: Learned) -> Scores:
        """The score that models have, `(n_obs,)`."""
        found = np.ones(self.values.shape[1], dtype=bool)
        scores = learned.seen.score(self.values, self.neighbourhoods, found=found, normalization=NORMALIZATION)
        return scores[self.assigned]


def values_of(adata: AnnData) -> sparse.csr_matrix:
    """Normalised expression of all genes, `(n_obs, n_vars)`."""
    features = FeatureSpace(ids=("",) * adata.n_vars, symbols=tuple(adata.var_names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        query = open_query(adata, features, NORMALIZATION)
    return sparse.vstack(list(query.blocks(4096)), format="csr")


def cosine(profiles: Scores, types: Scores, centre: Scores) -> Scores:
    """One minus the cosine to the nearest type, relative to a centre."""
    profiles, types = profiles - centre, types - centre
    lengths = np.linalg.norm(profiles, axis=1)[:, None] * np.linalg.norm(types, axis=1)
    return 1 - (profiles @ types.T / np.maximum(lengths, 1e-9)).max(axis=1)


def median_shift(profiles: Scores, types: Scores, nearest: NDArray[np.intp]) -> Scores:
    """Median over types of the mean difference of their neighbourhoods from them."""
    return np.median([profiles[nearest == label].mean(axis=0) - types[label] for label in np.unique(nearest)], axis=0)


def scores_without_model(cells: Cells, learned: Learned) -> dict[str, Scores]:
    """Scores that only need the reference, by name, `(n_obs,)` each."""
    genes, markers = learned.variable, learned.seen.genes
    log, types = cells.mean(cells.values[:, genes]), learned.log[:, genes]
    middle = types.mean(axis=0)
    nearest = ((log - middle) @ (types - middle).T).argmax(axis=1)
    removed = log - median_shift(log, types, nearest)
    per_gene = [each - each.mean(axis=1, keepdims=True) for each in (removed, types)]
    few, few_types = np.log1p(cells.mean(cells.values[:, markers].expm1())), np.log1p(learned.linear[:, markers])
    centre = few_types.mean(axis=0)
    near = ((few - centre) @ (few_types - centre).T).argmax(axis=1)
    found = {
        "correlation, 2,000 genes, median shift removed": cosine(*per_gene, np.zeros(len(genes))),
        "cosine, 2,000 genes, query centred on its mean": cosine(log - log.mean(axis=0) + middle, types, middle),
        "cosine, 2,000 genes": cosine(log, types, middle),
        "cosine, markers, mean of logarithms": cosine(
            cells.mean(cells.values[:, markers]), learned.log[:, markers], learned.log[:, markers].mean(axis=0)
        ),
        "cosine, markers": cosine(few, few_types, centre),
        "cosine, markers, median shift removed": cosine(few - median_shift(few, few_types, near), few_types, centre),
    }
    return {name: scores[cells.assigned] for name, scores in found.items()} | {"**as delivered**": cells.scores(learned)}


def scores_of_model(cells: Cells, logits: Scores, name: str) -> dict[str, Scores]:
    """Scores of a trained model, alone and in the mean of the neighbourhood."""
    confidence = softmax(logits, axis=1).max(axis=1)
    probabilities = cells.mean(sparse.csr_matrix(softmax(logits, axis=1)))
    return {
        f"1 − confidence ({name})": 1 - confidence,
        f"1 − confidence, neighbourhood ({name})": 1 - probabilities.max(axis=1)[cells.assigned],
        f"energy, neighbourhood ({name})": -logsumexp(cells.mean(sparse.csr_matrix(logits)), axis=1)[cells.assigned],
    }


def logits_of(task: Task, reference: AnnData, model: str, seed: int) -> Scores:
    """Logits of the query by a model that has learned the reference, `(n_obs, n_labels)`."""
    model_class = model_by_name(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model_class.setup_anndata(reference, task.labels_key, donor_key=task.donor_key)
        classifier = model_class(reference)
        classifier.train(calibrate=False, seed=seed, accelerator="cpu", enable_progress_bar=False)
        predictor = classifier.predictor
        query = predictor.open_query(task.query)
        blocks = predictor.block_predictor().predict_blocks(query.recipe, query.read(query.ranges()))
        found = np.concatenate([block.logits[:, 0] for block in blocks])
        classifier.deregister_manager(reference)
    return found


def parts_of(truth: NDArray[np.str_], left_out: str) -> dict[str, NDArray[np.bool_]]:
    """Cells of the query, by name of the part."""
    others = pd.Series(truth[truth != left_out]).value_counts()
    return {"full": np.ones(len(truth), dtype=bool), "skewed": (truth == left_out) | (truth == others.index[0])}


def auroc(task: Task, seed: int, models: Sequence[str]) -> dict[tuple[str, str], dict[str, float]]:
    """Area under the curve for each type left out, by score and part of the query."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    truth, values = truth_of(task.query, task), values_of(task.query)
    for left_out in left_out_types(task):
        reference = task.reference[truth_of(task.reference, task) != left_out].copy()
        learned = Learned.from_reference(reference, task, seed)
        logits = {model: logits_of(task, reference, model, seed) for model in models}
        for part, rows in parts_of(truth, left_out).items():
            cells = Cells.of(values[rows], seed)
            scores = {name: each for model in models for name, each in scores_of_model(cells, logits[model][rows], model).items()}
            for name, each in (scores | scores_without_model(cells, learned)).items():
                found[name, part][left_out] = roc_auc_score(truth[rows] == left_out, each)
    return found


def reports(task: Task, lines: AnnData, seed: int, fdr: float) -> dict[str, float]:
    """Fractions of cells that are reported, by name."""
    found: dict[str, list[float]] = defaultdict(list)
    truth, values = truth_of(task.query, task), values_of(task.query)

    def report(each: sparse.csr_matrix, learned: Learned) -> NDArray[np.bool_]:
        p_values = learned.seen.p_values(Cells.of(each, seed).scores(learned))
        return p_values <= largest_p_value(p_values, fdr)

    for left_out in left_out_types(task):
        learned = Learned.from_reference(task.reference[truth_of(task.reference, task) != left_out].copy(), task, seed)
        is_new = truth == left_out
        for part, rows in parts_of(truth, left_out).items():
            reported = report(values[rows], learned)
            found[f"power, {part}"].append(reported[is_new[rows]].mean())
            found[f"false, {part}"].append((reported & ~is_new[rows]).sum() / max(reported.sum(), 1))
        found["left-out type only"].append(report(values[is_new], learned).mean())
    found["known types only"].append(report(values, Learned.from_reference(task.reference, task, seed)).mean())
    if not set(truth) & set(lines.obs["cell_type"]):
        genes = task.reference.var_names.intersection(lines.var_names)
        learned = Learned.from_reference(task.reference[:, genes].copy(), task, seed)
        found["cell lines"].append(report(values_of(lines[:, genes].copy()), learned).mean())
    return {name: float(np.mean(each)) for name, each in found.items()}


def table_of(results: Mapping[str, Sequence[Mapping[str, float]]]) -> pd.DataFrame:
    """Mean ± standard deviation over seeds, a column per task, and the mean over tasks first."""
    names = list(dict.fromkeys(name for runs in results.values() for run in runs for name in run))
    by_task = {task: pd.DataFrame(list(runs)).reindex(columns=names) for task, runs in results.items()}
    mean = sum(frame.fillna(0) for frame in by_task.values()) / sum(frame.notna().astype(int) for frame in by_task.values())
    shown = {"mean over tasks": mean, **by_task}
    return pd.DataFrame(
        {
            task: {
                name: "" if frame[name].isna().all() else f"{frame[name].mean():.3f} ± {frame[name].std(ddof=0):.3f}"
                for name in names
            }
            for task, frame in shown.items()
        }
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["auroc", "reports"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--tasks", nargs="*", help="beginnings of names; by default, all")
    parser.add_argument("--fdr", type=float, default=0.1)
    arguments = parser.parse_args()
    data = Data(arguments.data)
    chosen = [with_known_types(task) for task in tasks(data) if not arguments.tasks or task.name.startswith(tuple(arguments.tasks))]
    if arguments.what == "reports":
        lines = data["celllines_scmixology_5runs"]
        found = {task.name: [reports(task, lines, seed, arguments.fdr) for seed in arguments.seeds] for task in chosen}
        print(f"Fraction of cells, at a false discovery rate of {arguments.fdr}\n")
        print(markdown(table_of(found)))
        return
    by_part: dict[str, dict[str, list[dict[str, float]]]] = {"full": {}, "skewed": {}}
    types: list[str] = []
    for task in chosen:
        runs = [auroc(task, seed, arguments.models) for seed in arguments.seeds]
        for part, of_tasks in by_part.items():
            of_tasks[task.name] = [
                {name: float(np.mean(list(each.values()))) for (name, of), each in run.items() if of == part} for run in runs
            ]
            each = {left: np.mean([run["**as delivered**", part][left] for run in runs]) for left in left_out_types(task)}
            types.append(f"- {task.name}, {part}: " + ", ".join(f"{left} {value:.2f}" for left, value in each.items()))
    for part, of_tasks in by_part.items():
        print(f"\nArea under the ROC curve, {part} query\n\n{markdown(table_of(of_tasks).rename_axis('score'))}", flush=True)
    print("\nAs delivered, by type that was left out\n\n" + "\n".join(types))


if __name__ == "__main__":
    main()
