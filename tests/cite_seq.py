"""Simulated CITE-seq."""

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData
from scipy import sparse

CD4, CD8 = "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"
TYPES = (CD4, CD8, "B cell", "monocyte")
ANTIBODIES = ("CD3", "CD4", "CD8", "CD19", "CD14", "CD45RA")
HIGH = {CD4: (0, 1), CD8: (0, 2), "B cell": (3, 5), "monocyte": (4,)}


def cite_seq(n_obs=240, *, seed=0, antibodies=ANTIBODIES):
    """CITE-seq: RNA tells T cells from others, and only antibodies tell CD4 from CD8."""
    rng = np.random.default_rng(seed)
    types = np.resize(TYPES, n_obs)
    genes = [f"GENE{i}" for i in range(57)] + ["CD3E", "MS4A1", "LYZ"]
    rate = np.full((n_obs, len(genes)), 0.7)
    for row, name in enumerate(types):  # eight genes for each lineage, of which T cells are one
        first = 8 * {"B cell": 1, "monocyte": 2}.get(name, 0)
        rate[row, first : first + 8] = 6
    counts = rng.poisson(rate)
    proteins = rng.poisson(3, (n_obs, len(antibodies)))
    for row, name in enumerate(types):
        for each in HIGH[name]:
            if each < len(antibodies):
                proteins[row, each] += rng.poisson(80)
    obs = pd.DataFrame({"cell_type": types, "donor": np.resize(["a", "b", "c"], n_obs)}, index=[f"cell{i}" for i in range(n_obs)])
    rna = AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs[[]].copy(), var=pd.DataFrame(index=genes))
    prot = AnnData(sparse.csr_matrix(proteins, dtype=np.float32), obs=obs[[]].copy(), var=pd.DataFrame(index=list(antibodies)))
    mdata = as_mudata(rna=rna, prot=prot)
    mdata.obs = mdata.obs.join(obs)
    return mdata


def as_mudata(**modalities):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        return MuData(modalities)
