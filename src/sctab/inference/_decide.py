"""The one place that decides what a cell is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sctab.errors import ModelFormatError
from sctab.inference._backoff import BackOff
from sctab.inference._block_predictor import Evaluation
from sctab.inference._calibration import Calibration, Members
from sctab.inference._expected import restrict


@dataclass(frozen=True)
class Decision:
    """Labels of cells with per-cell confidence. Rows of cells that are not :attr:`measured` are undefined."""

    codes: NDArray[np.int32]
    """Position of the label among those of the model, `(n_obs,)`; -1 for a cell that was not measured or is :attr:`outside`."""
    confidence: NDArray[np.float32]
    """Probability of the label, `(n_obs,)`; NaN for a measured cell without one."""
    measured: NDArray[np.bool_]
    """Cells with a count in the model's genes, `(n_obs,)`."""
    probabilities: NDArray[np.float32] | None = None
    """`(n_obs, n_labels)`; rows sum to one, and are NaN for a measured cell without a label. `None` where they were not kept."""
    latent: NDArray[np.float32] | None = None
    """`(n_obs, n_latent)`; `None` where the model has no latent space, or where it was not kept."""
    expected_entropy: NDArray[np.float32] | None = None
    """Of an ensemble: mean entropy of its members' probabilities in nats, `(n_obs,)`."""
    terms: NDArray[np.int32] | None = None
    """Term of each cell that was promised, `(n_obs,)`: a row of ``BackOff.terms``, -1 where there is none; `None` without a promise."""
    unseen: NDArray[np.float32] | None = None
    """p-value of each cell for being of a type that the model has learned, `(n_obs,)`; `None` where it was not asked for."""
    mutual_information: NDArray[np.float32] | None = None
    """Of an ensemble: entropy of the mean probabilities minus :attr:`expected_entropy`, `(n_obs,)`; how much members disagree."""
    excluded: NDArray[np.float32] | None = None
    """Probability of the labels that cannot occur, `(n_obs,)`; `None` where all can."""
    likeliest: NDArray[np.int32] | None = None
    """Most probable one of all labels of the model, `(n_obs,)`, if only some can occur; -1 for a cell that was not measured."""
    likeliest_confidence: NDArray[np.float32] | None = None
    """Its probability among all labels, `(n_obs,)`."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the decisions on consecutive cells."""
        arrays = [part.to_arrays() for part in parts]
        return cls(**{name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]})

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Measured cells without a label: they are more likely of a type that cannot occur, `(n_obs,)`."""
        return self.measured & (self.codes < 0)

    @property
    def compared(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Most probable label among all of the model and its probability, which confidence in a reference is compared with."""
        if self.likeliest is None or self.likeliest_confidence is None:
            return self.codes, self.confidence
        return self.likeliest, self.likeliest_confidence

    def to_arrays(self, *, brief: bool = False) -> dict[str, NDArray[Any]]:
        """Available arrays, by name; `brief` omits probabilities and latents."""
        left_out = {"probabilities", "latent"} if brief else set()
        return {name: values for name, values in vars(self).items() if values is not None and name not in left_out}

    def labels(self, names: Sequence[str]) -> NDArray[np.object_]:
        """The label of each cell, `(n_obs,)`; NaN where there is none, as in a column of pandas.

        Parameters
        ----------
        names
            Labels of the model, in order.
        """
        return np.append(np.asarray(names, dtype=object), np.nan)[self.codes]

    def column(self, values: NDArray[np.float32] | None) -> Any:
        """Values of this decision as a table has them: a missing value (NaN) for cells that were not measured."""
        if values is None or self.measured.all():
            return values
        return np.where(self.measured.reshape(-1, *[1] * (values.ndim - 1)), values, np.float32(np.nan))


def decide(
    evaluation: Evaluation,
    calibration: Calibration | None = None,
    backoff: BackOff | None = None,
    *,
    expected: NDArray[np.bool_] | None = None,
) -> Decision:
    """Decide what cells are called: the label with the largest mean probability of the members.

    Of an ensemble it also tells what the uncertainty is made of (Depeweg et al. 2018, :doi:`10.48550/arXiv.1710.07283`):
    the expected entropy of a member, and the mutual information between label and member, both before calibration.

    Parameters
    ----------
    evaluation
        Logits of the cells, and which cells were measured.
    calibration
        Temperature of the probabilities; by default 1. It changes confidence, never the label.
    backoff
        Rule that says which term can be promised of a cell.
    expected
        Labels that can occur, `(n_labels,)`; by default all. Calibrated probabilities are restricted to them and renormalised. A cell more
        than half of whose probability is excluded gets no label. Terms are those of the unrestricted probabilities, for which they are
        promised, and are left out where they do not include the label: fewer answers cannot be wrong more often.

    Raises
    ------
    ModelFormatError
        If a logit of a measured cell is NaN: the training diverged, or the model was damaged.
    """
    measured, latent = evaluation.measured, evaluation.latent
    members = Members.of(evaluation.logits)
    probabilities = (calibration or Calibration()).probabilities(members)
    if not np.isfinite(probabilities[measured]).all():
        raise ModelFormatError(
            "The model gives NaN for cells that have counts in its genes: its training diverged, or it was damaged. Train it again "
            "with a lower `learning_rate`, or copy it again."
        )
    codes = np.where(measured, np.nan_to_num(probabilities).argmax(axis=1), -1).astype(np.int32)
    decision = Decision(codes, probabilities.max(axis=1), measured, probabilities, latent, unseen=evaluation.unseen)
    if backoff is not None:
        decision = replace(decision, terms=backoff.answer(probabilities, codes))
    if expected is not None:
        decision = _restricted(decision, probabilities, backoff, expected)
    if evaluation.logits.shape[1] == 1:
        return decision
    return replace(decision, expected_entropy=members.expected_entropy, mutual_information=members.mutual_information)


def _restricted(
    decision: Decision, probabilities: NDArray[np.float32], backoff: BackOff | None, expected: NDArray[np.bool_]
) -> Decision:
    """A decision among labels that can occur."""
    kept, excluded, is_outside = restrict(probabilities, expected)
    codes = np.where(decision.measured & ~is_outside, np.nan_to_num(kept).argmax(axis=1), -1).astype(np.int32)
    terms = decision.terms
    if backoff is not None and terms is not None:
        terms = np.where((codes >= 0) & backoff.terms.below[terms, codes], terms, -1).astype(np.int32)
    return replace(
        decision,
        codes=codes,
        confidence=kept.max(axis=1),
        probabilities=kept,
        terms=terms,
        excluded=excluded,
        likeliest=decision.codes,
        likeliest_confidence=decision.confidence,
    )
