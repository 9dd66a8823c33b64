"""Batch normalisation in one process, against that of torch."""

import torch

from sctab.nn._norm import BatchNorm


def test_in_one_process_it_is_that_of_torch():
    ours, theirs = BatchNorm(5, momentum=0.3), torch.nn.BatchNorm1d(5, momentum=0.3)
    for _ in range(3):
        x = torch.randn(8, 5) * 4 + 1
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=0)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)
