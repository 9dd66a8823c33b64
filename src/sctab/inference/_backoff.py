"""The most specific term for which a promise holds: conformal back-off along the Cell Ontology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from sctab.errors import Parameter, SettingError
from sctab.inference._calibration import Unit
from sctab.inference._exchangeable import ConfidenceRanks
from sctab.inference._terms import Terms

_FEWEST_IN_LINEAGE = 200
"""Held-out cells from which a lineage has a threshold of its own."""
_RESERVE = 2
"""Times as many units as an accepted error needs at least: with fewer, the threshold of a lineage is about its worst cell."""
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Height that held-out cells had to climb to for a right answer."""

    values: NDArray[np.float64]
    """Score of each cell, `(n_obs,)`: the largest summed probability of a term on its way that is wrong; 0 where its label is right."""
    codes: NDArray[np.int64]
    """Most probable label of each cell, `(n_obs,)`."""
    units: NDArray[np.int64]
    """Dataset or donor of each cell, `(n_obs,)`, from 0; where single cells were held out, its number."""
    unit: Unit
    """Unit that was held out whole."""

    @cached_property
    def n_units(self) -> int:
        """Number of datasets, donors or cells."""
        return len(np.unique(self.units))

    @property
    def smallest_error(self) -> float:
        r"""Smallest error that can be promised for new units: :math:`1 / (K + 1)` with :math:`K` of them."""
        return 1 / (self.n_units + 1)


@dataclass(frozen=True)
class BackOff:
    """A rule that answers with the first term, from the label upwards, whose summed probability is above a threshold."""

    terms: Terms
    thresholds: NDArray[np.float64]
    """For each most probable label, `(n_labels,)`; infinite where nothing can be promised."""
    accepted_error: float
    unit: Unit
    """The promise holds for new ones of these; for `"cell"`, for other cells of the donors that were learned."""
    n_units: int
    note: str = ""
    """Limit of the promise; empty where there is none."""
    ranks: ConfidenceRanks | None = None
    """Confidences of the held-out cells, with which those of new cells are compared."""

    withdrawn: str = ""
    """Reason why the promise does not hold for a query; empty where nothing speaks against it."""

    def check(self, codes: NDArray[np.integer], confidence: NDArray[np.floating]) -> BackOff:
        """Withdraw the promise where the cells of a query are not like those that it rests on.

        Parameters
        ----------
        codes, confidence
            Most probable label of each cell, -1 for none, and its probability, `(n_obs,)`.
        """
        if self.ranks is None or (distance := self.ranks.distance(codes, confidence)) <= self.ranks.limit:
            return self
        reason = (
            f"The promise is withdrawn: confidence in these cells differs from that in held-out {self.unit}s of the reference (distance "
            f"{distance:.2f}; at most {self.ranks.limit:.2f} for new ones), so they are not like the cells that the promise rests on. "
            f"Terms are written, but a larger fraction than {self.accepted_error:g} may be wrong."
        )
        return replace(self, withdrawn=reason)

    def answer(self, probabilities: NDArray[np.floating], codes: NDArray[np.integer]) -> NDArray[np.int32]:
        """Term of each cell, `(n_obs,)`: a row of :attr:`terms`, or -1 where no term below the root can be promised.

        Parameters
        ----------
        probabilities
            Calibrated probabilities, `(n_obs, n_labels)`.
        codes
            Most probable label of each cell, `(n_obs,)`; -1 for a cell without one, which gets no term.
        """
        known, n_labels = codes >= 0, self.terms.below.shape[1]
        of_label = np.where(self.terms.below[:n_labels][codes], probabilities, 0).sum(axis=1, dtype=np.float64)
        thresholds = self.thresholds[codes]
        is_enough = known & (of_label > thresholds)
        answers = np.where(is_enough, codes, -1).astype(np.int32)
        rest = np.flatnonzero(known & ~is_enough)  # few cells climb
        for cells, nodes, mass in climb(self.terms, probabilities[rest], codes[rest]):
            found = (mass > thresholds[rest[cells]]) & (answers[rest[cells]] < 0)
            answers[rest[cells[found]]] = nodes[found]
        return answers


def score_cells(
    terms: Terms,
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    units: NDArray[np.integer],
    unit: Unit,
) -> Scores:
    r"""Score held-out cells.

    From the most probable label :math:`v_0` a cell climbs to :math:`v_1, v_2, …`, each time to the term above with the smallest summed
    probability :math:`g`. With :math:`k^*` the first step from which on no term is an error, its score is :math:`g(v_{k^* - 1})`, and 0
    where :math:`k^* = 0`. Terms on the way may be right, wrong, and right again where labels are of mixed granularity; "from which on" is
    the upper envelope of that loss.

    Parameters
    ----------
    terms
        Labels and the terms above them.
    probabilities
        Calibrated probabilities from models that have not seen the cells, `(n_obs, n_labels)`.
    truth
        Label of each cell, `(n_obs,)`.
    units, unit
        Dataset or donor of each cell, `(n_obs,)`, and the kind of unit.

    References
    ----------
    Angelopoulos et al., Conformal risk control, ICLR 2024, :doi:`10.48550/arXiv.2208.02814`.
    """
    codes = probabilities.argmax(axis=1)
    accepts, values = terms.accepts, np.zeros(len(codes))
    for cells, nodes, mass in climb(terms, probabilities, codes):
        is_wrong = ~accepts[nodes, truth[cells]]
        values[cells[is_wrong]] = mass[is_wrong]  # the last one on the way, which has the largest
    return Scores(values=values, codes=codes, units=np.asarray(units, dtype=np.int64), unit=unit)


def threshold(values: NDArray[np.floating], units: NDArray[np.integer], accepted_error: float) -> float:
    r"""Smallest score that at least :math:`1 - \alpha` of the weight is at or below; infinite where there is not as much.

    Each of :math:`K` units has the weight :math:`1 / (K + 1)`, shared by its cells, and so much is at infinity, for the new one
    (Lee, Barber, Willett 2023, :doi:`10.48550/arXiv.2306.06342`). Where each cell is a unit, it is the
    :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest score.

    Parameters
    ----------
    values
        Scores, `(n_obs,)`.
    units
        Unit of each cell, `(n_obs,)`.
    accepted_error
        :math:`\alpha`.
    """
    _, of_unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    weights = 1 / ((len(sizes) + 1) * sizes[of_unit])
    order = np.argsort(values, kind="stable")
    reached = np.flatnonzero(weights[order].cumsum() >= 1 - accepted_error - _ROUNDING)
    return float(values[order[reached[0]]]) if len(reached) else np.inf


def promise(terms: Terms, scores: Scores, accepted_error: float) -> BackOff:
    """A rule whose answers are wrong for at most a fraction of the cells, on average over new units.

    Lineages with enough held-out cells and units have a threshold of their own, so that the promise also holds for each of them (Mondrian
    conformal prediction); the others have that of all cells.

    Parameters
    ----------
    terms, scores
        From held-out cells of the reference.
    accepted_error
        Accepted fraction of wrong answers, between 0 and 1.

    Raises
    ------
    SettingError
        If `accepted_error` is not between 0 and 1.
    """
    if not (isinstance(accepted_error, Real) and 0 < accepted_error < 1):
        raise SettingError(Parameter("accepted_error", accepted_error), " must be above 0 and below 1.")
    units, unit, note = scores.units, scores.unit, ""
    if accepted_error < scores.smallest_error - _ROUNDING and unit != "cell":
        note = (
            f"With {scores.n_units} {unit}s to calibrate on, the smallest error that can be promised for a new {unit} is "
            f"{_up(scores.smallest_error)}. With an accepted error of {accepted_error:g}, the promise covers other cells of these {unit}s "
            "only."
        )
        units, unit = np.arange(len(units)), "cell"
    if accepted_error < 1 / (len(np.unique(units)) + 1) - _ROUNDING:
        note = (
            f"{len(units)} held-out cells are too few to promise an error of {accepted_error:g}: the smallest is "
            f"{_up(1 / (len(units) + 1))}. No term is reported."
        )
    of_all = threshold(scores.values, units, accepted_error)
    thresholds = np.full(terms.below.shape[1], of_all)
    for labels in _lineages(terms, np.bincount(scores.codes, minlength=len(thresholds))):
        cells = np.isin(scores.codes, labels)
        if len(np.unique(units[cells])) + 1 < _RESERVE / accepted_error:
            continue
        found = threshold(scores.values[cells], units[cells], accepted_error)
        if np.isfinite(found):
            thresholds[labels] = found
    return BackOff(terms, thresholds, accepted_error, unit, scores.n_units, note)


def climb(
    terms: Terms, probabilities: NDArray[np.floating], codes: NDArray[np.integer]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Cells that are still on their way up, where they are, and the summed probability there, step by step from the label.

    Ties go to the term with the fewest labels below, then to the smaller id.
    """
    mass = probabilities.astype(np.float64) @ terms.below.T
    preference = np.lexsort((np.array([term or "" for term in terms.ids]), terms.n_below))
    cells, nodes = np.arange(len(codes)), np.asarray(codes, dtype=np.int64)
    while len(cells):
        yield cells, nodes, mass[cells, nodes]
        choices = np.where(terms.above[nodes][:, preference], mass[cells][:, preference], np.inf)
        best = choices.argmin(axis=1)
        goes_on = np.isfinite(choices[np.arange(len(best)), best])
        cells, nodes = cells[goes_on], preference[best[goes_on]]


def _lineages(terms: Terms, n_cells: NDArray[np.integer]) -> Iterator[NDArray[np.int64]]:
    """Disjoint sets of labels with enough cells: labels by themselves, and the others below the most specific terms."""
    rest = np.ones(terms.below.shape[1], dtype=bool)
    own = np.eye(len(rest), dtype=bool)
    for below in [*own, *terms.below[np.argsort(terms.n_below, kind="stable")]]:
        labels = below & rest
        if n_cells[labels].sum() >= _FEWEST_IN_LINEAGE:
            rest &= ~labels
            yield np.flatnonzero(labels)


def _up(value: float) -> str:
    """A fraction with three digits, rounded up, so that what is said can be promised."""
    return f"{np.ceil(value * 1000) / 1000:g}"
