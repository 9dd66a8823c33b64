"""Training a model, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sctab.errors import Either, Parameter, SctabError, SettingError, did_you_mean, listed, listing, warn
from sctab.inference import (
    HeldOutCells,
    device_of,
    problem_of_weights,
    write_model,
)
from sctab.io import progress_titled
from sctab.model._class_names import short_name
from sctab.model._crossfit import CrossFit, FoldTraining, evaluate_fold, join_folds, useful_jobs
from sctab.model._described import DescribedModel
from sctab.model._learned_cells import kept_arrays, require_sketch, sketched_cells
from sctab.nn import LinearNetwork
from sctab.train import (
    LARGE_REFERENCE,
    Checkpoints,
    CommonSettings,
    LoggerChoice,
    Reference,
    TrainingData,
    TrainingResult,
    TrainingSettings,
    check_checkpoints,
    importance_of_genes,
    measure_importance,
    run_directory,
    seeded,
    summarise,
    trainer_options,
)

_STEPS_FOR_NEW_TYPES = 1_000
"""Steps of the optimiser after which an output layer predicts types that it did not know."""


class TrainableModel(DescribedModel):
    """A model that learns a reference."""

    def train(
        self,
        max_epochs: int | None = None,
        *,
        settings: CommonSettings | None = None,
        accelerator: str = "auto",
        devices: Any = "auto",
        run_dir: str | PathLike[str] | None = None,
        logger: LoggerChoice = None,
        resume: bool = False,
        keep_checkpoints: Checkpoints = "best",
        calibrate: bool = True,
        fingerprints: bool = True,
        sketch: int = 0,
        **overrides: Any,
    ) -> None:
        """Train on the reference. Defaults depend on its size, see :ref:`defaults`.

        Calling it again continues from the current weights.

        Parameters
        ----------
        max_epochs
            Number of epochs; for trees, boosting rounds.
        settings
            All settings at once, of the kind that the model class has, see :class:`~sctab.train.CommonSettings`; by default those that it
            has for a reference of this size.
        accelerator, devices
            As in Lightning: `"cpu"`, `"gpu"`, `"auto"`, …
        run_dir
            New directory that shows the training while it runs: `metrics.csv`, `tensorboard/`, and models of epochs in `checkpoints/`,
            see :doc:`/logging`. By default, no file is written.
        logger
            A Lightning logger, `"neptune"`, or a list of these, besides those of `run_dir`.
        resume
            Resume the training in `run_dir` from the last finished epoch, or from where it was terminated (SIGTERM); start a new one if
            there is none. Settings, cells, labels, donors and covariates must be the same; they are known by a hash of their content. It
            needs `run_dir`.
        keep_checkpoints
            Which models of epochs stay in `run_dir`: `"best"`, that of the best and that of the last epoch; or `"all"`. Each is as large
            as the model. A training is resumed from a file of its own. Trees have none: their first rounds are those of any earlier one.
        calibrate
            Learn from held-out cells how far to trust the model, see :doc:`/trust`: whole datasets, donors or single cells. On a small
            reference, whose cells are all learned, it is trained three more times, each time without a part of the cells; without datasets
            and donors another three times. The model then also keeps what its types look like, to find cells of types that it has not
            learned, and the depth of its cells.
        fingerprints
            With `calibrate`, also keep five bytes per cell by which :func:`sctab.pp.check` recognises cells that were learned, see
            :doc:`/check` for what they disclose.
        sketch
            Cells of the reference to keep with the model, such as 2,000, without their names and donors: a few megabytes from which it can
            be refitted to the genes and cells of a query, see :doc:`/adapting`. Share them only where you may share counts of cells.
        **overrides
            Single settings by name, which take precedence over `settings`. Every class has `learning_rate`, `class_weights`, `train_size`,
            `validation_split`, `refit`, `early_stopping`, `patience`, `seed` and `split_seed`, see :class:`~sctab.train.CommonSettings`.
            The classes that derive from it have more, and what Lightning trains takes the arguments of :class:`lightning.pytorch.Trainer`:
            `callbacks`, `enable_progress_bar`, `precision="bf16-mixed"`, … `None` is the default.

        Raises
        ------
        SettingError
            If a setting is invalid or not one of the class; if the training diverged, so that weights are NaN; or if `run_dir` belongs to
            another training than the one to resume: of other settings, or of another reference, by its content.
        OutputExistsError
            If `run_dir` is not empty, or if another training is running in it.
        OutputError
            If `run_dir` or a checkpoint cannot be written.
        MissingDependencyError
            If Neptune is requested and not installed.
        """
        if resume and run_dir is None:
            raise SettingError(
                Parameter("resume", value=True),
                " needs the `run_dir` of the training to resume. Provide it, or omit `resume`.",
            )
        check_checkpoints(keep_checkpoints, run_dir)
        require_sketch(sketch)
        if accelerator in ("gpu", "cuda", "mps"):
            device_of(accelerator)  # refuses one that is not in this machine
        if (reference := self._reference) is None:
            raise SettingError("The model was loaded without a reference. Pass one as `adata` to `load`, or use `load_query_data`.")
        chosen, passed_on = self._settings(reference, {"max_epochs": max_epochs, **overrides}, settings)
        if max_epochs is None and settings is None:
            chosen = self._with_steps_for_new_types(chosen, reference.n_obs)
        data = reference.data(self.spec)

        with run_directory(run_dir):
            with seeded(chosen.seed):
                is_new = not self.is_trained and not self._has_pretrained_weights
                start = None if is_new else {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
                if is_new:
                    self.module = self._new_network()
                options = {"accelerator": accelerator, "devices": devices} | passed_on
                leaves: dict[str, Any] = {"run_dir": run_dir, "logger": logger, "keep_checkpoints": keep_checkpoints}
                try:
                    with progress_titled("with validation", after="training") if chosen.refit else nullcontext():
                        result = self._fit(data, chosen, resume=resume, **leaves, **options)
                except RuntimeError:  # entmax fails on NaN
                    self._require_finite(None if is_new else start)
                    raise
            if chosen.refit and result.best_epoch is not None:
                result = self._fit_all(data, chosen, result, start, options)
        self._require_finite(None if is_new else start)
        self._warn_of_divergence()
        self.module.eval()
        importance = (
            measure_importance(
                self._forward, data, self.spec.normalization, device=self.device, rng=np.random.default_rng(chosen.seed)
            )
            if result.importance is None
            else result.importance
        )
        n_genes, panel = len(self.spec.features), self.spec.proteins
        self.gene_importance = importance_of_genes(importance, n_genes)
        of_proteins = {} if panel is None else {"protein_importance": importance[n_genes : n_genes + len(panel)].tolist()}
        self.spec = self.spec.with_training(summarise(chosen, data, result, self.history_) | of_proteins)
        self.sha256 = None
        self.is_trained_ = True
        self._arrays = sketched_cells(data, sketch, seed=chosen.seed)
        if calibrate:
            self._arrays = {**self._arrays, **kept_arrays(reference, data, self.spec, fingerprints=fingerprints, seed=chosen.seed)}
            self._calibrate(reference, chosen, result, start, options)

    @property
    def _is_frozen(self) -> bool:
        """True if only the output layer learns."""
        return not all(parameter.requires_grad for parameter in self.module.parameters())

    def _with_steps_for_new_types(self, settings: CommonSettings, n_obs: int) -> CommonSettings:
        """More epochs where few cells of new types are learned by the output layer alone, which would keep predicting the known ones."""
        learns_output_layer = self._is_frozen or isinstance(self.module, LinearNetwork)
        if not (learns_output_layer and self._n_new_labels and isinstance(settings, TrainingSettings)):
            return settings
        n_steps = -(-n_obs // settings.batch_size)
        return replace(settings, max_epochs=max(settings.max_epochs, -(-_STEPS_FOR_NEW_TYPES // n_steps)))

    def _calibrate(
        self,
        reference: Reference,
        settings: CommonSettings,
        result: TrainingResult,
        start: Mapping[str, torch.Tensor] | None,
        options: Mapping[str, Any],
    ) -> None:
        """Learn from held-out cells how far to trust the model; what cannot be held out is said, and the model is kept.

        A model that is adapted to a query has learned other cells before, and is to annotate cells like those that it learns now. They
        are held out one by one: without a whole cluster it would forget what it knows of the type.
        """
        cross_fit = self._cross_fit(reference, settings, options, start)
        try:
            cells = self._evaluate_held_out(reference, settings, result, cross_fit)
            unlike = cells if self._has_pretrained_weights else cross_fit.evaluate_unlike(cells)
        except SctabError as error:
            warn("The model is trained but not calibrated: ", error.message)
        else:
            self._take_held_out(cells, unlike)

    def _take_held_out(self, cells: HeldOutCells, unlike: HeldOutCells) -> None:
        """Learn from cells that models of other parts of the reference evaluated.

        Parameters
        ----------
        cells
            Cells that promises rest on.
        unlike
            Cells that the temperature is learned from.
        """
        self.spec = replace(self.spec, calibration=unlike.calibrate(self.spec))
        self._arrays = {**self._arrays, **cells.to_arrays(np.random.default_rng(0))}

    def _evaluate_held_out(
        self, reference: Reference, settings: CommonSettings, result: TrainingResult, cross_fit: CrossFit
    ) -> HeldOutCells:
        if reference.n_folds(None) == 1 and not settings.refit:
            validation = reference.validation(result.split)
            if validation is not None:
                return join_folds([evaluate_fold(validation, self.predictor)], self.spec)
        return cross_fit.evaluate("dataset")

    def _cross_fit(
        self,
        reference: Reference,
        settings: CommonSettings,
        options: Mapping[str, Any],
        start: Mapping[str, torch.Tensor] | None = None,
    ) -> CrossFit:
        """Trainings on other parts of the reference, from the same start and without the second training on all cells."""
        quiet = {name: value for name, value in options.items() if name != "callbacks"} | {"enable_progress_bar": False}
        known = {name: value for name, value in quiet.items() if name in self._option_names()}
        training = FoldTraining(
            type(self),
            self.spec.with_training({}),
            {"settings": replace(settings, refit=False), **known},
            start=start,
            is_frozen=self._is_frozen,
        )
        return CrossFit(
            reference=reference,
            trainings=[training],
            spec=self.spec,
            seed=settings.seed,
            n_jobs=useful_jobs(reference.n_obs, options.get("accelerator", "auto"), options.get("devices", "auto")),
            shown=bool(options.get("enable_progress_bar", True)),
        )

    @classmethod
    def _setting_names(cls) -> list[str]:
        """Settings that the class has."""
        return [field.name for field in fields(cls._default_training(LARGE_REFERENCE))]

    @classmethod
    def _option_names(cls) -> set[str]:
        """Options that :meth:`train` passes on unchanged: parameters of :meth:`_fit` and, if it accepts any, of the Lightning trainer."""
        parameters = signature(cls._fit).parameters.values()
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} | (
            trainer_options() if takes_any else set()
        )

    @classmethod
    def _settings(
        cls, reference: Reference, given: Mapping[str, Any], settings: CommonSettings | None
    ) -> tuple[CommonSettings, dict[str, Any]]:
        """Training settings for a reference, and options passed on; a given `None` means the default."""
        known, options = cls._setting_names(), cls._option_names()
        if unknown := sorted({name for name, value in given.items() if value is not None} - {*known, *options}):
            near = "".join(did_you_mean(name, known) for name in unknown)
            raise SettingError(
                *listed(unknown),
                " cannot be set for ",
                Either(f"`{cls.__name__}`.{near} Available: {listing(known, most=30)}.", f"`{short_name(cls.__name__)}`. Omit it."),
            )
        defaults = reference.training_defaults(cls._default_training(reference.n_obs))
        if settings is not None and type(settings) is not type(defaults):
            raise SettingError(
                Parameter("settings"),
                f" must be `{type(defaults).__name__}` for `{cls.__name__}`, and is `{type(settings).__name__}`.",
            )
        overrides = {name: value for name, value in given.items() if name in known and value is not None}
        reference.check_settings(overrides)
        passed_on = {name: value for name, value in given.items() if name in options and name not in known}
        return replace(defaults if settings is None else settings, **overrides), passed_on

    def _require_finite(self, start: Mapping[str, torch.Tensor] | None) -> None:
        """Refuse weights of a training that diverged and go back to those before, `None` being a new network."""
        if not (problem := problem_of_weights(self.module.state_dict())):
            return
        if start is None:
            self.module, self.is_trained_, self.history_ = self._new_network(), False, None
        else:
            self.module.load_state_dict(dict(start))
        self.module.eval()
        raise SettingError(f"{problem}: the training diverged. Train again with a lower `learning_rate`.")

    def _warn_of_divergence(self) -> None:
        """Say when a training diverged after the epoch whose weights are kept."""
        is_finite = np.isfinite(self.history_["train_loss"].to_numpy(dtype=float).ravel())
        if not is_finite.all():
            warn(
                f"The training diverged in epoch {int(is_finite.argmin())}: its loss is not a finite number. The weights of an earlier "
                "epoch were kept. Train again with a lower `learning_rate`."
            )

    def _fit_all(
        self,
        data: TrainingData,
        settings: CommonSettings,
        validated: TrainingResult,
        start: Mapping[str, torch.Tensor] | None,
        options: Mapping[str, Any],
    ) -> TrainingResult:
        """Train from the same start, `None` being a new network, on all cells; history and split stay those that were validated."""
        kept = {name: getattr(self, name) for name in ("history_", "train_indices", "validation_indices")}
        self.history_, self.is_trained_ = None, False  # otherwise scvi-tools continues with the history
        with seeded(settings.seed), progress_titled("on all cells", after="training"):
            if start is None:
                self.module = self._new_network()
            else:
                self.module.load_state_dict(dict(start))
            quiet = {name: value for name, value in options.items() if name != "callbacks"}
            result = self._fit(
                data, settings.for_all_cells(validated.best_epoch or 0), run_dir=None, logger=None, resume=False, **quiet
            )
        for name, value in kept.items():
            setattr(self, name, value)
        return replace(validated, importance=result.importance)

    def write_checkpoint(self, path: Path) -> None:
        """Write the weights as they are in the middle of a training to a model directory, without a history.

        Nothing is written of a training that diverges; it says so at its end.
        """
        if not problem_of_weights(self.module.state_dict()):
            write_model(path, self.spec.with_training({}), self.module.state_dict(), self.gene_importance, overwrite=True)
