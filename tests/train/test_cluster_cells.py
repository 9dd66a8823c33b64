import numpy as np
import pytest
import scanpy as sc
import torch
from anndata import AnnData
from scipy import sparse
from tests.clusters import cells_of_types, published_numbers

from sctab.errors import InputValueError, LabelError, SettingError
from sctab.nn import ZINBAutoencoder
from sctab.train import ClusterCells, UnlabeledAnnData, describe_clustering

ARCHITECTURE = {"sigma": 0.0, "gamma": 1.0, "n_clusters": 2}


def _described(adata, *, n_top_genes=None, **setup):
    reference = UnlabeledAnnData.of(adata, **setup)
    return reference, describe_clustering(reference, n_top_genes=n_top_genes, architecture=ARCHITECTURE)


def _batch(cells, spec, *, batch_size=1000):
    network = ZINBAutoencoder(len(spec.features), n_batches=len(spec.category_names)).double()
    network.input_mean.copy_(torch.from_numpy(cells.mean))
    network.input_std.copy_(torch.from_numpy(cells.std))
    return [cells.to_device(batch, network) for batch in cells.in_order(batch_size).of_epoch(0, 0)]


@pytest.mark.parametrize("name", ["plain", "batch"])
def test_preprocessing_is_the_published_one(name):
    numbers = published_numbers(name)
    adata = AnnData(sparse.csr_matrix(numbers["counts"].astype(np.float32)))
    adata.var_names = [f"gene_{i}" for i in range(adata.n_vars)]
    _, spec = _described(adata)
    cells = ClusterCells.of(*_described(adata))
    (batch,) = _batch(cells, spec)
    np.testing.assert_allclose(batch.inputs, numbers["normalised"], atol=1e-8)
    np.testing.assert_allclose(batch.counts.size_factors, numbers["size_factor"], rtol=1e-12)


def test_inputs_are_those_of_scanpy():
    adata = cells_of_types(depth=8)
    _, spec = _described(adata)
    cells = ClusterCells.of(*_described(adata))
    inputs = torch.cat([batch.inputs for batch in _batch(cells, spec, batch_size=20)])
    scaled = AnnData(adata[:, list(spec.features.names)].X.toarray().astype(np.float64))
    sc.pp.normalize_total(scaled)
    sc.pp.log1p(scaled)
    sc.pp.scale(scaled)
    np.testing.assert_allclose(inputs, scaled.X, atol=1e-8)


def test_cells_and_genes_without_counts_are_left_out():
    adata = cells_of_types()
    counts = adata.X.toarray()
    counts[4], counts[:, 7] = 0, 0
    adata.X = sparse.csr_matrix(counts)
    reference, spec = _described(adata)
    cells = ClusterCells.of(reference, spec)
    assert "gene_7" not in spec.features.names
    assert 4 not in cells.rows
    assert cells.n_obs == adata.n_obs - 1
    assert all(torch.isfinite(batch.inputs).all() for batch in _batch(cells, spec))


def test_cells_are_numbered_among_those_that_are_trained():
    adata = cells_of_types()
    adata.X = sparse.diags((np.arange(adata.n_obs) % 10 != 0).astype(np.float32)) @ adata.X
    reference, spec = _described(adata)
    cells = ClusterCells.of(reference, spec)
    shuffled = [cells.to_device(batch, ZINBAutoencoder(len(spec.features))) for batch in cells.shuffled(16, seed=0).of_epoch(0, 0)]
    numbers = np.concatenate([batch.cells for batch in shuffled])
    assert sorted(numbers) == list(range(cells.n_obs))
    totals = adata[cells.rows[numbers], list(spec.features.names)].X.sum(axis=1).A1
    factors = np.concatenate([batch.counts.size_factors for batch in shuffled])
    np.testing.assert_allclose(factors * spec.normalization.target_sum, totals, rtol=1e-6)


def test_stored_zeros_make_no_difference():
    adata, with_zeros = cells_of_types(), cells_of_types()
    dense = adata.X.toarray()
    rows, columns = np.indices(dense.shape)
    with_zeros.X = sparse.csr_matrix((dense.ravel(), (rows.ravel(), columns.ravel())), shape=dense.shape)
    assert with_zeros.X.nnz == dense.size
    both = [_batch(ClusterCells.of(*_described(each)), _described(each)[1])[0] for each in (adata, with_zeros)]
    torch.testing.assert_close(both[0].inputs, both[1].inputs)
    torch.testing.assert_close(both[0].counts.positions, both[1].counts.positions)


def test_batches_are_one_hot():
    adata = cells_of_types(n_batches=3)
    reference, spec = _described(adata, batch_key="batch")
    (batch,) = _batch(ClusterCells.of(reference, spec), spec)
    np.testing.assert_array_equal(batch.batches.argmax(dim=1), adata.obs["batch"].cat.codes)
    assert spec.category_names == ("batch=batch 0", "batch=batch 1", "batch=batch 2")


def test_as_many_genes_as_requested_are_used():
    with pytest.warns(UserWarning, match="of 50 requested genes were selected"):
        _, spec = _described(cells_of_types(), n_top_genes=50)
    assert 0 < len(spec.features) < 50


@pytest.mark.parametrize(
    ("change", "setup", "error", "message"),
    [
        (lambda adata: sc.pp.log1p(adata), {}, InputValueError, "`X` holds .* and clustering models counts"),
        (lambda adata: adata.obs.__setitem__("batch", None), {"batch_key": "batch"}, LabelError, r"no batch \(NaN\) for 90 of 90"),
        (lambda adata: adata.obs.__setitem__("cell", adata.obs_names), {"batch_key": "cell"}, LabelError, "these are not batches"),
    ],
)
def test_cells_that_cannot_be_clustered_are_refused(change, setup, error, message):
    adata = cells_of_types()
    change(adata)
    with pytest.raises(error, match=message):
        _described(adata, **setup)


def test_a_negative_number_of_genes_is_refused():
    with pytest.raises(SettingError, match="`n_top_genes=-1` must be an integer of at least 1, or 0 for all genes"):
        _described(cells_of_types(), n_top_genes=-1)
