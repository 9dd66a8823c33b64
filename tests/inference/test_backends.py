"""Evaluation by JAX against the evaluator of the package, from any query to decisions."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from tests.reference import make_reference

from sctab import SettingError
from sctab.inference import Evaluation, decide, predict_cells
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier

QUICK = {"calibrate": False, "max_epochs": 3, "batch_size": 16, "accelerator": "cpu", "enable_progress_bar": False}
SETTINGS = {
    "linear": (LinearClassifier, {}),
    "mlp": (MLPClassifier, {"n_layers": 2, "n_hidden": 8}),
    "sctab": (SCTAB, {}),
    "sctab of several steps": (SCTAB, {"n_steps": 2, "mask_type": "sparsemax", "n_d": 8, "n_a": 4}),
}


def trained(model_class, settings, seed=0, **setup):
    reference = make_reference()
    model_class.setup_anndata(reference, "cell_type", **setup)
    model = model_class(reference, **settings)
    model.train(seed=seed, **QUICK)
    return model


@pytest.fixture(scope="module")
def models():
    found = {name: trained(*settings) for name, settings in SETTINGS.items()}
    found["with a covariate"] = trained(MLPClassifier, {"n_hidden": 8}, categorical_covariate_keys=["donor_id"])
    others = [trained(SCTAB, {"n_d": n_d, "n_a": 4}, seed) for seed, n_d in enumerate((8, 6, 8))]
    found["ensemble of two architectures"] = DeepEnsemble.from_members(others)
    return found


@pytest.mark.parametrize("name", [*SETTINGS, "with a covariate", "ensemble of two architectures"])
def test_decisions_are_the_same(models, name):
    predictor = models[name].predictor
    adata = make_reference(150, seed=7)[:, 3:].copy()  # without some genes
    adata.X = sparse.csr_matrix(adata.X.toarray() * (np.arange(150) != 5)[:, None])
    query = predictor.open_query(adata)
    (got, expected) = (predict_cells(predictor, adata, query, batch_size=40, backend=backend) for backend in ("jax", "torch"))
    np.testing.assert_array_equal(got.codes, expected.codes)
    np.testing.assert_array_equal(got.measured, expected.measured)
    np.testing.assert_allclose(got.column(got.probabilities), expected.column(expected.probabilities), rtol=0, atol=1e-5)
    if expected.latent is None:
        assert got.latent is None
    else:
        np.testing.assert_allclose(got.latent, expected.latent, rtol=1e-4, atol=1e-4)
    if expected.mutual_information is not None:
        np.testing.assert_allclose(got.column(got.mutual_information), expected.column(expected.mutual_information), atol=1e-5)


def test_no_cells_and_one(models):
    block_predictor = models["sctab"].predictor.block_predictor(backend="jax")
    query = models["sctab"].predictor.open_query(make_reference(50, seed=7))
    (block,) = query.read([(0, 50)])
    whole = block_predictor.predict_block(query.recipe, block)
    none, one = (block_predictor.predict_rows(query.recipe, block, rows) for rows in (slice(0, 0), slice(7, 8)))
    assert none.logits.shape == (0, *whole.logits.shape[1:])
    np.testing.assert_allclose(one.logits, whole.logits[7:8], rtol=0, atol=1e-4)


def test_it_can_be_sent_to_workers(models):
    predictor = models["ensemble of two architectures"].predictor
    query = predictor.open_query(make_reference(50, seed=7))
    (block,) = query.read([(0, 50)])
    block_predictor = predictor.block_predictor(backend="jax", device="cpu")
    sent = pickle.loads(pickle.dumps(block_predictor))
    got, expected = (each.predict_block(query.recipe, block, batch_size=20) for each in (sent, block_predictor))
    np.testing.assert_array_equal(got.logits, expected.logits)


def test_several_threads_share_it(models):
    predictor = models["sctab"].predictor
    query = predictor.open_query(make_reference(300, seed=7))
    block_predictor, before = predictor.block_predictor(backend="jax"), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        parts = list(block_predictor.predict_blocks(query.recipe, query.read(query.ranges(70)), batch_size=16))
    finally:
        torch.set_num_threads(before)
    (block,) = query.read([(0, 300)])
    np.testing.assert_allclose(Evaluation.join(parts).logits, block_predictor.predict_block(query.recipe, block).logits, atol=1e-4)


def test_a_damaged_model_is_refused(models):
    model = trained(LinearClassifier, {})
    with torch.no_grad():
        model.module.classifier.weight[0, 0] = float("nan")
    with pytest.raises(Exception, match="NaN"):
        model.predictor.block_predictor(backend="jax")


def test_what_it_cannot_do_is_said(models):
    predictor = models["linear"].predictor
    with pytest.raises(SettingError, match=r"`backend='tpu'` is unknown. Choose one of: `torch`, `jax`"):
        predictor.block_predictor(backend="tpu")
    with pytest.raises(SettingError, match=r"`precision='bfloat16'` is not available with `backend='jax'`. Omit one of them."):
        predictor.block_predictor(backend="jax", precision="bfloat16")


def test_trees_are_refused():
    reference = make_reference()
    XGBoostClassifier.setup_anndata(reference, "cell_type")
    trees = XGBoostClassifier(reference)
    trees.train(calibrate=False, max_epochs=2, enable_progress_bar=False)
    with pytest.raises(
        SettingError, match=r"With the backend `jax`, `SCTAB`, .* can be used: a `BoostedTrees` is not made of layers"
    ):
        trees.predictor.block_predictor(backend="jax")
    with pytest.raises(SettingError, match="For JAX"):
        trees.to_jax()


def test_the_calibration_of_a_decision_is_that_of_the_model(models):
    model = models["sctab"]
    query = model.predictor.open_query(make_reference(20, seed=3))
    (block,) = query.read([(0, 20)])
    evaluation = model.predictor.block_predictor(backend="jax").predict_block(query.recipe, block)
    assert decide(evaluation, model.spec.calibration).probabilities.shape == (20, len(model.spec.labels))
