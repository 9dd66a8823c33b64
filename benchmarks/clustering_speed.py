"""Speed of pretraining SCDeepCluster beside the published way, which `_published_clustering.py` implements.

    uv run python benchmarks/clustering_speed.py [--accelerator cpu] [--sizes small large] [--repeats 1] [--epochs 3 1]
    uv run python benchmarks/clustering_speed.py --quality --data FOLDER [--accelerator cpu] [--seeds 0 1 2 3 4] [--pretrain-epochs 300]

The first prints, for simulated counts of 2,100 cells and 2,000 genes (`small`, 10 % of the counts not zero) and of 4,271 cells and 20,000
genes (`large`, 5 %), seconds and processor seconds per epoch of pretraining, the ratio of the seconds, and memory: the peak less what the
process had with its modules and the sparse counts, or that of the GPU. Each run has a process of its own, and methods take turns. Its first
epoch does not count. Methods are `sctab` with its defaults, the published way in double precision, and the same in single precision.

`--quality` trains both to the end with the true number of clusters on 10x PBMC 4k, and prints normalised mutual information and adjusted
Rand index: mean ± standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from _measure import head, machine, memory, row, spread
from scipy import sparse

SIZES = {"small": (2_100, 2_000, 0.10), "large": (4_271, 20_000, 0.05)}
METHODS = ("sctab", "published, float64", "published, float32")
QUALITY = "clust_10x_pbmc4k_top2000"


def simulated(size: str) -> sparse.csr_matrix:
    """Counts of four types of cells: Poisson, with rates by gene, type and cell that give the density of a size."""
    n_obs, n_vars, density = SIZES[size]
    rng = np.random.default_rng(0)
    genes = rng.lognormal(0, 1.5, n_vars) * rng.lognormal(0, 0.5, (4, n_vars))
    rates = rng.lognormal(0, 0.3, (n_obs, 1)).astype(np.float32) * genes[rng.integers(4, size=n_obs)].astype(np.float32)
    low, high = 0.0, 10.0
    for _ in range(30):
        scale = (low + high) / 2
        low, high = (scale, high) if 1 - np.exp(-scale * rates[::50]).mean() < density else (low, scale)
    return sparse.csr_matrix(np.vstack([rng.poisson(scale * part).astype(np.float32) for part in np.array_split(rates, 20)]))


def pretrain(method: str, counts: sparse.csr_matrix, n_epochs: int, accelerator: str) -> dict[str, float]:
    """Seconds and processor seconds per epoch, and memory."""
    import torch

    times = []

    def finished() -> None:
        times.append((time.perf_counter(), time.process_time()))

    is_cuda = accelerator != "cpu" and torch.cuda.is_available()
    if method == "sctab":
        model = ours(counts, 4)
        before = memory(os.getpid(), "VmRSS")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.train(n_epochs + 1, 0, accelerator=accelerator, enable_progress_bar=False, logger=clock(finished))
    else:
        from _published_clustering import PublishedClustering

        before = memory(os.getpid(), "VmRSS")
        dtype = torch.float64 if method.endswith("64") else torch.float32
        published = PublishedClustering(counts, device="cuda" if is_cuda else "cpu", dtype=dtype, seed=0)
        published.pretrain(n_epochs + 1, finished)
    (start, cpu_start), (end, cpu_end) = times[0], times[n_epochs]
    peak = torch.cuda.max_memory_allocated() if is_cuda else memory(os.getpid(), "VmHWM") - before
    return {"seconds": (end - start) / n_epochs, "cpu": (cpu_end - cpu_start) / n_epochs, "peak": float(peak)}


def ours(counts: sparse.csr_matrix, n_clusters: int) -> Any:
    """An untrained model of all genes."""
    import anndata as ad
    import pandas as pd

    from sctab.model import SCDeepCluster

    adata = ad.AnnData(counts, var=pd.DataFrame(index=[f"gene_{number}" for number in range(counts.shape[1])]))
    SCDeepCluster.setup_anndata(adata)
    return SCDeepCluster(adata, n_clusters=n_clusters)


def clock(finished: Any) -> Any:
    """A logger that calls a function after every epoch."""
    from lightning.pytorch.loggers import Logger

    class Clock(Logger):
        name, version = "clock", 0

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:  # noqa: ARG002
            finished()

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """Keep nothing."""

    return Clock()


def compare_speed(sizes: list[str], epochs: list[int], repeats: int, accelerator: str, output: Path | None) -> None:
    """Print a table for each size."""
    for size, n_epochs in zip(sizes, epochs, strict=True):
        n_obs, n_vars, density = SIZES[size]
        found: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
        for _ in range(repeats):
            for method in METHODS:
                command = [sys.executable, __file__, "--child", method, "--sizes", size, "--epochs", str(n_epochs)]
                answer = subprocess.run([*command, "--accelerator", accelerator], check=True, stdout=subprocess.PIPE, text=True)
                found[method].append(json.loads(answer.stdout.splitlines()[-1]))
                if output is not None:
                    with output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"size": size, "method": method, "machine": machine(), **found[method][-1]}) + "\n")
        title = f"{n_obs:,} cells, {n_vars:,} genes, {density:.0%} of counts not zero; {n_epochs} epochs"
        head(title, "method", "seconds per epoch", "times ours", "processor seconds per epoch", "memory, MB")
        base = sorted(each["seconds"] for each in found["sctab"])[repeats // 2]
        for method, of_method in found.items():
            middle = sorted(each["seconds"] for each in of_method)[repeats // 2]
            row(
                method,
                spread([each["seconds"] for each in of_method], 3),
                f"{middle / base:.1f}",
                spread([each["cpu"] for each in of_method], 3),
                spread([each["peak"] / 1e6 for each in of_method], 0),
            )


def compare_quality(data: Path, seeds: list[int], pretrain_epochs: int, max_epochs: int, accelerator: str) -> None:
    """Print scores of both on a real set."""
    import anndata as ad
    import torch
    from _published_clustering import PublishedClustering
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    adata = ad.read_h5ad(data / f"{QUALITY}.h5ad")
    counts, truth = sparse.csr_matrix(adata.X, dtype=np.float32), adata.obs["cell_type"].astype(str).to_numpy()
    n_clusters, device = len(set(truth)), "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    scores: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS[:2]}
    for seed in seeds:
        model = ours(counts, n_clusters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.train(pretrain_epochs, max_epochs, seed=seed, accelerator=accelerator, enable_progress_bar=False)
        published = PublishedClustering(counts, device=device, dtype=torch.float64, seed=seed)
        published.pretrain(pretrain_epochs)
        of_published = published.cluster(n_clusters, max_epochs=max_epochs)
        for method, clusters in zip(scores, (model.predict(), of_published), strict=True):
            both = normalized_mutual_info_score(truth, clusters), adjusted_rand_score(truth, clusters)
            scores[method].append(both)
            print(f"seed {seed}, {method}: NMI {both[0]:.3f}, ARI {both[1]:.3f}", flush=True)
    head(f"{QUALITY}, {pretrain_epochs} epochs of pretraining, {len(seeds)} seeds", "method", "NMI", "ARI")
    for method, of_method in scores.items():
        columns = list(zip(*of_method, strict=True))
        row(method, *(f"{mean(each):.3f} ± {stdev(each) if len(seeds) > 1 else 0:.3f}" for each in columns))


def main() -> None:
    """Run the benchmark, or one run of it in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 1], help="that count, for each size")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file to which rows are appended as they are finished")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--pretrain-epochs", type=int, default=300)
    parser.add_argument("--max-epochs", type=int, default=2000)
    parser.add_argument("--child", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(pretrain(options.child, simulated(options.sizes[0]), options.epochs[0], options.accelerator)))
        return
    print(machine(), flush=True)
    if not options.quality:
        if len(options.epochs) != len(options.sizes):
            parser.error("--epochs needs a number for each of --sizes")
        compare_speed(options.sizes, options.epochs, options.repeats, options.accelerator, options.output)
        return
    if options.data is None:
        parser.error("--quality needs --data")
    compare_quality(options.data, options.seeds, options.pretrain_epochs, options.max_epochs, options.accelerator)


if __name__ == "__main__":
    main()
