"""Scores on held-out cells, against scikit-learn and against loops over parts."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from tests.reference import TYPES

from sctab.cards._scores import HeldOutScores, reported_unseen, score_cells_of
from sctab.data import FeatureSpace, Normalization
from sctab.inference import Calibration, HeldOutCells, Members, ModelSpec, SeenTypes
from sctab.ontology import CellOntology, LabelSpace

SPEC = ModelSpec(
    model_class="LinearClassifier",
    architecture={},
    features=FeatureSpace(ids=("ENSG00000167286",), symbols=("CD3D",)),
    labels=LabelSpace.from_names(TYPES, CellOntology.embedded()),
    normalization=Normalization(),
    calibration=Calibration(temperature=2.0, unit="donor", n_units=6, n_obs=600),
)


def held_out(n_obs=600, *, n_units=6, sharpness=1.5, seed=0, unit="donor"):
    """Cells with noisy logits, too sharp by the factor of their sharpness."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n_obs)
    logits = (rng.normal(size=(n_obs, 3)) + 2 * np.eye(3)[truth]).astype(np.float32) * sharpness
    return HeldOutCells(
        members=Members.of(logits[:, None]),
        truth=truth,
        is_known=np.ones(n_obs, dtype=bool),
        unit=unit,
        units=np.arange(n_obs) % n_units if unit != "cell" else np.arange(n_obs),
    )


def test_scores_are_those_of_scikit_learn():
    cells = held_out()
    scores = score_cells_of(cells, SPEC, name="cells")
    codes = cells.members.log_mean.argmax(axis=1)
    assert scores.macro_f1 == pytest.approx(f1_score(cells.truth, codes, average="macro"))
    assert scores.accuracy == pytest.approx((codes == cells.truth).mean())
    assert [each.recall for each in scores.labels] == pytest.approx([(codes == i)[cells.truth == i].mean() for i in range(3)])
    assert [each.precision for each in scores.labels] == pytest.approx([(cells.truth == i)[codes == i].mean() for i in range(3)])
    expected = sorted(f1_score(cells.truth[cells.units == i], codes[cells.units == i], average="macro") for i in range(6))
    assert scores.macro_f1_of_units == pytest.approx(expected)
    assert (scores.n_units, scores.n_cells, scores.unit, scores.is_of_new_units) == (6, 600, "donor", True)
    assert HeldOutScores.from_json(scores.to_json()) == scores


def test_confusions_are_counted():
    cells = held_out()
    codes = cells.members.log_mean.argmax(axis=1)
    for confusion in score_cells_of(cells, SPEC, name="cells").confusions:
        row, column = TYPES.index(confusion.label), TYPES.index(confusion.predicted)
        assert confusion.n_cells == ((cells.truth == row) & (codes == column)).sum()
        assert confusion.fraction == pytest.approx(confusion.n_cells / (cells.truth == row).sum())


def test_each_part_is_scored_with_a_temperature_of_the_others():
    cells = held_out(sharpness=6)
    brier = []
    for unit in range(6):
        part = cells.units == unit
        others = HeldOutCells(
            members=Members.of(cells.members.log_mean[~part][:, None]),
            truth=cells.truth[~part],
            is_known=cells.is_known[~part],
            unit="donor",
            units=cells.units[~part],
        )
        probabilities = others.calibrate(SPEC).probabilities(Members.of(cells.members.log_mean[part][:, None]))
        brier += list(((probabilities - np.eye(3)[cells.truth[part]]) ** 2).sum(axis=1))
    scores = score_cells_of(cells, SPEC, name="cells")
    assert scores.brier_score == pytest.approx(np.mean(brier), rel=1e-6)
    assert scores.calibration_error < 0.06  # uncalibrated, it is above 0.15


def test_a_model_is_scored_as_it_is_on_other_cells():
    cells, others = held_out(sharpness=6), held_out(300, n_units=3, seed=1)
    scores = score_cells_of(others, SPEC, name="others", learned_from=cells)
    probabilities = SPEC.calibration.probabilities(others.members)
    assert scores.brier_score == pytest.approx(((probabilities - np.eye(3)[others.truth]) ** 2).sum(axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize("unit", ["donor", "cell"])
def test_promised_errors_hold_on_parts_that_were_not_learned(unit):
    scores = [score_cells_of(held_out(900, n_units=30, seed=seed, unit=unit), SPEC, name="cells").promises for seed in range(4)]
    for promised in zip(*scores, strict=True):
        assert np.mean([each.error for each in promised]) < promised[0].accepted_error + 0.02
        assert all(each.at_label <= each.answered <= 1 for each in promised)


def test_too_few_units_for_a_promise_answer_for_their_own_cells():
    assert score_cells_of(held_out(60, n_units=1), SPEC, name="cells").promises[0].answered == 0


def test_cells_reported_as_unseen():
    rng = np.random.default_rng(0)
    arrays = {"genes": np.arange(3), "expression": np.ones((3, 3)), "mean_expression": np.ones(3)}
    units = np.repeat(np.arange(5), 200)

    def seen(scores, units):
        return SeenTypes.from_arrays({**arrays, "scores": scores, "units": units}, n_genes=3, n_labels=3)

    alike = rng.uniform(0, 0.3, size=1000)
    assert reported_unseen(seen(alike, units)) < 0.05
    assert reported_unseen(seen(np.where(units == 4, alike + 1, alike), units)) == pytest.approx(0.2, abs=0.05)
    assert np.isnan(reported_unseen(seen(alike, np.zeros(1000, dtype=int))))


def test_damaged_scores_are_refused():
    values = score_cells_of(held_out(), SPEC, name="cells").to_json()
    for changed in ({"accuracy": 1.5}, {"n_cells": 0}, {"labels": [{"label": "B cell"}]}):
        with pytest.raises((TypeError, ValueError)):
            HeldOutScores.from_json(values | changed)
