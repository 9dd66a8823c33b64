"""A model on disk, a query, and what `tl.annotate` says of it."""

import pytest
from scipy import sparse
from tests.reference import make_reference

import sctab
from sctab.model import SCTAB


@pytest.fixture(scope="package")
def model_path(tmp_path_factory):
    """Directory of a model that learned a small reference."""
    path = tmp_path_factory.mktemp("model") / "model"
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = SCTAB(reference)
    model.train(max_epochs=10, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    model.save(path)
    return path


@pytest.fixture(scope="package")
def query():
    """Cells that the model has not seen; one has no counts at all."""
    query = make_reference(300, seed=7)
    dense = query.X.toarray()
    dense[11] = 0
    query.X = sparse.csr_matrix(dense)
    query.layers["doubled"] = 2 * query.X
    return query


@pytest.fixture(scope="package")
def annotated(query, model_path):
    """The query, annotated in memory."""
    with pytest.warns(sctab.SctabWarning, match="1 cells have no count"):
        return sctab.tl.annotate(query, model_path, copy=True)
