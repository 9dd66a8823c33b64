"""Cells of a few simulated types, with genes that tell them apart."""

import numpy as np
from anndata import AnnData
from scipy import sparse

from sctab.data import Normalization, normalise
from sctab.inference._learn_types import learn_types

N_GENES = 120
NORMALIZATION = Normalization()


def programs(n_types=4, seed=0):
    """Expected counts of each type: the same everywhere, but for 15 genes of its own."""
    rng = np.random.default_rng(seed)
    expected = np.tile(rng.gamma(2, 1, size=N_GENES), (n_types, 1))
    for number in range(n_types):
        expected[number, 15 * number : 15 * (number + 1)] *= 6
    return expected


def draw(expected, codes, seed, *, shift=None):
    """Expression of cells of these types, as a model has it: 10,000 counts per cell, as logarithms."""
    return normalise(draw_counts(expected, codes, seed, shift=shift), NORMALIZATION)


def draw_counts(expected, codes, seed, *, shift=None):
    """Counts of cells of these types."""
    rates = expected[codes] * (1 if shift is None else shift)
    return sparse.csr_matrix(np.random.default_rng(seed).poisson(rates).astype(np.float32))


def cells_of(codes, seed):
    """An AnnData of cells of these types, with labels and three donors."""
    adata = AnnData(draw_counts(programs(), codes, seed))
    adata.var_names = [f"ENSG{number:011d}" for number in range(N_GENES)]
    adata.obs_names = [f"cell{number}" for number in range(len(codes))]
    adata.obs["cell_type"] = np.array(["B cell", "T cell", "monocyte", "natural killer cell"])[codes]
    adata.obs["donor_id"] = np.array(["a", "b", "c"])[np.arange(len(codes)) % 3]
    return adata


def reference(n_obs=600, n_types=3, seed=1):
    """Normalised expression and labels of a reference."""
    codes = np.arange(n_obs) % n_types
    return draw(programs(), codes, seed), codes


def learn(values, codes, units=None, *, n_labels=3, normalization=NORMALIZATION):
    """What a model with three labels keeps of its types."""
    return learn_types(values, codes, units, n_labels=n_labels, normalization=normalization)
