import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.metrics import log_loss

from sctab.counts import Normalization, normalise
from sctab.nn import cross_entropy, normalise_counts


def test_normalisation_on_the_device_is_that_of_the_matrix():
    counts = np.random.default_rng(0).poisson(0.5, size=(20, 50)).astype(np.float32)
    counts[3] = 0
    on_device = normalise_counts(torch.from_numpy(counts), 1e4).numpy()
    in_matrix = normalise(sparse.csr_matrix(counts), Normalization()).toarray()
    np.testing.assert_allclose(on_device, in_matrix, rtol=1e-6)
    assert not on_device[3].any()


def test_weighted_cross_entropy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels, weights = torch.from_numpy(rng.normal(size=(30, 4))), rng.integers(0, 4, 30), rng.uniform(0.5, 2, 4)
    ours = cross_entropy(logits, torch.from_numpy(labels), class_weights=torch.from_numpy(weights))
    expected = log_loss(labels, logits.softmax(dim=1), sample_weight=weights[labels], labels=range(4))
    assert ours.item() == pytest.approx(expected)


def test_cells_without_a_label_do_not_count():
    logits = torch.randn(6, 3, requires_grad=True)
    labels = torch.tensor([0, -1, 2, -1, 1, -1])
    loss = cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(cross_entropy(logits[::2], labels[::2]).item())
    loss.backward()
    assert not logits.grad[1::2].any()


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
