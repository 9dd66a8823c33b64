"""Some genes of human, and tables of them."""

import numpy as np
import pandas as pd
from scipy import sparse

HUMAN = {
    "CD3D": "ENSG00000167286",
    "MS4A1": "ENSG00000156738",
    "NKG7": "ENSG00000105374",
    "LYZ": "ENSG00000090382",
    "CST3": "ENSG00000101439",
    "GNLY": "ENSG00000115523",
    "PPBP": "ENSG00000163736",
    "CD8A": "ENSG00000153563",
    "CD4": "ENSG00000010610",
    "HLA-A": "ENSG00000206503",
    "HLA-DRA": "ENSG00000204287",
    "MT-ND1": "ENSG00000198888",
    "ACTB": "ENSG00000075624",
    "B2M": "ENSG00000166710",
    "TBCE": "ENSG00000284770",
    "CD79A": "ENSG00000105369",
    "FCGR3A": "ENSG00000203747",
    "IL7R": "ENSG00000168685",
    "CCR7": "ENSG00000126353",
    "S100A8": "ENSG00000143546",
    "S100A9": "ENSG00000163220",
    "FCER1A": "ENSG00000179639",
    "NKX2-1": "ENSG00000136352",
    "C1orf112": "ENSG00000000460",
}


SYMBOLS, IDS = list(HUMAN), list(HUMAN.values())


N_GENES = len(SYMBOLS)


NUMBERS = [str(i) for i in range(N_GENES)]


def frame(index, /, **columns):
    return pd.DataFrame(columns, index=pd.Index(list(index)))


def counts_for(var, seed=0):
    """Small integers, which float32 adds up exactly, `(5, n_vars)`."""
    return sparse.csr_matrix(np.random.default_rng(seed).integers(0, 9, size=(5, len(var))).astype(np.float32))
