import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from tests.clusters import cells_of_types

from sctab.errors import GeneOverlapError, InputValueError, KeyNotFoundError, ModelFormatError, NotTrainedError, SettingError
from sctab.model import CellTypeClassifier, LinearClassifier, SCDeepCluster, load_model

SMALL = {"encoder": (16, 8), "n_latent": 4, "sigma": 1.0}
SHORT = {"pretrain_epochs": 60, "max_epochs": 100, "tolerance": 0.05, "batch_size": 32, "enable_progress_bar": False}


def _trained(adata=None, *, setup=None, train=None, **settings):
    adata = cells_of_types(depth=8) if adata is None else adata
    SCDeepCluster.setup_anndata(adata, **(setup or {}))
    model = SCDeepCluster(adata, **SMALL | {"n_clusters": 3} | settings)
    model.train(**SHORT | (train or {}))
    return model


@pytest.fixture(scope="module")
def model():
    return _trained(setup={"labels_key": "type"})


def test_it_is_not_a_classifier():
    assert not issubclass(SCDeepCluster, CellTypeClassifier)


def test_clusters_are_the_types(model):
    table = pd.crosstab(model.adata.obs["type"], model.predict())
    assert (table.max(axis=1) >= 0.9 * table.sum(axis=1)).all()
    assert list(table.columns) == ["0", "1", "2"]


def test_the_history_has_losses_and_agreement(model):
    history = model.history
    assert list(history["pretrain_loss"].index) == list(range(60))
    assert history["train_loss"].index[0] == history["changed"].index[0] == 60
    assert history["pretrain_loss"]["pretrain_loss"].iloc[-1] < history["pretrain_loss"]["pretrain_loss"].iloc[0]
    assert history["ari"]["ari"].iloc[-1] > 0.9


def test_outputs_have_a_row_for_each_cell(model):
    adata = model.adata
    soft, latent, denoised = model.get_soft_assignments(), model.get_latent_representation(), model.get_normalized_expression()
    assert soft.shape == (adata.n_obs, 3)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    assert (soft.idxmax(axis=1) == model.predict()).all()
    assert latent.shape == (adata.n_obs, 4)
    assert denoised.shape == (adata.n_obs, len(model.spec.features))
    assert list(denoised.index) == list(adata.obs_names)


def test_denoised_expression_is_that_of_the_decoder(model):
    some = model.get_normalized_expression(gene_list=["gene_9", "gene_2"])
    pd.testing.assert_frame_equal(some, model.get_normalized_expression()[["gene_9", "gene_2"]])
    scaled = model.get_normalized_expression(gene_list=["gene_9"], library_size=10 * model.spec.normalization.target_sum)
    np.testing.assert_allclose(scaled["gene_9"], 10 * some["gene_9"], rtol=1e-5)
    observed = pd.Series(model.adata[:, "gene_9"].X.toarray().ravel()).groupby(model.predict()).mean()
    means = some["gene_9"].groupby(model.predict()).mean()
    assert observed.corr(means) > 0.8


def test_a_gene_that_the_model_does_not_have_is_refused(model):
    with pytest.raises(SettingError, match="does not have the genes `CD3E`"):
        model.get_normalized_expression(gene_list=["CD3E"])


def test_a_stored_model_gives_the_same(model, tmp_path):
    model.save(tmp_path / "clusters")
    for loaded in (SCDeepCluster.load(tmp_path / "clusters", model.adata), load_model(tmp_path / "clusters")):
        np.testing.assert_array_equal(loaded.predict(model.adata), model.predict())
        np.testing.assert_allclose(loaded.get_latent_representation(model.adata), model.get_latent_representation(), atol=1e-5)
    pd.testing.assert_frame_equal(loaded.history["changed"], model.history["changed"], check_index_type=False)
    assert {path.name for path in (tmp_path / "clusters").iterdir()} == {"model.json", "model.safetensors"}


def test_it_is_not_loaded_as_a_classifier(model, tmp_path):
    model.save(tmp_path / "clusters")
    with pytest.raises(
        ModelFormatError, match=r"holds a SCDeepCluster, not a LinearClassifier. Use `sctab.model.SCDeepCluster.load`"
    ):
        LinearClassifier.load(tmp_path / "clusters")


def test_new_cells_are_assigned_whatever_the_order_of_genes(model):
    query = model.adata[:, ::-1].copy()
    query.X = query.X.tocsc()
    np.testing.assert_array_equal(model.predict(query), model.predict())


def test_new_cells_without_a_gene_of_the_model_are_refused(model):
    query = model.adata.copy()
    query.var_names = [f"other_{i}" for i in range(query.n_vars)]
    with pytest.raises(GeneOverlapError):
        model.predict(query)


def test_cells_without_counts_have_no_cluster():
    adata = cells_of_types(depth=8)
    adata.X = sparse.diags((np.arange(adata.n_obs) != 5).astype(np.float32)) @ adata.X
    model = _trained(adata)
    assert np.isnan(model.predict()[5])
    assert pd.isna(model.get_soft_assignments().iloc[5]).all()
    assert pd.isna(model.get_normalized_expression().iloc[5]).all()
    assert not pd.isna(np.delete(model.predict(), 5)).any()


def test_batches_are_given_to_the_network():
    adata = cells_of_types(depth=8, n_batches=2)
    model = _trained(adata, setup={"batch_key": "batch"})
    assert model.spec.category_names == ("batch=batch 0", "batch=batch 1")
    assert model.module.encoder[0].in_features == len(model.spec.features) + 2
    assert model.module.decoder[0].in_features == 4 + 2
    swapped = adata.copy()
    swapped.obs["batch"] = swapped.obs["batch"].cat.rename_categories({"batch 0": "batch 1", "batch 1": "batch 0"})
    assert not np.allclose(model.get_latent_representation(swapped), model.get_latent_representation())


@pytest.mark.parametrize("community", ["louvain", "leiden"])
def test_the_number_of_clusters_is_estimated(community):
    model = _trained(n_clusters=0, train={"community": community})
    assert len(model.spec.labels) == len(model.module.centroids) == len(set(model.predict()))


def test_double_precision_is_stored_in_single(tmp_path):
    model = _trained(train={"precision": "64-true"})
    assert model.module.latent.weight.dtype == torch.float32
    model.save(tmp_path / "clusters")
    np.testing.assert_array_equal(SCDeepCluster.load(tmp_path / "clusters").predict(model.adata), model.predict())


def test_pretrained_weights_are_used():
    first = _trained(train={"max_epochs": 0})
    other = SCDeepCluster(first.adata, **SMALL, n_clusters=3)
    other.load_pretrained(first.module.state_dict())
    other.train(pretrain_epochs=0, max_epochs=0, enable_progress_bar=False)
    np.testing.assert_allclose(other.get_latent_representation(), first.get_latent_representation(), atol=1e-5)
    np.testing.assert_array_equal(other.predict(), first.predict())


def test_clusters_are_found_again_with_pretrained_weights():
    first = _trained(train={"max_epochs": 0})
    other = SCDeepCluster(first.adata, **SMALL, n_clusters=2)
    other.load_pretrained(first.module.state_dict())
    other.train(pretrain_epochs=0, max_epochs=0, enable_progress_bar=False)
    assert len(other.spec.labels) == 2


def test_given_centroids_are_kept():
    first = _trained(train={"max_epochs": 0})
    centroids = torch.from_numpy(first.get_latent_representation()[[3, 1]])
    other = SCDeepCluster(first.adata, **SMALL, n_clusters=3)
    other.load_pretrained(first.module.state_dict(), centroids=centroids)
    other.train(pretrain_epochs=0, max_epochs=0, enable_progress_bar=False)
    assert len(other.spec.labels) == 2
    torch.testing.assert_close(other.module.centroids.detach().sort(dim=0).values, centroids.sort(dim=0).values)
    assert other.predict()[3] != other.predict()[1]


def test_centroids_of_another_latent_are_refused():
    first = _trained(train={"max_epochs": 0, "pretrain_epochs": 1})
    with pytest.raises(ModelFormatError, match=r"shape \(2, 7\), and the latent has the size 4"):
        first.load_pretrained(first.module.state_dict(), centroids=torch.zeros(2, 7))


def test_weights_that_are_not_finite_are_refused(model):
    weights = model.module.state_dict()
    other = SCDeepCluster(model.adata, **SMALL, n_clusters=3)
    for value in (torch.full((4,), float("nan")), np.zeros(4)):
        with pytest.raises(ModelFormatError, match=r"`latent\.bias` must be a tensor of finite numbers"):
            other.load_pretrained(weights | {"latent.bias": value})
    with pytest.raises(ModelFormatError, match="`centroids` must be a tensor of finite numbers"):
        other.load_pretrained(weights, centroids=torch.full((3, 4), float("inf")))


@pytest.mark.parametrize("size", [0, float("nan"), float("inf"), "latent"])
def test_an_invalid_library_size_is_refused(model, size):
    with pytest.raises(SettingError, match="must be a number above 0"):
        model.get_normalized_expression(library_size=size)


def test_weights_of_other_genes_are_refused():
    first, adata = _trained(train={"max_epochs": 0, "pretrain_epochs": 1}), cells_of_types(n_vars=30, depth=8)
    SCDeepCluster.setup_anndata(adata)
    with pytest.raises(ModelFormatError, match="the model of .* genes and 0 batches asks for"):
        SCDeepCluster(adata, **SMALL).load_pretrained(first.module.state_dict())


def test_a_training_that_was_killed_is_resumed(tmp_path):
    """SIGKILL, in another process, after the first state was written."""
    adata = cells_of_types(depth=8)
    expected = _trained(adata, train={"pretrain_epochs": 62})
    adata = adata.copy()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    program = f"""
import anndata, os, signal, threading, time
from pathlib import Path
from sctab.model import SCDeepCluster
from sctab.train import _cluster_loop
_cluster_loop._SECONDS_BETWEEN_STATES = -1.0
adata = anndata.read_h5ad("cells.h5ad")
SCDeepCluster.setup_anndata(adata)
model = SCDeepCluster(adata, n_clusters=3, **{SMALL!r})
def kill():
    while not Path("run/metrics.csv").exists() or len(Path("run/metrics.csv").read_text().splitlines()) < 12:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
model.train(run_dir="run", **{SHORT | {"pretrain_epochs": 62}!r})
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == -9
    assert (tmp_path / "run" / "state.safetensors").exists()
    model = SCDeepCluster(expected.adata, **SMALL, n_clusters=3)
    model.train(**SHORT | {"pretrain_epochs": 62}, run_dir=tmp_path / "run", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(expected.module.parameters(), model.module.parameters(), strict=True))
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["epoch"].tolist() == list(range(len(metrics)))
    assert Path(tmp_path / "run" / "tensorboard").is_dir()


def test_an_untrained_model_does_not_predict():
    adata = cells_of_types()
    SCDeepCluster.setup_anndata(adata)
    with pytest.raises(NotTrainedError):
        SCDeepCluster(adata).predict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 1}, "`n_clusters=1` must be 0, which has it estimated, or an integer of at least 2."),
        ({"n_clusters": "4"}, "`n_clusters='4'` must be 0, which has it estimated, or an integer of at least 2."),
        ({"sigma": -1.0}, "`sigma=-1.0` must be a number, at least 0."),
        ({"sigma": "1"}, "`sigma='1'` must be a number, at least 0."),
        ({"gamma": float("nan")}, "`gamma=nan` must be a number, at least 0."),
        ({"n_latent": 4.5}, "`n_latent=4.5` must be an integer, at least 1."),
        ({"encoder": 8}, "`encoder=8` must be a list of widths of layers, integers of at least 1, such as `(256, 64)`."),
        ({"encoder": ()}, "`encoder=()` must be a list of widths of layers, integers of at least 1, such as `(256, 64)`."),
        ({"n_top_genes": 5.5}, "`n_top_genes=5.5` must be an integer of at least 1, or 0 for all genes."),
    ],
)
def test_an_invalid_architecture_is_refused(settings, message):
    adata = cells_of_types()
    SCDeepCluster.setup_anndata(adata)
    with pytest.raises(SettingError) as refused:
        SCDeepCluster(adata, **settings)
    assert str(refused.value) == message


def test_an_unknown_accelerator_is_refused(model):
    with pytest.raises(SettingError, match="`accelerator='tensor'` is not known"):
        model.train(accelerator="tensor")


def test_random_weights_are_warned_of(model):
    other = SCDeepCluster(model.adata, **SMALL, n_clusters=3)
    with pytest.warns(UserWarning, match="random weights, .*larger `pretrain_epochs`"):
        other.train(pretrain_epochs=0, max_epochs=0, enable_progress_bar=False)


def test_other_cells_are_learned_as_far_as_genes_and_batches_are_known(tmp_path):
    _trained(cells_of_types(n_batches=2), setup={"batch_key": "batch"}, train={"tolerance": 0.9}).save(tmp_path / "clusters")
    renamed = cells_of_types(n_batches=2)
    renamed.var_names = [f"other_{i}" for i in range(renamed.n_vars)]
    with pytest.raises(GeneOverlapError, match="None of the model's 60 genes is in the data"):
        SCDeepCluster.load(tmp_path / "clusters", renamed).train(pretrain_epochs=1)
    empty = cells_of_types(n_batches=2)
    empty = AnnData(np.hstack([0 * empty.X.toarray(), np.ones((90, 1))]), obs=empty.obs)
    empty.var_names = [*cells_of_types().var_names, "other"]
    with pytest.raises(InputValueError, match="No cell has a count in the 60 genes of the model"):
        SCDeepCluster.load(tmp_path / "clusters", empty).train(pretrain_epochs=1)
    other = cells_of_types(n_batches=2)
    other.obs["batch"] = "elsewhere"
    with pytest.warns(UserWarning, match="batches that the model does not know: `elsewhere`"):
        SCDeepCluster.load(tmp_path / "clusters", other).train(**SHORT | {"pretrain_epochs": 1, "tolerance": 0.9})


def test_an_unknown_setting_is_refused(model):
    with pytest.raises(SettingError, match=r"`SCDeepCluster.train` has no `tolerence`. Did you mean `tolerance`\?"):
        model.train(tolerence=0.1)


def test_more_clusters_than_cells_are_refused():
    with pytest.raises(SettingError, match="`n_clusters=100` is more than .* 90 cells has 90 different values"):
        _trained(n_clusters=100, train={"pretrain_epochs": 1})


def test_a_missing_column_is_refused():
    with pytest.raises(KeyNotFoundError, match="`batch_key='lane'`"):
        SCDeepCluster.setup_anndata(cells_of_types(), batch_key="lane")


def test_normalised_values_are_refused_before_anything_is_trained():
    adata = cells_of_types()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    with pytest.raises(InputValueError, match=r"clustering models counts. Provide the matrix of counts as `layer`"):
        SCDeepCluster.setup_anndata(adata)
    SCDeepCluster.setup_anndata(adata, layer="counts")


def test_a_training_that_does_not_settle_is_said():
    with pytest.warns(UserWarning, match="Clusters still changed in the last of 1 epochs"):
        _trained(train={"max_epochs": 1, "tolerance": 0.0})


def test_names_of_genes_are_needed():
    adata = AnnData(cells_of_types().X)
    SCDeepCluster.setup_anndata(adata)
    with pytest.raises(InputValueError, match="No gene of the reference has a name"):
        SCDeepCluster(adata)
