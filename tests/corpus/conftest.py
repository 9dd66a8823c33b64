"""Small files of several studies."""

import pytest
from scipy import sparse
from tests.corpus.studies import make_study
from tests.reference import make_reference


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


@pytest.fixture(scope="package")
def query():
    """Cells that the model has not seen; one has no counts at all."""
    query = make_reference(300, seed=7)
    dense = query.X.toarray()
    dense[11] = 0
    query.X = sparse.csr_matrix(dense)
    query.layers["doubled"] = 2 * query.X
    return query
