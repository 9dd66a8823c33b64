"""From counts to the input of a network, and from its logits to probabilities, over the operators of any framework.

The numbers are those of :mod:`sctab.data._normalise` and :mod:`sctab.inference._calibration`; tests compare them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from sctab.inference._calibration import LARGEST_TEMPERATURE, Calibration
from sctab.inference._spec import ModelSpec
from sctab.nn import Array, Operators


def without_proteins(spec: ModelSpec) -> ModelSpec:
    """The same model with the calibration for cells whose surface proteins were not measured."""
    if spec.proteins is None or spec.calibration is None:
        return spec
    return replace(spec, calibration=spec.calibration.of_measured("none"))


def model_input(ops: Operators, spec: ModelSpec, counts: Array, covariates: Array | None) -> Array:
    """Normalised expression, proteins that were not measured, and covariates, by default unknown ones: `(n_obs, n_inputs)`.

    Parameters
    ----------
    ops
        Operators of a framework.
    spec
        The model.
    counts
        Counts over the model's genes, `(n_obs, n_vars)`.
    covariates
        One-hot categories, `(n_obs, n_categories)`.
    """
    normalization, totals = spec.normalization, ops.sum(counts)
    values = counts * (normalization.target_sum / ops.where(totals > 0, totals, 1.0))
    if normalization.log1p:
        values = ops.log1p(values)
    n_zeros = spec.n_beside - (0 if covariates is None else len(spec.category_names))
    if n_zeros:
        values = ops.beside(values, ops.zeros(values, n_zeros))
    return values if covariates is None else ops.beside(values, covariates)


def probabilities_of(ops: Operators, calibration: Calibration, logits: Sequence[Array]) -> Array:
    """Calibrated probabilities, `(n_obs, n_labels)`, see :class:`Calibration`.

    Parameters
    ----------
    ops
        Operators of a framework.
    calibration
        Temperatures of the model.
    logits
        Those of each member, `(n_obs, n_labels)`.
    """
    if len(logits) == 1:
        return ops.exp(_log_softmax(ops, logits[0] / calibration.temperature))
    members = [_log_softmax(ops, each) for each in logits]
    highest = reduce(lambda x, y: ops.where(x > y, x, y), members)
    log_mean = highest + ops.log(sum(ops.exp(each - highest) for each in members) / len(members))
    temperature = calibration.temperature
    if calibration.disagreement:
        expected = sum(_entropy(ops, each) for each in members) / len(members)
        information = ops.relu(_entropy(ops, log_mean) - expected)
        temperature = temperature * ops.exp(information * calibration.disagreement)
        temperature = ops.clip(temperature, 1 / LARGEST_TEMPERATURE, LARGEST_TEMPERATURE)
    return ops.exp(_log_softmax(ops, log_mean / temperature))


def or_unmeasured(ops: Operators, counts: Array, probabilities: Array) -> Array:
    """Probabilities, NaN for cells without a count, as in a table of predictions."""
    return ops.where(ops.sum(counts) > 0, probabilities, math.nan)


def _log_softmax(ops: Operators, logits: Array) -> Array:
    shifted = logits - ops.largest(logits)
    return shifted - ops.log(ops.sum(ops.exp(shifted)))


def _entropy(ops: Operators, log_probabilities: Array) -> Array:
    return -ops.sum(ops.exp(log_probabilities) * log_probabilities)
