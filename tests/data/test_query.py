"""Which matrix of an AnnData is used, and what is said about it."""

from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from tests.reference import make_reference

from sctab import InputValueError
from sctab.data import Content
from sctab.data._query import learned_matrix
from sctab.data._source import LearnedMatrix, choose_source
from sctab.io._data_file import DataFile
from sctab.io._rows import row_blocks
from sctab.model import LinearClassifier, load_model


@pytest.fixture
def counts():
    return make_reference(30)


def log1p(adata):
    adata = adata.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


class TestLearnedMatrix:
    """What a model learned from is what it reads."""

    @pytest.fixture(params=["X", "spliced", "raw", "bins"])
    def reference(self, request, rng):
        adata = log1p(make_reference(90))
        whole = make_reference(90).X.toarray().astype(int)
        for name, share in (("spliced", 0.7), ("unspliced", 0.4), ("counts", 1.0)):
            adata.layers[name] = sparse.csr_matrix(rng.binomial(whole, share).astype(np.float32))
        adata.layers["bins"] = np.digitize(adata.X.toarray(), [0.1, 1, 2, 3, 4]).astype(np.float32)
        adata.raw = make_reference(90)
        adata.X = adata.X[::-1] if request.param == "X" else adata.X
        return adata, request.param

    def test_of_its_reference_and_of_others_like_it(self, reference, tmp_path):
        adata, layer = reference
        expected = {"X": "X", "raw": "raw.X"}.get(layer, f"layers[{layer!r}]")
        LinearClassifier.setup_anndata(adata, "cell_type", layer=None if layer == "X" else layer)
        model = LinearClassifier(adata)
        model.train(calibrate=False, max_epochs=1, enable_progress_bar=False)
        assert model.spec.training["matrix"]["name"] == expected
        model.save(tmp_path / "m")
        loaded = load_model(tmp_path / "m")
        adata.write_h5ad(tmp_path / "a.h5ad")
        for query in (adata, adata[::2].copy(), ad.read_h5ad(tmp_path / "a.h5ad"), DataFile(tmp_path / "a.h5ad")):
            assert loaded.predictor.open_query(query).source.name == expected
        del adata.layers["bins"], adata.layers["spliced"]
        adata.raw, adata.X = None, log1p(make_reference(90)).X
        adata.layers["counts"] = make_reference(90).X
        assert loaded.predictor.open_query(adata).source.name in {"X", "layers['counts']"}

    def test_not_where_it_holds_something_else(self):
        """Bins under the name of the counts that were learned."""
        learned = LearnedMatrix("layers['counts']", Content.COUNTS)
        adata = log1p(make_reference(90))
        adata.layers["counts"] = np.digitize(adata.X.toarray(), [0.1, 1, 2, 3, 4, 5, 6]).clip(0, 4).astype(np.float32)
        assert choose_source(adata, learned=learned)[0].name == "X"
        adata.layers["counts"] = sparse.csr_matrix(adata.shape, dtype=np.float32)
        assert choose_source(adata, learned=learned)[0].name == "X"

    def test_not_where_it_lacks_much_of_what_the_model_looks_at(self):
        adata = make_reference(90)
        adata.raw = log1p(adata)
        adata = adata[:, :20].copy()
        assert choose_source(adata, learned=LearnedMatrix("X", Content.COUNTS))[0].name == "raw.X"

    @pytest.mark.parametrize("values", [None, {}, [], "X", {"name": "X", "content": "what", "is_sure": True}])
    def test_what_a_file_says_wrongly_of_it_is_ignored(self, values):
        assert learned_matrix({"layer": None}, {"matrix": values}) is None

    def test_of_a_model_that_kept_only_the_layer(self):
        assert learned_matrix({"layer": "spliced"}, {}) == LearnedMatrix("layers['spliced']")
        assert learned_matrix({"layer": None}, {}) is None


def big_endian(matrix):
    return sparse.csr_matrix((matrix.data.astype(">f4"), matrix.indices, matrix.indptr), shape=matrix.shape)


def masked(matrix):
    return np.ma.masked_array(matrix.toarray(), mask=False)


@pytest.mark.parametrize(
    "stored",
    [
        *(lambda m, dtype=dtype: m.toarray().astype(dtype) for dtype in ("i1", "u2", "i8", "u8", "f2", ">f4", ">i4", "f8")),
        *(lambda m, dtype=dtype: m.astype(dtype) for dtype in ("i4", "u1", "f8")),
        sparse.csr_array,
        sparse.csc_array,
        sparse.coo_matrix,
        big_endian,
        masked,
        lambda m: np.asmatrix(m.toarray()),
        lambda m: pd.DataFrame(m.toarray()).astype("Int64").set_axis([f"c{i}" for i in range(m.shape[0])]),
        lambda m: np.asfortranarray(m.toarray()),
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_layer_of_any_type_is_read(stored, counts):
    """Of the same counts; `adata` keeps what AnnData lets it keep."""
    matrix = sparse.csr_matrix(counts.X.minimum(sparse.csr_matrix(np.full(counts.shape, 100.0))))
    layer = stored(matrix)
    view = SimpleNamespace(
        n_obs=counts.n_obs,
        n_vars=counts.n_vars,
        X=log1p(counts).X,
        raw=None,
        layers={"counts": layer},
        var=counts.var,
        obs=counts.obs,
    )
    source, _ = choose_source(view, layer="counts")
    assert source.content.content is Content.COUNTS
    read = sparse.vstack(list(row_blocks(source.matrix)))
    np.testing.assert_array_equal(read.toarray(), matrix.toarray())


def test_masked_values_are_not_read(counts):
    matrix = np.ma.masked_array(counts.X.toarray(), mask=False)
    matrix[2, 3] = np.ma.masked
    with pytest.raises(InputValueError, match="NaN"):
        choose_source(
            SimpleNamespace(n_obs=counts.n_obs, n_vars=counts.n_vars, X=matrix, raw=None, layers={}, var=counts.var, obs=counts.obs)
        )


def test_duplicated_genes_are_counted_and_named_as_the_model_names_them(counts):
    LinearClassifier.setup_anndata(counts, "cell_type")
    model = LinearClassifier(counts)
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False, calibrate=False)
    symbols = [*counts.var_names, *counts.var_names[:2], counts.var_names[0]]
    query = ad.AnnData(sparse.hstack([counts.X, counts.X[:, :2], counts.X[:, :1]], format="csr"), obs=counts.obs)
    query.var["symbol"] = symbols
    first, second = counts.var_names[:2]
    notes = model.predictor.open_query(query).notes
    assert f"2 duplicated genes were collapsed by summing: `{first}`, `{second}`." in notes
