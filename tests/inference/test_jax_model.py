"""Trained models as pure functions for JAX."""

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from tests.reference import make_reference

from sctab import InputTypeError, InputValueError, NotTrainedError, SettingError
from sctab.data import Normalization
from sctab.inference import Calibration
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, MLPClassifier, load_model

QUICK = {"calibrate": False, "max_epochs": 3, "batch_size": 16, "accelerator": "cpu", "enable_progress_bar": False}


def trained(model_class, seed=0, settings=None, **setup):
    reference = make_reference()
    model_class.setup_anndata(reference, "cell_type", **setup)
    model = model_class(reference, **(settings or {}))
    model.train(seed=seed, **QUICK)
    return model


@pytest.fixture(scope="module")
def model():
    model = trained(SCTAB)
    model.spec = replace(model.spec, calibration=Calibration(temperature=1.7))
    return model


@pytest.fixture(scope="module")
def ensemble():
    ensemble = DeepEnsemble.from_members([trained(MLPClassifier, seed, {"n_hidden": 8}) for seed in range(3)])
    ensemble.calibration = Calibration(temperature=1.3, disagreement=2.0)
    return ensemble


def query_of(model, n_obs=90):
    """Cells with the genes of a model in its order, and their counts; one cell has none."""
    adata = make_reference(n_obs, seed=5)
    adata.X = adata.X.toarray() * (np.arange(n_obs) != 2)[:, None]
    positions = model.spec.features.match(adata.var).positions
    order = np.array([np.flatnonzero(positions == gene)[0] for gene in range(len(model.spec.features))])
    return adata, adata.X[:, order]


@pytest.mark.parametrize("kind", ["model", "ensemble"])
@given(n_obs=st.sampled_from([0, 1, 3, 17, 90]), as_type=st.sampled_from([np.asarray, sparse.csr_matrix, sparse.csc_array]))
def test_probabilities_are_those_of_predict(kind, request, n_obs, as_type):
    classifier = request.getfixturevalue(kind)
    if not hasattr(classifier, "_jax"):
        classifier._jax = classifier.to_jax()
    adata, counts = query_of(classifier)
    expected = classifier.predict(adata, soft=True)
    got = classifier._jax(as_type(counts)[:n_obs])
    np.testing.assert_allclose(got, expected.to_numpy()[:n_obs], rtol=0, atol=1e-5)
    assert n_obs < 3 or np.isnan(got[2]).all()


def test_pure_functions_make_up_the_call(model):
    predict = model.to_jax()
    _, counts = query_of(model)

    @jax.jit
    def probabilities(params, counts):
        return predict.calibrate(predict.apply(params, predict.normalise(counts)).logits)

    measured = counts.sum(axis=1) > 0
    np.testing.assert_allclose(probabilities(predict.params, counts)[measured], predict(counts)[measured], rtol=0, atol=1e-6)
    output = predict.apply(predict.params, predict.normalise(counts))
    assert output.logits.shape == (len(counts), 1, len(model.spec.labels))
    np.testing.assert_allclose(output.latent[measured], model.get_latent_representation(query_of(model)[0])[measured], atol=1e-4)


def test_gradients_are_finite_also_for_cells_without_counts(ensemble):
    predict = ensemble.to_jax()
    _, counts = query_of(ensemble, 6)
    of_counts = jax.grad(lambda x: jnp.nansum(predict.probabilities(predict.params, x)[:, 0]))(jnp.asarray(counts, jnp.float32))
    of_params = jax.grad(lambda params: jnp.nansum(predict.probabilities(params, counts)[:, 0]))(predict.params)
    assert np.isfinite(of_counts).all()
    assert np.abs(of_counts).max() > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_params))


def test_members_are_mapped_over_stacked_parameters(ensemble):
    (params,) = ensemble.to_jax().params
    assert params["classifier"]["weight"].shape == (3, 8, len(ensemble.spec.labels))


def test_in_double_precision(model):
    predict = model.to_jax()
    _, counts = query_of(model, 4)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), predict.params)
        found = predict.probabilities(exact, counts.astype(np.float64))
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, predict(counts), rtol=0, atol=1e-5)


def test_other_normalisations(model):
    spec, before = replace(model.spec, normalization=Normalization(target_sum=100.0, log1p=False)), model.spec
    adata, counts = query_of(model)
    model.spec = spec
    try:
        np.testing.assert_allclose(model.to_jax()(counts), model.predict(adata, soft=True), rtol=0, atol=1e-5)
    finally:
        model.spec = before


def test_covariates():
    model = trained(MLPClassifier, 0, {"n_hidden": 8}, categorical_covariate_keys=["donor_id"])
    adata, counts = query_of(model)
    known = np.array([[key == f"donor_id={donor}" for key in model.spec.category_names] for donor in adata.obs["donor_id"]])
    assert known.any()
    predict = model.to_jax()
    np.testing.assert_allclose(predict(counts, known), model.predict(adata, soft=True), rtol=0, atol=1e-5)
    del adata.obs["donor_id"]
    with pytest.warns(UserWarning, match="has no column `donor_id`"):
        np.testing.assert_allclose(predict(counts), model.predict(adata, soft=True), rtol=0, atol=1e-5)
    with pytest.raises(InputValueError, match=f"`covariates` has 2 rows, and there are {len(counts)} cells"):
        predict(counts, known[:2])
    with pytest.raises(InputValueError, match=r"`covariates` has 1 columns, and the model has \d+ categories, in the order of"):
        predict(counts, known[:, :1])


def test_a_loaded_model_and_one_sent_to_a_worker(model, tmp_path):
    model.save(tmp_path / "model")
    _, counts = query_of(model)
    expected = model.to_jax()(counts)
    loaded = load_model(tmp_path / "model").to_jax()
    for predict in (loaded, pickle.loads(pickle.dumps(loaded))):
        np.testing.assert_allclose(predict(counts), expected, rtol=0, atol=1e-6)


def test_devices(model):
    predict = model.to_jax(jax.devices()[:1])
    assert {leaf.device for leaf in jax.tree.leaves(predict.params)} == {jax.devices()[0]}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda counts: pd.DataFrame(counts), InputTypeError, "`counts` is a `DataFrame`, whose names would be ignored"),
        (lambda _: make_reference(3), InputTypeError, r"`counts` is a `AnnData`.*`backend=\"jax\"`"),
        (lambda counts: counts[0], InputTypeError, r"must be a matrix of numbers, and has shape \(\d+,\)"),
        (lambda counts: counts.astype(str), InputTypeError, "must be a matrix of numbers"),
        (lambda counts: counts[:, 1:], InputValueError, r"`counts` has \d+ columns, and the model has \d+ genes, in the order of"),
        (lambda counts: -counts, InputValueError, "`counts` has negative values, NaN or infinity"),
        (lambda counts: sparse.csr_matrix(counts * np.nan), InputValueError, "`counts` has negative values, NaN or infinity"),
    ],
)
def test_what_is_not_a_matrix_of_counts_is_refused(model, change, error, message):
    _, counts = query_of(model)
    with pytest.raises(error, match=message):
        model.to_jax()(change(counts))


def test_covariates_of_a_model_without_them_are_refused(model):
    _, counts = query_of(model)
    with pytest.raises(SettingError, match="`covariates` were provided, and the model has none. Omit them."):
        model.to_jax()(counts, np.ones((len(counts), 1)))


def test_an_untrained_model_is_refused():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    with pytest.raises(NotTrainedError):
        LinearClassifier(reference).to_jax()
