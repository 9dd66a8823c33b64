"""Masks on their support against batch normalisation of torch and the `entmax` package, with gradients."""

import copy

import entmax
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sctab.nn._norm import GhostBatchNorm
from sctab.nn._sparse_mask import SupportMask


def make(n_obs, n_a, n_features, scale, *, seed=0, training=True):
    generator = torch.Generator().manual_seed(seed)
    norm = GhostBatchNorm(n_features, virtual_batch_size=4, momentum=0.3).double().train(training)
    for values in (norm.bn.weight, norm.bn.bias, norm.bn.running_mean, norm.bn.running_var):
        values.data.uniform_(0.5 * scale, 2 * scale, generator=generator)
    attention, weight = (torch.randn(n, n_a, dtype=torch.float64, generator=generator) for n in (n_obs, n_features))
    return attention.requires_grad_(), weight.requires_grad_(), norm


def mask_of(attention, weight, norm):
    """The mask as a dense tensor."""
    mask, indptr, columns = SupportMask.apply(attention, weight, norm.bn.weight, norm.bn.bias, norm)
    assert (mask > 0).all()
    rows = torch.repeat_interleave(torch.arange(len(attention)), indptr.diff())
    assert (columns.diff()[rows.diff() == 0] > 0).all()
    return torch.zeros(len(attention), len(weight), dtype=mask.dtype).index_put((rows, columns.long()), mask)


@given(
    n_obs=st.integers(2, 13),
    n_a=st.integers(1, 5),
    n_features=st.integers(1, 40),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    seed=st.integers(0, 1000),
    training=st.booleans(),
)
@settings(deadline=None)
def test_mask_gradients_and_statistics_are_those_of_the_dense_mask(n_obs, n_a, n_features, scale, seed, training):
    attention, weight, norm = make(n_obs, n_a, n_features, scale, seed=seed, training=training)
    of_dense = copy.deepcopy(norm)
    gradient = torch.randn(n_obs, n_features, dtype=torch.float64)
    expected = entmax.entmax15(of_dense(attention @ weight.T), dim=1)
    found = mask_of(attention, weight, norm)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    inputs = [attention, weight]
    gradients = torch.autograd.grad((found * gradient).sum(), [*inputs, norm.bn.weight, norm.bn.bias])
    exact = torch.autograd.grad((expected * gradient).sum(), [*inputs, of_dense.bn.weight, of_dense.bn.bias])
    for one, other in zip(gradients, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6 * scale)
    for name, value in of_dense.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)


def test_one_gene_far_above_the_others_is_the_support():
    attention, weight, norm = make(4, 2, 30, 1.0)
    norm.bn.bias.data[7] = 50
    mask, indptr, columns = SupportMask.apply(attention, weight, norm.bn.weight, norm.bn.bias, norm)
    assert columns.tolist() == [7] * 4
    assert indptr.tolist() == [0, 1, 2, 3, 4]
    assert mask.tolist() == [1] * 4


def test_the_support_is_everything_where_all_logits_are_equal():
    attention, weight, norm = make(4, 2, 30, 0.0)
    torch.testing.assert_close(mask_of(attention, weight, norm), torch.full((4, 30), 1 / 30, dtype=torch.float64))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_as_by_the_dense_mask(bad):
    attention, weight, norm = make(6, 2, 30, 1.0)
    attention.data[2, 1] = bad
    with pytest.raises(RuntimeError):
        mask_of(attention, weight, norm)
    with pytest.raises(RuntimeError):
        entmax.entmax15(norm(attention @ weight.T), dim=1)


def test_numbers_do_not_depend_on_threads():
    n_threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            attention, weight, norm = make(9, 3, 500, 1.0)
            mask = mask_of(attention, weight, norm)
            results.append([mask, *torch.autograd.grad(mask.square().sum(), [attention, weight])])
    finally:
        torch.set_num_threads(n_threads)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
