"""What is tuned, on which cells, and how settings are judged."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from lightning.pytorch.callbacks import LambdaCallback
from numpy.typing import NDArray

from sctab._errors import InputValueError, SctabWarning, SettingError, listing, warn
from sctab.corpus._source import choose_source
from sctab.model import CellTypeClassifier, Choice, Range, SearchSpace, model_by_name
from sctab.model._query import fingerprint
from sctab.model._settings import CommonSettings, TrainingSettings
from sctab.model._setup import check_reference, corrected_macro_f1, own_copy
from sctab.model._training import MONITOR
from sctab.sampling import Split, split_cells
from sctab.tuning._settings import Settings

AfterEpoch = Callable[[int, float], bool]
"""Takes an epoch, counted from 0, and its validation macro F1; says whether to go on."""


@dataclass(frozen=True)
class Outcome:
    """What came of training with some settings."""

    score: float
    """Macro F1 on the cells that were held out."""
    validation: float | None
    """Macro F1 on the cells by which training chose its best epoch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TuningTask:
    """A reference that was split into cells to learn from and cells to judge by, and the settings to vary."""

    fixed: Settings
    """The model class, and settings that all trials share."""
    space: SearchSpace
    """Settings to vary; none of them is fixed."""
    setup: Mapping[str, Any]
    """Arguments of `setup_anndata`."""
    reference: AnnData = field(repr=False)
    """Cells to learn from."""
    held_out: AnnData = field(repr=False)
    """Cells to judge by. Training does not see them, not even to choose its best epoch."""
    split: str
    """How they were held out: `"donor"` or `"stratified"`."""
    train_size: float
    fingerprint: str
    """Hash of the cells, labels, donors and genes."""
    seed: int
    accelerator: str

    @property
    def model_class(self) -> type[CellTypeClassifier]:
        """The class to tune."""
        return _tunable_class(self.fixed.model)

    @property
    def dimensions(self) -> dict[str, Range | Choice]:
        """What to vary, by name."""
        return {**self.space.model, **self.space.train}

    @property
    def identity(self) -> dict[str, str]:
        """What has to be the same when a study goes on, in words that a message can show."""
        space = {name: asdict(dimension) for name, dimension in sorted(self.dimensions.items())}
        return {
            "sctab_version": version("sctab"),
            "model": self.fixed.model,
            **{name: str(value) for name, value in self.setup.items()},
            "data": self.fingerprint,
            "space": json.dumps(space),
            "model_settings": json.dumps(dict(self.fixed.model_settings), sort_keys=True),
            "train_settings": json.dumps(dict(self.fixed.train_settings), sort_keys=True),
            "train_size": str(self.train_size),
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
        """How the reference is trained on where nothing but the fixed settings is given."""
        return _default_training(self.fixed, self.reference.n_obs)

    def defaults(self) -> dict[str, Any]:
        """The default of each setting that varies and has one."""
        model = self._new_model(self.fixed)
        defaults = asdict(self.default_training) | dict(model.spec.architecture)
        model.deregister_manager(self.reference)
        return {name: defaults[name] for name in self.dimensions if name in defaults}

    def inside(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the values that lie in the space."""
        return {name: value for name, value in values.items() if _holds(self.dimensions[name], value)}

    @property
    def has_epochs(self) -> bool:
        """Whether the class learns by gradient, and so tells how it does epoch by epoch."""
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
            options["callbacks"] = [_watch(after_epoch)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SctabWarning)  # what there is to know of the reference was said once
            model = self._new_model(settings)
            try:
                model.train(**settings.train_settings, **options)
                predicted = model.predict(self.held_out, layer=self.setup["layer"] or "X")
            finally:
                model.deregister_manager(self.reference)
        truth = self.held_out.obs[self.setup["labels_key"]].astype(str)
        return Outcome(corrected_macro_f1(truth, predicted, model.spec.labels), model.spec.training["validation"]["macro_f1"])

    def _new_model(self, settings: Settings) -> CellTypeClassifier:
        self.model_class.setup_anndata(self.reference, **self.setup)
        return self.model_class(self.reference, **settings.model_settings)  # type: ignore[call-arg]


def make_task(
    adata: AnnData,
    setup: Mapping[str, Any],
    fixed: Settings,
    *,
    space: SearchSpace | None,
    train_size: float,
    seed: int,
    accelerator: str,
) -> TuningTask:
    """Split a reference into cells to learn from and cells to judge by; parameters and errors as in `tune`."""
    if not 0 < train_size < 1:
        raise SettingError(f"`train_size={train_size!r}` must be above 0 and below 1: what is left is held out to judge by.")
    own_space = _tunable_class(fixed.model).search_space()
    check_reference(
        adata,
        setup["labels_key"],
        layer=setup["layer"],
        donor_key=setup["donor_key"],
        unlabeled_category=setup["unlabeled_category"],
        categorical_covariate_keys=setup["categorical_covariate_keys"],
        var_keys=[setup[name] for name in ("gene_id_key", "gene_symbol_key") if setup[name] is not None],
    )
    labels = adata.obs[setup["labels_key"]].astype(str)
    donors = None if setup["donor_key"] is None else adata.obs[setup["donor_key"]].astype(str)
    split = _hold_out(labels, donors, setup["unlabeled_category"], train_size=train_size, seed=seed)
    if space is None:
        training = replace(_default_training(fixed, len(split.train)), seed=seed)
        space = own_space if _can_augment(labels, donors, split.train, training) else _without_augment(own_space)
    space = _without_fixed(space, fixed)
    source, notes = choose_source(adata, layer=setup["layer"] or "X")
    for note in [*notes, *_notes(split, donors)]:
        warn(note)
    return TuningTask(
        fixed=fixed,
        space=space,
        setup=setup,
        reference=own_copy(adata, split.train),
        held_out=own_copy(adata, split.validation),
        split=split.by,
        train_size=train_size,
        fingerprint=fingerprint(
            source, labels, () if donors is None else donors, *(adata.obs[key] for key in setup["categorical_covariate_keys"])
        ),
        seed=seed,
        accelerator=accelerator,
    )


def _hold_out(
    labels: pd.Series, donors: pd.Series | None, unlabeled_category: str | None, *, train_size: float, seed: int
) -> Split:
    codes = np.where(labels == unlabeled_category, -1, pd.factorize(labels)[0]).astype(np.int64)
    donor_codes = None if donors is None else pd.factorize(donors)[0].astype(np.int64)
    split = split_cells(codes, donor_codes, train_size=train_size, by="donor", rng=np.random.default_rng(seed))
    if not split.validation.size:
        raise InputValueError(
            f"No cell can be held out to judge by: no type has enough of the {len(labels)} cells. Give more cells, or a smaller "
            f"`train_size` than {train_size}."
        )
    return split


def _notes(split: Split, donors: pd.Series | None) -> list[str]:
    if split.by == "donor":
        return []
    why = "no `donor_key` was given" if donors is None else "there are too few donors to hold some of them out"
    return [f"Settings are judged by cells of the donors that they were learned from, since {why}: expect less on new donors."]


def _tunable_class(model: str) -> type[CellTypeClassifier]:
    cls = model_by_name(model)
    if not issubclass(cls, CellTypeClassifier):
        raise SettingError(f"`{model}` has no settings of its own. Tune one of the model classes that it chooses from.")
    return cls


def _default_training(fixed: Settings, n_obs: int) -> CommonSettings:
    """How so many cells are trained on where nothing but the fixed settings is given."""
    given = {name: value for name, value in fixed.train_settings.items() if value is not None}  # `None` is the default
    return replace(_tunable_class(fixed.model)._default_training(n_obs), **given)


def _can_augment(labels: pd.Series, donors: pd.Series | None, cells: NDArray[np.int64], training: CommonSettings) -> bool:
    """Whether some type has two donors among those of the cells that a trial learns from, split for validation as in training."""
    if donors is None:
        return False
    label_codes = pd.factorize(labels.iloc[cells], sort=True)[0].astype(np.int64)  # both in the order of training
    donor_codes = pd.factorize(donors.iloc[cells])[0].astype(np.int64)
    split = split_cells(
        label_codes,
        donor_codes,
        train_size=training.train_size,
        by=training.validation_split,
        rng=training.split_rng,
    )
    donors_per_label = pd.Series(donor_codes[split.train]).groupby(label_codes[split.train]).nunique()
    return bool((donors_per_label > 1).any())


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


def _watch(after_epoch: AfterEpoch) -> LambdaCallback:
    def look(trainer: Any, _module: Any) -> None:
        if not after_epoch(int(trainer.current_epoch), float(trainer.callback_metrics[MONITOR])):
            trainer.should_stop = True  # an exception would do too, but scvi-tools prints those

    return LambdaCallback(on_validation_end=look)
