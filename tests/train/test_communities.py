import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

from sctab.errors import SettingError
from sctab.train._communities import by_size, communities, k_means

SETTINGS = {"n_neighbors": 15, "resolution": 0.8, "seed": 0}


@pytest.fixture
def latent():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(150, 4)) + 12 * np.eye(4)[np.arange(150) % 3]).astype(np.float32)


@pytest.mark.parametrize("community", ["louvain", "leiden"])
def test_separate_groups_are_found(latent, community):
    found = communities(latent, community=community, **SETTINGS)
    assert adjusted_rand_score(np.arange(150) % 3, found) == 1


def test_leiden_is_that_of_scanpy(latent):
    latent = latent / 6  # groups overlap
    cells = AnnData(obsm={"X": latent})
    sc.pp.neighbors(cells, n_neighbors=15, use_rep="X", random_state=0)
    sc.tl.leiden(cells, resolution=0.8, flavor="igraph", n_iterations=-1, directed=False, random_state=0)
    found = communities(latent, community="leiden", **SETTINGS)
    assert adjusted_rand_score(cells.obs["leiden"], found) > 0.95


@pytest.mark.parametrize("community", ["louvain", "leiden"])
def test_the_seed_decides(latent, community):
    np.random.seed(1)  # noqa: NPY002 - the global state does not matter
    first = communities(latent / 6, community=community, **SETTINGS)
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(communities(latent / 6, community=community, **SETTINGS), first)


def test_a_larger_resolution_gives_more(latent):
    few, many = (communities(latent / 6, community="louvain", **SETTINGS | {"resolution": value}) for value in (0.2, 4.0))
    assert few.max() < many.max()


def test_fewer_cells_than_neighbours(latent):
    assert len(communities(latent[:6], community="louvain", **SETTINGS)) == 6


def test_two_cells_are_too_few(latent):
    with pytest.raises(SettingError, match=r"at least 3 cells, and there are 2\. Provide `n_clusters`\."):
        communities(latent[:2], community="louvain", **SETTINGS)


def test_equal_cells_are_one_cluster_without_a_warning():
    assert set(communities(np.ones((40, 4)), community="louvain", **SETTINGS)) == {0}


def test_k_means_finds_as_many_as_requested(latent):
    assert adjusted_rand_score(np.arange(150) % 3, k_means(latent, 3, seed=0)) == 1


def test_more_clusters_than_different_cells_are_refused():
    with pytest.raises(
        SettingError, match=r"`n_clusters=3` is more than .* 5 cells has 2 different values\. Provide a smaller number\."
    ):
        k_means(np.repeat([[0.0], [1.0]], [2, 3], axis=0), 3, seed=0)


def test_clusters_are_ordered_by_size():
    assert by_size(np.array([0, 2, 2, 1, 1, 1]), 4).tolist() == [1, 2, 0, 3]
