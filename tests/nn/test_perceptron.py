"""The linear map and the perceptron, against the same thing written out."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sctab.nn import LinearNetwork, MultilayerPerceptron


def test_linear_logits_are_a_matrix_product():
    network = LinearNetwork(5, 3)
    nn.init.normal_(network.classifier.weight)
    nn.init.normal_(network.classifier.bias)
    values = torch.rand(7, 5)
    output = network(values)
    torch.testing.assert_close(output.logits, values @ network.classifier.weight.T + network.classifier.bias)
    assert output.embedding is None


def test_linear_starts_without_an_opinion():
    assert not LinearNetwork(5, 3)(torch.rand(7, 5)).logits.any()


def test_perceptron_is_linear_map_norm_silu_by_layers():
    network = MultilayerPerceptron(5, 3, n_layers=2, n_hidden=4, dropout=0.5)
    for layer in network.layers:  # statistics that are not those of a new layer
        nn.init.normal_(layer[1].running_mean)
        nn.init.uniform_(layer[1].running_var, 0.5, 2)
    network.eval()
    values = torch.rand(7, 5)
    hidden = values
    for layer in network.layers:
        linear, norm = layer[0], layer[1]
        scaled = (linear(hidden) - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
        hidden = functional.silu(scaled)
    output = network(values)
    torch.testing.assert_close(output.embedding, hidden)
    torch.testing.assert_close(output.logits, hidden @ network.classifier.weight.T + network.classifier.bias)


def test_published_perceptron_has_eight_layers_of_128():
    network = MultilayerPerceptron(50, 3, n_layers=8, n_hidden=128, dropout=0.1)
    assert sum(isinstance(module, nn.BatchNorm1d) for module in network.modules()) == 8
    assert [module.out_features for module in network.modules() if isinstance(module, nn.Linear)] == [128] * 8 + [3]
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.1}


@pytest.mark.parametrize("setting", [{"n_layers": 0}, {"n_hidden": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_senseless_perceptrons_are_refused(setting):
    name, value = next(iter(setting.items()))
    with pytest.raises(ValueError, match=f"`{name}={value}` must be"):
        MultilayerPerceptron(5, 3, **{"n_layers": 1, "n_hidden": 4, "dropout": 0.1} | setting)
