"""Values of antibodies on a common scale."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import gmean

from sctab.data import ProteinPanel, ProteinValues, hide, protein_recipe
from sctab.data.proteins._scale import antibody_values, weights_of

NAMES = ["CD3", "CD4", "CD8", "CD19", "CD56"]


def test_centred_log_ratios_are_those_of_scipy():
    counts = np.random.default_rng(0).poisson(5, size=(20, 5)).astype(float)
    expected = np.log((counts + 1) / gmean(counts + 1, axis=1, keepdims=True))
    weights = weights_of(np.arange(5, dtype=np.int32), 5)
    np.testing.assert_allclose(antibody_values(counts, weights, ProteinValues.COUNTS), expected, atol=1e-12)


@st.composite
def hidden(draw):
    kind = draw(st.sampled_from(ProteinValues))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    panel = ProteinPanel(tuple(NAMES), kind, tuple(rng.normal(0, 0.5, 5)), tuple(rng.uniform(2, 3, 5)))
    counts = rng.poisson(rng.choice([0.3, 30], size=(60, 5))).astype(float)
    counts[rng.random(60) < 0.1] = np.nan
    logs = np.log1p(counts)
    if kind is ProteinValues.CLR:
        counts = logs - logs.mean(axis=1, keepdims=True)
    if kind is ProteinValues.SCALED:
        counts = (logs - np.nanmean(logs, axis=0)) / np.nanstd(logs, axis=0)
    if kind is ProteinValues.NORMALISED:
        counts = logs + 0.1
    return panel, counts, np.array(draw(st.lists(st.booleans(), min_size=5, max_size=5)))


@settings(deadline=None)
@given(hidden())
def test_hidden_antibodies_are_as_missing(case):
    panel, values, keep = case
    whole, _ = protein_recipe(panel, NAMES, values, name="X")
    names = [name if kept else f"unknown {name}" for name, kept in zip(NAMES, keep, strict=True)]
    reduced, _ = protein_recipe(panel, names, values, name="X")
    given, mask = whole.apply(values), np.broadcast_to(keep, (len(values), 5))
    is_nothing_left = (given[:, -1] == 0) & (reduced.apply(values)[:, -1] > 0)
    assert not is_nothing_left.any()
    np.testing.assert_allclose(hide(given, mask, panel), reduced.apply(values), atol=2e-5)
    tensors = hide(torch.from_numpy(given), torch.from_numpy(mask.copy()), panel)
    np.testing.assert_allclose(tensors.numpy(), hide(given, mask, panel), atol=2e-6)


def test_nothing_is_changed():
    panel = ProteinPanel(tuple(NAMES), ProteinValues.COUNTS, (0.0,) * 5, (1.0,) * 5)
    values = np.array([[1.0, 2.0, -3.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    before = values.copy()
    assert hide(values, np.ones((1, 5), dtype=bool), panel).dtype == np.float32
    np.testing.assert_array_equal(hide(values, np.ones((1, 5), dtype=bool), panel), values)
    np.testing.assert_array_equal(hide(values, np.zeros((1, 5), dtype=bool), panel), 0)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_pass(dtype):
    panel = ProteinPanel(tuple(NAMES), ProteinValues.COUNTS, (0.0,) * 5, (1.0,) * 5)
    values = torch.randn(4, 6, dtype=dtype, requires_grad=True)
    hide(values, torch.ones(4, 5, dtype=torch.bool), panel).sum().backward()
    assert values.grad.shape == (4, 6)
