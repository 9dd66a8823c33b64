"""Linear models of a few cells, held to scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn.decomposition import TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler
from tests.types_of_cells import reference

import sctab.inference._refit as module
from sctab.inference._refit import refit


def cells(n_types=3, seed=1):
    """Normalised expression and types; the last gene is measured in no cell."""
    values, codes = reference(n_types=n_types, seed=seed)
    return sparse.hstack([values, sparse.csr_matrix((values.shape[0], 1))], format="csr", dtype=np.float32), codes


@pytest.mark.parametrize("n_types", [2, 3, 4])
def test_probabilities_are_the_geometric_mean_of_three_models(n_types):
    values, codes = cells(n_types)
    measured = values[:, :-1]
    scaled = MaxAbsScaler().fit_transform(measured)
    components = TruncatedSVD(50, n_iter=7, random_state=0).fit(measured).components_.T
    latent = measured @ components
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(latent, codes)
    models = [LogisticRegression(max_iter=500, tol=1e-3, class_weight=each).fit(scaled, codes) for each in (None, "balanced")]
    logs = [model.predict_log_proba(scaled) for model in models] + [discriminant.predict_log_proba(latent)]
    expected = np.exp(np.mean(logs, axis=0))
    found = softmax(refit(values, codes, n_types).logits_of(values), axis=1)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=2e-3)


def test_components_are_those_of_the_cells_to_annotate():
    values, codes = cells()
    others, _ = cells(seed=7)
    fit, alike = refit(values, codes, 3, like=others), refit(values, codes, 3, like=values)
    assert not np.allclose(fit.weights, alike.weights)
    np.testing.assert_array_equal(alike.weights, refit(values, codes, 3).weights)


def test_genes_that_are_not_measured_have_no_weight():
    values, codes = cells()
    assert (refit(values, codes, 3).weights[-1] == 0).all()


def test_most_variable_genes_are_learned_from(monkeypatch):
    values, codes = cells()
    monkeypatch.setattr(module, "_MOST_GENES", 10)
    used = (refit(values, codes, 3).weights != 0).any(axis=1)
    variance = values.toarray().var(axis=0)
    assert set(np.flatnonzero(used)) == set(np.argsort(-variance, kind="stable")[:10])


def test_labels_without_cells_are_not_predicted():
    values, codes = cells()
    logits = refit(values, 2 * codes, 6).logits_of(values)
    assert set(logits.argmax(axis=1)) == {0, 2, 4}
    np.testing.assert_array_equal(logits[:, [0, 2, 4]], refit(values, codes, 3).logits_of(values))


def test_of_one_type_all_cells_are():
    values, codes = cells()
    assert (refit(values, np.full_like(codes, 1), 3).logits_of(values).argmax(axis=1) == 1).all()


@pytest.mark.parametrize("n_cells", [2, 3])
def test_a_handful_of_cells(n_cells):
    values, codes = cells()
    chosen = [int(np.flatnonzero(codes == code)[0]) for code in range(n_cells)]
    assert (refit(values[chosen], codes[chosen], 3).logits_of(values[chosen]).argmax(axis=1) == codes[chosen]).all()


def test_a_single_gene():
    values = sparse.csr_matrix(np.repeat([[0.0, 1.0], [0.0, 5.0]], 20, axis=0).astype(np.float32))
    codes = np.repeat([0, 1], 20)
    assert (refit(values, codes, 2).logits_of(values).argmax(axis=1) == codes).all()


def test_no_gene_that_varies():
    values = sparse.csr_matrix(np.ones((20, 4), dtype=np.float32))
    assert np.isfinite(refit(values, np.arange(20) % 2, 2).logits_of(values)).all()
