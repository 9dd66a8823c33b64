"""A check of what a promise rests on: a model must be as confident in new cells as in held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from sctab.inference._calibration import Unit

_FEWEST_CELLS = 20
"""Held-out cells of a label from which confidences are compared."""
_TOLERANCE = 0.05
"""Distance that no promise notices."""
_LEVEL = 0.99
"""Fraction of new units that are within the limit."""
_DEVIATIONS = 3.0
_VARIANCE_OF_RANK = 1 / 12


@dataclass(frozen=True)
class ConfidenceRanks:
    """Confidences of held-out cells by label, and how far those of a new unit may be from them.

    The rank of a cell is the fraction of the held-out cells with the same most probable label that have less confidence. Where cells are
    exchangeable with held-out ones, ranks are uniform and their mean is 0.5 in each label. The distance is how far it is below that, beyond
    three standard errors, averaged over the cells. More confidence than in held-out cells does not count: the model has learned all cells
    of the reference, and those that predicted held-out cells only some.
    """

    confidences: tuple[NDArray[np.float64], ...]
    """One array per label, in order, `(n_cells_of_label,)`."""
    limit: float
    """Largest distance of a unit like those that were held out."""

    @classmethod
    def of(
        cls, codes: NDArray[np.integer], confidence: NDArray[np.floating], units: NDArray[np.integer], unit: Unit, n_labels: int
    ) -> Self:
        """Learn from held-out cells.

        Parameters
        ----------
        codes, confidence
            Most probable label of each cell and its probability, `(n_obs,)`.
        units, unit
            Dataset or donor of each cell, `(n_obs,)`, and the kind of unit. Each is compared with the others; the limit is the upper end of
            the 99 % prediction interval of a new one (Student's t), and at least 0.05, which it is for single cells.
        n_labels
            Labels of the model.
        """
        ranks = cls(_by_label(codes, confidence, n_labels), _TOLERANCE)
        names = np.unique(units)
        if unit == "cell" or len(names) < 2:
            return ranks
        found = []
        for name in names:
            own = units == name
            others = cls(_by_label(codes[~own], confidence[~own], n_labels), _TOLERANCE)
            found.append(others.distance(codes[own], confidence[own]))
        spread = float(np.std(found, ddof=1) * t.ppf(_LEVEL, len(found) - 1) * np.sqrt(1 + 1 / len(found)))
        return cls(ranks.confidences, max(_TOLERANCE, float(np.mean(found)) + spread))

    def distance(self, codes: NDArray[np.integer], confidence: NDArray[np.floating]) -> float:
        """Distance of new cells, between 0 and 0.5; cells without a label, or of labels with few held-out cells, do not count.

        Parameters
        ----------
        codes, confidence
            Most probable label of each cell, -1 for none, and its probability, `(n_obs,)`.
        """
        total, n_compared = 0.0, 0
        for code, known in enumerate(self.confidences):
            of_label = np.asarray(confidence, dtype=np.float64)[codes == code]
            if len(known) < _FEWEST_CELLS or not len(of_label):
                continue
            below, up_to = (np.searchsorted(known, of_label, side) for side in ("left", "right"))
            error = np.sqrt(_VARIANCE_OF_RANK * (1 / len(known) + 1 / len(of_label)))
            less = 0.5 - float(((below + up_to) / (2 * len(known))).mean())
            total += max(0.0, less - _DEVIATIONS * error) * len(of_label)
            n_compared += len(of_label)
        return total / n_compared if n_compared else 0.0


def _by_label(codes: NDArray[np.integer], confidence: NDArray[np.floating], n_labels: int) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.sort(np.asarray(confidence, dtype=np.float64)[codes == code]) for code in range(n_labels))
