"""Genes that speak for one label and against another."""

import numpy as np
import pytest
import torch
from scipy import sparse

from sctab.inference._contrast import can_contrast, contributions, largest_entries
from sctab.nn import LinearNetwork, MultilayerPerceptron


class Holder:
    def __init__(self, *networks):
        self.networks = networks


@pytest.fixture
def block():
    return sparse.random(6, 5, density=0.6, format="csr", random_state=0, dtype=np.float32)


def linear(seed):
    network = LinearNetwork(5, 3)
    torch.manual_seed(seed)
    torch.nn.init.normal_(network.classifier.weight)
    return network


def test_of_a_linear_network_they_are_weights_times_expression(block):
    network = linear(0)
    weights = network.classifier.weight.detach().numpy()
    favoured, rejected = np.array([0, 1, 2, 0, 1, 2]), np.array([1, 2, 0, 2, 0, 1])
    found = contributions((network,), block, favoured, rejected)
    np.testing.assert_allclose(found.toarray(), (weights[favoured] - weights[rejected]) * block.toarray(), rtol=1e-5)
    logits = network(torch.from_numpy(block.toarray())).logits.detach().numpy()
    rows = np.arange(6)
    np.testing.assert_allclose(
        np.asarray(found.sum(axis=1)).ravel(), logits[rows, favoured] - logits[rows, rejected], rtol=1e-4, atol=1e-5
    )


def test_members_are_averaged(block):
    codes = np.zeros(6, dtype=int), np.ones(6, dtype=int)
    both = contributions((linear(0), linear(1)), block, *codes)
    each = [contributions((linear(seed),), block, *codes).toarray() for seed in (0, 1)]
    np.testing.assert_allclose(both.toarray(), np.mean(each, axis=0), rtol=1e-5, atol=1e-7)


def test_of_others_they_are_the_first_order_of_the_difference(block):
    torch.manual_seed(0)
    network = MultilayerPerceptron(5, 3, n_layers=1, n_hidden=4, dropout=0.0).eval()
    favoured, rejected = np.zeros(6, dtype=int), np.ones(6, dtype=int)
    found = contributions((network,), block, favoured, rejected).toarray()
    dense, step = block.toarray().astype(np.float64), 1e-3
    network = network.double()

    def difference(values):
        logits = network(torch.from_numpy(values)).logits.detach().numpy()
        return logits[:, 0] - logits[:, 1]

    for gene in range(5):
        moved = dense.copy()
        moved[:, gene] += step
        slope = (difference(moved) - difference(dense)) / step
        np.testing.assert_allclose(found[:, gene], slope * dense[:, gene], rtol=0.02, atol=1e-4)


def test_largest_entries():
    values = sparse.csr_matrix(np.array([[0.0, 3.0, -1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-5.0, 0.0, 1.0, 0.0]]))
    assert largest_entries(values, 2).tolist() == [[1, 3], [-1, -1], [2, -1]]


def test_what_has_no_gradient():
    assert can_contrast(Holder(linear(0), linear(1)))
    assert not can_contrast(Holder(linear(0), torch.nn.Identity()))
