"""Normalisation and calibration over the operators of a framework against those of the package."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.data import Covariate, FeatureSpace, Normalization, normalise
from sctab.inference import Calibration, Evaluation, Members, ModelSpec, decide
from sctab.inference._portable import model_input, or_unmeasured, probabilities_of
from sctab.nn.portable._jax import JAX_OPERATORS
from sctab.ontology import LabelSpace


@given(
    seed=st.integers(0, 1000),
    target_sum=st.sampled_from([1e-3, 1.0, 1e4, 1e6]),
    log1p=st.booleans(),
    largest=st.sampled_from([1, 9, 10**6]),
    n_categories=st.integers(0, 2),
)
def test_the_input_of_a_network(seed, target_sum, log1p, largest, n_categories):
    rng = np.random.default_rng(seed)
    counts = (rng.integers(0, largest + 1, size=(4, 30)) * (rng.random((4, 30)) < 0.3)).astype(np.float32)
    counts[0] = 0
    covariates = np.eye(4, n_categories, dtype=np.float32) if n_categories else None
    normalization = Normalization(target_sum, log1p)
    features = FeatureSpace(ids=tuple(f"ENSG{i:011d}" for i in range(30)), symbols=("",) * 30)
    known = (Covariate("tissue", ("a", "b")[:n_categories]),) if n_categories else ()
    spec = ModelSpec("LinearClassifier", {}, features, LabelSpace(("a", "b"), (None, None)), normalization, known)
    got = model_input(JAX_OPERATORS, spec, counts, covariates)
    np.testing.assert_array_equal(model_input(JAX_OPERATORS, spec, counts, None)[:, 30:], np.zeros((4, n_categories)))
    np.testing.assert_allclose(got[:, :30], normalise(sparse.csr_matrix(counts), normalization).toarray(), rtol=1e-6)
    np.testing.assert_array_equal(got[:, 30:], np.zeros((4, 0)) if covariates is None else covariates)


calibrations = st.builds(
    lambda temperature, disagreement: Calibration(temperature=temperature, disagreement=disagreement),
    temperature=st.sampled_from([0.05, 0.7, 1.0, 3.0, 20.0]),
    disagreement=st.sampled_from([-10.0, 0.0, 0.4, 10.0]),
)


@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.0, 1.0, 20.0, 200.0]),
    n_members=st.integers(1, 4),
    n_labels=st.sampled_from([1, 2, 9]),
    calibration=calibrations,
)
def test_probabilities_are_those_of_decide(seed, scale, n_members, n_labels, calibration):
    """Also where members are so certain that other labels have a probability of zero in single precision."""
    logits = (scale * np.random.default_rng(seed).normal(size=(5, n_members, n_labels))).astype(np.float32)
    expected = decide(Evaluation(logits, None, np.ones(5, dtype=bool)), calibration).probabilities
    got = probabilities_of(JAX_OPERATORS, calibration, [logits[:, i] for i in range(n_members)])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    exact = calibration.probabilities(Members.of(logits.astype(np.float64)))
    np.testing.assert_allclose(got, exact, rtol=0, atol=3e-5 if n_members > 1 and scale > 1 else 1e-5)  # of exp(10 * information)


def test_cells_without_a_count_have_no_probabilities():
    got = or_unmeasured(JAX_OPERATORS, np.array([[0, 0], [0, 1.0]]), np.array([[0.5], [0.5]]))
    np.testing.assert_array_equal(got, [[np.nan], [0.5]])


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_a_label_that_all_members_exclude_is_not_lost_to_rounding(temperature):
    logits = np.array([[[0, -200.0], [0, -200.0]]], dtype=np.float32)
    found = Calibration(temperature=temperature).probabilities(Members.of(logits))
    np.testing.assert_allclose(found[0, 1], 1 / (1 + np.exp(200 / temperature)), rtol=1e-4, atol=1e-30)
