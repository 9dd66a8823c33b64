"""Macro F1 against the fraction of the reference that is kept, for every sketching method.

    uv run python benchmarks/sketching.py --data FOLDER [--seeds 3] [--model linear] [--folds 1] [--output FILE.csv]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. A fold learns from four of Kang's five training donors and is scored
on the fifth. Prints a Markdown table of macro F1, mean ± standard deviation over seeds of the mean over folds; `--output` gets
every score.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, Task, fold_tasks, markdown, score
from anndata import AnnData

from sctab import pp
from sctab.model import CellTypeClassifier, model_by_name

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.5)
METHODS = ("stratified", "balanced", "geosketch", "k-centre", "herding")
LATENT = "X_latent"


def train(reference: AnnData, task: Task, model: str, seed: int) -> CellTypeClassifier:
    """A model of a part of the reference, with the defaults for its size."""
    model_class = model_by_name(model)
    model_class.setup_anndata(reference, task.labels_key, donor_key=task.donor_key)
    classifier = model_class(reference)
    classifier.train(calibrate=False, seed=seed, accelerator="cpu", enable_progress_bar=False)
    classifier.deregister_manager(reference)
    return classifier


def choose(task: Task, method: str, fraction: float, seed: int) -> AnnData:
    """A fraction of the reference; what works by place does so in the latent space of the model of all cells, if it has one."""
    pp.sketch(
        task.reference,
        fraction,
        method=method,
        labels_key=None if method == "geosketch" else task.labels_key,
        use_rep=LATENT if method in {"k-centre", "herding"} and LATENT in task.reference.obsm else None,
        seed=seed,
    )
    return task.reference[task.reference.obs["sctab_sketch"]].copy()


def scores(task: Task, model: str, seed: int) -> Iterator[tuple[str, float, int, float]]:
    """Method, fraction, cells and macro F1."""
    everything = train(task.reference.copy(), task, model, seed)
    latent = everything.get_latent_representation(task.reference)
    if latent is not None:
        task.reference.obsm[LATENT] = latent
    of_everything = score(task, everything.predict(task.query))
    for method, fraction in itertools.product(METHODS, FRACTIONS):
        chosen = choose(task, method, fraction, seed)
        yield method, fraction, chosen.n_obs, score(task, train(chosen, task, model, seed).predict(task.query))
    for method in METHODS:
        yield method, 1.0, task.reference.n_obs, of_everything


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="linear")
    parser.add_argument("--folds", type=int, default=1, help="how many of the five donors are held out, one after the other")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    folds = [task for task in fold_tasks(Data(arguments.data)) if task.name.startswith("kang/")][: arguments.folds]
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for task, seed in itertools.product(folds, range(arguments.seeds)):
            for row in scores(task, arguments.model, seed):
                rows.append((task.name, seed, *row))
                print(*rows[-1], flush=True)
    found = pd.DataFrame(rows, columns=["task", "seed", "method", "fraction", "n_cells", "macro_f1"])
    if arguments.output:
        found.to_csv(arguments.output, index=False)
    of_seeds = found.pivot_table("macro_f1", ["method", "fraction"], "seed")
    cells = (
        of_seeds.apply(_mean_and_spread, axis=1)
        .rename("cell")
        .reset_index()
        .pivot_table("cell", "method", "fraction", aggfunc="first")
    )
    cells = cells.loc[list(METHODS)]
    cells.columns = [f"{fraction:.0%}" for fraction in cells.columns]
    cells.index.name = "macro F1"
    print(markdown(cells))


def _mean_and_spread(of_seeds: pd.Series) -> str:
    return f"{of_seeds.mean():.3f} ± {np.std(of_seeds, ddof=1):.3f}" if len(of_seeds) > 1 else f"{of_seeds.iloc[0]:.3f}"


if __name__ == "__main__":
    main()
