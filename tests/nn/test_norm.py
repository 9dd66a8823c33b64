"""Batch normalisation in one process, against that of torch, and over virtual batches."""

import pytest
import torch

from sctab.nn._norm import BatchNorm, GhostBatchNorm, follow


def test_in_one_process_it_is_that_of_torch():
    ours, theirs = BatchNorm(5, momentum=0.3), torch.nn.BatchNorm1d(5, momentum=0.3)
    for _ in range(3):
        x = torch.randn(8, 5) * 4 + 1
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=0)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)


def test_running_statistics_follow_a_batch_as_those_of_torch():
    ours, theirs = torch.nn.BatchNorm1d(5, momentum=0.3), torch.nn.BatchNorm1d(5, momentum=0.3)
    for _ in range(3):
        x = torch.randn(8, 5) * 4 + 1
        theirs(x)
        follow(ours, x.mean(dim=0), x.var(dim=0, correction=0), 8)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


class TestGhostBatchNorm:
    def test_each_virtual_batch_is_normalised_by_itself(self):
        x = torch.cat([torch.randn(4, 3), 100 + torch.randn(4, 3)])
        normalised = GhostBatchNorm(3, virtual_batch_size=4, momentum=0.02)(x)
        for part in normalised.chunk(2):
            torch.testing.assert_close(part.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("n_obs", [2, 4, 7, 9, 21, 33])
    def test_no_virtual_batch_of_one_cell(self, n_obs):
        norm = GhostBatchNorm(3, virtual_batch_size=2, momentum=0.02)
        sizes = []
        norm.bn.register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
        assert norm(torch.randn(n_obs, 3)).shape == (n_obs, 3)
        assert sum(sizes) == n_obs
        assert min(sizes) >= 2

    def test_evaluation_uses_running_statistics(self):
        norm = GhostBatchNorm(3, virtual_batch_size=2, momentum=1.0)
        x = torch.randn(2, 3)
        norm(x)
        scaled = (x - x.mean(dim=0)) / torch.sqrt(x.var(dim=0) + norm.bn.eps)
        torch.testing.assert_close(norm.eval()(x), scaled)
