"""Counts of cells of a few simulated types, with genes that tell them apart."""

import numpy as np
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
    """Counts of cells of these types, as a model has them: 10,000 per cell, as logarithms."""
    rng = np.random.default_rng(seed)
    rates = expected[codes] * (1 if shift is None else shift)
    return normalise(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)), NORMALIZATION)


def reference(n_obs=600, n_types=3, seed=1):
    """Normalised expression and labels of a reference."""
    codes = np.arange(n_obs) % n_types
    return draw(programs(), codes, seed), codes


def learn(values, codes, units=None, *, n_labels=3, normalization=NORMALIZATION):
    """What a model with three labels keeps of its types."""
    return learn_types(values, codes, units, n_labels=n_labels, normalization=normalization)
