"""Wrong labels that a review finds, beside cleanlab: labels of 5 % of the cells are swapped at random within their lineage.

    uv run python benchmarks/review.py --data FOLDER [--seeds 0 1 2] [--datasets pbmc3k kang]

It prints, for each dataset, the average precision with which each method ranks swapped cells above all others, as mean ± standard deviation
over seeds; the fraction of swapped cells among as many cells at the top of the ranking (precision); and seconds. Methods are

`sctab review`: linear models of the other cells, whole donors held out where there are several, by rising probability of the given label.

`cleanlab, same probabilities`: `get_label_quality_scores` of cleanlab on the same out-of-sample probabilities.

`cleanlab, logistic regression`: the same on probabilities of scikit-learn's logistic regression (C = 1) in five-fold cross-validation, as
in the tutorials of cleanlab, on all genes, 10,000 counts per cell, log1p; cells are divided at random.

`sctab review, model pbmc`: the packaged model, which knows neither of the labels' swaps.

cleanlab has an environment of its own, which uv makes the first time. Labels of these datasets have errors of their own, which count as
false here; no method can reach 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

REQUIREMENTS = ("cleanlab==2.7.1", "scikit-learn<1.7", "scipy")
DATASETS = {"pbmc3k": ("pbmc3k_10x", None), "kang": ("pbmc_kang_ctrl_8donors", "donor_id")}
LINEAGES = ("lymphocyte", "mononuclear phagocyte")
SWAPPED = 0.05
"""Fraction of all cells."""
METHODS = ("self_confidence", "normalized_margin")


def swapped(labels: NDArray[np.object_], seed: int) -> NDArray[np.object_]:
    """Labels of which some are replaced by another one of their lineage, drawn uniformly."""
    from sctab.ontology import CellOntology

    ontology, rng = CellOntology.embedded(), np.random.default_rng(seed)
    names = sorted(set(labels))
    line_of = {name: next((line for line in LINEAGES if ontology.is_kind_of(name, line)), "") for name in names}
    others = {name: [other for other in names if other != name and line_of[other] == line_of[name] != ""] for name in names}
    possible = np.flatnonzero([bool(others[label]) for label in labels])
    found = labels.copy()
    for cell in rng.choice(possible, int(SWAPPED * len(labels)), replace=False):
        found[cell] = rng.choice(others[labels[cell]])
    return found


def run(adata: AnnData, donor_key: str | None, seed: int, python: Path) -> list[dict[str, Any]]:
    """Rankings of all methods for one draw."""
    import sctab
    from sctab.tl._evidence import of_other_cells

    truth = adata.obs["cell_type"].astype(str).to_numpy(dtype=object)
    given = swapped(truth, seed)
    is_wrong = given != truth
    adata = adata.copy()
    adata.obs["given"] = given
    rows = []

    def add(method: str, wrongness: NDArray[np.floating], seconds: float) -> None:
        from sklearn.metrics import average_precision_score

        wrongness = np.nan_to_num(wrongness, nan=-np.inf)
        wrongness = np.where(np.isfinite(wrongness), wrongness, np.nanmin(wrongness[np.isfinite(wrongness)]) - 1)
        top = np.argsort(-wrongness, kind="stable")[: is_wrong.sum()]
        score = average_precision_score(is_wrong, wrongness)
        rows.append({"method": method, "average precision": score, "precision": is_wrong[top].mean(), "seconds": seconds})

    start = time.perf_counter()
    evidence = of_other_cells(adata, "given", donor_key=donor_key, layer=None, seed=seed, show_progress=False)
    probabilities, names = np.asarray(evidence.annotation.probabilities), list(evidence.annotation.names)
    codes = np.array([names.index(label) for label in given])
    add("sctab review", -probabilities[np.arange(len(codes)), codes], time.perf_counter() - start)
    for method, own, seconds in of_cleanlab(adata, codes, probabilities, seed, python):
        add(method, -own, seconds)
    start = time.perf_counter()
    sctab.tl.review(adata, "given", "pbmc", n_genes=0)
    add("sctab review, model pbmc", adata.obs["sctab_review_margin"].to_numpy(dtype=float), time.perf_counter() - start)
    return rows


def of_cleanlab(
    adata: AnnData, codes: NDArray[np.integer], probabilities: NDArray[np.floating], seed: int, python: Path
) -> list[tuple[str, NDArray[np.floating], float]]:
    """Label quality by cleanlab in its own environment."""
    from scipy import sparse

    with tempfile.TemporaryDirectory() as folder:
        sparse.save_npz(Path(folder, "counts.npz"), sparse.csr_matrix(adata.X))
        np.savez(Path(folder, "labels.npz"), codes=codes, probabilities=probabilities)
        subprocess.run([python, __file__, "peer", folder, str(seed)], check=True, stdin=subprocess.DEVNULL)
        with np.load(Path(folder, "scores.npz")) as scores:
            found = {name: scores[name] for name in scores.files}
        seconds = json.loads(Path(folder, "seconds.json").read_text(encoding="utf-8"))
    return [(name, own, seconds[name]) for name, own in found.items()]


def peer(folder: Path, seed: int) -> None:
    """Run in the environment of cleanlab."""
    from cleanlab.rank import get_label_quality_scores  # type: ignore[import-not-found]
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    counts = sparse.load_npz(folder / "counts.npz").astype(np.float32)
    with np.load(folder / "labels.npz") as stored:
        codes, probabilities = stored["codes"], stored["probabilities"].astype(np.float64)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    values = sparse.csr_matrix(sparse.diags(1e4 / np.maximum(totals, 1)) @ counts)
    values.data = np.log1p(values.data)
    start = time.perf_counter()
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    of_regression = cross_val_predict(LogisticRegression(C=1.0, max_iter=500), values, codes, cv=folds, method="predict_proba")
    taken = time.perf_counter() - start
    known = np.isfinite(probabilities).all(axis=1)
    probabilities[~known] = 1 / probabilities.shape[1]
    scores, seconds = {}, {}
    for method in METHODS:
        for source, p, spent in (("same probabilities", probabilities, 0.0), ("logistic regression", of_regression, taken)):
            name = f"cleanlab, {source}, {method}"
            scores[name], seconds[name] = get_label_quality_scores(codes, p, method=method), spent
    np.savez(folder / "scores.npz", **scores)
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def main() -> None:
    """Run the benchmark, or the part in the environment of the peer."""
    if len(sys.argv) == 4 and sys.argv[1] == "peer":
        peer(Path(sys.argv[2]), int(sys.argv[3]))
        return
    import pandas as pd
    from _common import Data
    from _measure import head, machine, row

    from sctab.benchmark._peers import default_environments, make_environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    arguments = parser.parse_args()
    python, data = make_environment(REQUIREMENTS, default_environments()), Data(arguments.data)
    print(machine())
    for dataset in arguments.datasets:
        name, donor_key = DATASETS[dataset]
        rows = []
        for seed in arguments.seeds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows += run(data[name], donor_key, seed, python)
        table = pd.DataFrame(rows)
        head(dataset, "method", "average precision", "precision", "seconds")
        for method, own in table.groupby("method", sort=False):
            scores = (f"{own[each].mean():.3f} ± {own[each].std(ddof=1):.3f}" for each in ("average precision", "precision"))
            row(method, *scores, f"{own['seconds'].median():.0f}")


if __name__ == "__main__":
    main()
