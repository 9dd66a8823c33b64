"""Networks that are made without drawing weights."""

import torch

from sctab.nn import TabNet
from sctab.nn._initialisation import WithoutInitialisation


def test_names_and_shapes_are_those_of_the_network():
    drawn = TabNet(20, 3, n_d=4, n_a=4).state_dict()
    with torch.device("meta"), WithoutInitialisation():
        read = TabNet(20, 3, n_d=4, n_a=4).state_dict()
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in read.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in drawn.items()
    }
    assert all(tensor.is_meta for tensor in read.values())


def test_nothing_is_drawn():
    before = torch.get_rng_state()
    with WithoutInitialisation():
        weight = torch.nn.init.normal_(torch.full((3,), 7.0))
        assert weight.tolist() == [7, 7, 7]
        assert torch.nn.init.uniform_(tensor=weight).tolist() == [7, 7, 7]
        assert (weight + 1).tolist() == [8, 8, 8]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.nn.init.zeros_(weight).tolist() == [0, 0, 0]
