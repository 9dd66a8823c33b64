"""Cells of a few types, and the numbers of the published scDeepCluster."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse

REPOSITORY = Path(__file__).parents[1]
PUBLISHED_NAMES = {
    "_enc_mu": "latent",
    "_dec_mean.0": "mean",
    "_dec_disp.0": "dispersion",
    "_dec_pi.0": "dropout",
    "mu": "centroids",
}


def cells_of_types(n_obs=90, n_vars=60, n_types=3, *, seed=0, n_batches=1, depth=3.0):
    """Counts of cells of several types, in `obs["type"]`, and batches, in `obs["batch"]`."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(0.5, depth, (n_types, n_vars))
    types, batches = np.arange(n_obs) % n_types, rng.integers(n_batches, size=n_obs)
    counts = rng.poisson(profiles[types] * rng.gamma(5, 0.2, (n_obs, 1)) * rng.gamma(2, 0.5, (n_batches, n_vars))[batches])
    obs = pd.DataFrame({"type": [f"type {i}" for i in types], "batch": [f"batch {i}" for i in batches]}, dtype="category")
    obs.index = [f"cell_{i}" for i in range(n_obs)]
    return AnnData(
        sparse.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=[f"gene_{i}" for i in range(n_vars)])
    )


def published_numbers(name):
    """Arrays of `plain` or `batch`; the test is skipped where they are not beside the checkout."""
    path = REPOSITORY.parent / "shared" / "oracle" / "scdeepcluster" / f"{name}.npz"
    if not path.exists():
        pytest.skip("the numbers of the published scDeepCluster are not beside this checkout (../shared/oracle)")
    with np.load(path) as file:
        return dict(file)


def own_names(numbers):
    """Published weights by the names that they have here."""
    weights = {}
    for name, values in numbers.items():
        if name.startswith("weights/"):
            layer, _, kind = name.removeprefix("weights/").rpartition(".")
            weights[f"{PUBLISHED_NAMES.get(layer, layer)}.{kind}"] = torch.from_numpy(values)
    return weights
