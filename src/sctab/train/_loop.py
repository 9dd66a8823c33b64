"""Training a network by gradient, without any knowledge of which network it is."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, LambdaCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from numpy.typing import NDArray
from torch import Tensor, nn

from sctab.augmentation import SparseRows, donor_differences
from sctab.errors import SettingError
from sctab.inference import ModelSpec
from sctab.io import as_path
from sctab.train._batches import to_sparse_tensor
from sctab.train._logging import (
    CHECKPOINTS_DIRECTORY,
    Checkpoints,
    LoggerChoice,
    SaveCheckpoints,
    forget,
    start_logging,
    write_augmentation,
)
from sctab.train._plan import MONITOR, TrainingPlan
from sctab.train._processes import is_first_process
from sctab.train._progress import StepProgress
from sctab.train._reference import TrainingData, content_hash
from sctab.train._settings import TrainingResult, TrainingSettings
from sctab.train._state import STATE_FILE, KeepState, StateIO, read_history
from sctab.train._threads import useful_threads, with_useful_threads

TIMES_AS_FAST = 4
"""Ratio of the processor time of a dense step of TabNet to that of one from stored counts, see `benchmarks/training_step.py`."""


def fit_network(
    network: nn.Module,
    spec: ModelSpec,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    run: Callable[..., Trainer],
    write_checkpoint: Callable[[Path], object],
    is_new: bool = True,
    penalty: Callable[[Any], Tensor] | None = None,
    run_dir: str | PathLike[str] | None = None,
    logger: LoggerChoice = None,
    resume: bool = False,
    keep_checkpoints: Checkpoints = "best",
    **trainer_kwargs: Any,
) -> TrainingResult:
    """Train a network and leave the weights of its best epoch in it.

    Parameters
    ----------
    network
        Gives an object with `logits`, `(n_obs, n_classes)`, for normalised expression and covariates.
    spec
        The model that the network belongs to.
    data, settings
        What to learn, and how.
    run
        Makes a :class:`lightning.pytorch.Trainer` of its keyword arguments, all but `ckpt_path`; fits the plan to the batches, and
        returns the trainer.
    write_checkpoint
        Writes the model as it is to a path; called after every validation where there is a `run_dir`.
    is_new
        Whether the initial weights follow from the seed.
    penalty
        Added to the loss; computed from the output of the network.
    run_dir, logger, resume, keep_checkpoints
        Where to write the training, whether to resume an existing one, and which models of epochs stay, see
        :meth:`sctab.model.CellTypeClassifier.train`.
    **trainer_kwargs
        Passed to `run`.
    """
    split = data.split(settings)
    batches = data.batches(split, settings.batch_size, settings.seed)
    differences = data.donor_differences(split, spec.normalization, settings.seed) if settings.augment else None
    plan = TrainingPlan(
        network,
        settings,
        spec.normalization,
        penalty,
        class_weights=torch.from_numpy(data.class_weights(split)) if settings.class_weights else None,
        child_matrix=torch.from_numpy(data.child_matrix),
        unresolved_subtypes=torch.from_numpy(data.unresolved_subtypes),
        differences=None if differences is None else SparseRows(differences),
        n_batches=batches.n_batches,
        panel=spec.proteins,
    )
    best = KeepBestWeights(first_epoch=_first_settled_epoch(settings))
    has_validation = len(split.validation) > 0
    callbacks: list[Callback] = list(trainer_kwargs.pop("callbacks", None) or [])
    if has_validation:
        callbacks.append(best)
        if run_dir is not None:
            directory = as_path(run_dir) / CHECKPOINTS_DIRECTORY
            callbacks.append(SaveCheckpoints(directory, write_checkpoint, lambda: best.epoch, keep_checkpoints))
        if settings.early_stopping:
            # A training that resumes after a validation does not validate again, and has no metric at the end of that epoch.
            stopping = EarlyStopping(monitor=MONITOR, mode="max", patience=settings.patience, check_on_train_epoch_end=False)
            callbacks.append(stopping)
    if trainer_kwargs.get("enable_progress_bar", True):
        callbacks.append(StepProgress("validated on learned donors" if split.by == "stratified" else ""))
    facts = {"model": spec.model_class} | dict(spec.architecture) | asdict(settings)
    history = None
    if run_dir is not None:
        state = as_path(run_dir) / STATE_FILE
        identity = facts | {
            "reference": data.identity,
            "genes": spec.features.names,
            "labels": spec.labels.names,
            "covariates": spec.category_names,
            **({} if spec.proteins is None else {"proteins": spec.proteins.to_json()}),
            "initial weights": "" if is_new else content_hash(*(tensor.cpu().numpy() for tensor in network.state_dict().values())),
        }
        callbacks.append(KeepState(state, identity))  # after all that it keeps
        trainer_kwargs["plugins"] = [*(trainer_kwargs.get("plugins") or []), StateIO()]
        if resume and state.exists():
            history = read_history(state, identity)
            trainer_kwargs["ckpt_path"] = state
        elif resume:
            forget(run_dir)
    options = {
        "max_epochs": settings.max_epochs,
        "enable_progress_bar": True,
        "check_val_every_n_epoch": 1,
        "gradient_clip_val": settings.gradient_clip,
        "log_every_n_steps": 1,
        "benchmark": False,
        "use_distributed_sampler": False,  # batches are shared out where they are made
        **({} if has_validation else {"limit_val_batches": 0}),
        **trainer_kwargs,
        "callbacks": callbacks,
        "logger": start_logging(run_dir, logger, facts, history=history),
    }
    if run_dir is not None and differences is not None and is_first_process():
        how = (donor_differences.__kwdefaults__ or {}) | {"seed": settings.seed} | asdict(spec.normalization)
        write_augmentation(run_dir, differences, spec.features, how)
    _set_training_mode(network)
    n_products = _products_of_step(plan, data, split.train[: settings.batch_size])
    with _quiet_lightning(), without_denormals(), with_useful_threads(n_products):
        try:
            trainer = run(plan, batches, **options)
        except SIGTERMException as error:  # would end the process as if it were done
            raise SystemExit(128 + signal.SIGTERM) from error
        except MisconfigurationException as error:  # such as a GPU that is not in this machine
            raise SettingError(f"Lightning refuses the settings of the trainer: {str(error).rstrip('.!')}. Change them.") from error
    return TrainingResult(split, trainer.current_epoch, best.epoch, best.value)


def _products_of_step(plan: TrainingPlan, data: TrainingData, cells: NDArray[np.int64]) -> int:
    """Products of a step of the optimiser on some cells: cells times weights, and a part of that where stored counts are all it takes."""
    n_products = len(cells) * sum(parameter.numel() for parameter in plan.network.parameters())
    if useful_threads(n_products, 2) == 1 or not plan.takes_sparse(to_sparse_tensor(data.rows(cells))):
        return n_products
    return n_products // TIMES_AS_FAST


def stop_unless(should_continue: Callable[[int, float], bool]) -> Callback:
    """A callback that ends a training when `should_continue` is false of an epoch, counted from 0, and its validation macro F1."""

    def ask(trainer: Trainer, _plan: Any) -> None:
        if not should_continue(trainer.current_epoch, float(trainer.callback_metrics[MONITOR])):
            trainer.should_stop = True

    return LambdaCallback(on_validation_end=ask)


class KeepBestWeights(Callback):
    """Keep the weights of the epoch with the best validation macro F1, the later one where two are equal.

    Parameters
    ----------
    first_epoch
        The first epoch that is looked at, counted from 0.
    """

    def __init__(self, *, first_epoch: int = 0) -> None:
        self.first_epoch = first_epoch
        self.value: float | None = None
        self.epoch: int | None = None
        self._weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Compare the epoch that was just validated."""
        if trainer.current_epoch < self.first_epoch:
            return
        value = float(trainer.callback_metrics[MONITOR])
        if self.value is None or value >= self.value:
            self.value, self.epoch = value, int(trainer.current_epoch)
            self._weights = {name: tensor.detach().clone() for name, tensor in pl_module.network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """State for a resumed training."""
        return {"value": self.value, "epoch": self.epoch, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up."""
        self.value, self.epoch, self._weights = state_dict["value"], state_dict["epoch"], state_dict["weights"]

    def on_train_end(self, _trainer: Any, pl_module: Any) -> None:
        """Put the best weights back."""
        if self._weights:
            pl_module.network.load_state_dict(self._weights)
            self._weights = {}


def _first_settled_epoch(settings: TrainingSettings) -> int:
    """The first epoch whose weights may be kept.

    In a one-cycle schedule the learning rate is high until late. Validation cells are often of the same samples as the others, and
    then a chance best epoch in the middle of the cycle is chosen although its weights have not settled. Only the last fifth counts, in
    which the learning rate is under a fifth of its peak. With early stopping, every epoch may turn out to be the last.
    """
    if settings.schedule == "step" or settings.early_stopping:
        return 0
    return int(0.8 * settings.max_epochs)


def _set_training_mode(network: nn.Module) -> None:
    """Training mode for all that learns; what is frozen keeps its running statistics too."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators for a block, and restore them afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def without_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 as zero for a block.

    The moments of AdamW of a gene that the mask does not select shrink by a tenth per step until they are denormal, and with those a
    processor is much slower.
    """
    tiny = torch.tensor([torch.finfo(torch.float32).tiny])
    was_on = not (tiny / 2).any()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress log lines on missing devices and advice on worker processes."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen on purpose
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.* is deprecated.*")
            yield
    finally:
        logger.setLevel(level)
