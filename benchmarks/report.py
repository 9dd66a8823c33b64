"""Time, memory and size of a report, by number of cells.

    uv run python benchmarks/report.py ANNOTATED.h5ad --cells 100000 1000000 --folder /tmp/reports

It repeats the cells of an annotated file until there are as many as requested, writes them as a new file, and reports on it in another
process. `ANNOTATED.h5ad` is the output of `sctab annotate`, such as that of `../shared/data/pbmc_kang_ctrl_8donors.h5ad` with the model
`pbmc`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
from anndata.io import read_elem, write_elem
from scipy import sparse

_MEASURE = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
start = time.perf_counter()
import sctab.report
sctab.report.write(sys.argv[1], sys.argv[2], overwrite=True)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def tile(annotated: Path, target: Path, n_obs: int) -> None:
    """Write a file with `n_obs` cells: those of `annotated`, in order, again and again, with a little noise on their UMAP."""
    adata = ad.read_h5ad(annotated)
    rows = np.arange(n_obs) % adata.n_obs
    obs = adata.obs.iloc[rows].copy()
    obs.index = [f"cell{number}" for number in range(n_obs)]
    counts = sparse.csr_matrix(adata.X)
    with h5py.File(target, "w") as file:
        write_elem(file, "/", ad.AnnData(obs=obs, var=adata.var, uns=dict(adata.uns)))
        rng = np.random.default_rng(0)
        for key, values in adata.obsm.items():
            array = np.asarray(values, dtype=np.float32)
            write_elem(
                file.require_group("obsm"),
                key,
                array[rows] + rng.normal(scale=0.02, size=(n_obs, array.shape[1])).astype(np.float32),
            )
        if "X" in file:
            del file["X"]
        n_whole, rest = divmod(n_obs, adata.n_obs)
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([n_obs, adata.n_vars])})
        parts = [counts] * n_whole + ([counts[:rest]] if rest else [])
        nnz = sum(part.nnz for part in parts)
        data = group.create_dataset("data", (nnz,), dtype=np.float32, chunks=(2**17,))
        indices = group.create_dataset("indices", (nnz,), dtype=np.int32, chunks=(2**17,))
        at, indptr = 0, [np.zeros(1, dtype=np.int64)]
        for part in parts:
            data[at : at + part.nnz], indices[at : at + part.nnz] = part.data, part.indices
            indptr.append(part.indptr[1:].astype(np.int64) + at)
            at += part.nnz
        group.create_dataset("indptr", data=np.concatenate(indptr))
        read_elem(file["var"])  # what was written can be read


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotated", type=Path)
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    print(f"{'cells':>10} {'file MB':>9} {'page MB':>9} {'seconds':>9} {'peak MB':>9}")
    for n_obs in given.cells:
        target, page = given.folder / f"cells_{n_obs}.h5ad", given.folder / f"report_{n_obs}.html"
        if not target.exists():
            tile(given.annotated, target, n_obs)
        done = subprocess.run([sys.executable, "-c", _MEASURE, str(target), str(page)], capture_output=True, text=True, check=True)
        seconds, peak = map(float, done.stdout.split()[-2:])
        sizes = (path.stat().st_size / 1e6 for path in (target, page))
        print(f"{n_obs:>10,} {next(sizes):>9.0f} {next(sizes):>9.2f} {seconds:>9.1f} {peak:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
