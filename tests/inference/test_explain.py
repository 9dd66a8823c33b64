"""Explanations of `SCTAB` and of ensembles, block by block."""

import numpy as np
import pytest
from scipy import sparse
from tests.reference import N_GENES, make_reference

from sctab import NotTrainedError, SettingError
from sctab.inference import explain_query
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier

QUICK = {"accelerator": "cpu", "enable_progress_bar": False, "refit": False, "max_epochs": 8, "batch_size": 16}
ARCHITECTURES = {"dense": {}, "two masked steps": {"n_steps": 2, "dense_decision": False}}
SMALL = {"n_d": 16, "n_a": 8}


def train(model_class, *, seed=0, covariates=None, **architecture):
    reference = make_reference()
    reference.obs["tissue"] = ["blood", "spleen"] * (reference.n_obs // 2)
    model_class.setup_anndata(reference, "cell_type", categorical_covariate_keys=covariates or [])
    model = model_class(reference, **(SMALL if model_class is SCTAB else {}), **architecture)
    model.train(calibrate=False, **QUICK, seed=seed)
    return model


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request):
    return train(SCTAB, **ARCHITECTURES[request.param])


@pytest.fixture(scope="module")
def query():
    return make_reference(90, seed=7)


@pytest.fixture(scope="module")
def weights(model, query):
    return model.explain(query)


def row_sums(matrix):
    return np.asarray(matrix.sum(axis=1)).ravel()


def test_a_row_sums_to_the_decision_on_the_cell(model, query, weights):
    assert sparse.isspmatrix_csr(weights)
    assert weights.shape == (90, N_GENES)
    assert weights.data.min() > 0
    np.testing.assert_allclose(row_sums(weights), model.get_latent_representation(query).sum(axis=1), rtol=1e-4)


def test_of_a_masked_network_it_is_mask_times_decision(query):
    model = train(SCTAB, n_steps=1, dense_decision=False)
    expected = model.get_feature_mask(query).multiply(model.get_latent_representation(query).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(model.explain(query).toarray(), expected.toarray(), rtol=1e-4, atol=1e-6)


def test_batches_do_not_matter(model, query, weights):
    for batch_size in (1, 7, 90):
        np.testing.assert_allclose(model.explain(query, batch_size=batch_size).toarray(), weights.toarray(), rtol=1e-3, atol=1e-5)


def test_order_of_genes_and_storage_do_not_matter(model, query, weights):
    permuted = query[:, np.random.default_rng(0).permutation(N_GENES)].copy()
    dense = query.copy()
    dense.X = dense.X.toarray()
    for same in (permuted, dense):
        np.testing.assert_allclose(model.explain(same).toarray(), weights.toarray(), rtol=1e-3, atol=1e-5)


def test_nothing_explains_a_cell_without_counts(model, query):
    adata = query.copy()
    adata.X = sparse.vstack([sparse.csr_matrix((2, N_GENES), dtype=np.float32), adata.X[2:]], format="csr")
    sums = row_sums(model.explain(adata))
    assert sums[:2].tolist() == [0, 0]
    assert (sums[2:] > 0).all()
    cells = next(explain_query(model.predictor, model.predictor.open_query(adata), batch_size=90))
    assert cells.decision.measured.tolist() == [False] * 2 + [True] * 88
    np.testing.assert_allclose(row_sums(cells.weights), [0, 0] + [1] * 88, rtol=1e-5)


def test_covariates_are_not_among_the_genes(query):
    model = train(SCTAB, covariates=["tissue"])
    adata = query.copy()
    adata.obs["tissue"] = "spleen"
    decision = model.get_latent_representation(adata).sum(axis=1)
    for of_genes, most in ((model.explain(adata), decision), (model.get_feature_mask(adata), 1)):
        assert of_genes.shape == (90, N_GENES)
        assert (row_sums(of_genes) <= most * (1 + 1e-5)).all()
    cells = next(explain_query(model.predictor, model.predictor.open_query(adata), batch_size=90))
    assert cells.values.shape == (90, N_GENES)
    np.testing.assert_allclose(row_sums(cells.weights), 1, rtol=1e-5)
    adata.X = sparse.csr_matrix((90, N_GENES), dtype=np.float32)
    assert model.explain(adata).nnz == 0


def test_of_an_ensemble_it_is_the_mean_of_shares(query):
    members = [train(SCTAB, seed=seed) for seed in (0, 1)]
    ensemble = DeepEnsemble.from_members(members)
    blocks = list(explain_query(ensemble.predictor, ensemble.predictor.open_query(query), batch_size=40))
    assert [cells.weights.shape[0] for cells in blocks] == [40, 40, 10]
    shares = [member.explain(query).toarray() for member in members]
    expected = np.mean([share / share.sum(axis=1, keepdims=True) for share in shares], axis=0)
    found = sparse.vstack([cells.weights for cells in blocks]).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    probabilities = np.concatenate([cells.decision.probabilities for cells in blocks])
    np.testing.assert_allclose(probabilities, ensemble.predict(query, soft=True).to_numpy(), atol=1e-5)


class TestRefusals:
    def test_models_without_attention(self, query):
        model = train(LinearClassifier)
        with pytest.raises(
            SettingError,
            match="`LinearClassifier` does not select genes per cell.*`get_coefficients` gives the weight of every gene",
        ):
            next(explain_query(model.predictor, model.predictor.open_query(query), batch_size=90))
        model = train(MLPClassifier)
        ensemble = DeepEnsemble.from_members([model, model])
        with pytest.raises(
            SettingError,
            match="`MLPClassifier` does not select genes per cell.*Of this model, `gene_importance` has the weight of each gene",
        ):
            next(explain_query(ensemble.predictor, ensemble.predictor.open_query(query), batch_size=90))

    @pytest.mark.parametrize("cls", [LinearClassifier, MLPClassifier, XGBoostClassifier])
    def test_the_method_of_models_without_attention(self, query, cls):
        reference = make_reference()
        cls.setup_anndata(reference, "cell_type")
        model = cls(reference)
        with pytest.raises(NotTrainedError, match="The model is not trained"):
            model.explain(query)
        model.train(calibrate=False, max_epochs=2, accelerator="cpu", enable_progress_bar=False, refit=False)
        with pytest.raises(SettingError, match=f"`{cls.__name__}` does not select genes per cell.*Use `SCTAB`.*Of this model, `"):
            model.explain(query)

    def test_untrained(self, query):
        reference = make_reference()
        SCTAB.setup_anndata(reference, "cell_type")
        model = SCTAB(reference)
        with pytest.raises(NotTrainedError, match="The model is not trained"):
            model.explain(query)
        with pytest.raises(NotTrainedError, match="The model is not trained"):
            next(explain_query(model.predictor, model.predictor.open_query(query), batch_size=90))

    def test_an_empty_batch(self, model, query):
        with pytest.raises(SettingError, match="`batch_size=0` must be at least 1"):
            model.explain(query, batch_size=0)
