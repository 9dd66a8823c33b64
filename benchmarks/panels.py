"""Types that a panel of genes cannot distinguish: the rule of `sctab.pp.check` beside the errors of a classifier on such panels.

    uv run python benchmarks/panels.py --data FOLDER [--seeds 0]

Types are learned from half of the cells of a data set, over all of its genes. As many genes as a panel has are then drawn at random.
Logistic regression, in all types and in the genes of the panel, learns the same half and predicts the other. The error of two types is the
mean over both of the fraction of their cells that gets the other label, of those that get either. It is printed by the overlap of the two
types in the panel.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, markdown
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from sctab.data import Normalization, normalise
from sctab.inference import Panel, learn_types

SIZES = (10, 30, 100, 300)
BOUNDS = (0, 0.01, 0.05, 0.2, 0.5, 0.8, 1.0001)
MOST_CELLS = 2_000
FEWEST = 20
"""Cells of a type that are predicted."""


def errors(counts: sparse.csr_matrix, codes: NDArray[np.integer], seed: int) -> Iterator[dict[str, object]]:
    """Overlap and error of each two types in each panel."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(len(codes))[:MOST_CELLS]
    learned, tested = cells[::2], cells[1::2]
    values = normalise(counts, Normalization())
    seen = learn_types(values[learned], codes[learned], None, n_labels=codes.max() + 1, normalization=Normalization(), seed=seed)
    median = float(np.median(np.asarray(counts[tested].sum(axis=1))))
    truth = codes[tested]
    for size in SIZES:
        found = np.zeros(counts.shape[1], dtype=bool)
        found[rng.permutation(counts.shape[1])[: min(size, counts.shape[1])]] = True
        overlap = Panel(seen, found).overlap(median)
        model = LogisticRegression(max_iter=100, class_weight="balanced").fit(values[learned][:, found], codes[learned])
        predicted = model.predict(values[tested][:, found])
        for first, second in combinations(np.unique(codes[learned]), 2):
            parts = []
            for own, other in ((first, second), (second, first)):
                either = predicted[truth == own][np.isin(predicted[truth == own], [own, other])]
                parts.append((either == other).mean() if len(either) >= FEWEST else np.nan)
            yield {"genes": size, "overlap": overlap[first, second], "error": float(np.mean(parts))}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data, rows = Data(arguments.data), []
    for name, key in (
        ("pbmc_zheng_facs", "cell_type"),
        ("pbmc3k_10x", "cell_type_coarse"),
        ("pbmc_kang_ctrl_8donors", "cell_type"),
        ("celllines_scmixology_5runs", "cell_type"),
    ):
        adata = data[name]
        codes = pd.factorize(adata.obs[key].astype(str), sort=True)[0]
        rows += [row for seed in arguments.seeds for row in errors(sparse.csr_matrix(adata.X, dtype=np.float32), codes, seed)]
    table = pd.DataFrame(rows).dropna()
    bins = pd.cut(table["overlap"], BOUNDS, right=False)
    shown = table.groupby(bins, observed=True)["error"].agg(
        pairs="size", median="median", smallest_tenth=lambda each: each.quantile(0.1), largest_tenth=lambda each: each.quantile(0.9)
    )
    print(markdown(shown.round(3).rename_axis("overlap").rename(columns=lambda name: name.replace("_", " "))))


if __name__ == "__main__":
    main()
