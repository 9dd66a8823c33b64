"""The report that the documentation shows: 700 blood cells (Zheng et al. 2017) that come with scanpy.

uv run python docs/write_report.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import scanpy as sc

import sctab


def main(folder: Path) -> None:
    """Write `example_report.html` into a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = sc.datasets.pbmc68k_reduced()
        sctab.tl.annotate(adata, "pbmc", accepted_error=0.2, unseen_fdr=0.1, force=True)
    sctab.report.write(
        adata,
        folder / "example_report.html",
        sample_key="louvain",
        labels_key="bulk_labels",
        title="700 blood cells",
        overwrite=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
