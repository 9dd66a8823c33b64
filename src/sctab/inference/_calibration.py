"""Calibration of probabilities by temperature, learned from cells that a model has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import entr, log_softmax, logsumexp, softmax

from sctab.data import Measured
from sctab.metrics import calibration_error_of

Unit = Literal["dataset", "donor", "cell"]
"""Unit that is held out whole: results hold for new ones of these."""

_FEWEST_CELLS = 20
"""Held-out cells below which a temperature would be noise."""
LARGEST_TEMPERATURE = 20.0
"""Largest temperature; the smallest is its inverse."""
_MOST_DISAGREEMENT = 10.0
_SMALLEST_LOGIT = -1e30


@dataclass(frozen=True, kw_only=True)
class Calibration:
    r"""Temperature of a model's probabilities, learned from held-out cells, and how far confidence was from accuracy.

    Probabilities are :math:`\mathrm{softmax}(\log p / T)` with :math:`T = t \, e^{d I}`, where :math:`p` is the mean probability of the
    members, :math:`t` the :attr:`temperature`, :math:`d` the :attr:`disagreement` and :math:`I` the mutual information between label and
    member in nats, which is 0 for a single model.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017, :doi:`10.48550/arXiv.1706.04599`, for one temperature.
    """

    temperature: float = 1.0
    """Above 1 where the model is too sure."""
    disagreement: float = 0.0
    """Of an ensemble: logarithm of the temperature per nat of mutual information."""
    unit: Unit = "cell"
    """Unit that was held out whole."""
    n_units: int = 0
    """Number of these units."""
    n_obs: int = 0
    """Held-out cells."""
    calibration_error: float | None = None
    """Expected calibration error on the held-out cells, between 0 and 1."""
    uncalibrated_error: float | None = None
    """The same before calibration."""
    reduced: Mapping[str, Calibration] = field(default_factory=dict)
    """Of a model that also looks at proteins: calibration for cells with `"some"` of its antibodies, `"none"`, and antibodies `"only"`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {name: value for name, value in vars(self).items() if name != "reduced"}
        reduced = {measured: calibration.to_json() for measured, calibration in self.reduced.items()}
        return values | ({"reduced": reduced} if reduced else {})

    def of_measured(self, measured: Measured) -> Calibration:
        """Calibration for cells with all, some or none of the antibodies of the model."""
        return self.reduced.get(measured, self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        TypeError, ValueError
            If something is missing, unknown, of another type or out of bounds.
        """
        reduced = values.get("reduced", {})
        if not isinstance(reduced, dict) or not set(reduced) <= {"some", "none", "only"}:
            raise TypeError("`calibration.reduced` is not an object with `some`, `none` and `only`")
        if any(not isinstance(each, dict) or "reduced" in each for each in reduced.values()):
            raise TypeError("`calibration.reduced` does not hold calibrations")
        calibration = cls(**{**values, "reduced": {measured: cls.from_json(each) for measured, each in reduced.items()}})
        for name in ("temperature", "disagreement", "calibration_error", "uncalibrated_error"):
            value = getattr(calibration, name)
            if isinstance(value, bool) or not isinstance(value, float | int | (type(None) if name.endswith("error") else float)):
                raise TypeError(f"`calibration.{name}` is not a number")
        for name in ("n_units", "n_obs"):
            value = getattr(calibration, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"`calibration.{name}` is not a number of something")
        if not 1 / LARGEST_TEMPERATURE <= calibration.temperature <= LARGEST_TEMPERATURE:
            raise ValueError(f"`calibration.temperature` is {calibration.temperature}, and must be between 0.05 and 20")
        if not abs(calibration.disagreement) <= _MOST_DISAGREEMENT:
            raise ValueError(f"`calibration.disagreement` is {calibration.disagreement}, and must be between -10 and 10")
        if calibration.unit not in get_args(Unit):
            raise ValueError(f"`calibration.unit` is {calibration.unit!r}, which is not one of {', '.join(get_args(Unit))}")
        return calibration

    def probabilities(self, members: Members) -> NDArray[np.floating]:
        """Calibrated probabilities, `(n_obs, n_labels)`."""
        return softmax(self._scaled(members.log_mean, members.mutual_information), axis=1)

    def _scaled(self, log_mean: NDArray[np.floating], mutual_information: NDArray[np.floating]) -> NDArray[np.floating]:
        temperature = self.temperature * np.exp(self.disagreement * mutual_information)
        temperature = np.clip(temperature, 1 / LARGEST_TEMPERATURE, LARGEST_TEMPERATURE)
        return log_mean / temperature[:, None].astype(log_mean.dtype)


@dataclass(frozen=True)
class Members:
    """Outputs of the members of a model, one or several, together."""

    log_mean: NDArray[np.floating]
    """Logarithm of their mean probability up to a constant per cell, `(n_obs, n_labels)`."""
    expected_entropy: NDArray[np.floating]
    """Mean entropy of their probabilities in nats, `(n_obs,)`; 0 for a single model, where nobody needs it."""
    mutual_information: NDArray[np.floating]
    """Entropy of the mean probability minus :attr:`expected_entropy`, `(n_obs,)`; 0 for a single model."""

    @classmethod
    def of(cls, logits: NDArray[np.floating]) -> Self:
        """Outputs of members from their logits, `(n_obs, n_members, n_labels)`."""
        if logits.shape[1] == 1:
            nothing = np.zeros(len(logits), dtype=logits.dtype)
            return cls(logits[:, 0], nothing, nothing)
        of_members = log_softmax(logits, axis=2)
        log_mean = logsumexp(of_members, axis=1) - np.log(logits.shape[1]).astype(logits.dtype)  # whose exponential may be 0
        expected = entr(np.exp(of_members)).sum(axis=2).mean(axis=1)
        return cls(log_mean, expected, np.maximum(entr(np.exp(log_mean)).sum(axis=1) - expected, 0))


def fit_calibration(
    members: Members,
    truth: NDArray[np.integer],
    is_right: NDArray[np.bool_],
    *,
    unit: Unit,
    n_units: int,
    sample_weight: NDArray[np.floating] | None = None,
) -> Calibration:
    """Learn temperatures from held-out cells: those with the smallest log loss.

    Parameters
    ----------
    members
        Outputs for held-out cells; `-inf` for labels that the model that gave them does not have.
    truth
        Label of each cell, `(n_obs,)`. A cell whose label the model does not have, nor a subtype of it, does not count.
    is_right
        True where label `j` is right for a cell of label `i`, `(n_labels, n_labels)`: labels, and their subtypes.
    unit, n_units
        Unit that was held out whole, and the number of them.
    sample_weight
        Weight of each cell, `(n_obs,)`; by default all count the same.

    Returns
    -------
    The calibration; with fewer than 20 cells the temperature stays 1.
    """
    allowed, is_finite = is_right[truth], np.isfinite(members.log_mean)
    counted = (allowed & is_finite).any(axis=1)
    log_mean = np.where(is_finite, members.log_mean, _SMALLEST_LOGIT)[counted].astype(np.float64)
    information, allowed = members.mutual_information[counted].astype(np.float64), allowed[counted]
    weights = np.ones(len(log_mean)) if sample_weight is None else np.asarray(sample_weight, dtype=float)[counted]
    start = Calibration(unit=unit, n_units=n_units, n_obs=len(log_mean))
    if len(log_mean) < _FEWEST_CELLS:
        return start
    masked = np.where(allowed, log_mean, -np.inf)

    def loss(parameters: NDArray[np.float64]) -> float:
        log_temperature = parameters[0] + (parameters[1] * information if len(parameters) > 1 else 0)
        inverse = np.exp(-np.clip(log_temperature, -np.log(LARGEST_TEMPERATURE), np.log(LARGEST_TEMPERATURE)))[..., None]
        surprise = logsumexp(log_mean * inverse, axis=1) - logsumexp(masked * inverse, axis=1)
        return float(np.average(surprise, weights=weights))

    n_parameters = 2 if information.any() else 1
    bounds = [(-np.log(LARGEST_TEMPERATURE), np.log(LARGEST_TEMPERATURE)), (-_MOST_DISAGREEMENT, _MOST_DISAGREEMENT)][:n_parameters]
    found = minimize(loss, np.zeros(n_parameters), method="L-BFGS-B", bounds=bounds).x
    fitted = replace(start, temperature=float(np.exp(found[0])), disagreement=float(found[1]) if n_parameters > 1 else 0.0)
    right = np.take_along_axis(allowed, log_mean.argmax(axis=1)[:, None], axis=1)[:, 0]
    before, after = np.exp(log_softmax(log_mean, axis=1)), softmax(fitted._scaled(log_mean, information), axis=1)
    return replace(
        fitted,
        calibration_error=calibration_error_of(after.max(axis=1), right),
        uncalibrated_error=calibration_error_of(before.max(axis=1), right),
    )
