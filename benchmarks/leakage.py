"""Cells of the training data in a query: how many are recognised, how many others are, and what the fingerprints take.

    uv run python benchmarks/leakage.py real --data FOLDER [--seeds 0 1 2]
    uv run python benchmarks/leakage.py synthetic [--cells 1000000 15000000]

`real` learns half of the cells of a data set, over its 2,000 most variable genes, and looks for cells in all of it: as they are, as
logarithms of normalised counts, and without some of the genes. The half that was not learned gives the false ones, and so does another
data set, of which no cell was learned. `synthetic` draws cells that show each gene as often as cells of Kang et al. do on average, where
there are at most a million; of more, fingerprints are random numbers, as those of different cells are.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, markdown
from _measure import machine
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Query, open_query
from sctab.inference import Fingerprints, ModelSpec, count_cells
from sctab.inference._fingerprints import add_hashes, holds_hashes
from sctab.model._learned_cells import learned_cells
from sctab.train import MemoryReference

N_GENES = 2_000
BLOCK = 20_000
MOST_DRAWN = 1_000_000
N_TESTED = 100_000


def learn(adata: AnnData) -> tuple[ModelSpec, Fingerprints, float]:
    """Fingerprints of all cells as training keeps them, and the seconds that this takes."""
    reference = MemoryReference.of(adata, "cell_type")
    spec = reference.describe("LinearClassifier", n_top_genes=N_GENES, architecture={})
    data = reference.data(spec)
    data.rows(np.arange(1))  # reads the counts, which training has done before
    start = time.perf_counter()
    arrays = learned_cells(data, fingerprints=True, seed=0)
    seconds = time.perf_counter() - start
    return spec, Fingerprints.from_arrays(arrays, n_genes=len(spec.features)), seconds


def query_of(adata: AnnData, spec: ModelSpec) -> Query:
    """A query as a model opens it."""
    return open_query(adata, spec.features, spec.normalization)


def as_logarithms(adata: AnnData) -> AnnData:
    """Logarithms of counts per 10,000."""
    scaled = adata.copy()
    totals = np.asarray(scaled.X.sum(axis=1)).ravel()
    scaled.X = sparse.csr_matrix(sparse.diags(1e4 / np.maximum(totals, 1)) @ scaled.X, dtype=np.float32).log1p()
    return scaled


def without(fraction: float, seed: int) -> Callable[[AnnData], AnnData]:
    """Leave out genes at random."""

    def leave_out(adata: AnnData) -> AnnData:
        kept = np.random.default_rng(seed).random(adata.n_vars) >= fraction
        return adata[:, kept].copy()

    return leave_out


def in_ten_cells(adata: AnnData) -> AnnData:
    """Leave out genes that fewer than ten cells show, as many pipelines do, of half of the cells."""
    return adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() >= 10].copy()


def changes(seed: int) -> dict[str, Callable[[AnnData], AnnData]]:
    """Forms of a query, by name."""
    return {
        "counts": lambda adata: adata,
        "log1p of counts per 10,000": as_logarithms,
        "genes in ten cells or more": in_ten_cells,
        **{f"without {fraction:.0%} of the genes": without(fraction, seed) for fraction in (0.02, 0.05, 0.1, 0.25, 0.5)},
    }


def real(data: Data, seeds: list[int]) -> Iterator[dict[str, object]]:
    """Rates of errors on half-learned data sets, one row per query."""
    others = {"pbmc_zheng_facs": "pbmc3k_10x", "pbmc3k_10x": "pbmc_zheng_facs", "pbmc_kang_ctrl_8donors": "pbmc3k_10x"}
    for name, other in others.items():
        adata = data[name]
        if "cell_type" not in adata.obs:
            adata.obs["cell_type"] = adata.obs["cell_type_coarse"]
        rows: dict[str, list[tuple[float, ...]]] = {}
        for seed in seeds:
            is_learned = np.random.default_rng(seed).random(adata.n_obs) < 0.5
            spec, fingerprints, seconds = learn(adata[is_learned].copy())
            forms = {form: change(adata) for form, change in changes(seed).items()} | {f"{other}, as it is": data[other]}
            for form, query in forms.items():
                opened = query_of(query, spec)
                start = time.perf_counter()
                found = count_cells(opened, fingerprints).is_learned
                took = time.perf_counter() - start
                is_own = query.n_obs == adata.n_obs and form != f"{other}, as it is"
                recall = found[is_learned].mean() if is_own else np.nan
                false = found[~is_learned].mean() if is_own else found.mean()
                per_cell = fingerprints.n_bytes / fingerprints.n_cells
                rows.setdefault(form, []).append(
                    (recall, false, per_cell, 1e6 * seconds / is_learned.sum(), 1e6 * took / query.n_obs)
                )
        for form, found in rows.items():
            recall, false, per_cell, learned, took = np.mean(found, axis=0)
            yield {
                "learned": f"half of {name}",
                "query": form,
                "recognised": "" if np.isnan(recall) else f"{recall:.3%}",
                "false": f"{false:.3%}",
                "bytes per cell": f"{per_cell:.2f}",
                "seconds per million learned": f"{learned:.0f}",
                "seconds per million in the query": f"{took:.0f}",
            }


def drawn(rates: NDArray[np.float64], n_cells: int, seed: int) -> Iterator[sparse.csr_matrix]:
    """Cells that show each gene with a probability, which varies between cells as depth does."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_cells, BLOCK):
        n_obs = min(BLOCK, n_cells - start)
        depth = rng.gamma(5, 1 / 5, size=(n_obs, 1)).astype(np.float32)
        shown = rng.random((n_obs, len(rates)), dtype=np.float32) < 1 - np.exp(np.log1p(-rates).astype(np.float32) * depth)
        yield sparse.csr_matrix(shown, dtype=np.float32)


def synthetic(n_cells: int) -> dict[str, object]:
    """Rates of errors and sizes with many training cells."""
    rng = np.random.default_rng(0)
    rates = np.minimum(rng.gamma(0.5, 0.15, size=N_GENES), 0.95)
    fingerprints = Fingerprints.empty(n_cells, rates)
    seconds = 0.0
    if n_cells <= MOST_DRAWN:
        for block in drawn(rates, n_cells, 1):
            start = time.perf_counter()
            fingerprints = fingerprints.with_cells(block)
            seconds += time.perf_counter() - start
        learned = np.concatenate([fingerprints.recognise(block) for block in drawn(rates, N_TESTED, 1)])
        start = time.perf_counter()
        others = np.concatenate([fingerprints.recognise(block) for block in drawn(rates, N_TESTED, 2)])
        took = time.perf_counter() - start
    else:
        for bits in fingerprints.bits:
            for _ in range(0, n_cells, MOST_DRAWN):
                hashes = rng.integers(2**64, size=min(MOST_DRAWN, n_cells), dtype=np.uint64)
                start = time.perf_counter()
                add_hashes(bits, hashes)
                seconds += time.perf_counter() - start
        learned = holds_hashes(fingerprints.bits[-1], hashes)
        start = time.perf_counter()
        others = holds_hashes(fingerprints.bits[0], rng.integers(2**64, size=N_TESTED, dtype=np.uint64))
        took = time.perf_counter() - start
    partly = fingerprints.false_positive_rate()
    return {
        "training cells": f"{n_cells:,}",
        "drawn": "cells" if n_cells <= MOST_DRAWN else "fingerprints",
        "recognised": f"{learned.mean():.3%}",
        "false": f"{others.mean():.3%}",
        "false, with missing genes": f"{partly:.3%}",
        "MB": f"{fingerprints.n_bytes / 1e6:.1f}",
        "bytes per cell": f"{fingerprints.n_bytes / n_cells:.2f}",
        "seconds to learn": f"{seconds:.0f}",
        "seconds per million in the query": f"{1e6 * took / N_TESTED:.0f}",
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["real", "synthetic"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000_000, 15_000_000])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    rows = real(Data(arguments.data), arguments.seeds) if arguments.what == "real" else map(synthetic, arguments.cells)
    table = pd.DataFrame(list(rows))
    print(markdown(table.set_index(table.columns[0])))


if __name__ == "__main__":
    main()
