"""Columns of `obs` that a model looks at besides the genes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from sklearn.preprocessing import OneHotEncoder
from tests.reference import make_reference

import sctab
from sctab import KeyNotFoundError, LabelError, SctabWarning, SettingError
from sctab.data._covariates import Covariate, find_covariates, one_hot
from sctab.model import SCTAB, LinearClassifier, MLPClassifier, XGBoostClassifier, load_model

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "refit": False}
GRADIENT = QUIET | {"max_epochs": 25, "batch_size": 32, "gene_dropout": 0.0, "train_size": 1.0}
QUICK = {
    LinearClassifier: GRADIENT | {"max_epochs": 100, "learning_rate": 0.02},
    MLPClassifier: GRADIENT | {"max_epochs": 120},
    SCTAB: GRADIENT,
    XGBoostClassifier: QUIET | {"max_epochs": 20, "train_size": 1.0},
}
SAME = ["T cell", "monocyte"]
"""Two types that the genes do not tell apart in :func:`make_ambiguous`, but the tissue does."""


def make_ambiguous(n_obs=240, *, seed=0):
    adata = make_reference(n_obs, seed=seed)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    alike = adata[labels == "T cell"].X.toarray()
    rng = np.random.default_rng(seed)
    dense = adata.X.toarray()
    for cell in np.flatnonzero(np.isin(labels, SAME)):
        dense[cell] = alike[rng.integers(len(alike))]
    adata.X = dense
    adata.obs["tissue"] = np.where(
        labels == "monocyte", "lung", np.where(labels == "T cell", "blood", rng.choice(["lung", "blood"], n_obs))
    )
    return adata


@pytest.fixture(scope="module", params=QUICK, ids=lambda cls: cls.__name__)
def trained(request):
    adata = make_ambiguous()
    request.param.setup_anndata(adata, "cell_type", categorical_covariate_keys=["tissue"])
    model = request.param(adata)
    model.train(calibrate=False, **QUICK[request.param], seed=0)
    return model


@pytest.fixture(scope="module")
def query():
    return make_ambiguous(120, seed=3)


def right(model, query):
    ambiguous = query.obs["cell_type"].isin(SAME).to_numpy()
    return (model.predict(query) == query.obs["cell_type"].to_numpy())[ambiguous].mean()


class TestModels:
    def test_the_tissue_tells_what_the_genes_do_not(self, trained, query):
        assert right(trained, query) > 0.8  # half without it

    def test_without_the_tissue_cells_are_named_all_the_same(self, trained, query):
        bare = query.copy()
        del bare.obs["tissue"]
        with pytest.warns(SctabWarning, match="`adata.obs` has no column `tissue`, a covariate of the model"):
            probabilities = trained.predict(bare, soft=True)
        clear = (query.obs["cell_type"] == "B cell").to_numpy()
        assert (probabilities.idxmax(axis=1)[clear] == "B cell").mean() > 0.9
        unsure = probabilities.loc[~clear, SAME]
        assert (unsure.sum(axis=1) - 1).abs().mean() < 0.1
        sure = trained.predict(query, soft=True).loc[~clear, SAME]
        assert unsure.max(axis=1).mean() < sure.max(axis=1).mean()

    def test_an_unseen_tissue_is_no_tissue(self, trained, query):
        bare, elsewhere, missing = query.copy(), query.copy(), query.copy()
        del bare.obs["tissue"]
        elsewhere.obs["tissue"] = "spleen"
        missing.obs["tissue"] = pd.Series(np.nan, index=query.obs_names, dtype=object)
        with pytest.warns(
            SctabWarning, match=r"values that the model does not know: `spleen`. 120 cells .* It knows: `blood`, `lung`"
        ):
            of_elsewhere = trained.predict(elsewhere, soft=True)
        with pytest.warns(SctabWarning, match="no column `tissue`"):
            of_bare = trained.predict(bare, soft=True)
        pd.testing.assert_frame_equal(of_elsewhere, of_bare)
        pd.testing.assert_frame_equal(trained.predict(missing, soft=True), of_bare)

    def test_they_are_stored(self, trained, query, tmp_path):
        trained.save(tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        assert loaded.spec.covariates == (Covariate("tissue", ("blood", "lung")),)
        np.testing.assert_allclose(loaded.predict(query, soft=True), trained.predict(query, soft=True), atol=1e-6)

    def test_importance_is_of_genes(self, trained):
        assert trained.gene_importance.shape == (len(trained.spec.features),)
        assert trained.gene_importance.sum() == pytest.approx(1, abs=1e-4)

    def test_a_cell_without_counts_is_not_known_by_its_tissue(self, trained, query):
        blank = query.copy()
        blank.X[0] = 0
        assert pd.isna(trained.predict(blank)).tolist() == [True] + [False] * 119

    def test_training_goes_on_with_a_query_that_has_no_tissue(self, trained, query):
        bare, empty = query.copy(), query.copy()
        del bare.obs["tissue"]
        empty.obs["tissue"] = pd.Series(np.nan, index=query.obs_names, dtype=object)
        for adata in (bare, empty):
            model = type(trained).load_query_data(adata, trained)
            model.train(calibrate=False, **QUICK[type(trained)] | {"max_epochs": 1})
            assert model.spec.covariates == trained.spec.covariates

    def test_annotate_notes_what_was_missing(self, trained, query):
        bare = query.copy()
        del bare.obs["tissue"]
        with pytest.warns(SctabWarning, match="no column `tissue`"):
            sctab.tl.annotate(bare, trained)
        assert any("tissue" in note for note in bare.uns["sctab"]["warnings"])


def test_coefficients_name_the_categories():
    adata = make_ambiguous()
    LinearClassifier.setup_anndata(adata, "cell_type", categorical_covariate_keys=["tissue"])
    model = LinearClassifier(adata)
    model.train(calibrate=False, **QUICK[LinearClassifier])
    coefficients = model.get_coefficients()
    assert list(coefficients.columns[-2:]) == ["tissue=blood", "tissue=lung"]
    assert coefficients.loc["monocyte", "tissue=lung"] > coefficients.loc["T cell", "tissue=lung"]


class TestRefusals:
    def test_a_name_instead_of_a_list(self):
        with pytest.raises(SettingError, match=r"must be a list: write `\['tissue'\]`"):
            SCTAB.setup_anndata(make_ambiguous(), "cell_type", categorical_covariate_keys="tissue")

    def test_a_column_that_is_not_there(self):
        with pytest.raises(KeyNotFoundError, match="`categorical_covariate_keys='organ'` is not in `adata.obs`"):
            SCTAB.setup_anndata(make_ambiguous(), "cell_type", categorical_covariate_keys=["organ"])

    def test_the_labels_themselves(self):
        with pytest.raises(SettingError, match="has the labels, `cell_type`"):
            SCTAB.setup_anndata(make_ambiguous(), "cell_type", categorical_covariate_keys=["tissue", "cell_type"])

    def test_a_column_without_values(self):
        adata = make_ambiguous()
        adata.obs["organ"] = pd.Series(np.nan, index=adata.obs_names, dtype=object)
        with pytest.raises(LabelError, match="has no value in any cell"):
            SCTAB.setup_anndata(adata, "cell_type", categorical_covariate_keys=["organ"])


@given(st.lists(st.sampled_from(["lung", "blood", "skin", None]), min_size=1, max_size=8))
def test_columns_are_those_of_scikit_learn(values):
    obs = pd.DataFrame({"tissue": pd.Series(values, dtype=object)})
    if obs["tissue"].isna().all():
        return
    covariates = find_covariates(obs, ["tissue"])
    known = obs["tissue"].notna().to_numpy()
    expected = np.zeros((len(values), len(covariates[0].categories)))
    encoder = OneHotEncoder(categories=[list(covariates[0].categories)], sparse_output=False)
    expected[known] = encoder.fit_transform(obs.loc[known, ["tissue"]].astype(str))
    np.testing.assert_array_equal(one_hot(obs, covariates).toarray(), expected)
