"""Recorded graphs, run by ONNX Runtime, against PyTorch and the `entmax` package."""

import entmax
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tests.networks import N_CLASSES, N_FEATURES, architectures, as_trained, normalised_cells

from sctab.nn import LinearNetwork, MultilayerPerceptron, TabNet, ZINBAutoencoder, portable_network
from sctab.nn.portable._masks import N_STRIPS
from sctab.nn.portable._onnx import OnnxOperators


def run(function, *matrices):
    """The output of a function of symbols."""
    names = [f"input_{i}" for i in range(len(matrices))]
    ops = OnnxOperators(matrices[0].shape[1])
    output = function(ops, *(ops.input(name) for name in names))
    written = ops.model(
        {name: matrix.shape[1] for name, matrix in zip(names, matrices, strict=True)}, {"output": output}, {"output": 1}
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the width of the output is made up here
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(written, options)
    return session.run(None, {name: matrix.astype(np.float32) for name, matrix in zip(names, matrices, strict=True)})[0]


@pytest.mark.parametrize("name", ["entmax15", "sparsemax"])
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 5), st.sampled_from([1, 2, 50, 8 * N_STRIPS - 1, 8 * N_STRIPS, 700])),
    scale=st.sampled_from([0.0, 0.01, 1.0, 30.0, 1e6]),
)
def test_masks_are_those_of_the_sort(name, seed, shape, scale):
    logits = (scale * np.random.default_rng(seed).normal(size=shape).round(2)).astype(np.float32)
    expected = getattr(entmax, name)(torch.from_numpy(logits).double(), dim=-1)
    np.testing.assert_allclose(run(lambda ops, x: getattr(ops, name)(x), logits), expected, rtol=0, atol=5e-7)


@given(exponents=st.lists(st.floats(-30, 30), min_size=1, max_size=20))
def test_the_logarithm_of_one_plus_little_is_exact(exponents):
    x = np.append(10.0 ** np.array(exponents), 0).astype(np.float32)[None]
    np.testing.assert_allclose(run(lambda ops, x: ops.log1p(x), x), np.log1p(x), rtol=1e-6)


@given(seed=st.integers(0, 1000))
def test_arithmetic_is_that_of_numpy(seed):
    x, y = (np.random.default_rng(seed).normal(size=(2, 3, 4))).astype(np.float32)

    def function(x, y, where):
        return where(x > y, -x / 2.0 + (1 - y), 3 * y - x) * (1.0 / (x * x + 1.0)) + np.float32(2) * np.ones((1, 4), np.float32)

    np.testing.assert_allclose(run(lambda ops, x, y: function(x, y, ops.where), x, y), function(x, y, np.where), rtol=1e-5)


def test_cells_are_cut_joined_and_bounded():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    both = run(lambda ops, x: ops.clip(ops.beside(ops.columns(x, 1, 3), x), 2.0, 9.0), x)
    np.testing.assert_array_equal(both, np.hstack([x[:, 1:3], x]).clip(2, 9))


def as_network(network, cells):
    portable = portable_network(network)
    got = run(lambda ops, x: portable(ops, portable.parameters, x).logits, cells.toarray())
    values = torch.from_numpy(cells.toarray())
    with torch.inference_mode():
        logits, exact = network(values).logits, network.double()(values.double()).logits
    rounding = 2 * (logits.softmax(dim=1) - exact.softmax(dim=1)).abs().max().item()
    np.testing.assert_allclose(torch.from_numpy(got).softmax(dim=1), logits.softmax(dim=1), rtol=0, atol=1e-5 + rounding)


@given(architecture=architectures, seed=st.integers(0, 1000))
@settings(max_examples=settings.default.max_examples // 2)
def test_any_tabnet(architecture, seed):
    cells = normalised_cells(20)
    as_network(as_trained(TabNet(N_FEATURES, N_CLASSES, **architecture), cells, seed=seed), cells)


@pytest.mark.parametrize(
    "build",
    [
        lambda: LinearNetwork(N_FEATURES, N_CLASSES),
        lambda: MultilayerPerceptron(N_FEATURES, N_CLASSES, n_layers=3, n_hidden=9, dropout=0.1),
        lambda: ZINBAutoencoder(N_FEATURES - 2, N_CLASSES, n_batches=2, n_latent=5, encoder=(20, 8)),
    ],
)
def test_other_networks(build):
    cells = normalised_cells(20)
    network = build()
    as_network(network.eval() if isinstance(network, ZINBAutoencoder) else as_trained(network, cells), cells)


def test_weights_that_are_used_twice_are_stored_once():
    weight = np.ones((50, 50), dtype=np.float32)
    ops = OnnxOperators(50)
    output = ops.matmul(ops.matmul(ops.input("x"), weight), weight)
    assert len(ops.model({"x": 50}, {"y": output}, {"y": 50})) < 1.5 * weight.nbytes
