"""Training a model, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sctab.errors import (
    SettingError,
    listing,
    warn,
)
from sctab.inference import (
    problem_of_weights,
    write_model,
)
from sctab.model._described import DescribedModel
from sctab.train import (
    CommonSettings,
    LoggerChoice,
    TrainingData,
    TrainingResult,
    TrainingSettings,
    measure_importance,
    seeded,
    summarise,
)


class TrainableModel(DescribedModel):
    """A model that learns a reference."""

    def train(
        self,
        max_epochs: int | None = None,
        *,
        batch_size: int | None = None,
        train_size: float | None = None,
        validation_split: str | None = None,
        refit: bool | None = None,
        early_stopping: bool | None = None,
        patience: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        schedule: str | None = None,
        lr_decay: float | None = None,
        gradient_clip: float | None = None,
        loss: str | None = None,
        label_smoothing: float | None = None,
        class_weights: bool | None = None,
        covariate_dropout: float | None = None,
        gene_dropout: float | None = None,
        augment: bool | None = None,
        l1: float | None = None,
        l2: float | None = None,
        accelerator: str = "auto",
        devices: Any = "auto",
        seed: int = 0,
        split_seed: int | None = None,
        run_dir: str | PathLike[str] | None = None,
        logger: LoggerChoice = None,
        resume: bool = False,
        **trainer_kwargs: Any,
    ) -> None:
        """Learn the reference. What is `None` follows from its size, see :ref:`defaults`.

        Calling it again goes on from the weights that are there.

        Parameters
        ----------
        max_epochs
            Passes over the reference.
        batch_size
            Cells per step of the optimiser.
        train_size
            Share of the cells to learn from; the others validate. With 1 there is no validation, and the last weights are kept.
        validation_split
            `"donor"` holds out whole donors where `donor_key` was given and there are enough; `"stratified"` a share of each type.
        refit
            When validation has told how well the model does and how long to train, train it again on all cells, for as long. What is
            reported is the validation before; the model that is kept has learned from the validation cells too.
        early_stopping, patience
            Stop when the validation macro F1 has not improved for `patience` epochs. The best epoch's weights are kept in any case; with
            a one-cycle schedule that runs to its end, the best of its last fifth, where weights have settled.
        learning_rate, weight_decay
            Of AdamW; with a one-cycle schedule the former is its peak.
        schedule, lr_decay
            `"one-cycle"`, or `"step"`: the learning rate is multiplied by `lr_decay` after every epoch.
        gradient_clip
            Largest Euclidean norm of the gradient.
        loss
            What to make of labels of mixed granularity, see :ref:`mixed-granularity`. `"cross-entropy"`: all labels exclude each other, as
            published. `"hierarchical"`: a label is right in all of its subtypes. `"auto"`: in those that the donors with this label do not
            have. Where no label is a subtype of another, all three are the same.
        label_smoothing
            Share of each cell's label that is spread evenly over all types.
        class_weights
            Weigh classes by :math:`n / (K n_k)`, so that rare types count as much as frequent ones.
        covariate_dropout
            How often a training cell is shown without a covariate, see `categorical_covariate_keys` of :meth:`setup_anndata`.
        gene_dropout
            Largest share of genes set to zero in a training cell, see :func:`sctab.augmentation.drop_genes`.
        augment
            Add differences between donors to training cells, see :func:`sctab.augmentation.donor_differences`.
        l1, l2
            Penalties on the weights of all linear maps, added to the loss: `l1` times the sum of their absolute values and half `l2`
            times the sum of their squares.
        accelerator, devices
            As in Lightning: `"cpu"`, `"gpu"`, `"auto"`, …
        seed
            Decides initial weights, split, order of the cells and dropout. The global random state is left as it was.
        split_seed
            Decides the split by itself, so that models with several seeds are validated on the same cells.
        run_dir
            New directory that shows the training while it runs: `metrics.csv`, `tensorboard/`, and a model after every validation in
            `checkpoints/`, see :doc:`/logging`. By default, no file is written.
        logger
            A Lightning logger, `"neptune"`, or a list of these, besides those of `run_dir`.
        resume
            Go on with the training that `run_dir` is of, from the last epoch that it finished, or from where it was told to end
            (SIGTERM); where there is none, one begins. Settings, cells, labels, donors and covariates must be the same; they are known
            by a hash of their content. It needs `run_dir`.
        **trainer_kwargs
            Passed to :class:`scvi.train.Trainer`: `callbacks`, `enable_progress_bar`, `precision="bf16-mixed"`, …

        Raises
        ------
        SettingError
            When a setting makes no sense, when the training diverged, so that weights are NaN, or when `run_dir` is of another training
            than the one that is to go on: of other settings, or of another reference, by its content.
        OutputExistsError
            When `run_dir` is not empty.
        OutputError
            When `run_dir` or a checkpoint cannot be written.
        MissingDependencyError
            When Neptune is asked for and not installed.
        """
        arguments = locals()
        if resume and run_dir is None:
            raise SettingError(
                "`resume=True` needs the `run_dir` of the training that is to go on. Give it, or leave `resume` out."
            )
        if (reference := self._reference) is None:
            raise SettingError("The model was loaded without a reference. Pass one as `adata` to `load`, or use `load_query_data`.")
        defaults = self._default_training(reference.n_obs)
        given = {field.name: arguments[field.name] for field in fields(TrainingSettings) if arguments[field.name] is not None}
        known = [field.name for field in fields(defaults)]
        if unknown := sorted(set(given) - set(known)):
            raise SettingError(f"{listing(unknown)} cannot be set for `{type(self).__name__}`. It has: {listing(known, most=20)}.")
        settings = reference.settings(defaults, given)
        data = reference.data(self.spec)

        with seeded(seed):
            is_new = not self.is_trained and not self._has_pretrained_weights
            start = None if is_new else {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
            if is_new:
                self.module = self._new_network()
            options = {"accelerator": accelerator, "devices": devices} | trainer_kwargs
            try:
                result = self._fit(data, settings, run_dir=run_dir, logger=logger, resume=resume, **options)
            except RuntimeError:  # entmax fails on NaN
                self._require_finite(None if is_new else start)
                raise
        if settings.refit and result.best_epoch is not None:
            result = self._fit_all(data, settings, result, start, options)
        self._require_finite(None if is_new else start)
        self._warn_of_divergence()
        self.module.eval()
        self.spec = self.spec.with_training(summarise(settings, data, result, self.history_))
        self.gene_importance = (
            measure_importance(self._forward, data, self.spec.normalization, device=self.device, rng=np.random.default_rng(seed))
            if result.importance is None
            else result.importance
        )
        self.sha256 = None
        self.is_trained_ = True

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
        self.history_, self.is_trained_ = None, False  # otherwise scvi-tools goes on with the history
        with seeded(settings.seed):
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
