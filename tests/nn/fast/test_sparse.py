"""Sparse evaluation against the dense networks and the published numbers."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse
from tests.networks import N_CLASSES, N_FEATURES, architectures, as_trained, normalised_cells

from sctab.data import Normalization, normalise
from sctab.nn import (
    LinearNetwork,
    MultilayerPerceptron,
    NetworkOutput,
    TabNet,
    from_published,
    predict_sparse,
    sparse_network,
)
from sctab.nn.fast import _attention, _parts


@pytest.fixture(scope="module")
def cells():
    return normalised_cells()


@pytest.fixture(params=["compiled loops", "compiled loops, no products of bytes", "tensors"])
def backend(request, monkeypatch):
    """The loops of the CPU, on processors of either kind, and those of every other device, which run here as well."""
    if request.param == "tensors":
        for module in (_parts, _attention):
            monkeypatch.setattr(module, "uses_kernels", lambda _: False)
    elif request.param != "compiled loops":
        monkeypatch.setattr(_attention, "multiplies_bytes", lambda: False)


def dense_output(network, cells):
    with torch.inference_mode():
        output = network(torch.from_numpy(cells.toarray()))
    return NetworkOutput(output.logits, output.embedding)


def assert_same(got, expected, exact=None):
    """Within 1e-5; where several steps amplify rounding, further by twice what `expected` is away from the `exact` numbers itself."""

    def assert_near(pick, tolerance):
        rounding = 0 if exact is None else 2 * (pick(expected) - pick(exact)).abs().max().item()
        np.testing.assert_allclose(pick(got), pick(expected), rtol=1e-4 if tolerance > 1e-5 else 0, atol=tolerance + rounding)

    assert_near(lambda output: output.logits.softmax(dim=1), 1e-5)
    if expected.embedding is None:
        assert got.embedding is None
    else:
        assert_near(lambda output: output.embedding, 1e-4 if exact is None else 1e-3)


def assert_same_as_dense(network, cells):
    exact = None
    if len(network.attentive_transformers) > 1:
        with torch.inference_mode():
            output = copy.deepcopy(network).double()(torch.from_numpy(cells.toarray()).double())
        exact = NetworkOutput(output.logits, output.embedding)
    assert_same(sparse_network(network)(cells), dense_output(network, cells), exact)


class TestTabNet:
    @given(settings=architectures, seed=st.integers(0, 1000))
    def test_any_architecture(self, cells, settings, seed):
        network = as_trained(TabNet(N_FEATURES, N_CLASSES, **settings), cells, seed=seed)
        assert_same_as_dense(network, cells)

    @pytest.mark.usefixtures("backend")
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"n_steps": 3},
            {"n_steps": 2, "mask_type": "sparsemax", "gamma": 1.0},
            {"n_shared": 0, "dense_decision": True},
            {"n_independent": 0, "n_shared": 1},
        ],
    )
    def test_on_every_device(self, cells, settings):
        settings = {"n_d": 16, "n_a": 8, "n_shared": 2, "n_independent": 1} | settings
        assert_same_as_dense(as_trained(TabNet(N_FEATURES, N_CLASSES, **settings), cells), cells)

    def test_masks_of_an_untrained_network_may_let_everything_through(self, cells):
        network = TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4)
        torch.nn.init.zeros_(network.attentive_transformers[0].linear.weight)
        as_seen = dense_output(network.eval(), cells)
        np.testing.assert_allclose(sparse_network(network)(cells).logits, as_seen.logits, rtol=1e-4, atol=1e-4)

    def test_inputs_whose_weight_in_the_norm_is_zero(self, cells):
        network = as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells)
        torch.nn.init.zeros_(network.input_norm.weight)
        assert_same(sparse_network(network)(cells), dense_output(network, cells))

    def test_published_numbers(self, oracle_path):
        checkpoint = next(oracle_path.glob("*.ckpt"))
        with torch.serialization.safe_globals([torch.optim.AdamW, torch.optim.lr_scheduler.StepLR]):
            weights = torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"]
        numbers = np.load(oracle_path / "expected.npz")
        arrays = (numbers["counts_data"], numbers["counts_indices"], numbers["counts_indptr"])
        network = TabNet(1500, 12, n_d=32, n_a=16, n_shared=3, n_independent=2)
        network.load_state_dict(from_published(weights, n_shared=3))
        output = sparse_network(network.eval())(normalise(sparse.csr_matrix(arrays, shape=numbers["shape"]), Normalization()))
        np.testing.assert_allclose(output.logits.softmax(dim=1), numbers["probabilities"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(output.embedding, numbers["embedding"], rtol=0, atol=5e-5)

    def test_the_network_is_not_changed(self, cells):
        network = as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        sparse_network(network)(cells)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.usefixtures("backend")
class TestOtherNetworks:
    def test_linear(self, cells):
        network = LinearNetwork(N_FEATURES, N_CLASSES)
        torch.nn.init.normal_(network.classifier.weight, std=0.1)
        torch.nn.init.normal_(network.classifier.bias)
        assert_same(sparse_network(network)(cells), dense_output(network, cells))

    @pytest.mark.parametrize("n_layers", [1, 4])
    def test_perceptron(self, cells, n_layers):
        network = as_trained(MultilayerPerceptron(N_FEATURES, N_CLASSES, n_layers=n_layers, n_hidden=24, dropout=0.1), cells)
        assert_same(sparse_network(network)(cells), dense_output(network, cells))

    def test_what_has_no_sparse_form_is_used_as_it_is(self, cells):
        class Root(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = torch.nn.Linear(N_FEATURES, N_CLASSES)

            def forward(self, values):
                return NetworkOutput(self.linear(values.sqrt()), None)

        network = Root()
        assert_same(sparse_network(network)(cells), dense_output(network, cells))
        with pytest.raises(ValueError, match=r"A `Root` cannot be evaluated with `precision='bfloat16'`"):
            sparse_network(network, precision="bfloat16")


class TestInput:
    @pytest.fixture
    def network(self, cells):
        return as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells)

    @pytest.mark.usefixtures("backend")
    def test_columns_may_be_in_any_order(self, cells, network, rng):
        shuffled = cells.copy()
        for start, stop in itertools.pairwise(cells.indptr):
            order = start + rng.permutation(stop - start)
            shuffled.indices[start:stop], shuffled.data[start:stop] = cells.indices[order], cells.data[order]
        indices = shuffled.indices.copy()
        assert_same(sparse_network(network)(shuffled), dense_output(network, cells))
        np.testing.assert_array_equal(shuffled.indices, indices)

    @pytest.mark.usefixtures("backend")
    def test_cells_without_a_count_and_no_cells(self, network):
        empty = sparse.csr_matrix((3, N_FEATURES), dtype=np.float32)
        assert_same(sparse_network(network)(empty), dense_output(network, empty))
        assert sparse_network(network)(empty[:0]).logits.shape == (0, N_CLASSES)

    @given(n_obs=st.integers(1, 150))
    def test_cells_do_not_depend_on_each_other(self, cells, n_obs):
        network = as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells)
        evaluate = sparse_network(network)
        np.testing.assert_allclose(evaluate(cells[:n_obs]).logits, evaluate(cells).logits[:n_obs], rtol=0, atol=1e-5)

    def test_several_networks_at_once(self, cells):
        networks = [as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells, seed=seed) for seed in range(3)]
        outputs = predict_sparse([sparse_network(network) for network in networks], cells)
        for network, output in zip(networks, outputs, strict=True):
            assert_same(output, dense_output(network, cells))


@pytest.mark.parametrize(
    "build",
    [
        lambda: TabNet(N_FEATURES, N_CLASSES, n_d=16, n_a=8),
        lambda: MultilayerPerceptron(N_FEATURES, N_CLASSES, n_layers=2, n_hidden=24, dropout=0.1),
    ],
)
def test_bfloat16_is_near_and_is_not_the_same(cells, build):
    network = as_trained(build(), cells)
    exact, rough = (sparse_network(network, precision=p)(cells).logits.softmax(dim=1) for p in ("float32", "bfloat16"))
    difference = (exact - rough).abs().max().item()
    assert 0 < difference < 0.1


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"`precision='float8'` is unknown. Choose one of: float32, bfloat16"):
        sparse_network(LinearNetwork(5, 2), precision="float8")


@pytest.mark.parametrize(("owner", "name"), [(torch, "_int_mm"), (torch.cpu, "_is_vnni_supported")], ids=["product", "processor"])
def test_private_functions_of_pytorch_can_be_missing(owner, name, cells, monkeypatch):
    network = as_trained(TabNet(N_FEATURES, N_CLASSES), cells)
    (before,) = predict_sparse([sparse_network(network)], cells)
    monkeypatch.delattr(owner, name)
    assert not _attention.multiplies_bytes()
    (after,) = predict_sparse([sparse_network(network)], cells)
    assert_same(after, before)
    assert_same(after, dense_output(network, cells))
