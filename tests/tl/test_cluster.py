import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from tests.clusters import cells_of_types

import sctab
from sctab.errors import InputTypeError, KeyNotFoundError, SettingError

QUICK = {
    "encoder": (16, 8),
    "n_latent": 4,
    "sigma": 1.0,
    "pretrain_epochs": 60,
    "max_epochs": 100,
    "tolerance": 0.05,
    "batch_size": 32,
}
QUIET = {"enable_progress_bar": False}


@pytest.fixture(scope="module")
def clustered():
    adata = cells_of_types(depth=8)
    adata.X = sparse.diags((np.arange(adata.n_obs) != 5).astype(np.float32)) @ adata.X
    with pytest.warns(UserWarning, match="1 cell has no count"):
        model = sctab.tl.cluster(adata, n_clusters=3, labels_key="type", **QUICK, **QUIET)
    return adata, model


def test_results_are_written(clustered):
    adata, model = clustered
    clusters = adata.obs["scdeepcluster"]
    assert list(clusters.cat.categories) == ["0", "1", "2"]
    assert clusters.isna().sum() == 1
    assert (clusters.dropna().astype(str) == pd.Series(model.predict(adata), adata.obs_names).dropna()).all()
    assert adata.obsm["X_scdeepcluster"].shape == (adata.n_obs, 4)
    assert list(adata.obsm["scdeepcluster_probabilities"].columns) == ["0", "1", "2"]


def test_the_run_is_described(clustered):
    adata, _ = clustered
    run = adata.uns["scdeepcluster"]
    assert run["model"]["class"] == "SCDeepCluster"
    assert run["n_cells"].tolist() == adata.obs["scdeepcluster"].value_counts(sort=False).tolist()
    assert run["agreement"]["ari"] > 0.9
    assert run["training"]["settings"]["pretrain_epochs"] == 60
    assert run["training"]["last"]["pretrain_loss"] > 0
    assert run["matrix"] == "X"


def test_only_results_are_written():
    adata = cells_of_types()
    before = adata.copy()
    sctab.tl.cluster(adata, n_clusters=3, key_added="mine", **QUICK | {"tolerance": 0.5}, **QUIET)
    assert set(adata.obs) - set(before.obs) == {"mine"}
    assert set(adata.uns) == {"mine"}
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


def test_results_can_be_written_to_a_file(clustered, tmp_path):
    adata, _ = clustered
    adata.write_h5ad(tmp_path / "clustered.h5ad")
    again = anndata.read_h5ad(tmp_path / "clustered.h5ad")
    assert again.uns["scdeepcluster"]["training"]["n_pretrained"] == 60


def test_new_cells_are_assigned_to_the_clusters_of_a_stored_model(clustered, tmp_path):
    adata, model = clustered
    model.save(tmp_path / "clusters")
    query = adata[:40, ::-1].copy()
    del query.obs["scdeepcluster"]
    with pytest.warns(UserWarning, match="1 cell has no count"):
        sctab.tl.cluster(query, tmp_path / "clusters")
    pd.testing.assert_series_equal(query.obs["scdeepcluster"], adata.obs["scdeepcluster"][:40])


def test_settings_of_a_training_are_refused_with_a_trained_model(clustered):
    adata, model = clustered
    with pytest.raises(SettingError, match="`pretrain_epochs` cannot be set for a trained `model`"):
        sctab.tl.cluster(adata.copy(), model, pretrain_epochs=3)
    with pytest.raises(SettingError, match="`batch_key` cannot be set for a trained `model`"):
        sctab.tl.cluster(adata.copy(), model, batch_key="batch")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"labels_key": "kind"}, KeyNotFoundError),
        ({"batch_key": "lane"}, KeyNotFoundError),
        ({"key_added": "a/b"}, SettingError),
        ({"labels_key": "type", "key_added": "type"}, SettingError),
        ({"batch_key": "batch", "key_added": "batch"}, SettingError),
    ],
)
def test_a_refusal_leaves_the_cells_as_they_were(arguments, error):
    adata = cells_of_types()
    with pytest.raises(error):
        sctab.tl.cluster(adata, **arguments)
    assert list(adata.obs) == ["type", "batch"]
    assert not adata.uns


def test_a_path_is_not_an_anndata():
    with pytest.raises(InputTypeError, match="Read the file first"):
        sctab.tl.cluster("cells.h5ad")


def test_clusters_are_no_cell_types(clustered):
    adata, model = clustered
    with pytest.raises(SettingError, match="holds clusters, which have no names of cell types"):
        sctab.tl.annotate(adata.copy(), model)


def test_clusters_can_vote():
    adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    adata.X = sparse.csr_matrix(np.expm1(adata.X.toarray()).round())
    with pytest.warns(sctab.SctabWarning, match=r"model genes found|With so few genes"):
        sctab.tl.annotate(adata, "pbmc")
    sctab.tl.cluster(adata, **QUICK | {"pretrain_epochs": 5, "max_epochs": 0}, **QUIET)
    sctab.tl.vote(adata, groups="scdeepcluster")
    assert adata.obs.groupby("scdeepcluster", observed=True)["sctab_vote"].nunique().max() == 1
