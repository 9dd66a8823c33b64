"""Members of an ensemble, batches of few sizes, and devices."""

import importlib
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from tests.networks import N_CLASSES, N_FEATURES, as_trained, normalised_cells

from sctab import MissingDependencyError
from sctab.nn import LinearNetwork, MultilayerPerceptron, TabNet, portable_network
from sctab.nn.portable import _jax
from sctab.nn.portable._jax import BatchedFunction, JaxMembers


@pytest.fixture(scope="module")
def cells():
    return normalised_cells()


@pytest.fixture(scope="module")
def networks(cells):
    """Three members of two architectures, and one without an embedding."""
    tabnets = [TabNet(N_FEATURES, N_CLASSES, n_d=n_d, n_a=4, n_shared=1, n_independent=1) for n_d in (8, 6, 8)]
    others = [LinearNetwork(N_FEATURES, N_CLASSES)]
    return [portable_network(as_trained(network, cells, seed=seed)) for seed, network in enumerate([*tabnets, *others])]


class TestMembers:
    def test_they_are_what_each_is_alone_in_their_order(self, networks, cells):
        values = cells.toarray()
        members = JaxMembers(networks)
        logits, latent = jax.jit(members)(members.parameters, values)
        alone = [network(_jax.JAX_OPERATORS, network.parameters, values) for network in networks]
        np.testing.assert_allclose(logits, np.stack([each.logits for each in alone], axis=1), rtol=0, atol=1e-4)
        embeddings = [each.embedding for each in alone if each.embedding is not None]
        np.testing.assert_allclose(latent, np.concatenate(embeddings, axis=1), rtol=0, atol=1e-4)

    def test_those_of_one_architecture_are_stacked(self, networks):
        first, second, third = JaxMembers(networks).parameters
        assert first["classifier"].shape == (2, 8, N_CLASSES)
        assert second["classifier"].shape == (6, N_CLASSES)
        assert third["classifier"]["weight"].shape == (N_FEATURES, N_CLASSES)

    def test_one_that_differs_in_a_setting_alone_is_not_stacked(self, cells):
        networks = [TabNet(N_FEATURES, N_CLASSES, n_d=4, n_a=2, n_steps=2, gamma=gamma) for gamma in (1.0, 1.5)]
        assert len(JaxMembers([portable_network(as_trained(network, cells)) for network in networks]).parameters) == 2


class TestBatches:
    @given(n_obs=st.integers(0, 290), is_sparse=st.booleans())
    def test_any_number_of_rows(self, n_obs, is_sparse):
        matrix = np.arange(n_obs * 3, dtype=np.float64).reshape(n_obs, 3)
        other = np.ones((n_obs, 2), dtype=np.int32)
        function = BatchedFunction(lambda scale, x, y: {"a": scale * x, "b": None, "c": x.sum(axis=1) + y.sum(axis=1)}, 2.0)
        found = function(sparse.csr_matrix(matrix) if is_sparse else matrix, other)
        np.testing.assert_array_equal(found["a"], 2 * matrix)
        np.testing.assert_array_equal(found["c"], matrix.sum(axis=1) + 2)
        assert found["b"] is None
        assert found["a"].dtype == np.float32

    def test_blocks_of_all_sizes_need_few_compilations(self):
        function = BatchedFunction(lambda _, x: x + 1, None)
        for n_obs in range(1, 300, 7):
            function(np.zeros((n_obs, 4)))
        assert function._compiled._cache_size() == len(_jax.BATCH_SIZES)

    def test_duplicated_entries_are_summed(self):
        matrix = sparse.csr_matrix((np.ones(3), ([0, 0, 0], [1, 1, 2])), shape=(1, 3))
        np.testing.assert_array_equal(BatchedFunction(lambda _, x: x, None)(matrix), [[0, 2, 1]])


SPREAD = """
import sys
import jax, numpy as np
from sctab.nn import TabNet, portable_network
from sctab.nn.portable._jax import BatchedFunction, JaxMembers
from tests.networks import N_CLASSES, N_FEATURES, as_trained, normalised_cells

cells = normalised_cells()
network = as_trained(TabNet(N_FEATURES, N_CLASSES, n_d=8, n_a=4), cells)
members = JaxMembers([portable_network(network)] * 2)
on_all, on_one = BatchedFunction(members, members.parameters), BatchedFunction(members, members.parameters, jax.devices()[:1])
assert len(jax.devices()) == len(on_all.devices) == 4
for n_obs in (1, 5, 63, 150):
    for got, expected in zip(on_all(cells[:n_obs]), on_one(cells[:n_obs]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
batch = jax.device_put(np.zeros((64, N_FEATURES), np.float32), on_all._by_row)
compiled = on_all._compiled.lower(on_all.parameters, (batch,)).compile()
assert len(compiled(on_all.parameters, (batch,))[0].sharding.device_set) == 4
assert "all-reduce" not in compiled.as_text() and "all-gather" not in compiled.as_text()
"""


def test_rows_are_spread_over_devices_that_do_not_wait_for_each_other(repository):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SPREAD], check=False, capture_output=True, text=True, env=environment, cwd=repository
    )
    assert done.returncode == 0, done.stderr


def test_without_jax_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.delitem(sys.modules, "sctab.nn.portable._jax")
    with pytest.raises(MissingDependencyError, match=r"This needs `jax`, which is not installed.*sctab\[jax\]"):
        importlib.import_module("sctab.nn.portable._jax")


def test_a_perceptron_among_devices_of_choice(cells):
    network = portable_network(as_trained(MultilayerPerceptron(N_FEATURES, N_CLASSES, n_layers=1, n_hidden=4, dropout=0), cells))
    members = JaxMembers([network])
    assert BatchedFunction(members, members.parameters, jax.devices()).devices == tuple(jax.devices())
