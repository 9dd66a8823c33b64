"""Genes that speak for a label: the logits of a linear model, taken apart."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sctab import SettingError
from sctab.inference import gene_evidence
from sctab.nn import LinearNetwork, MultilayerPerceptron


def linear(rng, n_genes=6, n_labels=3, n_covariates=2):
    network = LinearNetwork(n_genes + n_covariates, n_labels)
    network.classifier.weight.data = torch.from_numpy(rng.normal(size=(n_labels, n_genes + n_covariates))).float()
    return network


def predictor(*networks, arrays=None, n_genes=6, n_labels=3):
    spec = SimpleNamespace(features=range(n_genes), labels=range(n_labels), model_class="MLPClassifier")
    return SimpleNamespace(networks=networks, spec=spec, arrays=arrays or {}, name="mine")


def test_evidence_is_the_difference_of_logits(rng):
    """Sums of terms, those that speak against included, are what the network itself says of mean cells."""
    network, sizes = linear(rng), np.array([30, 10, 60])
    means = rng.random((3, 6))
    found, source = gene_evidence(predictor(network), means, sizes, np.eye(3))
    elsewhere = np.array([np.average(np.delete(means, t, 0), axis=0, weights=np.delete(sizes, t)) for t in range(3)])

    def logits(values):
        padded = torch.from_numpy(np.hstack([values, np.zeros((3, 2))])).float()
        out = network(padded).logits.detach().numpy()
        return out - out.mean(axis=1, keepdims=True)

    weights = network.classifier.weight.detach().numpy()[:, :6]
    terms = (weights - weights.mean(axis=0)) * (means - elsewhere)
    np.testing.assert_allclose(terms.sum(axis=1), np.diag(logits(means) - logits(elsewhere)), atol=1e-5)
    positive = np.maximum(terms, 0)
    np.testing.assert_allclose(found, positive / positive.sum(axis=1, keepdims=True), atol=1e-6)
    assert source == "coefficients"


def test_groups_of_several_labels_have_the_mean_of_these(rng):
    network, means, sizes = linear(rng), rng.random((2, 6)), np.array([5, 5])
    shares = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    found, _ = gene_evidence(predictor(network), means, sizes, shares)
    weights = network.classifier.weight.detach().numpy()[:, :6]
    terms = np.maximum((weights[:2].mean(axis=0) - weights.mean(axis=0)) * (means[0] - means[1]), 0)
    np.testing.assert_allclose(found[0], terms / terms.sum(), atol=1e-6)


def test_one_group_has_no_others(rng):
    found, _ = gene_evidence(predictor(linear(rng)), rng.random((1, 6)), np.array([7]), np.eye(3)[:1])
    assert np.isfinite(found).all()


def test_attention_is_taken_as_it_is(rng):
    attention = rng.random((3, 6))
    found, source = gene_evidence(predictor(linear(rng)), rng.random((3, 6)), np.ones(3, dtype=int), np.eye(3), attention)
    np.testing.assert_allclose(found, attention / attention.sum(axis=1, keepdims=True))
    assert source == "explanation"


def test_types_of_the_reference():
    """A gene that a type expresses more than the others speaks for it, one that it lacks does not."""
    arrays = {
        "types.genes": np.array([1, 4]),
        "types.expression": np.array([[9.0, 0.0], [1.0, 0.0], [1.0, 16.0]]),
        "types.mean_expression": np.ones(6),
        "types.scores": np.array([0.1, 0.2]),
        "types.units": np.array([0, 1]),
    }
    network = MultilayerPerceptron(6, 3, n_layers=1, n_hidden=4, dropout=0.1)
    found, source = gene_evidence(predictor(network, arrays=arrays), np.ones((3, 6)), np.ones(3, dtype=int), np.eye(3))
    assert source == "reference"
    expected = np.zeros((3, 6))
    expected[0, 1] = expected[2, 4] = 1
    np.testing.assert_allclose(found, expected)


def test_a_model_that_keeps_nothing():
    network = MultilayerPerceptron(6, 3, n_layers=1, n_hidden=4, dropout=0.1)
    with pytest.raises(SettingError, match="`mine` \\(MLPClassifier\\) keeps none. Train it again"):
        gene_evidence(predictor(network), np.ones((3, 6)), np.ones(3, dtype=int), np.eye(3))
