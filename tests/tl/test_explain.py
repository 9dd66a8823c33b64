"""`tl.explain` on a reference whose marker genes are known."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.reference import N_GENES, TYPES, make_reference

import sctab
from sctab import GeneOverlapError, KeyNotFoundError, SctabWarning, SettingError
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier

QUICK = {"accelerator": "cpu", "enable_progress_bar": False, "batch_size": 16, "refit": False}


def train(model_class, seed=0, *, max_epochs=15):
    reference = make_reference()
    model_class.setup_anndata(reference, "cell_type")
    model = model_class(reference)
    model.train(calibrate=False, max_epochs=max_epochs, seed=seed, **QUICK)
    return model


@pytest.fixture(scope="module")
def model():
    return train(SCTAB)


@pytest.fixture(scope="module")
def query():
    adata = make_reference(90, seed=7)
    adata.obs["half"] = pd.Series(["a/b"] * 40 + ["c"] * 30 + [None] * 20, index=adata.obs_names, dtype="category")
    return adata


@pytest.fixture(scope="module")
def explained(model, query):
    return sctab.tl.explain(query, model, copy=True)


@pytest.fixture(scope="module")
def shares(model, query):
    """Fraction of each gene in each cell, and the names of the genes."""
    weights = model.explain(query).toarray()
    return pd.DataFrame(weights / weights.sum(axis=1, keepdims=True), index=query.obs_names, columns=model.spec.features.names)


def test_top_genes_of_cells(query, explained, shares):
    assert not query.uns
    assert not query.obsm
    genes, weights = explained.obsm["sctab_top_genes"], explained.obsm["sctab_top_weights"]
    assert list(genes.columns) == [str(rank) for rank in range(1, 11)]
    assert genes.shape == weights.shape == (90, 10)
    for i in range(90):
        expected = shares.iloc[i].nlargest(10)
        np.testing.assert_allclose(weights[i], expected, rtol=1e-3)
        np.testing.assert_allclose(shares.iloc[i][genes.iloc[i]], expected, rtol=1e-3)


def test_top_genes_of_types(model, query, explained, shares):
    table = sctab.get.explanation(explained)
    labels = model.predict(query)
    assert list(table["type"].unique()) == list(TYPES)
    for name, rows in table.groupby("type"):
        cells = labels == name
        expected = shares[cells].mean().nlargest(10)
        assert rows["rank"].tolist() == list(range(1, 11))
        np.testing.assert_allclose(rows["weight"], expected, rtol=1e-3)
        np.testing.assert_allclose(shares[cells].mean()[rows["gene"]], expected, rtol=1e-3)
        assert (rows["cells"] == cells.sum()).all()
        assert rows["gene_id"].tolist() == query.var.loc[rows["gene"], "ensembl_id"].tolist()
        np.testing.assert_allclose(rows["expressed"], (query[cells, rows["gene"]].X > 0).mean(axis=0).A1)


def test_markers_come_first(explained):
    """Ten genes represent each type; the attention may look at one of another type, which is absent."""
    table = sctab.get.explanation(explained)
    for i, (_, rows) in enumerate(table.groupby("type")):
        own = {explained.var_names[gene] for gene in range(10 * i, 10 * i + 10)}
        assert len(own & set(rows["gene"][rows["rank"] <= 5])) >= 4


def test_types_of_a_column(model, query, shares):
    adata = sctab.tl.explain(query, model, groupby="half", n_top=3, batch_size=32, copy=True)
    table = sctab.get.explanation(adata)
    assert list(table["type"]) == ["a/b"] * 3 + ["c"] * 3
    assert list(table["cells"]) == [40] * 3 + [30] * 3
    np.testing.assert_allclose(table["weight"][3:], shares[40:70].mean().nlargest(3), rtol=1e-3)
    assert adata.obsm["sctab_top_genes"].shape == (90, 3)
    assert adata.uns["sctab_explanation"]["groupby"] == "half"


def test_fewer_genes_than_asked_for(model, query):
    adata = sctab.tl.explain(query, model, n_top=100, copy=True)
    genes, weights = adata.obsm["sctab_top_genes"], adata.obsm["sctab_top_weights"]
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(genes.isna(), weights == 0)
    assert sctab.get.explanation(adata).groupby("type")["rank"].max().max() <= N_GENES


def test_cells_without_counts_are_of_no_type(model, query):
    adata = query.copy()
    adata.X = sparse.vstack([sparse.csr_matrix((5, N_GENES), dtype=np.float32), adata.X[5:]], format="csr")
    for groupby, n_cells in ((None, 85), ("half", 65)):
        sctab.tl.explain(adata, model, groupby=groupby)
        assert adata.obsm["sctab_top_genes"].isna().all(axis=1).sum() == 5
        assert sctab.get.explanation(adata).drop_duplicates("type")["cells"].sum() == n_cells


def test_an_ensemble(model, query):
    ensemble = DeepEnsemble.from_members([model, train(SCTAB, seed=1, max_epochs=2)])
    adata = sctab.tl.explain(query, ensemble, copy=True)
    table = sctab.get.explanation(adata)
    labels = pd.Series(ensemble.predict(query))
    assert table.drop_duplicates("type").set_index("type")["cells"].to_dict() == labels.value_counts().to_dict()
    one = sctab.tl.explain(query, model, copy=True)
    assert not np.allclose(adata.obsm["sctab_top_weights"], one.obsm["sctab_top_weights"])


def test_key_added(model, query):
    adata = query.copy()
    assert sctab.tl.explain(adata, model, key_added="mine") is None
    assert set(adata.obsm) == {"mine_top_genes", "mine_top_weights"}
    assert list(adata.uns) == ["mine_explanation"]
    assert len(sctab.get.explanation(adata, key_added="mine")) == 30


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_the_result_can_be_written_and_read(suffix, model, query, tmp_path):
    adata = sctab.tl.explain(query, model, groupby="half", n_top=100, copy=True)
    getattr(adata, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(ad, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    pd.testing.assert_frame_equal(
        sctab.get.explanation(again), sctab.get.explanation(adata), check_dtype=False, check_column_type=False
    )
    before, after = (data.obsm["sctab_top_genes"].astype(object) for data in (adata, again))
    pd.testing.assert_frame_equal(after, before, check_names=False, check_index_type=False, check_column_type=False)
    np.testing.assert_array_equal(again.obsm["sctab_top_weights"], adata.obsm["sctab_top_weights"])


def test_the_choice_of_matrix_is_not_silent(model, query):
    adata = query.copy()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.toarray() - 1
    with pytest.warns(SctabWarning, match=r"`layers\['counts'\]` was used"):
        sctab.tl.explain(adata, model)
    assert adata.uns["sctab_explanation"]["matrix"] == "layers['counts']"


class TestRefusals:
    """A refusal leaves the data as it was."""

    @pytest.fixture(autouse=True)
    def unchanged(self, query):
        self.adata = query.copy()
        yield
        assert not self.adata.obsm
        assert not self.adata.uns

    def test_another_class(self):
        with pytest.raises(SettingError, match="`LinearClassifier` does not select genes per cell.*Use `SCTAB`"):
            sctab.tl.explain(self.adata, train(LinearClassifier, max_epochs=1))

    def test_no_genes(self, model):
        with pytest.raises(SettingError, match="`n_top=0` must be at least 1"):
            sctab.tl.explain(self.adata, model, n_top=0)

    def test_unknown_column(self, model):
        with pytest.raises(KeyNotFoundError, match=r"`groupby='leiden'` is not in `adata.obs`. Columns: `cell_type`"):
            sctab.tl.explain(self.adata, model, groupby="leiden")

    def test_too_few_genes(self, model):
        self.adata.var = pd.DataFrame(index=[*self.adata.var_names[45:47], *(f"probe_{i}" for i in range(58))])
        with pytest.raises(GeneOverlapError, match="at least 10% is required"):
            sctab.tl.explain(self.adata, model)
