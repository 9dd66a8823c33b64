import numpy as np
import pytest
import torch
from scipy import sparse
from tests.clusters import PUBLISHED_NAMES, own_names, published_numbers

from sctab.nn import (
    ZINB,
    SparseCounts,
    ZINBAutoencoder,
    cluster_loss,
    soft_assignments,
    sparse_network,
    sparse_zinb_loss,
    target_distribution,
)


@pytest.mark.parametrize("name", ["plain", "batch"])
class TestOracle:
    """At the published weights, in double precision."""

    @pytest.fixture
    def numbers(self, name):
        return published_numbers(name)

    @pytest.fixture
    def network(self, numbers, name):
        network = ZINBAutoencoder(numbers["counts"].shape[1], 5, n_batches=3 if name == "batch" else 0).double()
        network.load_state_dict(own_names(numbers) | {"centroids": torch.from_numpy(numbers["centroids"])}, strict=False)
        return network

    @pytest.fixture
    def batches(self, numbers, name):
        n_obs = len(numbers["counts"])
        return torch.eye(3).double()[numbers["batch"]] if name == "batch" else torch.empty(n_obs, 0).double()

    @pytest.fixture
    def latent(self, numbers, network, batches):
        return network.encode(torch.from_numpy(numbers["normalised"]), batches)

    def test_the_forward_pass(self, numbers, network, batches, latent):
        np.testing.assert_allclose(latent.detach(), numbers["latent"], atol=1e-8)
        parameters = ZINB.of(network.decode(latent, batches))
        for name, found in parameters._asdict().items():
            np.testing.assert_allclose(found[:16].detach(), numbers[name], rtol=1e-8)

    def test_losses_and_gradients(self, numbers, network, batches, latent):
        counts = torch.from_numpy(numbers["counts"]).double().reshape(-1)
        at = torch.nonzero(counts).ravel()
        reconstruction = sparse_zinb_loss(
            SparseCounts(at, counts[at], torch.from_numpy(numbers["size_factor"])), network.decode(latent, batches)
        )
        assignments = soft_assignments(latent, network.centroids)
        targets = target_distribution(assignments).detach()
        clustering = cluster_loss(targets, assignments)
        gamma = float(numbers["gamma"])
        total = gamma**2 * clustering + reconstruction
        np.testing.assert_allclose(assignments.detach(), numbers["q"], atol=1e-8)
        np.testing.assert_allclose(targets, numbers["p"], atol=1e-8)
        assert reconstruction.item() == pytest.approx(float(numbers["zinb_loss"]), abs=1e-8)
        assert clustering.item() == pytest.approx(float(numbers["kl_without_gamma"]), abs=1e-8)
        assert total.item() == pytest.approx(float(numbers["total_loss_published"]), abs=1e-8)
        total.backward()
        theirs = {ours: published for published, ours in PUBLISHED_NAMES.items()}
        for name, parameter in network.named_parameters():
            layer, _, kind = name.rpartition(".")
            key = "mu" if name == "centroids" else f"{theirs.get(layer, layer)}.{kind}"
            assert float(parameter.grad.norm()) == pytest.approx(float(numbers[f"gradient_norm/{key}"]), abs=1e-8)


def _network(**settings):
    torch.manual_seed(0)
    network = ZINBAutoencoder(20, 3, encoder=(8, 4), n_latent=2, **settings).eval()
    with torch.no_grad():
        network.centroids.normal_()
        network.input_mean.uniform_()
        network.input_std.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("n_batches", [0, 2])
def test_the_sparse_form_gives_the_same(n_batches):
    network = _network(n_batches=n_batches)
    values = sparse.random(9, 20 + n_batches, density=0.3, format="csr", dtype=np.float32, random_state=0)
    with torch.no_grad():
        expected = network(torch.from_numpy(values.toarray()))
    found = sparse_network(network)(values)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-4, atol=1e-5)


def test_probabilities_of_logits_are_the_soft_assignments():
    network = _network()
    with torch.no_grad():
        output = network(torch.rand(6, 20))
    torch.testing.assert_close(output.logits.softmax(dim=1), soft_assignments(output.embedding, network.centroids).detach())


def test_targets_are_sharper_and_rows_sum_to_one():
    assignments = torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    targets = target_distribution(assignments)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))
    assert targets[0, 0] > assignments[0, 0]


def test_a_cluster_that_no_cell_is_near_makes_no_nan():
    assignments = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    targets = target_distribution(assignments)
    assert torch.isfinite(targets).all()
    assert torch.isfinite(cluster_loss(targets, assignments))


def test_the_mean_of_some_genes_is_that_of_all():
    network = _network(n_batches=2)
    latent, batches = torch.rand(4, 2), torch.eye(2)[[0, 1, 1, 0]]
    expected = ZINB.of(network.decode(latent, batches)).mean[:, [3, 1]]
    torch.testing.assert_close(network.denoise(latent, batches, [3, 1]), expected)


@pytest.mark.parametrize("settings", [{"encoder": ()}, {"encoder": (8, 0)}, {"n_latent": 0}, {"n_clusters": -1}])
def test_an_impossible_size_is_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ZINBAutoencoder(10, **settings)
