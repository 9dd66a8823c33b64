"""How much each gene matters."""

from types import SimpleNamespace

import numpy as np
import torch
from tests.training import N_GENES, make_data, normalised

from sctab.data import Normalization
from sctab.train import importance_of_genes, measure_importance

CPU = torch.device("cpu")


def measure(forward, data):
    found = measure_importance(forward, data, Normalization(target_sum=100.0), device=CPU, rng=np.random.default_rng(0))
    assert found.shape == (N_GENES + data.covariates.shape[1],)
    assert abs(found.sum() - 1) < 1e-5
    return importance_of_genes(found, N_GENES)


def test_of_a_linear_network_is_expression_times_weight_of_the_predicted_type():
    data = make_data(700, n_unlabeled=300)
    data.labels[:50] = np.arange(50) % 3  # the others without a label are not looked at
    weights = np.random.default_rng(1).normal(size=(3, N_GENES + 4)).astype(np.float32)
    weights[:, N_GENES:] *= 10  # covariates matter and are not genes
    found = measure(lambda values: (values @ torch.from_numpy(weights).T, None), data)
    genes = normalised(data.counts[data.labels >= 0].toarray())
    inputs = np.hstack([genes, np.ones((len(genes), 4))])
    predicted = (inputs @ weights.T).argmax(axis=1)
    expected = np.abs(genes * weights[predicted, :N_GENES]).sum(axis=0)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-4)
    assert found.dtype == np.float32


def test_effects_of_other_signs_do_not_cancel():
    data = make_data(60, n_categories=0)

    def forward(values):
        signs = torch.tensor([1.0, -1.0]).repeat(len(values))[: len(values)]
        return torch.stack([signs * values[:, 0] + values[:, 1] * 1e-3, -1e9 + 0 * values[:, 2]], dim=1), None

    found = measure(forward, data)
    assert found[0] > 0.99


def test_of_a_network_that_looks_at_nothing_is_the_same_for_all_genes():
    data = make_data(60)
    found = measure(lambda values: (0 * values[:, :3], None), data)
    np.testing.assert_allclose(found, 1 / N_GENES, rtol=1e-6)


def test_of_many_cells_is_that_of_a_sample():
    data = make_data(2600, n_categories=0)
    seen = SimpleNamespace(cells=0)

    def forward(values):
        seen.cells += len(values)
        return values[:, :3], None

    measure(forward, data)
    assert seen.cells == 2000
