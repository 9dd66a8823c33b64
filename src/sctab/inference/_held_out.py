"""Cells that a model has not seen: they say how far to trust its probabilities, and what can be promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sctab.data import Measured
from sctab.errors import ModelFormatError
from sctab.inference._backoff import Scores, score_cells
from sctab.inference._calibration import Calibration, Members, Unit, fit_calibration
from sctab.inference._exchangeable import ConfidenceRanks
from sctab.inference._reference_arrays import Arrays
from sctab.inference._spec import ModelSpec
from sctab.inference._terms import Terms

_MOST_CELLS = 25_000
"""Cells that are stored: two bytes a label each."""
_LOG_PROBABILITIES, _INFORMATION, _TRUTH, _UNITS, _KNOWN = (
    f"held_out.{name}" for name in ("log_probabilities", "mutual_information", "truth", "units", "is_known")
)

_NAMES = (_LOG_PROBABILITIES, _INFORMATION, _TRUTH, _UNITS, _KNOWN)


@dataclass(frozen=True, kw_only=True)
class HeldOutCells:
    """Labelled cells, with the outputs of models that have not seen them."""

    members: Members
    """Outputs over the labels of the model, `-inf` for labels that these models did not learn."""
    truth: NDArray[np.int64]
    """Label of each cell, `(n_obs,)`."""
    is_known: NDArray[np.bool_]
    """Cells of a type that these models learned, `(n_obs,)`."""
    unit: Unit
    """Unit that was held out whole."""
    units: NDArray[np.int64]
    """Dataset, donor or number of each cell, `(n_obs,)`, from 0."""
    reduced: Mapping[str, HeldOutCells] = field(default_factory=dict)
    """The same cells with `"some"` and `"none"` of the antibodies, and with antibodies `"only"`, of a model that also looks at proteins."""

    def calibrate(self, spec: ModelSpec) -> Calibration:
        """Temperature for the labels of a model."""
        is_right, n_units = spec.labels.child_matrix(spec.labels.ontology), len(np.unique(self.units))
        found = fit_calibration(self.members, self.truth, is_right, unit=self.unit, n_units=n_units)
        return replace(found, reduced={measured: cells.calibrate(spec) for measured, cells in self.reduced.items()})

    def score(self, terms: Terms, calibration: Calibration) -> Scores:
        """Scores of the cells, from which terms are promised; see :func:`score_cells`."""
        return score_cells(terms, calibration.probabilities(self.members), self.truth, self.units, self.unit)

    def confidence_ranks(self, calibration: Calibration) -> ConfidenceRanks:
        """Confidences of the cells, with which those of a query are compared."""
        probabilities = calibration.probabilities(self.members)
        codes, n_labels = probabilities.argmax(axis=1), probabilities.shape[1]
        return ConfidenceRanks.of(codes, probabilities.max(axis=1), self.units, self.unit, n_labels)

    def to_arrays(self, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        """Arrays to store with the model; of many cells, a random 25,000."""
        n_obs = len(self.truth)
        kept = np.sort(rng.permutation(n_obs)[:_MOST_CELLS])
        log_mean = self.members.log_mean[kept]
        with np.errstate(over="ignore"):  # a probability of next to nothing is none
            log_mean = (log_mean - log_mean.max(axis=1, keepdims=True)).astype(np.float16)
        arrays: dict[str, NDArray[np.generic]] = {
            **{
                name: values
                for measured, cells in self.reduced.items()
                for name, values in cells._reduced_arrays(measured, rng).items()
            },
            _LOG_PROBABILITIES: log_mean,
            _TRUTH: self.truth[kept].astype(np.int32),
            _UNITS: np.unique(self.units[kept], return_inverse=True)[1].astype(np.int32),
            _KNOWN: self.is_known[kept].astype(np.uint8),
        }
        if self.members.mutual_information.any():
            arrays[_INFORMATION] = self.members.mutual_information[kept].astype(np.float32)
        return arrays

    def _reduced_arrays(self, measured: str, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        return {_name_with(measured, name): values for name, values in self.to_arrays(rng).items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays, spec: ModelSpec) -> Self | None:
        """Read what :meth:`to_arrays` gave; `None` for a model that keeps nothing of them.

        Raises
        ------
        ModelFormatError
            If the arrays are not those of this model.
        """
        if _LOG_PROBABILITIES not in arrays or spec.calibration is None:
            return None
        log_mean = arrays[_LOG_PROBABILITIES].astype(np.float32)
        truth, units, is_known = (arrays.get(name, np.zeros(0)) for name in (_TRUTH, _UNITS, _KNOWN))
        information = arrays.get(_INFORMATION, np.zeros(log_mean.shape[:1], dtype=np.float32))
        is_sound = (
            log_mean.ndim == 2
            and truth.dtype.kind in "iu"
            and np.isfinite(information).all()
            and np.isfinite(log_mean.max(axis=1, initial=-np.inf)).all()
            and log_mean.shape[1] == len(spec.labels)
            and all(values.shape == (len(log_mean),) for values in (truth, units, is_known, information))
        )
        if not is_sound or not len(truth) or truth.min() < 0 or truth.max() >= len(spec.labels) or log_mean.max() > 0:
            raise ModelFormatError("The held-out cells that are stored with the model do not fit its labels. Copy the model again.")
        return cls(
            members=Members(log_mean, np.zeros(len(log_mean), dtype=np.float32), information.astype(np.float32)),
            truth=truth.astype(np.int64),
            is_known=is_known.astype(bool),
            unit=spec.calibration.unit,
            units=units.astype(np.int64),
        )


def arrays_of_measured(arrays: Arrays, measured: Measured) -> Arrays:
    """Arrays of a model for cells with all, some or none of its antibodies: held-out cells are those of the same kind.

    Parameters
    ----------
    arrays
        Those that :meth:`HeldOutCells.to_arrays` gave, and others.
    measured
        Antibodies of the cells to annotate.
    """
    if measured == "all" or _name_with(measured, _LOG_PROBABILITIES) not in arrays:
        return arrays
    names = {name: _name_with(measured, name) for name in _NAMES}
    others = {name: values for name, values in arrays.items() if name not in names}
    return others | {name: arrays[stored] for name, stored in names.items() if stored in arrays}


def without_held_out(arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """Arrays of a model but for those of its held-out cells.

    Parameters
    ----------
    arrays
        All that it keeps.
    """
    return {name: values for name, values in arrays.items() if not name.startswith("held_out")}


def _name_with(measured: str, name: str) -> str:
    """Name of an array of held-out cells with some or none of the antibodies."""
    return name.replace("held_out.", f"held_out_with_{measured}.", 1)
