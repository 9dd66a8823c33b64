"""Masks without a sort against the `entmax` package, and by what defines them."""

import entmax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.optimize import brentq

from sctab.nn.portable._jax import JAX_OPERATORS, entmax15, sparsemax
from sctab.nn.portable._masks import N_STRIPS, mask_of

MASKS = {"entmax15": (jax.jit(entmax15), entmax.entmax15), "sparsemax": (jax.jit(sparsemax), entmax.sparsemax)}
GRADIENTS = {name: jax.jit(jax.grad(lambda z, weights, ours=ours: (ours(z) * weights).sum())) for name, (ours, _) in MASKS.items()}
rows = st.builds(
    lambda seed, shape, scale, n_values: (
        scale
        * np.random.default_rng(seed).normal(size=n_values or shape)[
            np.random.default_rng(seed).integers(0, n_values, size=shape) if n_values else ...
        ]
    ),
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.just(4), st.sampled_from([1, 2, 3, 50, 8 * N_STRIPS - 1, 8 * N_STRIPS, 700])),
    scale=st.sampled_from([0.0, 0.01, 1.0, 30.0, 1e6]),
    n_values=st.sampled_from([0, 1, 3]),
)
"""Logits `(n_obs, n_inputs)` of any size, with ties and without."""


@pytest.mark.parametrize("name", MASKS)
@given(logits=rows)
def test_values_are_those_of_the_sort(name, logits):
    ours, theirs = MASKS[name]
    logits = logits.astype(np.float32)
    got = np.asarray(ours(logits))
    np.testing.assert_allclose(got, theirs(torch.from_numpy(logits).double(), dim=-1), rtol=0, atol=5e-7)
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=0, atol=1e-6)
    assert (got >= 0).all()


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("at", [0, 255, 256, 299])
def test_the_largest_may_be_anywhere(name, at):
    ours, _ = MASKS[name]
    logits = np.zeros((2, 300), dtype=np.float32)
    logits[0, at] = 20
    expected = np.zeros(300)
    expected[at] = 1
    np.testing.assert_allclose(ours(logits)[0], expected, atol=1e-6)


@given(logits=rows)
def test_the_threshold_solves_the_equation_that_defines_it(logits):
    """Equation 13 of Peters et al. (2019), by a root finder in double precision."""
    logits = logits.astype(np.float32)
    for row, mask in zip(logits.astype(float), np.asarray(MASKS["entmax15"][0](logits)), strict=True):
        z = (row - row.max()) / 2
        tau = brentq(lambda t, z=z: np.maximum(z - t, 0).__pow__(2).sum() - 1, -1, 0, xtol=1e-15)
        np.testing.assert_allclose(mask, np.maximum(z - tau, 0) ** 2, rtol=0, atol=5e-7)


@pytest.mark.parametrize("name", MASKS)
@given(logits=rows, shift=st.sampled_from([-3.0, 100.0]))
def test_a_shift_of_all_logits_changes_nothing(name, logits, shift):
    ours, _ = MASKS[name]
    logits = np.round(logits, 2).clip(-1000, 1000).astype(np.float32)
    np.testing.assert_allclose(ours(logits + np.float32(shift)), ours(logits), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MASKS)
@given(seed=st.integers(0, 10_000), n_inputs=st.sampled_from([1, 2, 40, 300]), scale=st.sampled_from([0.0, 1.0, 20.0]))
def test_gradients_are_those_of_the_sort(name, seed, n_inputs, scale):
    _, theirs = MASKS[name]
    rng = np.random.default_rng(seed)
    logits, weights = (rng.normal(size=(3, n_inputs)).astype(np.float32) for _ in range(2))
    logits *= np.float32(scale)
    exact = torch.from_numpy(logits).double().requires_grad_()
    (expected,) = torch.autograd.grad((theirs(exact, dim=-1) * torch.from_numpy(weights)).sum(), exact)
    got = GRADIENTS[name](logits, weights)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4 if name == "entmax15" else 1e-5)  # the root of what is barely kept


@pytest.mark.parametrize("name", MASKS)
def test_forward_and_reverse_derivatives_agree_and_can_be_taken_twice(name, rng):
    ours, _ = MASKS[name]
    logits, direction = (jnp.asarray(rng.normal(size=(2, 30)), jnp.float32) for _ in range(2))

    def norm(z):
        return (ours(z) ** 2).sum()

    (_, forward), gradient = jax.jvp(norm, (logits,), (direction,)), jax.grad(norm)(logits)
    np.testing.assert_allclose(forward, (gradient * direction).sum(), rtol=1e-4)
    second = jax.hessian(norm)(logits)
    assert np.isfinite(second).all()
    step = 1e-2
    along = np.einsum("abcd,cd->ab", second, direction)
    numerical = (jax.grad(norm)(logits + step * direction) - jax.grad(norm)(logits - step * direction)) / (2 * step)
    assert np.quantile(np.abs(along - numerical), 0.8) < 2e-2  # beside kinks, where the support changes


@pytest.mark.parametrize("name", MASKS)
def test_mapped_rows_are_the_same(name, rng):
    ours, _ = MASKS[name]
    logits = rng.normal(size=(4, 3, 600)).astype(np.float32) * np.array([0, 1, 10, 100], np.float32)[:, None, None]
    np.testing.assert_allclose(jax.vmap(ours)(logits), np.stack([ours(each) for each in logits]), rtol=0, atol=1e-6)


def test_what_is_not_finite_ends():
    assert np.isnan(entmax15(jnp.array([[0.0, jnp.nan, 1.0]]))).all()


def test_no_rows():
    assert mask_of(JAX_OPERATORS, jnp.zeros((0, 4)), is_entmax=True).shape == (0, 4)
