"""Dropped genes: what is kept is unchanged, and as much is dropped as the distribution says."""

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from sctab.augmentation import _sampled_evenly, add_donor_differences, donor_differences, drop_genes


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


class TestDonorDifferences:
    """Against the steps written out, on a case that can be worked by hand."""

    values = sparse.csr_matrix(
        np.array(
            [
                [1.0, 0.0, 2.0, 0.0],  # type 0, donor 0
                [3.0, 0.0, 2.0, 0.0],  # type 0, donor 0: their mean is 2, 0, 2, 0
                [5.0, 0.2, 1.5, 0.0],  # type 0, donor 1
                [0.0, 4.0, 0.0, 1.0],  # type 1, donor 0
                [0.0, 5.0, 0.0, 0.0],  # type 1, donor 2
                [9.0, 9.0, 9.0, 9.0],  # type 2, donor 2: no other donor has it
            ]
        )
    )
    labels = np.array([0, 0, 0, 1, 1, 2])
    donors = np.array([0, 0, 1, 0, 2, 2])

    def test_are_clamped_differences_of_means_between_donors_of_a_type(self):
        found = donor_differences(self.values, self.labels, self.donors, rng=np.random.default_rng(0)).toarray()
        expected = [[-1.5, 0.0, 0.5, 0.0], [0.0, -1.0, 0.0, 1.0]]  # -3 is cut, -0.2 is too small
        np.testing.assert_allclose(found[np.argsort(found[:, 0])], expected, atol=1e-6)
        assert found.dtype == np.float32

    def test_there_are_none_without_two_donors_of_a_type(self):
        assert donor_differences(self.values, self.labels, np.arange(6) * 0, rng=np.random.default_rng(0)).shape == (0, 4)

    def test_rare_vectors_are_left_out(self):
        """150 donors differ in one gene, a few in another: of the latter there are too few pairs to form a large cluster."""
        n = 150
        values = np.zeros((n, 50))
        values[:, 0] = np.random.default_rng(0).choice([0.0, 1.0], size=n)
        values[0, 1:] = 1.4
        found = donor_differences(
            sparse.csr_matrix(values), np.zeros(n, dtype=int), np.arange(n), n_clusters=4, rng=np.random.default_rng(0)
        )
        outliers = (np.abs(found[:, 1:].toarray()).sum(axis=1) > 1).mean()
        assert found.shape[0] == 5000
        assert outliers < 1 / n

    def test_cells_are_sampled_evenly_over_types(self):
        labels = np.repeat([0, 1, 2], [1000, 100, 10])
        chosen = _sampled_evenly(labels, 60, np.random.default_rng(0))
        assert np.bincount(labels[chosen]).tolist() == [25, 25, 10]
        assert len(set(chosen)) == 60

    def test_each_cell_is_moved_by_one_of_them_to_either_side(self):
        differences = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        moved = add_donor_differences(torch.full((2000, 2), 5.0), differences, generator=generator())
        kinds, counts = np.unique((moved - 5).numpy(), axis=0, return_counts=True)
        assert kinds.tolist() == [[-1, 0], [0, -2], [0, 2], [1, 0]]
        assert stats.chisquare(counts).pvalue > 0.01

    def test_results_are_cut_to_zero_and_nine(self):
        moved = add_donor_differences(torch.tensor([[0.5, 8.5]] * 100), torch.tensor([[1.5, 1.5]]), generator=generator())
        assert (moved.min(), moved.max()) == (0, 9)
