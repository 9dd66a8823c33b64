"""What only LinearClassifier has: coefficients, and a loss that scikit-learn minimises too."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from tests.reference import TYPES, make_reference

from sctab import NotTrainedError, SettingError
from sctab.data import Normalization, normalise
from sctab.model import LinearClassifier

PLAIN = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "gene_dropout": 0.0,
    "class_weights": False,
    "weight_decay": 0.0,
    "train_size": 1.0,
}


def fit(**settings):
    adata = make_reference()
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(calibrate=False, **PLAIN | settings)
    return model


def test_with_an_l2_penalty_it_is_the_logistic_regression_of_scikit_learn():
    reference, query = make_reference(), make_reference(90, seed=7)
    penalty = 0.05
    values, others = (normalise(adata.X, Normalization()) for adata in (reference, query))
    expected = LogisticRegression(C=1 / (penalty * reference.n_obs), max_iter=10_000, tol=1e-8).fit(
        values, reference.obs["cell_type"]
    )
    model = fit(l2=penalty, max_epochs=400, batch_size=240, learning_rate=0.02)
    np.testing.assert_allclose(model.predict(query, soft=True), expected.predict_proba(others), atol=0.005)
    np.testing.assert_allclose(model.get_coefficients(), expected.coef_, atol=0.005)


def test_coefficients_are_types_by_genes_and_give_the_probabilities():
    model, query = fit(max_epochs=5), make_reference(90, seed=7)
    coefficients = model.get_coefficients()
    assert list(coefficients.index) == list(TYPES)
    assert list(coefficients.columns) == list(query.var_names)
    logits = normalise(query.X, Normalization()) @ coefficients.T.to_numpy() + model.module.classifier.bias.detach().numpy()
    np.testing.assert_allclose(softmax(logits, axis=1), model.predict(query, soft=True), atol=1e-5)


def test_an_l1_penalty_leaves_fewer_genes_with_a_say():
    shares = [(fit(l1=l1, max_epochs=60).get_coefficients().abs() > 0.02).to_numpy().mean() for l1 in (0.0, 0.02)]
    assert shares[1] < 0.7 * shares[0]


def test_untrained_it_has_no_coefficients():
    adata = make_reference()
    LinearClassifier.setup_anndata(adata, "cell_type")
    with pytest.raises(NotTrainedError):
        LinearClassifier(adata).get_coefficients()


def test_it_says_that_it_has_no_latent_space():
    with pytest.raises(SettingError, match="`LinearClassifier` reads labels from the expression itself: it has no latent space"):
        fit(max_epochs=1).get_latent_representation()


def test_augmentation_needs_donors():
    adata = make_reference()
    LinearClassifier.setup_anndata(adata, "cell_type")
    with pytest.raises(SettingError, match="`augment=True` needs donors"):
        LinearClassifier(adata).train(calibrate=False, **PLAIN, augment=True, max_epochs=1)


def test_augmentation_changes_what_is_learned():
    plain, augmented = (fit(max_epochs=3, augment=augment).get_coefficients() for augment in (False, True))
    assert np.abs(plain - augmented).to_numpy().max() > 1e-4
