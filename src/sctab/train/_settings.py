"""Training settings and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from inspect import signature
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, Literal, Self, get_args, get_type_hints

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import Parameter, SettingError
from sctab.sampling import Split, SplitBy

Schedule = Literal["one-cycle", "step"]
Loss = Literal["auto", "cross-entropy", "hierarchical"]

LARGE_REFERENCE = 500_000
"""Labelled cells from which the published settings are the defaults."""
OWN_LABEL = 0.1
"""Fraction of the loss that asks for the label itself with `loss="auto"`: it is predicted where ten in eleven of similar cells carry it."""
PUBLISHED_TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "batch_size": 2048,
        "schedule": "step",
        "lr_decay": 0.9,
        "gradient_clip": 1.0,
        "class_weights": True,
        "loss": "cross-entropy",
        "gene_dropout": 0.0,
    }
)
"""Settings of all networks in Fischer et al. (2023)."""
REFIT_BELOW = 50_000
"""Labelled cells below which a model is trained again on all of them by default: it takes minutes, and few cells are worth the most."""
_KINDS = {int: (Integral, "an integer"), float: (Real, "a number"), bool: (bool, "`True` or `False`")}
"""Accepted classes of each type, and its name."""


class CheckedSettings:
    """Settings that are checked when they are made: a frozen dataclass derives from it."""

    def __post_init__(self) -> None:
        """Reject invalid settings before any work is done."""
        for name, hint in get_type_hints(type(self)).items():
            kind = next((part for part in (hint, *get_args(hint)) if part in _KINDS), None)
            is_left_open = getattr(self, name) is None and type(None) in get_args(hint)
            if kind is not None and not is_left_open:
                self._take(name, kind)
        for name, (holds, rule) in self._rules().items():
            if not holds:
                raise SettingError(Parameter(name, getattr(self, name)), f" must be {rule}.")

    def _take(self, name: str, kind: type) -> None:
        """Refuse a value of another type, and have a number of NumPy as one of Python, which JSON knows."""
        value, (accepted, rule) = getattr(self, name), _KINDS[kind]
        if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
            raise SettingError(Parameter(name, value), f" must be {rule}{_fix(value, kind)}.")
        if isinstance(value, np.generic):
            object.__setattr__(self, name, value.item())

    def _rules(self) -> dict[str, tuple[bool, str]]:
        """Return whether each setting follows its rule, and the rule, by name."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CommonSettings(CheckedSettings):
    """Training settings of every model class: duration, validation and seed."""

    max_epochs: int
    """Passes over the reference, or boosting rounds."""
    learning_rate: float
    """Of AdamW, with a one-cycle schedule its peak; of trees XGBoost's `eta`."""
    early_stopping: bool
    """Stop when validation has not improved for `patience` epochs. The best epoch's weights are kept in any case; with a one-cycle schedule
    that runs to its end, the best of its last fifth, where weights have settled."""
    patience: int
    """Epochs without a better validation after which training stops."""
    class_weights: bool = True
    """Weigh classes by :math:`n / (K n_k)`, so that rare types count as much as frequent ones."""
    train_size: float = 0.9
    """Fraction of the cells to learn from; the others validate. With 1 there is no validation, and the last weights are kept."""
    validation_split: SplitBy = "donor"
    """`"donor"` holds out whole donors where they are known and there are enough; `"stratified"` a fraction of each type."""
    refit: bool = False
    """Train once more after validation, on all cells, as long as was best. What is reported is the validation before."""
    seed: int = 0
    """Decides initial weights, split, order of the cells and dropout. The global random state is left as it was."""
    split_seed: int | None = None
    """Decides the split by itself, so that models with several seeds are validated on the same cells; `None` is `seed`."""

    @property
    def split_rng(self) -> np.random.Generator:
        """Source of randomness for the split."""
        return np.random.default_rng(self.seed if self.split_seed is None else self.split_seed)

    def for_all_cells(self, best_epoch: int) -> Self:
        """Settings to train on all cells for the best number of epochs; `best_epoch` is counted from 0."""
        settled_by_schedule = getattr(self, "schedule", "") == "one-cycle" and not self.early_stopping
        return replace(self, train_size=1.0, max_epochs=self.max_epochs if settled_by_schedule else best_epoch + 1)

    def _rules(self) -> dict[str, tuple[bool, str]]:
        seeds = {"seed": self.seed, "split_seed": self.split_seed}
        return {
            "max_epochs": (self.max_epochs >= 1, "at least 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "patience": (self.patience >= 1, "at least 1"),
            "train_size": (0 < self.train_size <= 1, "above 0 and at most 1"),
            "validation_split": (self.validation_split in ("donor", "stratified"), "`donor` or `stratified`"),
            **{name: (seed is None or 0 <= seed < 2**32, "between 0 and 4294967295") for name, seed in seeds.items()},
        }


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(CommonSettings):
    """Settings of gradient-based training. The defaults of a model class depend on the size of the reference."""

    batch_size: int
    """Cells per step of the optimiser."""
    weight_decay: float
    """Of AdamW."""
    schedule: Schedule
    """`"one-cycle"`: up to `learning_rate` and down to almost nothing, batch by batch. `"step"`: times `lr_decay` after every epoch."""
    gene_dropout: float
    """Largest fraction of genes set to zero in a training cell, see :func:`sctab.augmentation.drop_genes`."""
    loss: Loss = "auto"
    """Handling of labels of mixed granularity, see :ref:`mixed-granularity`. `"cross-entropy"`: all labels exclude each other, as
    published. `"hierarchical"`: a label is right in all of its subtypes. `"auto"`: in those that donors with this label do not have."""
    label_smoothing: float = 0.0
    """Fraction of each cell's label that is spread evenly over all classes."""
    covariate_dropout: float = 0.5
    """Probability that the covariates of a training cell (`categorical_covariate_keys`) are hidden."""
    protein_dropout: float = 0.5
    """Fraction of the training cells from which antibodies are hidden: all of them from half of these cells, and some from the others.
    From a fifth as many cells all genes are hidden."""
    augment: bool = False
    """Add differences between donors to training cells, see :func:`sctab.augmentation.donor_differences`."""
    l1: float = 0.0
    """Weight of the sum of absolute values of all linear maps in the loss."""
    l2: float = 0.0
    """Weight of half the sum of their squares."""
    lr_decay: float = 0.9
    """Factor on the learning rate after every epoch, with the schedule `"step"`."""
    gradient_clip: float = 1.0
    """Largest Euclidean norm of the gradient."""

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return super()._rules() | {
            "batch_size": (self.batch_size >= 2, "at least 2: batch normalisation needs two cells"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "gene_dropout": (0 <= self.gene_dropout <= 1, "between 0 and 1"),
            "loss": (self.loss in ("auto", "cross-entropy", "hierarchical"), "`auto`, `cross-entropy` or `hierarchical`"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            "covariate_dropout": (0 <= self.covariate_dropout <= 1, "between 0 and 1"),
            "protein_dropout": (0 <= self.protein_dropout <= 1, "between 0 and 1"),
            "schedule": (self.schedule in ("one-cycle", "step"), "`one-cycle` or `step`"),
            "l1": (self.l1 >= 0, "at least 0"),
            "l2": (self.l2 >= 0, "at least 0"),
            "lr_decay": (0 < self.lr_decay <= 1, "above 0 and at most 1"),
            "gradient_clip": (self.gradient_clip > 0, "above 0"),
        }


def _fix(value: Any, kind: type) -> str:
    """Suggest the number to write instead of a string or a float that represents it."""
    if isinstance(value, str | float) and kind is not bool:
        with suppress(ValueError, OverflowError):  # no number, or infinite
            number = float(value)
            if kind(number) == number:  # with a point and without an exponent, which every format reads as a number
                return f": write `{int(number) if kind is int else np.format_float_positional(number, trim='0')}`"
    return ""


def trainer_options() -> set[str]:
    """Names of what Lightning's trainer takes."""
    from lightning.pytorch import Trainer  # settings are read where nothing is trained

    return set(signature(Trainer).parameters)


def network_training(n_obs: int, published: Mapping[str, Any], **small: Any) -> TrainingSettings:
    """Default training settings of a network: published settings on a large reference; small batches and gene dropout on a small one.

    Parameters
    ----------
    n_obs
        Labelled cells.
    published
        The published settings of the model class.
    **small
        What the class needs besides on a small reference.
    """
    published = {**published, "loss": "auto"}  # the same where labels are of one granularity
    if n_obs >= LARGE_REFERENCE:
        return TrainingSettings(**published, max_epochs=30, early_stopping=True, patience=10)
    common = {"batch_size": 128, "schedule": "one-cycle", "gene_dropout": 0.9, "early_stopping": False, "patience": 10}
    return TrainingSettings(**{**published, **common, **small}, refit=n_obs < REFIT_BELOW)


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training."""

    split: Split
    epochs: int
    """Epochs that were run."""
    best_epoch: int | None
    """The epoch whose weights were kept, counted from 0; `None` without validation, when the last are kept."""
    best_macro_f1: float | None
    """Validation macro F1 of that epoch."""
    importance: NDArray[np.float32] | None = None
    """Fraction of the decisions that each input carries, `(n_inputs,)`, where the model class knows it; `None` has it measured."""


def stored_history(training: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The `history` of a model from what :func:`summarise` kept."""
    return {name: as_history(name, values) for name, values in training.get("history", {}).items()}


def as_history(name: str, values: Sequence[float | None]) -> pd.DataFrame:
    """One entry of a `history` in the form of scvi-tools: a column of that name, one row per epoch."""
    return pd.DataFrame({name: np.asarray(values, dtype=float)}, index=pd.RangeIndex(len(values), name="epoch"))
