"""Memory of annotation of the formats of a core facility, by number of cells, on synthetic counts with a linear model.

    uv run python benchmarks/inputs.py --folder DIR [--cells 100000 300000] [--genes 20000] [--detected 300] [--formats ten_x market]

Files are made block by block: a 10x Genomics `.h5` (version 3, gzip, 64-bit indices, chunks of 80,000 values) and a folder with
`matrix.mtx.gz`. Each is annotated by the command line in a process of its own, to a table and to a table and an `.h5ad`, one at a time.
Peaks are of the whole process.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from _measure import head, machine, row, watch
from scipy import sparse

BLOCK = 5000
"""Cells that are drawn once and written again and again."""
CHUNK = 80_000
"""Values in a chunk, as Cell Ranger writes them."""


def drawn(n_genes: int, n_detected: int) -> sparse.csr_matrix:
    """Counts of a block of cells."""
    rng = np.random.default_rng(0)
    block = sparse.random(BLOCK, n_genes, density=n_detected / n_genes, format="csr", rng=rng)
    block.data = rng.geometric(0.6, size=block.nnz).astype(np.int32)
    block.sort_indices()
    return block


def ten_x(path: Path, block: sparse.csr_matrix, n_cells: int) -> Path:
    """Write a matrix of version 3."""
    n_genes, n_blocks = block.shape[1], n_cells // BLOCK
    options = {"chunks": (CHUNK,), "compression": "gzip", "compression_opts": 1}
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array([f"ACGT{i:012d}-1".encode() for i in range(n_cells)])
        group["shape"] = np.array([n_genes, n_cells], dtype=np.int32)
        group["indptr"] = np.concatenate([[0], *(block.indptr[1:] + number * block.nnz for number in range(n_blocks))]).astype(
            np.int64
        )
        for name, dtype in (("data", np.int32), ("indices", np.int64)):
            array = group.create_dataset(name, shape=(block.nnz * n_blocks,), dtype=dtype, **options)
            for number in range(n_blocks):
                array[number * block.nnz : (number + 1) * block.nnz] = getattr(block, name).astype(dtype)
        features = {
            "id": genes(n_genes),
            "name": genes(n_genes),
            "feature_type": ["Gene Expression"] * n_genes,
            "genome": ["GRCh38"] * n_genes,
        }
        for name, values in features.items():
            group.create_dataset(f"features/{name}", data=np.array([value.encode() for value in values]))
    return path


def market(folder: Path, block: sparse.csr_matrix, n_cells: int) -> Path:
    """Write a folder as Cell Ranger 3 does."""
    folder.mkdir()
    n_genes, n_blocks = block.shape[1], n_cells // BLOCK
    (folder / "features.tsv").write_text("".join(f"{gene}\t{gene}\tGene Expression\n" for gene in genes(n_genes)), encoding="utf-8")
    (folder / "barcodes.tsv").write_text("".join(f"ACGT{i:012d}-1\n" for i in range(n_cells)), encoding="utf-8")
    cells = sparse.coo_matrix(block)
    with gzip.open(folder / "matrix.mtx.gz", "wb", compresslevel=1) as file:
        file.write(f"%%MatrixMarket matrix coordinate integer general\n%\n{n_genes} {n_cells} {block.nnz * n_blocks}\n".encode())
        for number in range(n_blocks):
            table = pd.DataFrame({"gene": cells.col + 1, "cell": cells.row + 1 + number * BLOCK, "count": cells.data})
            file.write(table.to_csv(sep=" ", header=False, index=False).encode())
    return folder


def genes(n_genes: int) -> list[str]:
    """Ensembl ids."""
    return [f"ENSG{i:011d}" for i in range(n_genes)]


def make_model(folder: Path, block: sparse.csr_matrix) -> Path:
    """Train a linear model on random labels."""
    from sctab.model import LinearClassifier

    some = ad.AnnData(block[:1000].astype(np.float32), var=pd.DataFrame(index=genes(block.shape[1])))
    some.obs["cell_type"] = np.array(["B cell", "T cell", "monocyte"])[np.arange(1000) % 3]
    LinearClassifier.setup_anndata(some, "cell_type")
    model = LinearClassifier(some)
    model.train(max_epochs=1, calibrate=False, accelerator="cpu", enable_progress_bar=False)
    model.save(folder / "model")
    return folder / "model"


def main() -> None:
    """Make the files, annotate them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--detected", type=int, default=300)
    parser.add_argument("--formats", nargs="+", choices=("ten_x", "market"), default=["ten_x", "market"])
    arguments = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder, block = Path(temporary), drawn(arguments.genes, arguments.detected)
        model = make_model(folder, block)
        head("### Memory by format", "input", "cells", "output", "peak (MB)", "seconds")
        for n_cells in arguments.cells:
            for kind in arguments.formats:
                path = ten_x(folder / "a.h5", block, n_cells) if kind == "ten_x" else market(folder / f"m{n_cells}", block, n_cells)
                for outputs in (["a.csv"], ["a.csv", "a.h5ad"]):
                    options = [part for name in outputs for part in ("--output", folder / name)]
                    command = [sys.executable, "-m", "sctab", "annotate", path, "--model", model, *options, "--overwrite"]
                    usage = watch(command)
                    peak = "killed" if usage is None else f"{usage.peak / 1e6:,.0f}"
                    row(kind, f"{n_cells:,}", " and ".join(outputs), peak, "" if usage is None else f"{usage.seconds:,.0f}")


if __name__ == "__main__":
    main()
