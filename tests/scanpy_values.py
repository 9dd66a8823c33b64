"""Matrices as scanpy makes them of counts."""

import numpy as np
import scanpy as sc
from anndata import AnnData

BASES = {"e": np.e, "2": 2, "10": 10}


def normalised(counts, target_sum=1e4, **settings):
    """What `scanpy.pp.normalize_total` makes of counts."""
    adata = AnnData(np.array(counts, dtype=np.float32))
    sc.pp.normalize_total(adata, target_sum=target_sum, **settings)
    return adata.X


def logarithmised(counts, target_sum=1e4, *, base="e"):
    """What `scanpy.pp.log1p` makes of that."""
    adata = AnnData(normalised(counts, target_sum))
    sc.pp.log1p(adata, base=None if base == "e" else BASES[base])
    return adata.X
