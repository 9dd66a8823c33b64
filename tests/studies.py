"""Small studies of the same tissue."""

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

TYPES = ("B cell", "natural killer cell", "CD14-positive monocyte")
SYMBOLS = ("CD3D", "MS4A1", "NKG7", "LYZ", "GNLY", "CD79A", "CD14", "FCGR3A", "ACTB", "B2M")
IDS = (
    "ENSG00000167286",
    "ENSG00000156738",
    "ENSG00000105374",
    "ENSG00000090382",
    "ENSG00000115523",
    "ENSG00000105369",
    "ENSG00000170458",
    "ENSG00000203747",
    "ENSG00000075624",
    "ENSG00000166710",
)


def make_study(seed, *, n_obs=120, n_donors=4, genes=range(10), names="both", types=TYPES):
    """A study whose donors all have all types, with some of ten genes that are named in one of three ways."""
    rng = np.random.default_rng(seed)
    genes = list(genes)
    counts = rng.poisson(1.5, size=(n_obs, len(genes))).astype(np.float32)
    counts[:, 0] += 1  # no cell is empty
    symbols, ids = [SYMBOLS[g] for g in genes], [IDS[g] for g in genes]
    var = {
        "both": pd.DataFrame({"ensembl_id": ids}, index=symbols),
        "symbols": pd.DataFrame(index=symbols),
        "ids": pd.DataFrame(index=ids),
    }[names]
    obs = pd.DataFrame(
        {
            "cell_type": np.resize(types, n_obs),
            "donor_id": [f"D{i}" for i in np.arange(n_obs) // len(types) % n_donors],
            "assay": np.where(rng.random(n_obs) < 0.8, "10x 3' v3", "Smart-seq2"),
            "tissue": "blood",
            "is_primary_data": rng.random(n_obs) < 0.9,
        },
        index=[f"{seed}-{i}" for i in range(n_obs)],
    )
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


def cells_of(corpus):
    """For each split: codes and expression of its cells, through `annbatch`."""
    for split in ("train", "validation", "test"):
        groups = list(corpus.collection(split))
        X = sparse.vstack([ad.io.read_elem(group["X"]) for group in groups], format="csr")
        yield split, corpus.obs(split), X
