"""Peak memory and seconds of XGBoostClassifier on a large sparse reference, in memory and on disk.

    uv run python benchmarks/boosting_memory.py [--cells 200000] [--genes 20000] [--draws 1300] [--rounds 10] [--folder DIR]

Makes a reference of random counts with ten cell types and writes it to a file; each measurement is a process of its own, so that its peak
memory is that of one training and nothing else. The number of rounds does not change the peak by more than the size of the trees.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

N_TYPES = 10


def make_reference(path: Path, *, n_cells: int, n_genes: int, n_draws: int) -> None:
    """Counts of `n_draws` molecules per cell, drawn from the profile of its type."""
    rng = np.random.default_rng(0)
    base = rng.dirichlet(np.full(n_genes, 0.5))
    profiles = [np.cumsum(base * rng.gamma(2.0, 0.5, size=n_genes)) for _ in range(N_TYPES)]
    types = rng.integers(N_TYPES, size=n_cells)
    blocks = []
    for chosen in np.array_split(types, -(-n_cells // 4096)):
        genes = np.concatenate([np.searchsorted(profiles[t], rng.random(n_draws) * profiles[t][-1]) for t in chosen])
        cells = np.repeat(np.arange(len(chosen)), n_draws)
        block = sparse.csr_matrix((np.ones(len(genes), np.float32), (cells, genes)), shape=(len(chosen), n_genes))
        blocks.append(block)
    counts = sparse.vstack(blocks, format="csr")
    del blocks
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"type {t}" for t in types]),
            "donor_id": pd.Categorical([f"donor {d}" for d in rng.integers(20, size=n_cells)]),
        },
        index=[f"cell {i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(n_genes)])
    AnnData(counts, obs=obs, var=var).write_h5ad(path)


def measure(path: Path, *, backed: bool, n_rounds: int, max_depth: int) -> None:
    """Train once and print seconds and the peak memory of this process."""
    from sctab.benchmark.peers._program import peak_memory
    from sctab.model import XGBoostClassifier

    warnings.simplefilter("ignore")
    start = time.perf_counter()
    adata = ad.read_h5ad(path, backed="r" if backed else None)
    XGBoostClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = XGBoostClassifier(adata, max_depth=max_depth)
    model.train(calibrate=False, max_epochs=n_rounds, accelerator="cpu", enable_progress_bar=False)
    peak = peak_memory() / 1e9
    where = "on disk" if backed else "in memory"
    n_components, score = model.spec.architecture["n_components"], model.spec.training["validation"]["macro_f1"]
    print(f"| {where} | {n_components} | {peak:.2f} | {time.perf_counter() - start:.0f} | {score:.3f} |", flush=True)


def main() -> None:
    """Make the reference and measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=1300)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--depth", type=int, default=6, help="largest depth of the trees; the published one is 10")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", choices=("memory", "disk"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        path = folder / f"reference_{arguments.cells}x{arguments.genes}_{arguments.draws}.h5ad"
        if arguments.measure:
            measure(path, backed=arguments.measure == "disk", n_rounds=arguments.rounds, max_depth=arguments.depth)
            return
        if not path.exists():
            make_reference(path, n_cells=arguments.cells, n_genes=arguments.genes, n_draws=arguments.draws)
        with h5py.File(path) as file:
            n_stored = len(file["X/data"])
        print(f"{arguments.cells} x {arguments.genes}, {n_stored / arguments.cells:.0f} stored values per cell")
        print("| reference | components | peak memory (GB) | seconds | validation macro F1 |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        for where in ("memory", "disk"):
            options = [
                "--cells",
                arguments.cells,
                "--genes",
                arguments.genes,
                "--draws",
                arguments.draws,
                "--rounds",
                arguments.rounds,
            ]
            command = [sys.executable, __file__, *options, "--folder", folder, "--measure", where]
            subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
