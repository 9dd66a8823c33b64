"""What names and shapes tell, and that a mean which was subtracted can be taken over by the weights."""

import pytest
import torch
from tests.published import N_GENES, published_linear, published_mlp, published_tabnet

from sctab.nn import LinearNetwork, MultilayerPerceptron, TabNet, describe_published, from_published, subtract_means


def as_stored(network):
    return {f"classifier.{name}": tensor for name, tensor in network.state_dict().items()} | {"class_weights": torch.ones(4)}


@pytest.mark.parametrize(("n_shared", "n_independent"), [(2, 3), (0, 2), (2, 0)])
def test_a_tabnet_is_described(n_shared, n_independent):
    network, _ = published_tabnet(n_d=6, n_a=5, n_steps=2, n_shared=n_shared, n_independent=n_independent)
    kind, n_features, n_classes, settings = describe_published(as_stored(network))
    assert (kind, n_features, n_classes) == ("tabnet", N_GENES, 4)
    assert settings == {"n_d": 6, "n_a": 5, "n_steps": 2, "n_shared": n_shared, "n_independent": n_independent}


def test_simple_networks_are_described():
    assert describe_published(as_stored(published_linear()[0])) == ("linear", N_GENES, 4, {})
    described = describe_published(as_stored(published_mlp(n_hidden=3, hidden_size=7)[0]))
    assert described == ("mlp", N_GENES, 4, {"n_layers": 3, "n_hidden": 7})


@pytest.mark.parametrize(
    "missing", ["encoder.att_transformers.0.fc.weight", "final_mapping.weight"], ids=["attention", "last layer"]
)
def test_a_size_that_nothing_tells_is_refused(missing):
    weights = as_stored(published_tabnet()[0])
    del weights[f"classifier.{missing}"]
    with pytest.raises(KeyError, match=missing):
        describe_published(weights)


def test_unknown_published_name_is_refused():
    with pytest.raises(KeyError, match=r"classifier\.encoder\.embedder\.weight"):
        from_published({"classifier.encoder.embedder.weight": torch.zeros(1)}, n_shared=1)


@pytest.mark.parametrize("make", [published_tabnet, published_linear, published_mlp])
def test_means_move_into_the_weights(make):
    network, _ = make(seed=3)
    renamed = from_published(as_stored(network), n_shared=2)
    ours = {
        published_tabnet: lambda: TabNet(N_GENES, 4, n_d=6, n_a=5, n_shared=2, n_independent=1),
        published_linear: lambda: LinearNetwork(N_GENES, 4),
        published_mlp: lambda: MultilayerPerceptron(N_GENES, 4, n_layers=2, n_hidden=7, dropout=0.1),
    }[make]()
    means = torch.rand(N_GENES)
    kept = {name: tensor.clone() for name, tensor in renamed.items()}
    ours.load_state_dict(subtract_means(renamed, means))
    assert all(torch.equal(renamed[name], kept[name]) for name in kept)
    x = 3 * torch.rand(9, N_GENES)
    expected = network(x - means)
    torch.testing.assert_close(ours.eval()(x).logits, expected[0] if isinstance(expected, tuple) else expected, rtol=0, atol=1e-5)
