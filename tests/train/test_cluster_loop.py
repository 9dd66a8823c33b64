import contextlib

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from tests.clusters import cells_of_types, own_names, published_numbers

from sctab.errors import SettingError
from sctab.metrics import cluster_scores
from sctab.nn import ZINBAutoencoder
from sctab.train import ClusterCells, ClusteringSettings, UnlabeledAnnData, _cluster_loop, describe_clustering, fit_clusters

SMALL = {"encoder": (16, 8), "n_latent": 4}


def _prepared(adata, *, n_clusters=3, sigma=1.0, gamma=1.0, **setup):
    reference = UnlabeledAnnData.of(adata, **setup)
    architecture = {"sigma": sigma, "gamma": gamma, "n_clusters": n_clusters}
    spec = describe_clustering(reference, n_top_genes=None, architecture=architecture)
    return spec, ClusterCells.of(reference, spec)


def _fit(adata, *, run_dir=None, resume=False, truth=None, settings=None, **architecture):
    spec, cells = _prepared(adata, **architecture)
    network = ZINBAutoencoder(len(spec.features), **SMALL)
    settings = {"pretrain_epochs": 4, "max_epochs": 3, "batch_size": 32, "tolerance": 0.0} | (settings or {})
    result = fit_clusters(
        network, spec, cells, ClusteringSettings(**settings), truth=truth, run_dir=run_dir, resume=resume, shown=False
    )
    return network, result


@pytest.mark.parametrize("name", ["plain", "batch"])
def test_epochs_are_the_published_ones(name, monkeypatch):
    numbers = published_numbers(name)
    adata = AnnData(sparse.csr_matrix(numbers["counts"].astype(np.float32)))
    adata.var_names, adata.obs_names = (
        [f"{kind}_{i}" for i in range(n)] for kind, n in (("gene", adata.n_vars), ("cell", adata.n_obs))
    )
    setup = {}
    if name == "batch":
        adata.obs["batch"], setup = numbers["batch"].astype(str), {"batch_key": "batch"}
    spec, cells = _prepared(adata, n_clusters=0, sigma=0.0, gamma=float(numbers["gamma"]), **setup)
    network = ZINBAutoencoder(len(spec.features), n_batches=len(spec.category_names)).double()
    network.load_state_dict(own_names(numbers), strict=False)
    pretrained = []

    def published_clusters(training, _given):
        pretrained.append(training._latents().numpy())
        training.network.centroids = torch.nn.Parameter(torch.from_numpy(numbers["fit_centroids"]).clone())
        training.labels = torch.zeros(cells.n_obs, dtype=torch.int64)
        training._optimizer = None

    monkeypatch.setattr(_cluster_loop._Training, "find_clusters", published_clusters)
    monkeypatch.setattr(_cluster_loop._Training, "order", lambda _: None)
    settings = ClusteringSettings(
        pretrain_epochs=5, max_epochs=4, batch_size=1000, tolerance=0.0, precision="64-true", published=True
    )
    history = fit_clusters(network, spec, cells, settings, is_new=False, shown=False).history
    np.testing.assert_allclose(history["pretrain_loss"][:5], numbers["pretrain_losses"], atol=1e-8)
    np.testing.assert_allclose(pretrained[0], numbers["latent_pretrained"], atol=1e-8)
    losses = np.column_stack([history[name][5:] for name in ("train_loss", "cluster_loss", "zinb_loss")])
    np.testing.assert_allclose(losses * [1, float(numbers["gamma"]), 1], numbers["fit_losses"], atol=1e-8)
    np.testing.assert_allclose(network.centroids.detach(), numbers["centroids_fitted"], atol=1e-8)
    with torch.no_grad():
        (batch,) = (cells.to_device(each, network) for each in cells.in_order(1000).of_epoch(0, 0))
        np.testing.assert_allclose(network.encode(batch.inputs, batch.batches), numbers["latent_fitted"], atol=1e-8)


def test_gamma_counts_once_unless_the_published_losses_are_asked_for():
    adata = cells_of_types()
    for published, weight in ((False, 3.0), (True, 9.0)):
        _, result = _fit(adata, gamma=3.0, settings={"published": published, "max_epochs": 1})
        history = {name: values[-1] for name, values in result.history.items()}
        assert history["train_loss"] == pytest.approx(history["zinb_loss"] + weight * history["cluster_loss"], rel=1e-5)


def test_types_become_clusters_the_largest_first():
    adata = cells_of_types(n_obs=120, depth=8)
    adata = adata[(adata.obs["type"] != "type 2").to_numpy() | (np.arange(120) % 2 == 0)].copy()
    truth = adata.obs["type"].astype(object).to_numpy()
    _, result = _fit(adata, truth=truth, settings={"pretrain_epochs": 60})
    assert cluster_scores(truth, result.labels)["ari"] > 0.9
    sizes = np.bincount(result.labels)
    assert (np.diff(sizes) <= 0).all()
    assert result.history["ari"][-1] == pytest.approx(cluster_scores(truth, result.labels)["ari"], abs=0.05)


def test_the_seed_decides_and_the_global_state_does_not():
    adata = cells_of_types()
    first, _ = _fit(adata)
    torch.rand(1)
    second, _ = _fit(adata)
    other, _ = _fit(adata, settings={"seed": 1})
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.latent.weight, other.latent.weight)


@pytest.mark.parametrize("stop", [("pretrain", 2), ("pretrain", 5), ("refine", 1), ("refine", 4)])
@pytest.mark.parametrize("settings", [{"n_init": 2}, {"update_interval": 2, "max_epochs": 6}])
def test_a_resumed_training_is_the_same(stop, settings, tmp_path, monkeypatch):
    adata = cells_of_types()
    expected, whole = _fit(adata, settings=settings)
    monkeypatch.setattr(_cluster_loop, "_SECONDS_BETWEEN_STATES", -1.0)
    phase, steps = stop
    epoch, seen = _cluster_loop._Training._epoch, []

    def interrupted(self, *args):
        seen.append("pretrain" if self.labels is None else "refine")
        if seen.count(phase) > steps:
            raise KeyboardInterrupt
        return epoch(self, *args)

    monkeypatch.setattr(_cluster_loop._Training, "_epoch", interrupted)
    with contextlib.suppress(KeyboardInterrupt):  # some settings end before
        _fit(adata, run_dir=tmp_path / "run", settings=settings)
    monkeypatch.setattr(_cluster_loop._Training, "_epoch", epoch)
    found, resumed = _fit(adata, run_dir=tmp_path / "run", resume=True, settings=settings)
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters(), strict=True))
    np.testing.assert_equal(dict(resumed.history), dict(whole.history))
    assert resumed.reconstruction_losses == whole.reconstruction_losses
    np.testing.assert_array_equal(resumed.labels, whole.labels)


def test_a_training_resumed_after_its_last_random_start_is_the_same(tmp_path, monkeypatch):
    settings, adata = {"n_init": 2}, cells_of_types()
    expected, _ = _fit(adata, settings=settings)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_cluster_loop._Training, "find_clusters", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _fit(adata, run_dir=tmp_path / "run", settings=settings)
    found, _ = _fit(adata, run_dir=tmp_path / "run", resume=True, settings=settings)
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters(), strict=True))


def test_another_training_is_not_resumed(tmp_path):
    _fit(cells_of_types(), run_dir=tmp_path / "run")
    with pytest.raises(SettingError, match="belongs to a training with other .*`reference`"):
        _fit(cells_of_types(seed=1), run_dir=tmp_path / "run", resume=True)


def test_the_best_random_start_is_clustered():
    _, result = _fit(cells_of_types(), settings={"n_init": 3})
    assert len(result.reconstruction_losses) == 3
    assert len(set(result.reconstruction_losses)) == 3
    seed = int(np.argmin(result.reconstruction_losses))
    _, alone = _fit(cells_of_types(), settings={"seed": seed})
    assert alone.reconstruction_losses[0] == pytest.approx(min(result.reconstruction_losses), rel=1e-6)


def test_training_stops_when_labels_settle():
    _, result = _fit(cells_of_types(depth=8), settings={"pretrain_epochs": 60, "max_epochs": 200, "tolerance": 0.1})
    assert result.is_converged
    changed = np.array(result.history["changed"][60:])
    assert changed[-1] < 0.1
    assert (changed[1:-1] >= 0.1).all()


def test_a_training_that_diverges_is_refused():
    with pytest.raises(SettingError, match="diverged: its loss is not finite.* lower `pretrain_learning_rate`"):
        _fit(cells_of_types(), settings={"pretrain_learning_rate": 1e30})


@pytest.mark.parametrize("name", ["pretrain_learning_rate", "learning_rate"])
def test_a_training_that_diverges_in_its_last_step_is_refused(name):
    settings = {"pretrain_epochs": 1, "max_epochs": 1, "batch_size": 1000, name: 1e36}
    with pytest.raises(SettingError, match=f"diverged: its latent is not finite.* lower `{name}`"):
        _fit(cells_of_types(), settings=settings)


def test_a_cluster_without_cells_is_left_out():
    adata = cells_of_types(depth=8)
    spec, cells = _prepared(adata)
    network = ZINBAutoencoder(len(spec.features), **SMALL)
    centroids = torch.zeros(4, 4)
    centroids[1] = 1e4  # farther from every cell than the others
    centroids[2:] = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    settings = ClusteringSettings(pretrain_epochs=0, max_epochs=1, batch_size=32, tolerance=0.0)
    result = fit_clusters(network, spec, cells, settings, is_new=False, centroids=centroids, shown=False)
    assert result.n_empty >= 1
    assert len(network.centroids) == 4 - result.n_empty == len(np.unique(result.labels))
    assert (network.centroids.abs() < 1e3).all()
    with torch.no_grad():
        batches = [cells.to_device(each, network) for each in cells.in_order(32).of_epoch(0, 0)]
        found = torch.cat([network(_normalised(cells, batch)).logits.argmax(dim=1) for batch in batches])
    order = np.argsort(np.concatenate([batch.cells for batch in batches]))
    np.testing.assert_array_equal(found.numpy()[order], result.labels)


def _normalised(cells, batch):
    """Normalised expression of a batch, which a network standardises again."""
    return torch.cat(
        [batch.inputs * torch.from_numpy(cells.std).float() + torch.from_numpy(cells.mean).float(), batch.batches], dim=1
    )
