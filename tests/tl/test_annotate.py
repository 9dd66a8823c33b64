"""`tl.annotate` on every way in which a query can be written down."""

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from tests.reference import TYPES, make_reference

import sctab
from sctab import GeneOverlapError, InputValueError, KeyNotFoundError, ModelNotFoundError, SctabWarning
from sctab.model import SCTAB


@pytest.fixture(scope="module")
def model():
    reference = make_reference()
    SCTAB.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = SCTAB(reference)
    model.train(calibrate=False, max_epochs=20, batch_size=16, accelerator="cpu", enable_progress_bar=False)
    return model


@pytest.fixture(scope="module")
def query():
    return make_reference(90, seed=7)


@pytest.fixture(scope="module")
def expected(model, query):
    return sctab.tl.annotate(query, model, copy=True)


def test_what_is_written(model, query, expected):
    assert not query.uns
    assert list(expected.obs.columns[-4:]) == ["sctab_label", "sctab_label_id", "sctab_confidence", "sctab_uncertainty"]
    probabilities = expected.obsm["sctab_probabilities"]
    assert list(probabilities.columns) == list(TYPES)
    assert list(probabilities.index) == list(query.obs_names)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert isinstance(expected.obs["sctab_label"].dtype, pd.CategoricalDtype)
    assert list(expected.obs["sctab_label"]) == list(probabilities.idxmax(axis=1))
    np.testing.assert_array_equal(expected.obs["sctab_confidence"], probabilities.max(axis=1))
    np.testing.assert_array_equal(expected.obs["sctab_uncertainty"], 1 - probabilities.max(axis=1))
    ids = {"B cell": "CL:0000236", "T cell": "CL:0000084", "monocyte": "CL:0000576"}
    assert list(expected.obs["sctab_label_id"]) == [ids[label] for label in expected.obs["sctab_label"]]
    np.testing.assert_array_equal(expected.obsm["X_sctab"], model.get_latent_representation(query))
    run = expected.uns["sctab"]
    assert run["matrix"] == "X"
    assert run["matrix_content"] == "counts"
    assert run["genes"]["n_matched"] == run["genes"]["n_model"] == 60
    assert run["genes"]["coverage"] == pytest.approx(1)
    assert run["warnings"] == []
    assert {"python", "sctab", "torch"} <= set(run["versions"])


def permuted(adata, tmp_path):
    return adata[:, np.random.default_rng(0).permutation(adata.n_vars)].copy()


def renamed_to_ids(adata, tmp_path):
    adata.var.index = adata.var.pop("ensembl_id").to_numpy()
    return adata


def renamed_to_ids_with_versions(adata, tmp_path):
    adata.var.index = [f"{name}.{i % 9}" for i, name in enumerate(adata.var.pop("ensembl_id"))]
    return adata


def ids_in_some_column(adata, tmp_path):
    adata.var = pd.DataFrame({"accession": adata.var["ensembl_id"].to_numpy()}, index=[str(i) for i in range(adata.n_vars)])
    return adata


def lower_case(adata, tmp_path):
    adata.var = pd.DataFrame(index=[name.lower() for name in adata.var_names])
    return adata


def split_into_duplicates(adata, tmp_path):
    """Every gene twice, its counts shared out between the two."""
    first = sparse.csr_matrix(np.floor(adata.X.toarray() / 2))
    genes = pd.DataFrame(index=[*adata.var_names, *adata.var_names])
    twice = ad.AnnData(sparse.hstack([first, adata.X - first], format="csr"), obs=adata.obs)
    twice.var = genes
    return twice


def csc(adata, tmp_path):
    adata.X = sparse.csc_matrix(adata.X)
    return adata


def csr_array(adata, tmp_path):
    adata.X = sparse.csr_array(adata.X)
    return adata


def dense(adata, tmp_path):
    adata.X = adata.X.toarray()
    return adata


def integers(adata, tmp_path):
    adata.X = adata.X.astype(np.int32)
    return adata


def dask(adata, tmp_path):
    adata.X = da.from_array(adata.X.toarray(), chunks=(17, 23)).map_blocks(sparse.csr_matrix)
    return adata


def dask_dense(adata, tmp_path):
    adata.X = da.from_array(adata.X.toarray(), chunks=(17, 23))
    return adata


def backed(adata, tmp_path):
    adata.write_h5ad(tmp_path / "query.h5ad")
    return ad.read_h5ad(tmp_path / "query.h5ad", backed="r")


def backed_csc(adata, tmp_path):
    return backed(csc(adata, tmp_path), tmp_path)


def backed_dense(adata, tmp_path):
    return backed(dense(adata, tmp_path), tmp_path)


def view(adata, tmp_path):
    return adata[:]


def log1p(adata, tmp_path):
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def normalised_to_the_median(adata, tmp_path):
    sc.pp.normalize_total(adata)
    return adata


def log1p_in_raw_and_scaled(adata, tmp_path):
    adata = log1p(dense(adata, tmp_path), tmp_path)
    adata.raw = adata.copy()
    sc.pp.scale(adata)
    return adata


def counts_in_a_layer(adata, tmp_path):
    adata.layers["counts"] = adata.X.copy()
    adata.X = dense(adata.copy(), tmp_path).X - 1
    return adata


def with_antibodies(adata, tmp_path):
    """Antibodies have symbols of genes, and far more counts."""
    antibodies = ad.AnnData(np.full((adata.n_obs, 5), 1000.0, dtype=np.float32), obs=adata.obs[[]], var=adata.var.iloc[:5].copy())
    types = ["Gene Expression"] * adata.n_vars + ["Antibody Capture"] * 5
    joined = ad.AnnData(sparse.hstack([adata.X, sparse.csr_matrix(antibodies.X)], format="csr"), obs=adata.obs)
    joined.var = pd.concat([adata.var, antibodies.var])
    joined.var["feature_types"] = types
    return joined


WRITINGS = [
    permuted,
    renamed_to_ids,
    renamed_to_ids_with_versions,
    ids_in_some_column,
    lower_case,
    split_into_duplicates,
    csc,
    csr_array,
    dense,
    integers,
    dask,
    dask_dense,
    backed,
    backed_csc,
    backed_dense,
    view,
    log1p,
    normalised_to_the_median,
    log1p_in_raw_and_scaled,
    counts_in_a_layer,
    with_antibodies,
]


@pytest.mark.filterwarnings(
    "ignore:Variable names are not unique", "ignore::sctab.SctabWarning", "ignore:Trying to modify attribute `.obs` of view"
)
@pytest.mark.parametrize("writing", WRITINGS)
def test_the_same_cells_written_otherwise_get_the_same_labels(writing, model, query, expected, tmp_path):
    adata = writing(query.copy(), tmp_path)
    sctab.tl.annotate(adata, model)
    assert list(adata.obs["sctab_label"]) == list(expected.obs["sctab_label"])
    np.testing.assert_allclose(
        adata.obsm["sctab_probabilities"].to_numpy(), expected.obsm["sctab_probabilities"].to_numpy(), rtol=0, atol=1e-5
    )


def test_the_choice_of_matrix_is_never_silent(model, query):
    adata = log1p_in_raw_and_scaled(query.copy(), None)
    with pytest.warns(SctabWarning, match="`raw.X` was used, which holds log1p of normalised counts; `X` cannot be used"):
        sctab.tl.annotate(adata, model)
    assert adata.uns["sctab"]["matrix"] == "raw.X"
    assert len(adata.uns["sctab"]["warnings"]) == 1


def test_key_added(model, query):
    adata = query.copy()
    sctab.tl.annotate(adata, model, key_added="mine")
    assert "mine_label" in adata.obs
    assert {"X_mine", "mine_probabilities"} == set(adata.obsm)
    assert not [key for key in (*adata.obs, *adata.uns) if key.startswith("sctab")]


def test_cells_without_counts_get_no_label(model, query):
    adata = query.copy()
    adata.X = sparse.vstack([sparse.csr_matrix((2, adata.n_vars), dtype=np.float32), adata.X[2:]], format="csr")
    with pytest.warns(SctabWarning, match="2 cells have no count in the model's genes and get no label"):
        sctab.tl.annotate(adata, model)
    assert adata.obs["sctab_label"].isna().tolist() == [True] * 2 + [False] * 88
    assert adata.obs["sctab_label_id"].isna().sum() == adata.obs["sctab_confidence"].isna().sum() == 2


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_the_result_can_be_written_and_read(suffix, query, tmp_path):
    reference = make_reference()
    reference.obs["cell_type"] = reference.obs["cell_type"].cat.rename_categories({"monocyte": "mono/macrophage"})
    SCTAB.setup_anndata(reference, "cell_type")
    with pytest.warns(SctabWarning, match="not in the Cell Ontology"):
        model = SCTAB(reference)
    model.train(calibrate=False, max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    adata = sctab.tl.annotate(query, model, copy=True)
    getattr(adata, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(ad, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    assert list(again.obs["sctab_label"]) == list(adata.obs["sctab_label"])
    assert list(again.obsm["sctab_probabilities"].columns) == ["B cell", "T cell", "mono|macrophage"]
    assert again.uns["sctab"]["genes"]["n_matched"] == 60


class TestRefusals:
    """A refusal leaves the data as it was."""

    @pytest.fixture(autouse=True)
    def unchanged(self, query):
        self.adata = query.copy()
        yield
        assert not [key for key in (*self.adata.obs, *self.adata.obsm, *self.adata.uns) if "sctab" in key]

    def test_mouse_symbols(self, model):
        self.adata.var = pd.DataFrame(index=[name.capitalize() for name in self.adata.var_names])
        with pytest.raises(GeneOverlapError, match="The data looks like mouse and the model is human"):
            sctab.tl.annotate(self.adata, model)

    def test_mouse_ids(self, model):
        self.adata.var = pd.DataFrame(index=[f"ENSMUSG{i:011d}" for i in range(60)])
        with pytest.raises(GeneOverlapError, match="looks like mouse.*0 of 60 model genes"):
            sctab.tl.annotate(self.adata, model)

    def test_no_gene_in_common(self, model):
        self.adata.var = pd.DataFrame(index=[f"probe_{i}" for i in range(60)])
        with pytest.raises(GeneOverlapError, match="None of the model's 60 genes is in the data"):
            sctab.tl.annotate(self.adata, model)

    def test_too_few_genes(self, model):
        names = [*self.adata.var_names[45:47], *(f"probe_{i}" for i in range(58))]
        self.adata.var = pd.DataFrame(index=names)
        with pytest.raises(GeneOverlapError, match=r"2 of 60 model genes.*at least 10% is required"):
            sctab.tl.annotate(self.adata, model)

    def test_too_few_genes_can_be_accepted(self, model):
        adata = self.adata[:, [0, 1, 10, 20]].copy()
        with pytest.warns(SctabWarning) as caught:
            sctab.tl.annotate(adata, model, min_gene_coverage=0)
        notes = [str(each.message) for each in caught]
        assert "4 of 60 model genes found" in notes[0]
        assert "Train it again with a sketch" in notes[1]

    def test_scaled(self, model):
        self.adata.X = self.adata.X.toarray() - 1
        with pytest.raises(InputValueError, match="`X` holds negative values"):
            sctab.tl.annotate(self.adata, model)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, model, value):
        dense = self.adata.X.toarray()
        dense[-1, -1] = value
        self.adata.X = dense
        with pytest.raises(InputValueError, match="`X` holds NaN or infinite values"):
            sctab.tl.annotate(self.adata, model)

    def test_some_cells_with_fractional_library_sizes(self, model):
        dense = self.adata.X.toarray()
        dense[-5:] *= 0.37
        self.adata.X = dense
        with pytest.raises(InputValueError, match="mixes two kinds of cells: 85 hold integer counts and 5 have fractional"):
            sctab.tl.annotate(self.adata, model)

    def test_unknown_layer(self, model):
        with pytest.raises(KeyNotFoundError, match="`layer='counts'` is not in the data"):
            sctab.tl.annotate(self.adata, model, layer="counts")

    @pytest.mark.parametrize("part", [np.s_[:0], np.s_[:, :0]])
    def test_empty(self, model, part):
        with pytest.raises(InputValueError, match="there is nothing to annotate"):
            sctab.tl.annotate(self.adata[part].copy(), model)

    def test_unknown_model(self):
        with pytest.raises(ModelNotFoundError, match="There is no model `no-such-model`.*Packaged models: `pbmc`"):
            sctab.tl.annotate(self.adata, "no-such-model")
