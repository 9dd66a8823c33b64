"""Choose the training defaults: settings compared on held-out donors and runs inside the references.

    uv run python benchmarks/folds.py --data FOLDER [--seeds 2] [--settings default "no gene dropout" …] [--tasks kang …]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. Prints a Markdown table of macro F1,
mean ± standard deviation over seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, fold_tasks, logistic_regression, markdown, sctab

SETTINGS: dict[str, dict[str, dict[str, object]]] = {
    "default": {},
    "published network, 30 epochs": {"architecture": "paper", "training": "paper"},
    "no gene dropout": {"training": {"gene_dropout": 0.0}},
    "gene dropout up to 0.5": {"training": {"gene_dropout": 0.5}},
    "no dense decision": {"architecture": {"dense_decision": False}},
    "all genes": {"architecture": {"n_top_genes": "all"}},
    "n_d 32, n_a 16": {"architecture": {"n_d": 32, "n_a": 16}},
    "weight decay 0.05": {"training": {"weight_decay": 0.05}},
    "twice the epochs": {"training": "double"},
    "no validation": {"training": {"train_size": 1.0}},
    "step schedule": {"training": {"schedule": "step"}},
}


def settings_of(name: str, n_obs: int) -> dict[str, dict[str, object]]:
    """Architecture and training arguments of a named setting."""
    from sctab.model import SCTAB

    chosen = {"architecture": {}, "training": {}} | SETTINGS[name]
    if chosen["architecture"] == "paper":
        paper = SCTAB.paper_settings()
        return {"architecture": paper["model"], "training": paper["train"] | {"max_epochs": 30, "batch_size": 256}}
    if chosen["training"] == "double":
        chosen["training"] = {"max_epochs": 2 * SCTAB._default_training(n_obs)["max_epochs"]}
    return chosen


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS))
    parser.add_argument("--tasks", nargs="*", default=[""], help="beginnings of task names")
    arguments = parser.parse_args()

    rows: dict[str, dict[str, list[float]]] = {}
    for task in fold_tasks(Data(arguments.data)):
        if not task.name.startswith(tuple(arguments.tasks)):
            continue
        group = task.name.split("/")[0] if task.name.startswith("kang/") else task.name
        for name, balanced in (("logistic regression", False), ("logistic regression, balanced", True)):
            rows.setdefault(name, {}).setdefault(group, []).append([logistic_regression(task, balanced=balanced)])
        for name in arguments.settings:
            values = [sctab(task, seed, **settings_of(name, task.reference.n_obs)) for seed in range(arguments.seeds)]
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
