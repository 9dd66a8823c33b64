"""Scores of a model on cells that it has not seen, with everything that was learned from such cells learned without the scored ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from sctab.inference import (
    Calibration,
    HeldOutCells,
    Members,
    ModelSpec,
    SeenTypes,
    Terms,
    Unit,
    largest_p_value,
    promise,
)
from sctab.metrics import calibration_error_of, correct_codes, macro_f1_of_codes

ACCEPTED_ERRORS = (0.05, 0.1, 0.2)
"""Accepted errors for which promises are checked."""
UNSEEN_FDR = 0.1
"""False discovery rate at which cells are reported to be of an unseen type."""
_MOST_PARTS = 10
"""Parts that cells are scored in, each with what the others give."""
_MOST_CONFUSIONS = 10
_MOST_COUNTED = 2**63
_FEWEST_CELLS_CONFUSED = 5
"""Cells below which a confusion is an anecdote."""


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """Scores of a label."""

    label: str
    n_cells: int
    """Held-out cells."""
    recall: float
    """Fraction of them that are predicted as the label or one of its subtypes."""
    precision: float | None
    """Fraction of the cells predicted as the label that are right; `None` where there are none."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Cells of a label that are predicted as another one."""

    label: str
    predicted: str
    n_cells: int
    fraction: float
    """Fraction of the cells of the label."""


@dataclass(frozen=True, kw_only=True)
class PromiseScore:
    """Errors of promised terms on parts that the promise was not learned from."""

    accepted_error: float
    error: float
    """Mean over units of the fraction of answered cells whose term is wrong, all cells of the unit being counted."""
    at_label: float
    """Fraction of the cells that are answered with their label."""
    answered: float
    """Fraction of the cells that are answered with any term."""


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """Scores on labelled cells that a model has not seen."""

    name: str
    """Name of the cells."""
    unit: Unit
    """Unit that was held out whole."""
    n_units: int
    n_cells: int
    accuracy: float
    macro_f1: float
    """Ontology-corrected: a subtype of the label is right. Mean over labels that occur."""
    macro_f1_of_units: tuple[float, ...]
    """The same for each unit, in ascending order; empty where single cells were held out."""
    calibration_error: float
    """Expected calibration error, with the temperature that the other parts give."""
    brier_score: float
    """Mean squared distance between probabilities and truth, summed over labels; with the same temperature."""
    labels: tuple[LabelScore, ...]
    confusions: tuple[Confusion, ...]
    """The most frequent ones that the ontology does not explain."""
    promises: tuple[PromiseScore, ...]
    flagged_unseen: float | None = None
    """Fraction of test cells that are reported to be of an unseen type, at a false discovery rate of 0.1; `None` if not looked for."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read what :meth:`to_json` gave; a `TypeError` or a `ValueError` if it is something else."""
        parts = {"labels": LabelScore, "confusions": Confusion, "promises": PromiseScore}
        read = {name: tuple(part(**each) for each in values[name]) for name, part in parts.items()}
        found = cls(**{**values, **read, "macro_f1_of_units": tuple(values["macro_f1_of_units"])})
        for part in (found, *found.labels, *found.confusions, *found.promises):
            for name, value in vars(part).items():
                _check_score(name, value)
        if found.unit not in get_args(Unit) or found.n_cells < 1 or found.n_units < 1:
            raise ValueError("a unit is not known, or there are no cells")
        return found

    @property
    def is_of_new_units(self) -> bool:
        """True if whole donors or datasets were held out."""
        return self.unit != "cell"


_STRINGS = {"name", "unit", "label", "predicted"}
_NULLABLE = {"precision", "flagged_unseen"}
_LARGEST_BRIER, _ROUNDING = 2, 1e-6


def _check_score(name: str, value: Any) -> None:
    """Refuse a stored value of another type or out of bounds; parts are checked by themselves."""
    if name in _STRINGS:
        if not isinstance(value, str) or not value.strip():
            raise TypeError(f"`{name}` is not a string, or is empty")
    elif name.startswith("n_"):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_COUNTED:
            raise TypeError(f"`{name}` is not a number of something")
    elif name == "macro_f1_of_units":
        for each in value:
            _check_score("macro_f1", each)
    elif not isinstance(value, tuple) and not (value is None and name in _NULLABLE):
        largest = _LARGEST_BRIER if name == "brier_score" else 1
        if isinstance(value, bool) or not isinstance(value, float | int) or not 0 <= value <= largest + _ROUNDING:
            raise ValueError(f"`{name}` is not between 0 and {largest}")


def score_cells_of(cells: HeldOutCells, spec: ModelSpec, *, name: str, learned_from: HeldOutCells | None = None) -> HeldOutScores:
    """Score labelled cells with a model that has not seen them.

    Cells that the model was calibrated on are scored in parts: temperatures and thresholds of promises are learned again for each part,
    from the others. A part is a unit, or one of ten sets of units or of cells.

    Parameters
    ----------
    cells
        Outputs of models that have not seen the cells.
    spec
        The model.
    name
        Name of the cells on the card.
    learned_from
        Held-out cells that the model was calibrated on, if it was calibrated on others than these.
    """
    is_right_of, terms = spec.labels.child_matrix(spec.labels.ontology), Terms.of(spec.labels)
    codes, confidence = np.full(len(cells.truth), -1), np.zeros(len(cells.truth))
    brier, answers = np.zeros(len(cells.truth)), {error: np.full(len(cells.truth), -1) for error in ACCEPTED_ERRORS}
    parts = _parts(cells) if learned_from is None else [np.ones(len(cells.truth), dtype=bool)]
    for part in parts:
        others, chosen = _take(cells, ~part) if learned_from is None else learned_from, _take(cells, part)
        is_own = learned_from is not None or not len(others.truth)
        calibration = (spec.calibration or Calibration()) if is_own else others.calibrate(spec)
        probabilities = calibration.probabilities(chosen.members)
        codes[part], confidence[part] = probabilities.argmax(axis=1), probabilities.max(axis=1)
        brier[part] = _brier(probabilities, is_right_of[chosen.truth])
        if len(others.truth):
            scores = others.score(terms, calibration)
            for error, of_error in answers.items():
                of_error[part] = promise(terms, scores, error).answer(probabilities, codes[part])
    corrected = correct_codes(cells.truth, codes, is_right_of)
    is_right = corrected == cells.truth
    by_unit = (
        [cells.units == unit for unit in np.unique(cells.units)] if cells.unit != "cell" else [np.ones(len(codes), dtype=bool)]
    )
    return HeldOutScores(
        name=name,
        unit=cells.unit,
        n_units=len(np.unique(cells.units)),
        n_cells=len(codes),
        accuracy=float(is_right.mean()),
        macro_f1=macro_f1_of_codes(cells.truth, corrected),
        macro_f1_of_units=tuple(
            sorted(macro_f1_of_codes(cells.truth[unit], corrected[unit]) for unit in by_unit) if cells.unit != "cell" else ()
        ),
        calibration_error=calibration_error_of(confidence, is_right),
        brier_score=float(brier.mean()),
        labels=tuple(_labels(cells.truth, codes, is_right_of, spec)),
        confusions=tuple(_confusions(cells.truth, codes, is_right_of, spec)),
        promises=tuple(_promise(error, of_error, cells, terms, by_unit) for error, of_error in answers.items()),
    )


def reported_unseen(seen: SeenTypes) -> float:
    """Fraction of reference cells that would be reported as unseen, with types and scores of the other units of the reference.

    The cells of each unit are tested at a false discovery rate of 0.1; units count the same. Cells of a type that no other unit has are
    rightly reported.

    Parameters
    ----------
    seen
        Types that a model has learned, with scores of cells that they were learned without.
    """
    fractions = []
    for unit in np.unique(seen.units):
        part = seen.units == unit
        if part.all():
            break
        p_values = replace(seen, scores=seen.scores[~part], units=seen.units[~part]).p_values(seen.scores[part])
        fractions.append(float((p_values <= largest_p_value(p_values, UNSEEN_FDR)).mean()))
    return float(np.mean(fractions)) if fractions else float("nan")


def _parts(cells: HeldOutCells) -> Iterator[NDArray[np.bool_]]:
    """Masks of the cells that are scored together, `(n_obs,)` each."""
    units, of_cell = np.unique(cells.units, return_inverse=True)
    part = np.random.default_rng(0).permutation(len(units)) % min(_MOST_PARTS, len(units))
    yield from (part[of_cell] == each for each in np.unique(part))


def _take(cells: HeldOutCells, chosen: NDArray[np.bool_]) -> HeldOutCells:
    members = Members(**{name: values[chosen] for name, values in vars(cells.members).items()})
    return replace(
        cells, members=members, truth=cells.truth[chosen], is_known=cells.is_known[chosen], units=cells.units[chosen], reduced={}
    )


def _brier(probabilities: NDArray[np.floating], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Squared distance to the truth, whose label takes the probability of its subtypes, `(n_obs,)`."""
    wrong = np.where(allowed, 0, probabilities)
    return np.asarray((wrong**2).sum(axis=1) + (1 - np.where(allowed, probabilities, 0).sum(axis=1)) ** 2, dtype=np.float64)


def _labels(
    truth: NDArray[np.integer], codes: NDArray[np.integer], is_right_of: NDArray[np.bool_], spec: ModelSpec
) -> Iterator[LabelScore]:
    is_right = is_right_of[truth, codes]
    for code, label in enumerate(spec.labels.names):
        of_label, as_label = truth == code, codes == code
        if of_label.any():
            precision = float(is_right[as_label].mean()) if as_label.any() else None
            yield LabelScore(label=label, n_cells=int(of_label.sum()), recall=float(is_right[of_label].mean()), precision=precision)


def _confusions(
    truth: NDArray[np.integer], codes: NDArray[np.integer], is_right_of: NDArray[np.bool_], spec: ModelSpec
) -> Iterator[Confusion]:
    n_labels = len(spec.labels)
    table = np.bincount(truth * n_labels + codes, minlength=n_labels**2).reshape(n_labels, n_labels)
    of_label = table.sum(axis=1)
    wrong = np.where(is_right_of, 0, table).ravel()
    for pair in np.argsort(-wrong, kind="stable")[:_MOST_CONFUSIONS]:
        if wrong[pair] >= _FEWEST_CELLS_CONFUSED:
            row, column = divmod(int(pair), n_labels)
            yield Confusion(
                label=spec.labels.names[row],
                predicted=spec.labels.names[column],
                n_cells=int(wrong[pair]),
                fraction=float(wrong[pair] / of_label[row]),
            )


def _promise(
    error: float, answers: NDArray[np.integer], cells: HeldOutCells, terms: Terms, by_unit: list[NDArray[np.bool_]]
) -> PromiseScore:
    answered = answers >= 0
    is_wrong = answered & ~terms.accepts[answers, cells.truth]
    return PromiseScore(
        accepted_error=error,
        error=float(np.mean([is_wrong[unit].mean() for unit in by_unit])),
        at_label=float((answered & (answers < len(terms.below[0]))).mean()),
        answered=float(answered.mean()),
    )
