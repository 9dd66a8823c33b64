"""Wrong labels that a review finds, beside cleanlab: labels of 5 % of the cells are swapped at random within their lineage.

    uv run python benchmarks/review.py --data FOLDER [--seeds 0 1 2] [--datasets pbmc3k kang]

It prints, for each dataset, means ± standard deviations over seeds of

- the average precision with which all cells are ranked: that swapped cells come before others,
- the cells that a method reports, the fraction of them that were swapped (precision), and the fraction of swapped cells that they include
  (recall),
- seconds (median).

Methods are

`sctab review`: evidence and noise as in `sctab.tl.review`, by linear models of the other cells, whole donors being held out where there
are several. Suspect cells are ranked as in `sctab.get.review`, the others after them by their margin.

`sctab review, model pbmc`: the same by the packaged model, which learned neither these cells nor the swaps; it is left out for pbmc3k,
whose cells it has learned.

`cleanlab, same probabilities`: `get_label_quality_scores` and `find_label_issues` of cleanlab with their defaults, on the probabilities
that the first method rests on.

`cleanlab, logistic regression`: the same on probabilities of scikit-learn's logistic regression (C = 1) in five-fold cross-validation, on
all genes, 10,000 counts per cell, log1p; cells are divided at random. Folds by donor would be another method.

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
    from numpy.typing import ArrayLike, NDArray

REQUIREMENTS = ("cleanlab==2.9.0", "scikit-learn<1.8", "scipy")
DATASETS = {"pbmc3k": ("pbmc3k_10x", None), "kang": ("pbmc_kang_ctrl_8donors", "donor_id")}
LEARNED_BY_PBMC = ("pbmc3k",)
LINEAGES = ("lymphocyte", "mononuclear phagocyte")
SWAPPED = 0.05
"""Fraction of all cells."""
SCORES = ("average precision", "reported", "precision", "recall")


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


def run(adata: AnnData, donor_key: str | None, seed: int, python: Path, *, with_pbmc: bool) -> list[dict[str, Any]]:
    """Scores of all methods for one draw."""
    import sctab
    from sctab.metrics import LabelNoise
    from sctab.tl._evidence import of_other_cells

    truth = adata.obs["cell_type"].astype(str).to_numpy(dtype=object)
    given = swapped(truth, seed)
    is_wrong = given != truth
    adata = adata.copy()
    adata.obs["given"] = given
    start = time.perf_counter()
    evidence = of_other_cells(adata, "given", donor_key=donor_key, layer=None, seed=seed, show_progress=False)
    probabilities, names = np.asarray(evidence.probabilities), list(evidence.annotation.names)
    codes = np.array([names.index(label) for label in given])
    noise = LabelNoise.estimate(probabilities, codes)
    found = ranked(noise.margin, noise.own, noise.is_suspect)
    rows = [scored("sctab review", is_wrong, found, noise.is_suspect, time.perf_counter() - start)]
    if with_pbmc:
        start = time.perf_counter()
        sctab.tl.review(adata, "given", "pbmc", n_genes=0)
        queue = sctab.get.review(adata).set_index("position")["p_given"]
        found = ranked(
            adata.obs["sctab_review_margin"].to_numpy(), queue.reindex(range(adata.n_obs)), adata.obs["sctab_is_suspect"]
        )
        rows.append(scored("sctab review, model pbmc", is_wrong, found, adata.obs["sctab_is_suspect"], time.perf_counter() - start))
    return rows + [
        scored(method, is_wrong, *found) for method, found in of_cleanlab(adata, codes, probabilities, seed, python).items()
    ]


def ranked(margin: ArrayLike, p_given: ArrayLike, is_suspect: ArrayLike) -> NDArray[np.floating]:
    """A number that is the higher the earlier a cell comes: suspect ones by `p_given`, as in the queue, then the others by margin."""
    others = np.nan_to_num(np.asarray(margin, dtype=float), nan=-2)
    return np.where(np.asarray(is_suspect), 3 - np.asarray(p_given, dtype=float), others)


def scored(
    method: str, is_wrong: NDArray[np.bool_], wrongness: NDArray[np.floating], reported: ArrayLike, seconds: float
) -> dict[str, Any]:
    """A row of the table."""
    from sklearn.metrics import average_precision_score

    is_reported = np.asarray(reported, dtype=bool)
    found = (is_wrong & is_reported).sum()
    values = (average_precision_score(is_wrong, wrongness), is_reported.sum(), found / is_reported.sum(), found / is_wrong.sum())
    return {"method": method, **dict(zip(SCORES, values, strict=True)), "seconds": seconds}


def of_cleanlab(
    adata: AnnData, codes: NDArray[np.integer], probabilities: NDArray[np.floating], seed: int, python: Path
) -> dict[str, tuple[NDArray[np.floating], NDArray[np.bool_], float]]:
    """Rank, reported cells and seconds of cleanlab in its own environment."""
    from scipy import sparse

    with tempfile.TemporaryDirectory() as folder:
        sparse.save_npz(Path(folder, "counts.npz"), sparse.csr_matrix(adata.X))
        np.savez(Path(folder, "labels.npz"), codes=codes, probabilities=probabilities)
        subprocess.run([python, __file__, "peer", folder, str(seed)], check=True, stdin=subprocess.DEVNULL)
        seconds = json.loads(Path(folder, "seconds.json").read_text(encoding="utf-8"))
        with np.load(Path(folder, "found.npz")) as found:
            return {name: (-found[f"{name}, quality"], found[f"{name}, issues"], spent) for name, spent in seconds.items()}


def peer(folder: Path, seed: int) -> None:
    """Run in the environment of cleanlab."""
    from cleanlab.filter import find_label_issues  # type: ignore[import-not-found]
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
    probabilities[~np.isfinite(probabilities).all(axis=1)] = 1 / probabilities.shape[1]
    found, seconds = {}, {}
    for name, p, spent in (
        ("cleanlab, same probabilities", probabilities, float("nan")),
        ("cleanlab, logistic regression", of_regression, taken),
    ):
        found[f"{name}, quality"] = get_label_quality_scores(codes, p)
        found[f"{name}, issues"] = find_label_issues(codes, p, n_jobs=1)
        seconds[name] = spent
    np.savez(folder / "found.npz", **found)
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
    print(machine(), flush=True)
    for dataset in arguments.datasets:
        name, donor_key = DATASETS[dataset]
        rows = []
        for seed in arguments.seeds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows += run(data[name], donor_key, seed, python, with_pbmc=dataset not in LEARNED_BY_PBMC)
        table = pd.DataFrame(rows)
        head(dataset, "method", *SCORES, "seconds")
        for method, own in table.groupby("method", sort=False):
            digits = [0 if each == "reported" else 3 for each in SCORES]
            scores = (f"{own[each].mean():,.{n}f} ± {own[each].std(ddof=1):.{n}f}" for each, n in zip(SCORES, digits, strict=True))
            taken = own["seconds"].median()
            row(method, *scores, "" if np.isnan(taken) else f"{taken:.0f}")


if __name__ == "__main__":
    main()
