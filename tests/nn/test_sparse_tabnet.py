"""TabNet from stored values against the dense network: numbers, gradients and running statistics."""

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from scipy import sparse
from tests.tensors import as_tensor

from sctab.nn import TabNet, _sparse_tabnet, _tabnet, cross_entropy


@pytest.fixture(autouse=True, scope="module")
def small_ones_too():
    """Small inputs are evaluated from stored values as large ones are."""
    with mock.patch.object(_tabnet, "FEWEST_VALUES", 0):
        yield


def draw(n_obs, n_features, density, seed=0):
    matrix = sparse.random(n_obs, n_features, density=density, format="csr", random_state=seed).sorted_indices()
    matrix.data *= 5
    return matrix


def make(n_features, *, seed=0, dtype=torch.float64, **settings):
    torch.manual_seed(seed)
    settings = {"n_d": 5, "n_a": 4, "n_shared": 1, "n_independent": 1, "virtual_batch_size": 8} | settings
    network = TabNet(n_features, 3, **settings).to(dtype).train()
    for parameter in network.parameters():  # scales and shifts of norms are ones and zeros
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return network


def step(network, x):
    """Output, loss, and gradients of a step."""
    output = network(x)
    loss = cross_entropy(output.logits, torch.arange(len(x)) % 3) - 1e-2 * output.mask_loss
    loss.backward()
    return output, loss, {name: parameter.grad for name, parameter in network.named_parameters()}


def require_equal(one, other, **close):
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, msg=lambda text, name=name: f"{name}: {text}", **close)


@given(
    n_obs=st.sampled_from([2, 3, 8, 17, 33]),
    n_features=st.integers(1, 60),
    density=st.sampled_from([0.05, 0.2, 1.0]),
    layers=st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any),
    dense_decision=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_every_step_is_that_of_the_dense_network(n_obs, n_features, density, layers, dense_decision, seed):
    dense = make(n_features, seed=seed, n_shared=layers[0], n_independent=layers[1], dense_decision=dense_decision)
    stored = copy.deepcopy(dense)
    matrix = draw(n_obs, n_features, density, seed)
    assume(len(np.unique(matrix.toarray(), axis=0)) > n_obs / 2)  # norms of equal cells divide rounding errors by almost nothing
    with mock.patch.object(_tabnet, "MOST_STORED", 1.0):
        assert stored.takes_sparse(as_tensor(matrix))
        output, loss, gradients = step(stored, as_tensor(matrix))
    expected, expected_loss, expected_gradients = step(dense, torch.from_numpy(matrix.toarray()))
    close = {"rtol": 1e-6, "atol": 1e-8}
    torch.testing.assert_close(loss, expected_loss, **close)
    for name in ("logits", "embedding", "mask_loss"):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name), **close)
    torch.testing.assert_close(output.masks[0].to_dense(), expected.masks[0], **close)
    require_equal(expected_gradients, gradients, rtol=1e-5, atol=1e-7)
    require_equal(dict(dense.named_buffers()), dict(stored.named_buffers()), **close)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_large_supports_are_multiplied_densely_to_the_same_numbers(share, monkeypatch):
    dense = make(30)
    stored, matrix = copy.deepcopy(dense), draw(9, 30, 0.1)
    *_, expected = step(dense, torch.from_numpy(matrix.toarray()))
    monkeypatch.setattr(_sparse_tabnet, "MOST_SELECTED", share)
    *_, found = step(stored, as_tensor(matrix))
    require_equal(expected, found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("frozen", [[], ["classifier."], ["input_norm.", "shared."], ["attentive_transformers."]])
def test_what_is_frozen_has_no_gradient_and_keeps_its_statistics(frozen):
    dense = make(30)
    for name, parameter in dense.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(frozen)))
    for name, module in dense.named_modules():
        if frozen and f"{name}.".startswith(tuple(frozen)):
            module.eval()
    stored, matrix = copy.deepcopy(dense), draw(9, 30, 0.1)
    *_, expected = step(dense, torch.from_numpy(matrix.toarray()))
    *_, found = step(stored, as_tensor(matrix))
    for name, value in expected.items():
        if value is None:
            assert found[name] is None
    require_equal({name: value for name, value in expected.items() if value is not None}, found, rtol=1e-5, atol=1e-7)
    require_equal(dict(dense.named_buffers()), dict(stored.named_buffers()))


def test_evaluation_is_that_of_the_dense_network():
    network, matrix = make(40), draw(9, 40, 0.1)
    network(torch.from_numpy(draw(40, 40, 0.3).toarray()))  # moves the running statistics away from zero and one
    network.eval()
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        found, expected = network(as_tensor(matrix)), network(torch.from_numpy(matrix.toarray()))
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.masks[0].to_dense(), expected.masks[0])
    require_equal(before, network.state_dict(), rtol=0, atol=0)


def test_cells_without_a_count_and_genes_without_a_cell():
    dense = make(50)
    values = draw(16, 50, 0.2).toarray()
    values[3:6] = 0
    values[:, 10:20] = 0
    matrix = sparse.csr_matrix(values)
    stored = copy.deepcopy(dense)
    *_, expected = step(dense, torch.from_numpy(matrix.toarray()))
    *_, found = step(stored, as_tensor(matrix))
    require_equal(expected, found, rtol=1e-5, atol=1e-7)


def test_a_batch_without_a_count():
    dense = make(20)
    stored, matrix = copy.deepcopy(dense), sparse.csr_matrix((6, 20))
    _, expected, _ = step(dense, torch.zeros(6, 20, dtype=torch.float64))
    _, found, gradients = step(stored, as_tensor(matrix))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


def test_losses_of_a_training_are_those_of_the_dense_network():
    dense = make(200, dtype=torch.float32, dense_decision=True)
    stored = copy.deepcopy(dense)
    losses = []
    for network, is_sparse in ((dense, False), (stored, True)):
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.002)
        losses.append([])
        for number in range(8):
            optimizer.zero_grad()
            matrix = draw(64, 200, 0.1, seed=number).astype(np.float32)
            x = as_tensor(matrix, torch.float32) if is_sparse else torch.from_numpy(matrix.toarray())
            losses[-1].append(float(step(network, x)[1].detach()))
            optimizer.step()
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)


class TestRule:
    @pytest.fixture
    def x(self):
        return as_tensor(draw(8, 30, 0.1))

    def test_stored_values_of_a_csr_tensor(self, x):
        assert make(30).takes_sparse(x)
        assert make(30, dense_decision=True).eval().takes_sparse(x)

    def test_what_is_dense_stays_so(self, x):
        assert not make(30).takes_sparse(x.to_dense())
        assert not make(30).takes_sparse(as_tensor(draw(8, 30, 0.3)))
        assert make(30).takes_sparse(as_tensor(draw(8, 30, 0.2)))

    def test_what_is_small_is_computed_densely(self, x, monkeypatch):
        monkeypatch.setattr(_tabnet, "FEWEST_VALUES", 8 * 30)
        assert make(30).takes_sparse(x)
        monkeypatch.setattr(_tabnet, "FEWEST_VALUES", 8 * 30 + 1)
        assert not make(30).takes_sparse(x)

    @pytest.mark.parametrize("settings", [{"n_steps": 2}, {"mask_type": "sparsemax"}])
    def test_other_architectures_compute_densely(self, x, settings):
        network = make(30, **settings)
        assert not network.takes_sparse(x)
        other = copy.deepcopy(network)
        torch.testing.assert_close(network(x).logits, other(x.to_dense()).logits, rtol=0, atol=0)

    def test_mixed_precision_and_several_processes_compute_densely(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not make(30).takes_sparse(x)
        with mock.patch.object(_tabnet, "is_shared", return_value=True):
            assert not make(30).takes_sparse(x)

    def test_one_cell_is_refused_in_the_words_of_torch(self):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            make(30)(as_tensor(draw(1, 30, 0.1)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_noticed_as_in_the_dense_network(bad):
    matrix = draw(8, 30, 0.1)
    matrix.data[3] = bad
    for x in (as_tensor(matrix), torch.from_numpy(matrix.toarray())):
        with pytest.raises(RuntimeError):
            make(30)(x)
