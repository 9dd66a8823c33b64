"""Inputs from stored counts are the dense ones, random draws included; and so is a training of TabNet from them."""

import contextlib
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import sparse
from tests.tensors import as_tensor
from tests.training import make_data, train

from sctab.augmentation import SparseRows, add_donor_differences, drop_genes
from sctab.data import Normalization, normalise_tensor
from sctab.nn import TabNet, _tabnet
from sctab.train import _threads
from sctab.train._stored_inputs import as_input, as_matrix, stored_values


def draw_counts(n_obs, n_vars, density, seed):
    rng = np.random.default_rng(seed)
    matrix = sparse.random(n_obs, n_vars, density=density, format="csr", random_state=seed, dtype=np.float32).sorted_indices()
    matrix.data = rng.integers(1, 50, size=matrix.nnz).astype(np.float32)
    return matrix


@given(
    n_obs=st.sampled_from([1, 2, 63, 64, 130]),
    n_vars=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.1, 1.0]),
    dropout=st.sampled_from([0.0, 0.5, 1.0]),
    augment=st.booleans(),
    logarithm=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_values_and_draws_are_those_of_dense_counts(n_obs, n_vars, density, dropout, augment, logarithm, seed):
    counts, normalization = draw_counts(n_obs, n_vars, density, seed), Normalization(target_sum=1000.0, log1p=logarithm)
    vectors = sparse.random(7, n_vars, density=0.5, format="csr", random_state=seed, dtype=np.float32).sorted_indices()
    vectors.data = 3 * vectors.data - 1.5
    differences = SparseRows(vectors) if augment else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = stored_values(counts, gene_dropout=dropout, normalization=normalization, differences=differences)
        next_found = torch.rand(3)
        torch.manual_seed(seed)
        expected = normalise_tensor(drop_genes(torch.from_numpy(counts.toarray()), dropout), normalization)
        if differences is not None:
            expected = add_donor_differences(expected, differences, largest=normalization.largest)
        torch.testing.assert_close(next_found, torch.rand(3), rtol=0, atol=0)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5, atol=1e-6)
    assert found.has_canonical_format
    assert found.dtype == np.float32
    if dropout or augment:
        assert (found.data != 0).all()


def test_what_is_not_a_number_stays_so():
    counts = draw_counts(5, 6, 0.5, 0)
    counts.data[2] = np.nan
    vectors = SparseRows(sparse.csr_matrix(np.ones((2, 6), dtype=np.float32)))
    found = stored_values(counts, gene_dropout=0.0, normalization=Normalization(), differences=vectors)
    assert np.isnan(found.data).any()


def test_a_matrix_has_each_column_once_and_in_order():
    given = sparse.csr_matrix((np.array([1, 2, 3], dtype=np.float32), np.array([4, 1, 4]), np.array([0, 3, 3])), shape=(2, 5))
    found = as_matrix(as_tensor(given, torch.float32))
    assert found.has_canonical_format
    assert found.toarray().tolist() == [[0, 2, 0, 0, 4], [0, 0, 0, 0, 0]]
    assert given.nnz == 3


def test_a_matrix_in_order_shares_the_memory_of_the_tensor():
    tensor = as_tensor(draw_counts(5, 6, 0.5, 0), torch.float32)
    assert np.shares_memory(as_matrix(tensor).data, tensor.values().numpy())


@pytest.mark.parametrize("n_categories", [0, 3])
def test_covariates_are_beside_the_values(n_categories):
    values, covariates = draw_counts(5, 6, 0.5, 0), torch.eye(5)[:, :n_categories]
    found = as_input(values, covariates)
    assert found.layout is torch.sparse_csr
    np.testing.assert_array_equal(found.to_dense(), np.hstack([values.toarray(), covariates]))


class SeenTabNet(TabNet):
    """Keeps the layouts that reach it."""

    def __init__(self, data, **settings):
        n_features = data.counts.shape[1] + data.covariates.shape[1]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            super().__init__(n_features, data.n_classes, n_d=6, n_a=4, n_shared=1, n_independent=1, **settings)
        self.inputs = {True: [], False: []}

    def forward(self, x):
        self.inputs[self.training].append(x.layout)
        return super().forward(x)


@contextlib.contextmanager
def everywhere():
    """Take stored values whatever the size and density."""
    with mock.patch.object(_tabnet, "FEWEST_VALUES", 0), mock.patch.object(_tabnet, "MOST_STORED", 1.0):
        yield


SETTINGS = {"gene_dropout": 0.5, "covariate_dropout": 0.3, "max_epochs": 4, "learning_rate": 0.002, "gradient_clip": 1.0}


def penalty(output):
    return -1e-2 * output.mask_loss


@pytest.mark.parametrize("augment", [False, True])
def test_a_training_from_stored_counts_is_the_dense_one(augment):
    data = make_data(120, n_genes=40)
    runs = []
    for context in (contextlib.nullcontext(), everywhere()):
        with context:
            runs.append(train(data, SeenTabNet(data, dense_decision=True), penalty=penalty, augment=augment, **SETTINGS))
    dense, stored = runs
    assert {*dense.trained_on, *dense.validated_on} == {torch.strided}
    assert {*stored.trained_on, *stored.validated_on} == {torch.sparse_csr}
    for name in ("train_loss", "validation_loss", "validation_macro_f1"):
        np.testing.assert_allclose(stored.history[name], dense.history[name], rtol=2e-4)
    for one, other in zip(stored.steps[0].gradients, dense.steps[0].gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_training_from_stored_counts_resumes_in_all_bits(tmp_path):
    data = make_data(120, n_genes=40)
    with everywhere():
        whole = train(data, SeenTabNet(data), penalty=penalty, run_dir=tmp_path / "whole", **SETTINGS)

        class Stop(Exception):
            pass

        def stop_at_second(_, seen=[]):  # noqa: B006 - counts calls
            seen.append(None)
            if len(seen) == 3:
                raise Stop

        with contextlib.suppress(Stop):
            train(data, SeenTabNet(data), penalty=penalty, run_dir=tmp_path / "cut", write=stop_at_second, **SETTINGS)
        resumed = train(data, SeenTabNet(data), penalty=penalty, run_dir=tmp_path / "cut", resume=True, **SETTINGS)
    assert len(resumed.trained_on) < len(whole.trained_on)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=0, atol=0)


def test_other_networks_get_dense_counts():
    with everywhere():
        run = train(make_data(60), max_epochs=1)
    assert {batch.layout for batch in (*run.trained_on, *run.validated_on)} == {torch.strided}


@pytest.mark.parametrize(("is_sparse", "n_threads"), [(False, 4), (True, 1)])
def test_steps_from_stored_counts_use_fewer_threads(is_sparse, n_threads, monkeypatch):
    data, before = make_data(120, n_genes=40), torch.get_num_threads()
    network = SeenTabNet(data)
    n_products = 100 * sum(parameter.numel() for parameter in network.parameters())
    monkeypatch.setattr(_threads, "PRODUCTS_PER_THREAD", n_products // 5)
    seen = []
    network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(4)
    try:
        with everywhere() if is_sparse else contextlib.nullcontext():
            train(data, network, max_epochs=1, batch_size=100)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {n_threads}
