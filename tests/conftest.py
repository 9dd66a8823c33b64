"""One thread per test process, Hypothesis profiles (`HYPOTHESIS_PROFILE`), and data that several test files use."""

import os

os.environ["PYTHONDONTWRITEBYTECODE"] = (
    ""  # containers set it: every program that a test starts would compile all its libraries again
)
os.environ["NUMBA_NUM_THREADS"] = "1"  # numba, which scanpy runs on, sets the number of OpenMP threads of torch to its own
os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded: the threads of several test processes fight each other

from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from scipy import sparse

import sctab
from sctab.model import SCTAB
from tests.reference import make_reference
from tests.studies import make_study

torch.set_num_threads(1)
numba.config.reload_config()  # plugins of pytest load it before this file; the number of threads is fixed once they were launched

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("sctab", derandomize=True, max_examples=30, **_COMMON)
settings.register_profile("nightly", max_examples=300, print_blob=True, **_COMMON)  # other examples every night
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "sctab"))

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository():
    """Root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def source_root():
    """Directory that holds the modules of the package."""
    return REPOSITORY / "src" / "sctab"


@pytest.fixture(scope="session")
def shared_data():
    """Give the path of a data file that lies beside the repository, or skip the test."""

    def path_of(name):
        path = REPOSITORY.parent / "shared" / "data" / name
        if not path.is_file():
            pytest.skip(f"needs `{path}`, which is data beside the repository and not part of it")
        return path

    return path_of


@pytest.fixture(scope="session")
def oracle_path():
    """Numbers of the published implementation."""
    path = REPOSITORY.parent / "shared" / "oracle" / "sctab_checkpoint"
    if not path.is_dir():
        pytest.skip("the numbers of the published implementation are not beside this checkout (../shared/oracle)")
    return path


@pytest.fixture
def rng():
    """A seeded source of randomness."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def counts():
    """Overdispersed counts of 300 cells and 400 genes whose depth varies, as `(300, 400)` float32."""
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(400, 0.5))
    depth = rng.lognormal(np.log(2000), 0.4, size=300)
    drawn = rng.poisson(depth[:, None] * share * rng.gamma(2, 0.5, size=(300, 400))).astype(np.float32)
    drawn.flags.writeable = False
    return drawn


def _as_dask(matrix, chunks):
    import dask.array as da

    return da.from_array(matrix, chunks=chunks, asarray=False)


def _backed(matrix, path):
    from anndata import AnnData, read_h5ad

    AnnData(matrix).write_h5ad(path)
    return read_h5ad(path, backed="r").X


def _zarr(matrix, path):
    import zarr
    from anndata.io import sparse_dataset, write_elem

    group = zarr.open_group(path, mode="w")
    write_elem(group, "X", matrix)
    return sparse_dataset(group["X"]) if sparse.issparse(matrix) else group["X"]


STORAGES = {
    "dense": lambda dense, _: dense.copy(),
    "fortran": lambda dense, _: np.asfortranarray(dense),
    "csr_matrix": lambda dense, _: sparse.csr_matrix(dense),
    "csc_matrix": lambda dense, _: sparse.csc_matrix(dense),
    "coo_matrix": lambda dense, _: sparse.coo_matrix(dense),
    "csr_array": lambda dense, _: sparse.csr_array(dense),
    "csc_array": lambda dense, _: sparse.csc_array(dense),
    "coo_array": lambda dense, _: sparse.coo_array(dense),
    "dask of dense": lambda dense, _: _as_dask(dense.copy(), (70, 150)),
    "dask of csr_matrix": lambda dense, _: _as_dask(sparse.csr_matrix(dense), (70, -1)),
    "backed dense": lambda dense, path: _backed(dense, path / "dense.h5ad"),
    "backed csr": lambda dense, path: _backed(sparse.csr_matrix(dense), path / "csr.h5ad"),
    "backed csc": lambda dense, path: _backed(sparse.csc_matrix(dense), path / "csc.h5ad"),
    "zarr dense": lambda dense, path: _zarr(dense, path / "dense.zarr"),
    "zarr csr": lambda dense, path: _zarr(sparse.csr_matrix(dense), path / "csr.zarr"),
    "zarr csc": lambda dense, path: _zarr(sparse.csc_matrix(dense), path / "csc.zarr"),
}


@pytest.fixture(params=STORAGES)
def stored(request, tmp_path):
    """Put a dense array into each kind of storage that AnnData keeps matrices in, in memory and on disk."""
    return lambda dense: STORAGES[request.param](dense, tmp_path)


@pytest.fixture
def studies(tmp_path):
    """Three files: all genes with both names, fewer with symbols, others with ids."""
    parts = {
        "one": make_study(1),
        "two": make_study(2, genes=range(8), names="symbols"),
        "three": make_study(3, genes=range(2, 10), names="ids"),
    }
    for name, adata in parts.items():
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    return parts


@pytest.fixture
def declared(tmp_path, studies):
    """The studies as a corpus, without rules."""
    return {"sources": [str(tmp_path / f"{name}.h5ad") for name in studies], "labels_key": "cell_type", "donor_key": "donor_id"}


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """Directory of a model that learned a small reference."""
    path = tmp_path_factory.mktemp("model") / "model"
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = SCTAB(reference)
    model.train(calibrate=False, max_epochs=10, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    model.save(path)
    return path


@pytest.fixture(scope="session")
def query():
    """Cells that the model has not seen; one has no counts at all."""
    query = make_reference(300, seed=7)
    dense = query.X.toarray()
    dense[11] = 0
    query.X = sparse.csr_matrix(dense)
    query.layers["doubled"] = 2 * query.X
    return query


@pytest.fixture(scope="session")
def annotated(query, model_path):
    """The query, annotated in memory."""
    with pytest.warns(sctab.SctabWarning, match="1 cell has no count"):
        return sctab.tl.annotate(query, model_path, copy=True)
