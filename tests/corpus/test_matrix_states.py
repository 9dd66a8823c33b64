"""Which matrix is used in the states in which tools and tutorials leave an AnnData: the same in memory and from files, and the right one.

Each state is made from the same counts. What is right stands beside it, and why.
"""

import anndata as ad
import dask.array as da
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from sctab.inference import predict_cells
from sctab.io._data_file import DataFile
from sctab.zoo import load

N_CELLS = 240


@pytest.fixture(scope="module")
def model():
    return load("pbmc")


@pytest.fixture(scope="module")
def counts():
    """Counts of blood: those of scanpy's small dataset, whose smallest value of each cell represents one."""
    adata = sc.datasets.pbmc68k_reduced()[:N_CELLS].raw.to_adata()
    linear = np.expm1(adata.X.toarray())
    one = np.where(linear > 0, linear, np.inf).min(axis=1, keepdims=True)
    return ad.AnnData(sparse.csr_matrix(np.rint(linear / one).astype(np.float32)), obs=adata.obs[[]], var=adata.var[[]])


@pytest.fixture(scope="module")
def truth(model, counts):
    """Labels from the counts alone."""
    return labels(model, counts)[1]


@pytest.fixture(autouse=True)
def rng():
    return np.random.default_rng(0)


def labels(model, adata):
    """The matrix that is used, and the labels."""
    query = model.predictor.open_query(adata)
    return query.source.name, predict_cells(model.predictor, None, query).labels(model.spec.labels.names)


def normalised(counts, target_sum=1e4):
    sums = np.asarray(counts.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags(target_sum / sums) @ counts, dtype=np.float32)


def log1p(counts, target_sum=1e4):
    return normalised(counts, target_sum).log1p()


def with_x(counts, x, /, **layers):
    """The dataset with another `X`, and layers."""
    return ad.AnnData(x, obs=counts.obs.copy(), var=counts.var.copy(), layers=layers)


def scaled(matrix):
    dense = matrix.toarray()
    deviation = dense.std(axis=0)
    return np.clip((dense - dense.mean(axis=0)) / np.where(deviation > 0, deviation, 1), -10, 10)


def variable(adata, n):
    """The dataset cut to its most variable genes."""
    values = log1p(adata.X if adata.raw is None else adata.raw.X).toarray()
    return adata[:, np.sort(np.argsort(-values.var(axis=0))[:n])].copy()


def smoothed(matrix, size=15):
    """Weighted means of similar cells, as MAGIC, the moments of scVelo and denoising autoencoders give."""
    dense = matrix.toarray()
    nearest = np.argsort(-np.corrcoef(np.log1p(dense)), axis=1)[:, :size]
    weights = np.exp(-np.linspace(0, 2, size))
    return np.stack([weights @ dense[cells] / weights.sum() for cells in nearest]).astype(np.float32)


def velocity_layers(counts, rng):
    """Spliced, unspliced and ambiguous counts, which add up to all."""
    whole = counts.X.toarray().astype(int)
    unspliced = rng.binomial(whole, 0.25)
    ambiguous = rng.binomial(whole - unspliced, 0.06)
    parts = {"spliced": whole - unspliced - ambiguous, "unspliced": unspliced, "ambiguous": ambiguous}
    return {name: sparse.csr_matrix(part.astype(np.float32)) for name, part in parts.items()}


def bins(matrix, n=50):
    """Cells in bins of equally many genes, as scGPT sees them."""
    dense = matrix.toarray()
    edges = [np.quantile(row[row > 0], np.linspace(0, 1, n - 1)) for row in dense]
    return np.stack([np.where(row > 0, np.digitize(row, edge), 0) for row, edge in zip(dense, edges, strict=True)]).astype(
        np.float32
    )


def ranks(matrix):
    """Genes of each cell by their expression, those that do not exist left at zero."""
    dense = matrix.toarray()
    order = dense.argsort(axis=1, kind="stable").argsort(axis=1) + 1
    return np.where(dense > 0, order - (dense == 0).sum(axis=1, keepdims=True), 0).astype(np.float32)


def scanpy_tutorial(c, rng):
    a = with_x(c, log1p(c.X))
    a.raw = a
    a = variable(a, 200)
    a.X = scaled(a.X)
    return a


def scanpy_tutorial_not_scaled(c, rng):
    a = with_x(c, log1p(c.X))
    a.raw = a
    return variable(a, 200)


def scanpy_tutorial_of_today(c, rng):
    a = with_x(c, log1p(c.X), counts=c.X)
    a.var["highly_variable"] = np.arange(a.n_vars) % 3 == 0
    return a


def scvi_tutorial(c, rng):
    a = with_x(c, log1p(c.X), counts=c.X)
    a.raw = a
    return variable(a, 200)


def cut_without_raw(c, rng):
    a = with_x(c, log1p(c.X), counts=c.X)
    return variable(a, 400)


def scvi_output(c, rng):
    return with_x(c, log1p(c.X), counts=c.X, scvi_normalized=normalised(sparse.csr_matrix(smoothed(normalised(c.X))), 1))


def velocyto(c, rng):
    return with_x(c, c.X, **velocity_layers(c, rng), matrix=c.X)


def velocity_beside_log1p(c, rng):
    return with_x(c, log1p(c.X), **velocity_layers(c, rng))


def velocity_of_spliced(c, rng):
    parts = velocity_layers(c, rng)
    return with_x(c, log1p(parts["spliced"]), **parts)


def velocity_scaled(c, rng):
    return with_x(c, scaled(log1p(c.X)), **velocity_layers(c, rng))


def velocity_without_x(c, rng):
    return with_x(c, None, **velocity_layers(c, rng))


def scvelo_moments(c, rng):
    parts = {name: normalised(part, 1e3) for name, part in velocity_layers(c, rng).items() if name != "ambiguous"}
    moments = {"Ms": smoothed(parts["spliced"]), "Mu": smoothed(parts["unspliced"])}
    fit = {"fit_t": rng.uniform(0, 20, c.shape).astype(np.float32), "velocity": rng.normal(size=c.shape).astype(np.float32)}
    return with_x(c, log1p(c.X), **parts, **moments, **fit)


def seurat_layers(c, rng):
    return with_x(c, log1p(c.X), counts=c.X, logcounts=log1p(c.X))


def seurat_raw(c, rng):
    a = with_x(c, log1p(c.X))
    a.raw = c
    return a


def sctransform(c, rng):
    corrected = sparse.csr_matrix(np.rint(normalised(c.X, float(np.median(np.asarray(c.X.sum(axis=1))))).toarray()))
    return with_x(c, scaled(log1p(c.X)), counts=c.X, SCT_counts=corrected)


def pearson_residuals(c, rng):
    dense = c.X.toarray()
    expected = dense.sum(axis=1, keepdims=True) * dense.sum(axis=0) / dense.sum()
    a = with_x(c, np.clip((dense - expected) / np.sqrt(expected + expected**2 / 100 + 1e-9), -15, 15))
    a.raw = c
    return a


def binarised(c, rng):
    return with_x(c, (c.X > 0).astype(np.float32), counts=c.X)


def mask_beside_log1p(c, rng):
    return with_x(c, log1p(c.X), expressed=(c.X > 0).astype(np.float32), a_bool=c.X > 0)


def ranks_in_x(c, rng):
    return with_x(c, ranks(c.X), umis=c.X)


def bins_in_x(c, rng):
    return with_x(c, bins(c.X), original=log1p(c.X))


def bins_called_counts(c, rng):
    return with_x(c, log1p(c.X), counts=bins(c.X), ranked=ranks(c.X))


def global_bins(c, rng):
    return with_x(c, log1p(c.X), a=np.digitize(log1p(c.X).toarray(), [0.1, 1, 2, 3, 4]).astype(np.int8))


def imputed(c, rng):
    return with_x(c, np.log1p(smoothed(normalised(c.X))), counts=c.X)


def imputed_in_a_layer(c, rng):
    return with_x(c, log1p(c.X), counts=c.X, MAGIC=smoothed(log1p(c.X)), alra=smoothed(log1p(c.X)) * (rng.random(c.shape) > 0.5))


def denoised(c, rng):
    a = with_x(c, smoothed(c.X))
    a.raw = c
    return a


def ambient_removed(c, rng):
    soup = sparse.csr_matrix(c.X.multiply(rng.uniform(0.85, 1, c.shape)), dtype=np.float32)
    return with_x(c, log1p(soup), soupx=soup)


def square_roots(c, rng):
    return with_x(c, np.sqrt(normalised(c.X).toarray()) + np.sqrt(normalised(c.X).toarray() + 1), counts=c.X)


def rounded_normalised(c, rng):
    return with_x(c, sparse.csr_matrix(np.rint(normalised(c.X, 1e4).toarray())), counts=c.X)


def unrelated_integers(c, rng):
    return with_x(c, log1p(c.X), counts=c.X[rng.permutation(c.n_obs)], a_cluster=rng.integers(0, 20, c.shape))


def left_out_in_a_layer(c, rng):
    kept = np.asarray(c.X.sum(axis=0)).ravel() < np.median(np.asarray(c.X.sum(axis=0)))
    return with_x(c, log1p(c.X), counts=sparse.csr_matrix(c.X.multiply(kept)))


def half_of_the_cells_in_a_layer(c, rng):
    return with_x(c, log1p(c.X), counts=sparse.csr_matrix(c.X.multiply((np.arange(c.n_obs) < c.n_obs // 2)[:, None])))


def empty_x(c, rng):
    return with_x(c, sparse.csr_matrix(c.shape, dtype=np.float32), counts=c.X)


def empty_x_and_raw(c, rng):
    a = with_x(c, sparse.csr_matrix(c.shape, dtype=np.float32))
    a.raw = c
    return a


def empty_layer(c, rng):
    return with_x(c, log1p(c.X), counts=sparse.csr_matrix(c.shape, dtype=np.float32))


def log2_and_cpm(c, rng):
    logs = log1p(c.X, 1e6)
    return with_x(c, logs / np.log(2).astype(np.float32), cpm=normalised(c.X, 1e6))


def log10_alone(c, rng):
    return with_x(c, log1p(c.X) / np.log(10).astype(np.float32))


def downsampled(c, rng):
    return with_x(c, sparse.csr_matrix(rng.binomial(c.X.toarray().astype(int), 0.9).astype(np.float32)), full_counts=c.X)


EVERY_STATE = {
    # `X` is scaled, cut or both: only `raw` has the genes
    scanpy_tutorial: "raw.X",
    scanpy_tutorial_not_scaled: "raw.X",
    scvi_tutorial: "raw.X",
    # log1p and the counts that it was made of: the counts, of which nothing is rounded
    scanpy_tutorial_of_today: "layers['counts']",
    cut_without_raw: "layers['counts']",
    scvi_output: "layers['counts']",
    seurat_layers: "layers['counts']",
    seurat_raw: "raw.X",
    imputed_in_a_layer: "layers['counts']",
    # `X` is the whole, layers are parts of it
    velocyto: "X",
    velocity_beside_log1p: "X",
    scvelo_moments: "X",
    velocity_of_spliced: "layers['spliced']",  # the counts of `X`
    # without a usable `X`, the part that is nearest to the whole
    velocity_scaled: "layers['spliced']",
    velocity_without_x: "layers['spliced']",
    # `X` cannot be used, or is a guess, and counts are there
    sctransform: "layers['counts']",
    pearson_residuals: "raw.X",
    imputed: "layers['counts']",
    denoised: "raw.X",
    square_roots: "layers['counts']",
    rounded_normalised: "layers['counts']",
    # integers that are not counts
    binarised: "layers['counts']",
    ranks_in_x: "layers['umis']",
    bins_in_x: "layers['original']",
    mask_beside_log1p: "X",
    bins_called_counts: "X",
    global_bins: "X",
    unrelated_integers: "X",
    # parts of a matrix are empty, or all of it
    left_out_in_a_layer: "X",
    half_of_the_cells_in_a_layer: "X",
    empty_x: "layers['counts']",
    empty_x_and_raw: "raw.X",
    empty_layer: "X",
    # `X` is as good as anything
    ambient_removed: "X",
    log2_and_cpm: "X",
    log10_alone: "X",
    downsampled: "X",
}
LEAST = {
    cut_without_raw: 0.7,
    velocity_of_spliced: 0.9,
    velocity_scaled: 0.9,
    velocity_without_x: 0.9,
    ambient_removed: 0.95,
    downsampled: 0.95,
}
"""Fraction of labels that are those of all counts, where not all of the counts are there; else 97 %."""


def as_dask(a):
    a.X = None if a.X is None else da.from_array(a.X, chunks=(70, a.n_vars))
    for key, layer in a.layers.items():
        if key is not None:
            a.layers[key] = da.from_array(layer, chunks=(70, a.n_vars))
    return a


def reversed_layers(a):
    layers = {key: a.layers[key] for key in sorted(filter(None, a.layers), reverse=True)}
    new = ad.AnnData(a.X, obs=a.obs, var=a.var, layers=layers)
    new.raw = None if a.raw is None else ad.AnnData(a.raw.X, obs=a.obs, var=a.raw.var)
    return new


@pytest.mark.filterwarnings("ignore:Transforming to str index")
@pytest.mark.parametrize("state", EVERY_STATE, ids=lambda state: state.__name__)
def test_the_right_matrix_is_used_wherever_it_is_kept(state, model, counts, truth, rng, tmp_path):
    adata = state(counts.copy(), rng)
    used, found = labels(model, adata)
    assert used == EVERY_STATE[state]
    assert (found == truth).mean() >= LEAST.get(state, 0.97)

    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    kept = {
        "reversed": reversed_layers(adata),
        "view": adata[:],
        "Dask": as_dask(adata.copy()),
        "h5ad": ad.read_h5ad(tmp_path / "a.h5ad"),
        "backed": ad.read_h5ad(tmp_path / "a.h5ad", backed="r"),
        "file": DataFile(tmp_path / "a.h5ad"),
        "zarr": DataFile(tmp_path / "a.zarr"),
    }
    for name, other in kept.items():
        query = model.predictor.open_query(other)
        assert (name, query.source.name) == (name, used)
        if name in {"Dask", "file"}:  # others are read by the same code as one of these
            np.testing.assert_array_equal(predict_cells(model.predictor, None, query).labels(model.spec.labels.names), found)
