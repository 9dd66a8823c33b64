"""Temperatures, beside those of scikit-learn and those that simulated cells were drawn with."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from sctab.inference import Calibration, Evaluation, Members, decide, fit_calibration

N_LABELS = 4
OWN = np.eye(N_LABELS, dtype=bool)


def simulated(temperature, n_obs=4000, seed=0, *, without_first=False):
    """Logits of cells, and labels drawn from their probabilities at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, size=(n_obs, N_LABELS))
    if without_first:
        logits[:, 0] = -100
    cumulative = softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits, (rng.uniform(size=(n_obs, 1)) > cumulative).sum(axis=1).clip(max=N_LABELS - 1)


def fit(logits, truth, is_right=OWN, **kwargs):
    return fit_calibration(Members.of(np.asarray(logits)), truth, is_right, unit="donor", n_units=3, **kwargs)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_cells_were_drawn_with(temperature):
    found = fit(*(part if i else part[:, None] for i, part in enumerate(simulated(temperature))))
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.calibration_error < 0.02
    assert found.disagreement == 0
    assert (found.unit, found.n_units, found.n_obs) == ("donor", 3, 4000)


class Logits(ClassifierMixin, BaseEstimator):
    """A classifier whose input is its output."""

    def fit(self, _, labels):
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, values):
        return values

    def predict(self, values):
        return self.classes_[values.argmax(axis=1)]


def test_as_scikit_learn_fits_it():
    logits, truth = simulated(1.7, n_obs=600)
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits().fit(logits, truth)), method="temperature").fit(logits, truth)
    ours = fit(logits[:, None], truth).probabilities(Members.of(logits[:, None]))
    np.testing.assert_allclose(ours, theirs.predict_proba(logits), atol=2e-3)


def test_a_cell_with_a_broad_label_is_right_in_each_subtype():
    """Half of the cells are called by the parent of labels 1 and 2; that says nothing of how sure the model may be of either."""
    logits, truth = simulated(2.0, n_obs=20_000, without_first=True)  # nothing is called by the parent, label 0
    is_right = OWN.copy()
    is_right[0] = [True, True, True, False]
    broad = np.where((truth != 3) & (np.arange(len(truth)) % 2 == 0), 0, truth)
    assert fit(logits[:, None], broad, is_right).temperature == pytest.approx(fit(logits[:, None], truth).temperature, rel=0.1)
    assert fit(logits[:, None], broad).temperature > 5  # taken for errors


def test_labels_that_a_model_did_not_learn_have_no_probability():
    logits, truth = simulated(2.0)
    without = logits[:, None].copy()
    without[:, :, 3] = -np.inf
    found = fit(without, truth)
    known = truth != 3
    assert found.n_obs == known.sum()
    assert found.temperature == pytest.approx(fit(without[known], truth[known]).temperature)
    np.testing.assert_array_equal(found.probabilities(Members.of(without))[:, 3], 0)


def test_members_that_disagree_may_be_less_sure():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, size=(8000, 1, N_LABELS)) * 3 + rng.normal(0, 2, size=(8000, 5, N_LABELS))
    members = Members.of(logits)
    asked = Calibration(temperature=1.3, disagreement=1.5)
    cumulative = asked.probabilities(members).cumsum(axis=1)
    truth = (rng.uniform(size=(8000, 1)) > cumulative).sum(axis=1).clip(max=N_LABELS - 1)
    found = fit(logits, truth)
    assert found.temperature == pytest.approx(1.3, rel=0.15)
    assert found.disagreement == pytest.approx(1.5, abs=0.5)


def test_few_cells_say_nothing():
    logits, truth = simulated(3.0, n_obs=19)
    found = fit(logits[:, None], truth)
    assert found.temperature == 1
    assert found.calibration_error is None


@given(
    st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(0.05, 20),
    st.floats(-10, 10),
    st.integers(1, 3),
)
def test_it_changes_confidence_and_never_the_label(rows, temperature, disagreement, n_members):
    logits = np.repeat(np.array(rows, dtype=np.float32)[:, None], n_members, axis=1)
    logits[:, 1:] *= 0.5
    evaluation = Evaluation(logits, None, np.ones(len(rows), dtype=bool))
    before, after = decide(evaluation), decide(evaluation, Calibration(temperature=temperature, disagreement=disagreement))
    best = np.take_along_axis(before.probabilities, after.codes[:, None].astype(int), axis=1)[:, 0]
    np.testing.assert_allclose(best, before.confidence, rtol=1e-5)  # the same label, or one that was as probable
    np.testing.assert_allclose(after.probabilities.sum(axis=1), 1, rtol=1e-5)
    order = np.argsort(before.probabilities, axis=1)
    assert (np.diff(np.take_along_axis(after.probabilities, order, axis=1), axis=1) >= -1e-6).all()


def test_json_and_back():
    found = fit(simulated(2.0)[0][:, None], simulated(2.0)[1])
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert Calibration.from_json(Calibration().to_json()) == Calibration()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0.0}, "temperature` is 0.0, and must be between"),
        ({"temperature": float("nan")}, "must be between"),
        ({"temperature": "2"}, "not a number"),
        ({"temperature": True}, "not a number"),
        ({"disagreement": 11.0}, "disagreement"),
        ({"n_obs": -1}, "n_obs"),
        ({"n_units": 1.5}, "n_units"),
        ({"unit": "planet"}, "unit"),
        ({"calibration_error": "low"}, "not a number"),
        ({"other": 1}, "other"),
    ],
)
def test_what_is_refused(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Calibration.from_json(Calibration().to_json() | wrong)
