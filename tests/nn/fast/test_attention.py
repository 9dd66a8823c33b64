"""Masks against the sort of the `entmax` package."""

import entmax
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.nn import sparse_mask
from sctab.nn.fast import _kernels
from sctab.nn.fast._attention import RoundedProduct

logit_rows = st.builds(
    lambda seed, scale, n, ties: np.round(np.random.default_rng(seed).normal(0, scale, size=(4, n)), 1 if ties else 9),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 0.01, 0.3, 1.0, 10.0, 300.0]),
    n=st.integers(1, 700),
    ties=st.booleans(),
)


class TestMasks:
    """The definition of entmax fixes the mask, so that any exact algorithm has to agree: here the sort of the `entmax` package."""

    @given(logits=logit_rows, is_entmax=st.booleans())
    def test_against_the_sort(self, logits, is_entmax):
        expected = (entmax.entmax15 if is_entmax else entmax.sparsemax)(torch.from_numpy(logits), dim=1)
        logits = logits.astype(np.float32)
        got = sparse_mask(torch.from_numpy(logits), is_entmax=is_entmax)
        np.testing.assert_allclose(got, expected, rtol=0, atol=3e-5)

        n_obs, n_inputs = logits.shape
        bias = np.linspace(-1, 1, n_inputs, dtype=np.float32)
        exact = np.zeros(n_obs, dtype=np.float32)
        nothing = np.zeros((0, 0), dtype=np.float32)
        of_kernel = _kernels.Logits(logits - bias, exact + 1, np.ones_like(bias), bias, exact, nothing, nothing)
        np.testing.assert_allclose(mask_of(of_kernel, is_entmax), expected, rtol=0, atol=3e-5)

    @pytest.mark.parametrize("is_entmax", [True, False])
    @pytest.mark.parametrize("peak", [1e8, 1e27])
    def test_of_logits_so_large_that_one_is_nothing_beside_them(self, peak, is_entmax):
        logits = np.zeros((2, 40), dtype=np.float32)
        logits[0, 7] = logits[1, 31] = peak
        zeros, ones = np.zeros(40, dtype=np.float32), np.ones(40, dtype=np.float32)
        nothing = np.zeros((0, 0), dtype=np.float32)
        of_kernel = _kernels.Logits(logits, ones[:2], ones, zeros, zeros[:2], nothing, nothing)
        expected = (entmax.entmax15 if is_entmax else entmax.sparsemax)(torch.from_numpy(logits).double(), dim=1)
        np.testing.assert_allclose(mask_of(of_kernel, is_entmax), expected, rtol=0, atol=1e-6)

    @given(
        seed=st.integers(0, 10_000), scale=st.sampled_from([0.0, 0.1, 1.0, 30.0]), n_a=st.integers(1, 70), is_entmax=st.booleans()
    )
    def test_of_rounded_logits_against_the_sort(self, seed, scale, n_a, is_entmax):
        generator = torch.Generator().manual_seed(seed)
        attention = torch.randn(5, n_a, generator=generator) * torch.rand(5, 1, generator=generator)
        weight = scale * torch.randn(400, n_a, generator=generator) * torch.rand(400, 1, generator=generator)
        bias = torch.randn(400, generator=generator)
        exact = (attention.double() @ weight.double().T) + bias
        (rounded,) = RoundedProduct(weight)(attention, bias)
        approximate = rounded.products * rounded.row_scale[:, None].astype(float) * rounded.column_scale + rounded.bias
        assert (abs(approximate - exact.numpy()) <= rounded.error[:, None] + 1e-6).all()
        expected = (entmax.entmax15 if is_entmax else entmax.sparsemax)(exact, dim=1)
        np.testing.assert_allclose(mask_of(rounded, is_entmax), expected, rtol=0, atol=3e-5)


def mask_of(logits, is_entmax):
    """A mask of :func:`sctab.nn.fast._kernels.attend`, dense; what it lets through is tested on the way."""
    n_obs, n_inputs = logits.products.shape
    values = sparse.random(n_obs, n_inputs, density=0.3, format="csr", dtype=np.float32, random_state=0)
    scale, shift = np.linspace(1, 2, n_inputs, dtype=np.float32), np.linspace(-1, 1, n_inputs, dtype=np.float32)
    arrays = (values.indptr.astype(np.int64), values.indices, values.data, scale, shift)
    indptr, columns, mask, masked = _kernels.attend(logits, is_entmax, *arrays)
    assert (mask > 0).all()
    dense = sparse.csr_matrix((mask, columns, indptr), shape=values.shape).toarray()
    let_through = sparse.csr_matrix((masked, columns, indptr), shape=values.shape)
    np.testing.assert_allclose(let_through.toarray(), dense * (values.toarray() * scale + shift), rtol=1e-5, atol=1e-6)
    return dense
