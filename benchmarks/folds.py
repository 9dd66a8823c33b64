"""Choose the training defaults: settings compared on held-out donors and runs inside the references.

    uv run python benchmarks/folds.py --data FOLDER [--seeds 2] [--settings sctab linear "mlp, two layers" …] [--tasks kang …] [--no-refit]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. Prints a Markdown table of macro F1,
mean ± standard deviation over seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, fold_tasks, logistic_regression, markdown, train_and_score

SETTINGS: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "sctab": ("sctab", {}, {}),
    "sctab, no gene dropout": ("sctab", {}, {"gene_dropout": 0.0}),
    "sctab, gene dropout up to 0.5": ("sctab", {}, {"gene_dropout": 0.5}),
    "sctab, no dense decision": ("sctab", {"dense_decision": False}, {}),
    "sctab, all genes": ("sctab", {"n_top_genes": "all"}, {}),
    "sctab, n_d 32, n_a 16": ("sctab", {"n_d": 32, "n_a": 16}, {}),
    "sctab, weight decay 0.05": ("sctab", {}, {"weight_decay": 0.05}),
    "sctab, step schedule": ("sctab", {}, {"schedule": "step"}),
    "linear": ("linear", {}, {}),
    "linear, no gene dropout": ("linear", {}, {"gene_dropout": 0.0}),
    "linear, all genes": ("linear", {"n_top_genes": "all"}, {}),
    "linear, learning rate 0.005, weight decay 0.01": ("linear", {}, {"learning_rate": 0.005, "weight_decay": 0.01}),
    "linear, l1 1e-5": ("linear", {}, {"l1": 1e-5}),
    "linear, donor differences": ("linear", {}, {"augment": True}),
    "mlp": ("mlp", {}, {}),
    "mlp, no gene dropout": ("mlp", {}, {"gene_dropout": 0.0}),
    "mlp, dropout 0.1": ("mlp", {"dropout": 0.1}, {}),
    "mlp, two layers": ("mlp", {"n_layers": 2}, {}),
    "mlp, two layers, dropout 0.1": ("mlp", {"n_layers": 2, "dropout": 0.1}, {}),
    "mlp, donor differences": ("mlp", {}, {"augment": True}),
    "xgboost": ("xgboost", {}, {}),
    "xgboost, published": ("xgboost", {"max_depth": 10}, {"learning_rate": 0.05}),
    "xgboost, depth 4": ("xgboost", {"max_depth": 4}, {}),
    "xgboost, 64 components": ("xgboost", {"n_components": 64}, {}),
}
"""Models to compare by name: class, settings of the constructor, settings of the training."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS), metavar="NAME")
    parser.add_argument("--tasks", nargs="*", default=[""], help="beginnings of task names")
    parser.add_argument("--no-refit", action="store_true", help="keep the models that were validated: half the time")
    arguments = parser.parse_args()

    rows: dict[str, dict[str, list[list[float]]]] = {}
    for task in fold_tasks(Data(arguments.data)):
        if not task.name.startswith(tuple(arguments.tasks)):
            continue
        group = task.name.split("/")[0] if task.name.startswith("kang/") else task.name
        for name, balanced in (("logistic regression", False), ("logistic regression, balanced", True)):
            rows.setdefault(name, {}).setdefault(group, []).append([logistic_regression(task, balanced=balanced)])
        for name in arguments.settings:
            model, architecture, training = SETTINGS[name]
            training = training | ({"refit": False} if arguments.no_refit else {})
            values = [
                train_and_score(task, model, seed, architecture=architecture, training=training) for seed in range(arguments.seeds)
            ]
            rows.setdefault(name, {}).setdefault(group, []).append(values)
            print(f"{task.name}: {name}: {', '.join(f'{value:.3f}' for value in values)}", flush=True)
    table = pd.DataFrame({name: {group: _mean(values) for group, values in groups.items()} for name, groups in rows.items()}).T
    table.index.name = "macro F1"
    print(markdown(table))


def _mean(folds: list[list[float]]) -> str:
    """Mean over folds, with the standard deviation of that mean over seeds."""
    of_seeds = np.mean(folds, axis=0)
    return f"{of_seeds.mean():.3f} ± {of_seeds.std(ddof=1):.3f}" if len(of_seeds) > 1 else f"{of_seeds.mean():.3f}"


if __name__ == "__main__":
    main()
