"""Memory and time of computing augmentation vectors, and what they do to the variance that types explain.

    uv run python benchmarks/augmentation.py [--cells 500000] [--genes 19331] [--types 164] [--donors 300]
    uv run python benchmarks/augmentation.py --data FOLDER

The first makes a reference of random counts with effects of type and donor, and computes the vectors of it in a process of its own. What
libraries and counts take is separated from what the computation adds. The second is the check of Fischer et al. (2023,
doi:10.1101/2023.10.07.561331, Methods) on the five donors of the Kang data that are learned from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def make_reference(folder: Path, *, n_cells: int, n_genes: int, n_types: int, n_donors: int) -> None:
    """Counts whose rates are those of a type, changed in a fifth of the genes by the donor; types, donors and depths are uneven."""
    rng = np.random.default_rng(0)
    base = rng.dirichlet(np.full(n_genes, 0.5))
    of_type = base * rng.gamma(1.0, 1.0, size=(n_types, n_genes))
    of_donor = np.exp(rng.normal(0, 0.7, size=(n_donors, n_genes)) * (rng.random((n_donors, n_genes)) < 0.2))
    types = rng.choice(n_types, size=n_cells, p=_uneven(n_types, rng))
    donors = rng.choice(n_donors, size=n_cells, p=_uneven(n_donors, rng))
    n_draws = rng.lognormal(np.log(800), 0.5, size=n_cells).astype(int)
    lengths = np.empty(n_cells, dtype=np.int64)
    with (folder / "indices").open("wb") as indices, (folder / "data").open("wb") as data:
        for cell in range(n_cells):
            rates = np.cumsum(of_type[types[cell]] * of_donor[donors[cell]])
            counts = np.bincount(np.searchsorted(rates, rng.random(n_draws[cell]) * rates[-1]), minlength=n_genes)
            genes = np.flatnonzero(counts)
            lengths[cell] = len(genes)
            genes.astype(np.int32).tofile(indices)
            counts[genes].astype(np.float32).tofile(data)
    np.savez(folder / "cells.npz", lengths=lengths, types=types, donors=donors, n_genes=n_genes)


def _uneven(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    shares = rng.lognormal(0, 1, size=n)
    return shares / shares.sum()


def measure(folder: Path) -> None:
    """Compute the vectors once and print what this process took for it."""
    from sctab.augmentation import donor_differences
    from sctab.benchmark.peers._program import peak_memory
    from sctab.data import Normalization, normalise

    libraries = peak_memory()
    cells = np.load(folder / "cells.npz")
    indptr = np.append(0, np.cumsum(cells["lengths"]))
    arrays = (np.fromfile(folder / "data", dtype=np.float32), np.fromfile(folder / "indices", dtype=np.int32), indptr)
    counts = sparse.csr_matrix(arrays, shape=(len(indptr) - 1, int(cells["n_genes"])))
    del arrays, indptr
    with_counts = peak_memory()
    print(f"{counts.shape[0]} x {counts.shape[1]}, {counts.nnz / counts.shape[0] / counts.shape[1]:.1%} of the values stored")
    start = time.perf_counter()
    vectors = donor_differences(
        lambda chosen: normalise(counts[chosen], Normalization()), cells["types"], cells["donors"], rng=np.random.default_rng(0)
    )
    seconds = time.perf_counter() - start
    size = (vectors.data.nbytes + vectors.indices.nbytes + vectors.indptr.nbytes) / 1e9
    print(f"{vectors.shape[0]} vectors, {vectors.nnz / vectors.shape[0]:.0f} values in each, {size:.2f} GB")
    print("| libraries (GB) | counts (GB) | computing the vectors (GB) | peak (GB) | seconds |")
    print("| --- | --- | --- | --- | --- |")
    parts = [libraries, with_counts - libraries, peak_memory() - with_counts, peak_memory()]
    print("| " + " | ".join([*(f"{part / 1e9:.2f}" for part in parts), f"{seconds:.0f}"]) + " |", flush=True)


def check(folder: Path) -> None:
    """Print the explained variance of real data, for three draws of the vectors and of the cells' changes."""
    from _common import Data, markdown

    from sctab.tl import explained_variance

    kang = Data(folder).kang(test=False)
    for seed in range(3):
        print(
            markdown(explained_variance(kang, "cell_type", "donor_id", seed=seed).round(4).rename_axis(f"seed {seed}")), flush=True
        )


def main() -> None:
    """Make the reference and measure, or check on real data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=500_000)
    parser.add_argument("--genes", type=int, default=19_331)
    parser.add_argument("--types", type=int, default=164)
    parser.add_argument("--donors", type=int, default=300)
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
    elif arguments.data:
        check(arguments.data)
    else:
        with tempfile.TemporaryDirectory() as folder:
            sizes = {"n_types": arguments.types, "n_donors": arguments.donors}
            make_reference(Path(folder), n_cells=arguments.cells, n_genes=arguments.genes, **sizes)
            subprocess.run([sys.executable, __file__, "--measure", folder], check=True)


if __name__ == "__main__":
    main()
