"""Networks out of PyTorch against the networks, over JAX."""

import copy
import pickle
from functools import partial

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import sparse
from tests.networks import N_CLASSES, N_FEATURES, architectures, as_trained, normalised_cells

from sctab.data import Normalization, normalise
from sctab.nn import LinearNetwork, MultilayerPerceptron, TabNet, ZINBAutoencoder, from_published, portable_network
from sctab.nn.portable._jax import JAX_OPERATORS


@pytest.fixture(scope="module")
def cells():
    return normalised_cells(40)


def assert_same(network, cells):
    """Probabilities within 1e-5, or twice as far as PyTorch in single precision is from PyTorch in double precision."""
    values = torch.from_numpy(cells.toarray())
    portable = portable_network(network)
    logits, embedding = jax.jit(partial(portable, JAX_OPERATORS))(portable.parameters, values.numpy())
    with torch.inference_mode():
        expected, exact = network(values), copy.deepcopy(network).double()(values.double())

    def assert_near(got, ours, exact, tolerance):
        rounding = 2 * (ours - exact).abs().max().item()
        np.testing.assert_allclose(got, ours, rtol=1e-4 if tolerance > 1e-5 else 0, atol=tolerance + rounding)

    assert_near(jax.nn.softmax(logits), expected.logits.softmax(dim=1), exact.logits.softmax(dim=1), 1e-5)
    if expected.embedding is None:
        assert embedding is None
    else:
        assert_near(embedding, expected.embedding, exact.embedding, 1e-4)


@settings(max_examples=settings.default.max_examples // 2)  # each is compiled
@given(architecture=architectures, seed=st.integers(0, 1000))
def test_any_tabnet(cells, architecture, seed):
    assert_same(as_trained(TabNet(N_FEATURES, N_CLASSES, **architecture), cells, seed=seed), cells)


@settings(max_examples=settings.default.max_examples // 3)
@given(n_layers=st.integers(1, 4), n_hidden=st.integers(1, 30), seed=st.integers(0, 1000))
def test_any_perceptron(cells, n_layers, n_hidden, seed):
    network = MultilayerPerceptron(N_FEATURES, N_CLASSES, n_layers=n_layers, n_hidden=n_hidden, dropout=0.1)
    assert_same(as_trained(network, cells, seed=seed), cells)


@given(n_classes=st.integers(1, 9))
def test_any_linear_network(cells, n_classes):
    network = LinearNetwork(N_FEATURES, n_classes)
    torch.nn.init.normal_(network.classifier.weight, std=0.1)
    torch.nn.init.normal_(network.classifier.bias)
    assert_same(network, cells)


@pytest.mark.parametrize("n_batches", [0, 3])
def test_an_autoencoder(cells, n_batches):
    network = ZINBAutoencoder(N_FEATURES - n_batches, 4, n_batches=n_batches, n_latent=5, encoder=(20, 8)).eval()
    torch.nn.init.normal_(network.centroids)
    network.input_mean.uniform_(0, 1)
    network.input_std.uniform_(0.5, 2)
    assert_same(network, cells)


def test_published_numbers(oracle_path):
    checkpoint = next(oracle_path.glob("*.ckpt"))
    with torch.serialization.safe_globals([torch.optim.AdamW, torch.optim.lr_scheduler.StepLR]):
        weights = torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"]
    numbers = np.load(oracle_path / "expected.npz")
    arrays = (numbers["counts_data"], numbers["counts_indices"], numbers["counts_indptr"])
    network = TabNet(1500, 12, n_d=32, n_a=16, n_shared=3, n_independent=2)
    network.load_state_dict(from_published(weights, n_shared=3))
    values = normalise(sparse.csr_matrix(arrays, shape=numbers["shape"]), Normalization()).toarray()
    portable = portable_network(network.eval())
    logits, embedding = portable(JAX_OPERATORS, portable.parameters, values)
    np.testing.assert_allclose(jax.nn.softmax(logits), numbers["probabilities"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(embedding, numbers["embedding"], rtol=0, atol=5e-5)


def test_the_gradient_of_a_logit_is_that_of_pytorch(cells):
    network = as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4, n_steps=2, dense_decision=True), cells)
    values = torch.from_numpy(cells.toarray()).double().requires_grad_()
    (expected,) = torch.autograd.grad(copy.deepcopy(network).double()(values).logits[:, 0].sum(), values)
    portable = portable_network(network)
    got = jax.grad(lambda x: portable(JAX_OPERATORS, portable.parameters, x).logits[:, 0].sum())(cells.toarray())
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3 * expected.abs().max())


def test_the_network_is_not_changed_and_shares_no_memory(cells):
    network = LinearNetwork(N_FEATURES, N_CLASSES)
    portable = portable_network(network)
    portable.parameters["classifier"]["bias"][:] = 9
    assert network.classifier.bias.abs().max() == 0


def test_it_can_be_sent_to_other_processes(cells):
    network = as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells)
    portable = portable_network(network)
    sent = pickle.loads(pickle.dumps(portable))
    values = cells.toarray()
    for got, expected in zip(
        sent(JAX_OPERATORS, sent.parameters, values), portable(JAX_OPERATORS, portable.parameters, values), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_other_modules_are_refused():
    with pytest.raises(ValueError, match="a `Tanh` is not made of layers that other frameworks have"):
        portable_network(torch.nn.Tanh())
