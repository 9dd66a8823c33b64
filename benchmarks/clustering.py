"""Clusters without labels: SCDeepCluster beside PCA and scVI, each with k-means, Leiden or Louvain, on sets whose types are known.

    uv run python benchmarks/clustering.py --data FOLDER --output DIR [--sets NAME ...] [--methods NAME ...] [--seeds 0 1 2 3 4]
    uv run python benchmarks/clustering.py --table FILE [FILE ...]

Methods are

`pca`: median counts per cell, log1p, 2,000 highly variable genes (`seurat`), and 50 principal components, as scanpy does by default; then
k-means with the true number of types, Leiden, and Louvain. `pca-all` is the same with all genes.

`scvi`: 2,000 highly variable genes of scanpy (`seurat_v3`), scVI with its defaults, or for `--scvi-epochs` epochs; then k-means and Leiden.

`scdeepcluster`: 2,000 genes by its own selection, its defaults; with the true number of types, and with the number that it estimates. Both
begin with the same pretrained autoencoder, whose seconds count in both. `scdeepcluster-all` is the same with all genes.

Leiden, Louvain and the estimate of SCDeepCluster take 20 neighbours and resolution 0.8. A set with at most 2,000 genes keeps all. Nothing
was chosen by these scores. `cell lines` comes twice: methods that take batches (`scvi`, `scdeepcluster`) are run with and without them.

Scores are normalised mutual information (arithmetic), adjusted Rand index and accuracy (`sctab.metrics.cluster_accuracy`) against the
author's types, silhouette width of these types in the latent space, and stability: the mean adjusted Rand index between the clusters of
two seeds. Tables give mean ± standard deviation over seeds, and median seconds.

Rows are appended to `clustering.jsonl` in DIR as each run finishes; finished runs are skipped when it is started again. Several processes
may share DIR. `--minutes` starts no run that may not end in time, by the longest run so far. `--table` prints the tables of files of rows
and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from _measure import head, machine, row
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from sctab.metrics import cluster_accuracy

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

SMALL = "clust_10x_pbmc4k_top2000"
"""It has 2,000 genes."""
SETS = {
    "worm": ("clust_worm_neuron", None),
    "pbmc4k": (SMALL, None),
    "cell lines": ("celllines_scmixology_5runs", "batch"),
    "pbmc3k": ("pbmc3k_10x", None),
    "facs": ("pbmc_zheng_facs", None),
}
"""File and column of batches of each set."""
LABELS = "cell_type"
N_GENES = 2000
N_COMPONENTS = 50
N_NEIGHBORS, RESOLUTION = 20, 0.8
N_INIT = 20
"""Starts of k-means after PCA and scVI."""
ROWS = "clustering.jsonl"
SCORES = ("nmi", "ari", "accuracy", "silhouette")


@dataclass(frozen=True)
class Run:
    """One latent space, which gives one or several rows."""

    set: str
    method: str
    batch: bool
    seed: int


@dataclass(frozen=True)
class Found:
    """Clusters of the cells of a set."""

    clusterer: str
    clusters: NDArray[np.integer]
    """`(n_obs,)`, from 0."""
    latent: NDArray[np.floating]
    """`(n_obs, n_latent)`."""
    seconds: float
    """From counts to clusters."""
    number: str = "estimated"
    """`"true"` or `"estimated"`: where the number of clusters comes from."""
    epochs: int | None = None
    """Epochs that trained clusters and autoencoder together."""


# ------------------------------------------------------------------------------------------------------------ the methods


def of_pca(adata: AnnData, run: Run, _: argparse.Namespace) -> Iterator[Found]:
    """Principal components of log-normalised counts."""
    import scanpy as sc

    start, n_types = time.perf_counter(), adata.obs[LABELS].nunique()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    if adata.n_vars > N_GENES and run.method == "pca":
        sc.pp.highly_variable_genes(adata, n_top_genes=N_GENES, flavor="seurat")
        adata = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.pca(adata, n_comps=N_COMPONENTS, random_state=run.seed)
    latent = adata.obsm["X_pca"]
    taken = time.perf_counter() - start
    yield k_means(latent, n_types, run.seed, taken)
    yield communities("Leiden", latent, run.seed, taken)
    yield communities("Louvain", latent, run.seed, taken)


def of_scvi(adata: AnnData, run: Run, options: argparse.Namespace) -> Iterator[Found]:
    """Latent space of scVI."""
    import scvi

    start, n_types = time.perf_counter(), adata.obs[LABELS].nunique()
    if adata.n_vars > N_GENES:
        adata = adata[:, variable_genes(adata)].copy()
    scvi.settings.seed = run.seed
    scvi.model.SCVI.setup_anndata(adata, batch_key=SETS[run.set][1] if run.batch else None)
    model = scvi.model.SCVI(adata)
    model.train(max_epochs=options.scvi_epochs, accelerator=options.accelerator, enable_progress_bar=False)
    latent = model.get_latent_representation()
    taken = time.perf_counter() - start
    yield k_means(latent, n_types, run.seed, taken)
    yield communities("Leiden", latent, run.seed, taken)


def variable_genes(adata: AnnData) -> NDArray[np.bool_]:
    """Highly variable genes of counts, `(n_vars,)`; with a wider span where the default one has too few different means for a fit."""
    import scanpy as sc

    for span in (0.3, 0.5, 1.0):
        try:
            found = sc.pp.highly_variable_genes(adata, n_top_genes=N_GENES, flavor="seurat_v3", span=span, inplace=False)
        except ValueError as error:
            if "reciprocal condition" not in str(error):
                raise
        else:
            return found["highly_variable"].to_numpy()
    raise ValueError("No span gives a fit")


def of_scdeepcluster(adata: AnnData, run: Run, options: argparse.Namespace) -> Iterator[Found]:
    """Embedded clusters of a denoising ZINB autoencoder."""
    from sctab.model import SCDeepCluster

    start, n_types = time.perf_counter(), adata.obs[LABELS].nunique()
    SCDeepCluster.setup_anndata(adata, batch_key=SETS[run.set][1] if run.batch else None)
    genes = {"n_top_genes": N_GENES} if adata.n_vars > N_GENES and run.method == "scdeepcluster" else {}
    settings: dict[str, Any] = {"seed": run.seed, "accelerator": options.accelerator, "enable_progress_bar": False}
    if options.pretrain_epochs is not None:
        settings["pretrain_epochs"] = options.pretrain_epochs
    limit = {} if options.max_epochs is None else {"max_epochs": options.max_epochs}
    pretrained = SCDeepCluster(adata, n_clusters=n_types, **genes)
    pretrained.train(max_epochs=0, **settings)
    weights = pretrained.module.state_dict()
    taken = time.perf_counter() - start
    for number, n_clusters in (("true", n_types), ("estimated", 0)):
        start = time.perf_counter()
        model = SCDeepCluster(adata, n_clusters=n_clusters, **genes)
        model.load_pretrained(weights)
        model.train(**{**settings, "pretrain_epochs": 0, **limit})
        clusters, latent = model.predict(), model.get_latent_representation()
        yield Found("", coded(clusters), latent, taken + time.perf_counter() - start, number, len(model.history["train_loss"]))


METHODS: dict[str, tuple[str, Callable[[AnnData, Run, argparse.Namespace], Iterator[Found]]]] = {
    "pca": ("PCA", of_pca),
    "pca-all": ("PCA, all genes", of_pca),
    "scvi": ("scVI", of_scvi),
    "scdeepcluster": ("SCDeepCluster", of_scdeepcluster),
    "scdeepcluster-all": ("SCDeepCluster, all genes", of_scdeepcluster),
}
TAKES_BATCHES = ("scvi", "scdeepcluster", "scdeepcluster-all")
ALL_GENES = ("pca-all", "scdeepcluster-all")


def k_means(latent: NDArray[np.floating], n_clusters: int, seed: int, taken: float) -> Found:
    """Clusters by k-means, with the number of types given."""
    start = time.perf_counter()
    clusters = KMeans(n_clusters, n_init=N_INIT, random_state=seed).fit_predict(latent)
    return Found("k-means", clusters, latent, taken + time.perf_counter() - start, "true")


def communities(clusterer: str, latent: NDArray[np.floating], seed: int, taken: float) -> Found:
    """Clusters of the graph of nearest neighbours, by Leiden as scanpy runs it, or by Louvain of igraph on the same graph."""
    import anndata as ad
    import igraph
    import scanpy as sc

    start = time.perf_counter()
    cells = ad.AnnData(np.asarray(latent, dtype=np.float32))
    sc.pp.neighbors(cells, n_neighbors=N_NEIGHBORS, use_rep="X", random_state=seed)
    if clusterer == "Leiden":
        sc.tl.leiden(cells, resolution=RESOLUTION, flavor="igraph", n_iterations=2, directed=False, random_state=seed)
        clusters = cells.obs["leiden"].astype(int).to_numpy()
    else:
        edges = sparse.triu(cells.obsp["connectivities"], k=1).tocoo()
        graph = igraph.Graph(n=cells.n_obs, edges=list(zip(edges.row.tolist(), edges.col.tolist(), strict=True)))
        import random

        random.seed(seed)
        igraph.set_random_number_generator(random)
        found = graph.community_multilevel(weights=edges.data.tolist(), resolution=RESOLUTION)
        clusters = np.array(found.membership)
    return Found(clusterer, clusters, latent, taken + time.perf_counter() - start)


def coded(clusters: Any) -> NDArray[np.integer]:
    """Integers in place of labels of clusters."""
    return pd.factorize(np.asarray(clusters, dtype=object))[0]  # -1 for a cell without a count in the genes that are used


# --------------------------------------------------------------------------------------------------------------- the runs


def runs(sets: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> Iterator[Run]:
    """All runs; those of one seed come before those of the next, so that a run that is stopped has equally many of each set."""
    for seed in seeds:
        for method in methods:
            for name in sets:
                if method in ALL_GENES and SETS[name][0] == SMALL:
                    continue
                both = SETS[name][1] is not None and method in TAKES_BATCHES
                yield from (Run(name, method, batch, seed) for batch in ((False, True) if both else (False,)))


def do(run: Run, data: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of a run."""
    import anndata as ad

    adata = ad.read_h5ad(data / f"{SETS[run.set][0]}.h5ad")
    adata.X = sparse.csr_matrix(adata.X, dtype=np.float32)
    truth = adata.obs[LABELS].astype(str).to_numpy()
    name, method = METHODS[run.method]
    rows = []
    for found in method(adata, run, options):
        has = found.clusters >= 0
        rows.append(
            {
                **asdict(run),
                "name": f"{name} + {found.clusterer}" if found.clusterer else name,
                "number": found.number,
                "n_types": len(set(truth)),
                "n_clusters": len(np.unique(found.clusters[has])),
                "nmi": normalized_mutual_info_score(truth, found.clusters),
                "ari": adjusted_rand_score(truth, found.clusters),
                "accuracy": cluster_accuracy(truth, np.where(has, found.clusters, np.nan)),
                "silhouette": float(silhouette_score(found.latent[has], truth[has])),
                "seconds": found.seconds,
                "epochs": found.epochs,
                "settings": settings_of(run.method, options),
                "machine": machine(),
                "clusters": found.clusters.tolist(),
            }
        )
    return rows


def settings_of(method: str, options: argparse.Namespace) -> str:
    """Settings that are not the defaults."""
    names = {"scvi": ("scvi_epochs",), "pca": (), "pca-all": ()}.get(method, ("pretrain_epochs", "max_epochs"))
    return ", ".join(f"{name}={getattr(options, name)}" for name in names if getattr(options, name) is not None)


def read_rows(*files: Path) -> list[dict[str, Any]]:
    """Rows of files that exist; a line that was not written to its end does not count."""
    lines = [line for file in files if file.exists() for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append(file: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows in one write, so that other processes can do so too."""
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------------------- the tables


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print a table for each set."""
    table = pd.DataFrame(rows)
    for name, of_set in table.groupby("set", sort=False):
        n_cells = len(of_set["clusters"].iloc[0])
        title = f"**{name}** (`{SETS[name][0]}`): {n_cells:,} cells, {of_set['n_types'].iloc[0]} types"
        head(title, "method", "number", "clusters", "NMI", "ARI", "accuracy", "silhouette", "stability", "seconds", "seeds")
        order = of_set.assign(place=[list(METHODS).index(each) for each in of_set["method"]]).sort_values("place", kind="stable")
        for (method, batch, number), own in order.groupby(["name", "batch", "number"], sort=False):
            spread = {score: f" ± {own[score].std(ddof=1):.3f}" if len(own) > 1 else "" for score in SCORES}
            scores = [f"{own[score].mean():.3f}{spread[score]}" for score in SCORES]
            row(
                method + (", batches" if batch else ""),
                number,
                "–".join(map(str, sorted({own["n_clusters"].min(), own["n_clusters"].max()}))),
                *scores,
                f"{stability(own['clusters']):.3f}" if len(own) > 1 else "–",
                f"{own['seconds'].median():.0f}",
                len(own),
            )
    print()
    table["settings"] = table["settings"].fillna("") if "settings" in table else ""
    for (method, computer, settings), own in table.groupby(["method", "machine", "settings"], sort=False):
        epochs = own["epochs"].dropna()
        words = [settings] if settings else []
        words += [f"{epochs.min():.0f} to {epochs.max():.0f} epochs with clusters"] if len(epochs) else []
        print("; ".join([f"- {METHODS[method][0]}: {computer}", *words]))


def stability(clusters: pd.Series) -> float:
    """Mean adjusted Rand index between the clusters of two seeds; NaN for one seed."""
    between = [adjusted_rand_score(first, second) for first, second in combinations(clusters, 2)]
    return float(np.mean(between)) if between else float("nan")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--output", type=Path, help="folder of the rows")
    parser.add_argument("--table", type=Path, nargs="+", help="files of rows")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--scvi-epochs", type=int, help="of scVI; its default otherwise")
    parser.add_argument("--pretrain-epochs", type=int, help="of SCDeepCluster; its default otherwise")
    parser.add_argument("--max-epochs", type=int, help="of SCDeepCluster with clusters; its default otherwise")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run that may not end by then")
    options = parser.parse_args()
    if options.table:
        print_tables(read_rows(*options.table))
        return
    if options.data is None or options.output is None:
        parser.error("--data and --output are required, unless --table is given")
    options.output.mkdir(parents=True, exist_ok=True)
    file, start, longest = options.output / ROWS, time.perf_counter(), 0.0
    done = {tuple(row[key] for key in ("set", "method", "batch", "seed")) for row in read_rows(file)}
    for run in runs(options.sets, options.methods, options.seeds):
        began = time.perf_counter()
        if (run.set, run.method, run.batch, run.seed) in done:
            continue
        if began - start + longest > 60 * options.minutes:
            print(f"Stopped before {run}", flush=True)
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = do(run, options.data, options)
        append(file, rows)
        longest = max(longest, time.perf_counter() - began)
        for each in rows:
            print(run, each["name"], each["number"], *(f"{each[key]:.3f}" for key in (*SCORES, "seconds")), flush=True)
    print_tables(read_rows(file))


if __name__ == "__main__":
    main()
