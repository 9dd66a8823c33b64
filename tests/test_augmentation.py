"""Dropped genes: what is kept is unchanged, and as much is dropped as the distribution says."""

import pytest
import torch
from scipy import stats

from sctab.augmentation import drop_genes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("largest_share", [0.1, 0.5, 1.0])
def test_share_of_a_cell_is_uniform(largest_share):
    """With 5,000 genes the share that is lost is the share that was drawn, to within a percent."""
    kept = drop_genes(torch.ones(1000, 5000), largest_share, generator=generator())
    lost = 1 - kept.mean(dim=1).double().numpy()
    assert stats.kstest(lost, stats.uniform(0, largest_share).cdf).pvalue > 0.01


def test_each_gene_is_lost_as_often():
    kept = drop_genes(torch.ones(4000, 200), 0.6, generator=generator()).mean(dim=0)
    assert (kept - 0.7).abs().max() < 0.05


def test_cells_lose_different_genes():
    kept = drop_genes(torch.ones(50, 400), 0.5, generator=generator())
    assert len({tuple(row) for row in kept.tolist()}) == 50


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_kept_values_are_unchanged(dtype):
    values = torch.rand(30, 100, generator=generator(1)).to(dtype) + 1
    before = values.clone()
    result = drop_genes(values, 0.5, generator=generator())
    assert (result.shape, result.dtype) == (values.shape, dtype)
    assert torch.equal(result[result != 0], values[result != 0])
    assert 0 < (result == 0).sum() < values.numel() / 2
    assert torch.equal(values, before)


def test_zeros_stay_zero():
    assert not drop_genes(torch.zeros(5, 10), 0.5, generator=generator()).any()


def test_a_share_of_nothing_changes_nothing():
    values = torch.rand(5, 10, generator=generator())
    assert torch.equal(drop_genes(values, 0), values)


def test_generator_decides():
    values = torch.ones(20, 50)
    assert torch.equal(drop_genes(values, 0.5, generator=generator(3)), drop_genes(values, 0.5, generator=generator(3)))
    assert not torch.equal(drop_genes(values, 0.5, generator=generator(3)), drop_genes(values, 0.5, generator=generator(4)))


def test_with_a_generator_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    drop_genes(torch.ones(20, 50), 0.5, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_one_the_global_state_decides():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one = drop_genes(torch.ones(20, 50), 0.5)
        torch.manual_seed(5)
        assert torch.equal(drop_genes(torch.ones(20, 50), 0.5), one)


def test_gradients_pass_through_what_is_kept():
    values = torch.ones(10, 20, requires_grad=True)
    result = drop_genes(values, 0.5, generator=generator())
    result.sum().backward()
    assert torch.equal(values.grad, (result != 0).float())


def test_no_cells():
    assert drop_genes(torch.ones(0, 5), 0.5).shape == (0, 5)
