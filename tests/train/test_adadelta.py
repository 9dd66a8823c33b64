"""Adadelta in one pass, held to that of PyTorch."""

import numpy as np
import pytest
import torch

from sctab.train._adadelta import Adadelta


def trained(cls, dtype=torch.float64, n_steps=10, state=None, **settings):
    """Weights and state after steps down random gradients; the last weight has none."""
    rng = np.random.default_rng(0)
    weights = [torch.nn.Parameter(torch.from_numpy(rng.normal(size=shape)).to(dtype)) for shape in ((7, 5), (5,), (3,))]
    optimizer = cls(weights, **{"lr": 1.0, "rho": 0.95, **settings})
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(n_steps):
        for weight in weights[:2]:
            weight.grad = torch.from_numpy(rng.normal(size=weight.shape)).to(dtype)
        optimizer.step()
    return [weight.detach().numpy() for weight in weights], optimizer.state_dict()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-5)])
@pytest.mark.parametrize("settings", [{}, {"lr": 0.3, "rho": 0.8, "eps": 1e-4}, {"weight_decay": 0.1}, {"maximize": True}])
def test_steps_are_those_of_pytorch(dtype, tolerance, settings):
    found, expected = (trained(cls, dtype, **settings) for cls in (Adadelta, torch.optim.Adadelta))
    for ours, theirs in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_either_continues_the_state_of_the_other():
    expected = trained(torch.optim.Adadelta, state=trained(torch.optim.Adadelta)[1])[0]
    for first, second in ((Adadelta, torch.optim.Adadelta), (torch.optim.Adadelta, Adadelta)):
        found = trained(second, state=trained(first)[1])[0]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)
