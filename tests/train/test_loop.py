"""The training loop, apart from any model class."""

import torch

from sctab.train._loop import _without_denormals


def test_denormals_are_zero_within_the_block_and_back_after_it():
    tiny = torch.tensor([torch.finfo(torch.float32).tiny])
    assert (tiny / 2).any()
    with _without_denormals():
        assert not (tiny / 2).any()
        with _without_denormals():
            pass
        assert not (tiny / 2).any()
    assert (tiny / 2).any()
