"""Networks as training leaves them, and cells for them."""

import numpy as np
import torch
from hypothesis import strategies as st
from scipy import sparse

from sctab.data import Normalization, normalise

N_FEATURES, N_CLASSES = 900, 7


def normalised_cells(n_obs=150):
    """Normalised expression, a tenth of it not zero."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.lognormal(-3.5, 2, size=N_FEATURES) * rng.lognormal(0, 0.4, size=(n_obs, 1))).astype(np.float32)
    return normalise(sparse.csr_matrix(counts), Normalization())


def as_trained(network, cells, *, seed=0):
    """Norms that saw data, with weights of their own, and activations of the size that those of a trained network have."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2:
                gain = 0.3 if name.startswith("classifier") else 1.0
                parameter.normal_(0, gain * parameter.shape[1] ** -0.5, generator=generator)
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm1d)):
            norm.momentum = 1.0
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.2, generator=generator)
        network.train()(torch.from_numpy(cells.toarray()))
    return network.eval()


architectures = st.fixed_dictionaries(
    {
        "n_d": st.integers(1, 20),
        "n_a": st.integers(1, 12),
        "n_shared": st.integers(0, 3),
        "n_independent": st.integers(0, 3),
        "n_steps": st.integers(1, 3),
        "gamma": st.sampled_from([1.0, 1.3, 2.0]),
        "mask_type": st.sampled_from(["entmax", "sparsemax"]),
        "dense_decision": st.booleans(),
    }
).filter(lambda settings: settings["n_shared"] + settings["n_independent"] > 0)
"""Settings of TabNet."""
