"""1.5-entmax against the `entmax` package and numerical gradients."""

import entmax
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from sctab.nn._entmax import entmax15


@given(
    seed=st.integers(0, 10_000), n_obs=st.integers(1, 9), n_inputs=st.integers(1, 700), scale=st.sampled_from([0.0, 0.1, 1.0, 30.0])
)
def test_values_and_gradients_are_those_of_the_sort(seed, n_obs, n_inputs, scale):
    generator = torch.Generator().manual_seed(seed)
    ours = (scale * torch.randn(n_obs, n_inputs, generator=generator)).requires_grad_()
    exact = ours.detach().double().requires_grad_()
    weights = torch.randn(n_obs, n_inputs, generator=generator)

    got, expected = entmax15(ours), entmax.entmax15(exact, dim=-1)
    (gradient,) = torch.autograd.grad((got * weights).sum(), ours)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), exact)

    np.testing.assert_allclose(got.detach(), expected.detach(), atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=2e-4)  # the root of what is barely in the support


def test_rows_do_not_depend_on_the_number_of_threads():
    logits = torch.randn(7, 300, generator=torch.Generator().manual_seed(0))
    n_threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            values = logits.clone().requires_grad_()
            mask = entmax15(values)
            results.append((mask.detach(), torch.autograd.grad(mask.square().sum(), values)[0]))
    finally:
        torch.set_num_threads(n_threads)
    assert all(torch.equal(one, three) for one, three in zip(*results, strict=True))


def test_rows_of_a_transposed_matrix():
    logits = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).T
    np.testing.assert_allclose(entmax15(logits), entmax.entmax15(logits, dim=-1), atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_left_to_the_package(bad):
    with pytest.raises(RuntimeError):
        entmax15(torch.tensor([[0.0, bad, 1.0]]))


def test_no_rows():
    assert entmax15(torch.empty(0, 4)).shape == (0, 4)
