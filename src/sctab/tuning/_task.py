"""Tuning tasks: cells, search space and evaluation of settings."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from sctab.errors import SctabWarning, SettingError, listing
from sctab.model import CellTypeClassifier, Choice, Range, SearchSpace, model_by_name, new_model
from sctab.train import CommonSettings, HeldOut, Reference, TrainingSettings, corrected_macro_f1, stop_unless
from sctab.tuning._settings import Settings

AfterEpoch = Callable[[int, float], bool]
"""Takes an epoch, counted from 0, and its validation macro F1; returns whether to continue."""


@dataclass(frozen=True)
class Outcome:
    """Result of training with some settings."""

    score: float
    """Macro F1 on the cells that were held out."""
    validation: float | None
    """Macro F1 on the cells by which training chose its best epoch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TuningTask:
    """Cells to learn from and to judge by, and the settings to vary."""

    fixed: Settings
    """The model class, and settings that all trials share."""
    space: SearchSpace
    """Settings to vary; none of them is fixed."""
    cells: HeldOut
    seed: int
    accelerator: str

    @property
    def model_class(self) -> type[CellTypeClassifier]:
        """The class to tune."""
        return _tunable_class(self.fixed.model)

    @property
    def dimensions(self) -> dict[str, Range | Choice]:
        """Varied settings, by name."""
        return {**self.space.model, **self.space.train}

    @property
    def identity(self) -> dict[str, str]:
        """Identity of the study as readable text; a resumed study must have the same."""
        space = {name: asdict(dimension) for name, dimension in sorted(self.dimensions.items())}
        return {
            "sctab_version": version("sctab"),
            "model": self.fixed.model,
            **self.cells.identity,
            "space": json.dumps(space),
            "model_settings": json.dumps(dict(self.fixed.model_settings), sort_keys=True),
            "train_settings": json.dumps(dict(self.fixed.train_settings), sort_keys=True),
            "seed": str(self.seed),
        }

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """The settings in which what varies has these values."""
        varied = {
            kind: {name: values[name] for name in space if name in values}
            for kind, space in (("model", self.space.model), ("train", self.space.train))
        }
        return Settings(
            self.fixed.model,
            {**self.fixed.model_settings, **varied["model"]},
            {**self.fixed.train_settings, **varied["train"]},
        )

    @property
    def default_training(self) -> CommonSettings:
        """Training settings for the reference with only the fixed settings given."""
        return _default_training(self.fixed, self.cells.reference.n_obs)

    def defaults(self) -> dict[str, Any]:
        """The default of each setting that varies and has one."""
        model = new_model(self.cells.reference, self.model_class, self.fixed.model_settings)
        defaults = asdict(self.default_training) | dict(model.spec.architecture)
        return {name: defaults[name] for name in self.dimensions if name in defaults}

    def inside(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the values that lie in the space."""
        return {name: value for name, value in values.items() if _holds(self.dimensions[name], value)}

    @property
    def has_epochs(self) -> bool:
        """Return whether the class learns by gradient, and so tells how it does epoch by epoch."""
        return isinstance(self.model_class._default_training(1000), TrainingSettings)

    def evaluate(self, settings: Settings, after_epoch: AfterEpoch | None = None) -> Outcome:
        """Train with some settings and judge by the cells that were held out.

        Parameters
        ----------
        settings
            What to train with.
        after_epoch
            Called after every epoch where the class has them; training ends when it gives `False`.
        """
        options: dict[str, Any] = {"seed": self.seed, "accelerator": self.accelerator, "enable_progress_bar": False}
        options |= {"refit": False} if "refit" not in settings.train_settings else {}  # half the time, and the order is the same
        if after_epoch is not None and self.has_epochs:
            options["callbacks"] = [stop_unless(after_epoch)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SctabWarning)  # what there is to know of the reference was said once
            model = new_model(self.cells.reference, self.model_class, settings.model_settings)
            model.train(**settings.train_settings, **options, calibrate=False)
            predicted = self.cells.judge(model.predictor)
        return Outcome(
            corrected_macro_f1(self.cells.truth, predicted, model.spec.labels), model.spec.training["validation"]["macro_f1"]
        )


def make_task(cells: HeldOut, fixed: Settings, *, space: SearchSpace | None, seed: int, accelerator: str) -> TuningTask:
    """Create the tuning task on these cells; parameters and errors as in `tune`."""
    if space is None:
        space = _tunable_class(fixed.model).search_space()
        training = replace(_default_training(fixed, cells.reference.n_obs), seed=seed)
        space = space if _has_donor_differences(cells.reference, training) else _without_augment(space)
    return TuningTask(fixed=fixed, space=_without_fixed(space, fixed), cells=cells, seed=seed, accelerator=accelerator)


def _tunable_class(model: str) -> type[CellTypeClassifier]:
    cls = model_by_name(model)
    if not issubclass(cls, CellTypeClassifier):
        raise SettingError(f"`{model}` has no settings of its own. Tune one of the model classes that it chooses from.")
    return cls


def _default_training(fixed: Settings, n_obs: int) -> CommonSettings:
    """Training settings for this number of cells with only the fixed settings given."""
    given = {name: value for name, value in fixed.train_settings.items() if value is not None}  # `None` is the default
    return replace(_tunable_class(fixed.model)._default_training(n_obs), **given)


def _has_donor_differences(reference: Reference, training: CommonSettings) -> bool:
    """Return whether some type has two donors among those of the cells that a trial learns from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SctabWarning)  # the first trial says it
        spec = reference.describe("", n_top_genes="all", architecture={})
    return reference.data(spec).has_donor_differences(training)


def _without_augment(space: SearchSpace) -> SearchSpace:
    return SearchSpace(space.model, {name: dimension for name, dimension in space.train.items() if name != "augment"})


def _without_fixed(space: SearchSpace, fixed: Settings) -> SearchSpace:
    space = SearchSpace(
        model={name: dimension for name, dimension in space.model.items() if name not in fixed.model_settings},
        train={name: dimension for name, dimension in space.train.items() if name not in fixed.train_settings},
    )
    if both := sorted(set(space.model) & set(space.train)):
        raise SettingError(
            f"{listing(both)} cannot be varied for the constructor and for `train` at the same time. Fix one of them."
        )
    if not space.model and not space.train:
        raise SettingError("There is nothing to tune: every setting of the search space is fixed. Leave one of them open.")
    Settings(fixed.model, space.model, space.train)  # refuses names that the class does not have
    return space


def _holds(dimension: Range | Choice, value: Any) -> bool:
    if isinstance(dimension, Choice):
        return value in dimension.values
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high
