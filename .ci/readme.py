"""Run the Python of the README, which needs nothing but what `pip install sctab` brings.

    python .ci/readme.py

`query` and `reference` are cells that come with scanpy. It works in a temporary directory, on Linux, macOS and Windows.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from importlib.metadata import distributions
from pathlib import Path

os.environ |= {"MPLBACKEND": "agg", "TQDM_DISABLE": "1"}

import numpy as np
import scanpy as sc

import sctab

README = Path(__file__).resolve().parents[1] / "README.md"


def cells() -> sc.AnnData:
    """Give cells with all genes that were kept, log1p of their values, known types and four donors."""
    with warnings.catch_warnings(action="ignore"):
        adata = sc.datasets.pbmc68k_reduced()
    adata = adata.raw.to_adata()[::2].copy()
    adata.obs["cell_type"] = adata.obs["bulk_labels"].astype(str).astype("category")
    adata.obs["donor_id"] = np.resize(["d1", "d2", "d3", "d4"], adata.n_obs)
    return adata


def main() -> int:
    """Run each block after the one before it; 1 when the last does not leave labels behind."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names = {"query": cells(), "reference": cells()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        for number, block in enumerate(blocks, start=1):
            print(f"README.md, block {number} of {len(blocks)}:\n{block}", flush=True)
            exec(compile(block, f"README.md, block {number}", "exec"), names)
        os.chdir(README.parent)
    labelled = names["query"].obs["sctab_label"].notna().mean()
    installed = len({distribution.name for distribution in distributions()})
    print(f"{len(blocks)} blocks ran with sctab {sctab.__version__} and {installed} packages; {labelled:.0%} of cells have a label")
    return int(not blocks or labelled < 1)


if __name__ == "__main__":
    sys.exit(main())
