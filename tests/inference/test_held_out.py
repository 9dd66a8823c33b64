"""Held-out cells as they are stored with a model."""

from dataclasses import replace

import numpy as np
import pytest

from sctab import ModelFormatError
from sctab.data import FeatureSpace, Normalization
from sctab.inference import Calibration, HeldOutCells, Members, ModelSpec, Terms
from sctab.ontology import LabelSpace

SPEC = ModelSpec(
    model_class="LinearClassifier",
    architecture={},
    features=FeatureSpace(ids=("ENSG00000167286",), symbols=("CD3D",)),
    labels=LabelSpace(names=("a", "b", "c"), ids=(None,) * 3),
    normalization=Normalization(),
    calibration=Calibration(temperature=2.0, unit="donor", n_units=4, n_obs=200),
)


def held_out(n_obs=200, n_members=1):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, size=(n_obs, n_members, 3)).astype(np.float32)
    logits[:5, :, 2] = -np.inf
    return HeldOutCells(
        members=Members.of(logits),
        truth=rng.integers(3, size=n_obs),
        is_known=rng.uniform(size=n_obs) > 0.1,
        unit="donor",
        units=np.arange(n_obs) % 4,
    )


@pytest.mark.parametrize("n_members", [1, 3])
def test_arrays_and_back(n_members):
    cells = held_out(n_members=n_members)
    back = HeldOutCells.from_arrays(cells.to_arrays(np.random.default_rng(0)), SPEC)
    for name in ("truth", "is_known", "units"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cells, name))
    assert back.unit == "donor"
    calibration = replace(SPEC.calibration, disagreement=0.5)
    np.testing.assert_allclose(calibration.probabilities(back.members), calibration.probabilities(cells.members), atol=2e-3)
    terms = Terms.of(SPEC.labels)
    np.testing.assert_allclose(back.score(terms, calibration).values, cells.score(terms, calibration).values, atol=2e-3)


def test_of_many_cells_a_random_part_is_stored(monkeypatch):
    monkeypatch.setattr("sctab.inference._held_out._MOST_CELLS", 50)
    arrays = held_out().to_arrays(np.random.default_rng(0))
    assert {len(values) for values in arrays.values()} == {50}
    assert len(np.unique(arrays["held_out.units"])) == 4


def test_a_model_may_keep_nothing():
    assert HeldOutCells.from_arrays({}, SPEC) is None


def wrong(**changes):
    arrays = held_out().to_arrays(np.random.default_rng(0))
    return arrays | {f"held_out.{name}": change(arrays[f"held_out.{name}"]) for name, change in changes.items()}


@pytest.mark.parametrize(
    "arrays",
    [
        wrong(log_probabilities=lambda values: values[:, :2]),
        wrong(log_probabilities=lambda values: values + 1),
        wrong(log_probabilities=lambda values: values[:0]),
        wrong(log_probabilities=lambda values: np.where(np.arange(len(values)) == 3, -np.inf, values.T).T),
        wrong(log_probabilities=lambda values: values[0, 0]),
        wrong(truth=lambda values: values + 3),
        wrong(truth=lambda values: values.astype(np.float32)),
        wrong(truth=lambda values: values[0]),
        wrong(truth=lambda values: values - 9),
        wrong(units=lambda values: values[1:]),
        {name: values for name, values in wrong().items() if name != "held_out.truth"},
    ],
)
def test_arrays_of_another_model_are_refused(arrays):
    with pytest.raises(ModelFormatError, match="do not fit its labels"):
        HeldOutCells.from_arrays(arrays, SPEC)
