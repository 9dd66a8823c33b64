"""Three transfers to donors and datasets that played no part in choosing any setting, beside logistic regression in the same run.

    uv run python benchmarks/transfer.py --data FOLDER [--seeds 3]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. Prints a Markdown table of macro F1 over the query's known types.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, logistic_regression, markdown, sctab, transfer_tasks


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()

    rows = {}
    for task in transfer_tasks(Data(arguments.data)):
        values = [sctab(task, seed, architecture={}, training={}) for seed in range(arguments.seeds)]
        rows[task.name] = {
            "SCTAB": f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}",
            "seeds": ", ".join(f"{value:.3f}" for value in values),
            "logistic regression": f"{logistic_regression(task):.3f}",
            "balanced logistic regression": f"{logistic_regression(task, balanced=True):.3f}",
        }
        print(task.name, rows[task.name], flush=True)
    table = pd.DataFrame(rows).T
    table.index.name = "macro F1"
    print(markdown(table))


if __name__ == "__main__":
    main()
