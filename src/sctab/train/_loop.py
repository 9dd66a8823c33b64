"""Training a network by gradient: plan and loop, without any knowledge of which network it is."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from scvi.train import LoudEarlyStopping, TrainRunner
from torch import Tensor, nn

from sctab.augmentation import SparseRows, add_donor_differences, donor_differences, drop_genes
from sctab.data import Normalization
from sctab.io import as_path
from sctab.metrics import correct_codes, macro_f1_of_codes
from sctab.nn import cross_entropy, hierarchical_cross_entropy, normalise_counts
from sctab.train._logging import (
    CHECKPOINTS_DIRECTORY,
    LoggerChoice,
    SaveCheckpoints,
    forget,
    start_logging,
    write_augmentation,
)
from sctab.train._processes import is_first_process, n_processes, summed
from sctab.train._reference import TrainingData, content_hash
from sctab.train._settings import OWN_LABEL, TrainingResult, TrainingSettings
from sctab.train._state import STATE_FILE, EpochMeans, KeepState, StateIO, read_history

if TYPE_CHECKING:
    from scvi.model.base import BaseModelClass

MONITOR = "validation_macro_f1"


def fit_network(
    model: BaseModelClass,
    network: nn.Module,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    normalization: Normalization,
    penalty: Callable[[Any], Tensor] | None = None,
    accelerator: str = "auto",
    devices: Any = "auto",
    run_dir: str | PathLike[str] | None = None,
    logger: LoggerChoice = None,
    resume: bool = False,
    **trainer_kwargs: Any,
) -> TrainingResult:
    """Train a network and leave the weights of its best epoch in it.

    Parameters
    ----------
    model
        The model that the network belongs to; scvi-tools' runner writes `history` and the split into it.
    network
        Gives an object with `logits`, `(n_obs, n_classes)`, for normalised expression.
    data, settings, normalization
        What to learn, how, and on which scale.
    penalty
        What is added to the loss, from what the network gives.
    run_dir, logger, resume
        What to leave behind and to go on from, see :meth:`CellTypeClassifier.train`.
    accelerator, devices, **trainer_kwargs
        Passed to :class:`scvi.train.Trainer`.
    """
    split = data.split(settings)
    batches = data.batches(split, settings.batch_size, settings.seed)
    differences = data.donor_differences(split, normalization, settings.seed) if settings.augment else None
    plan = TrainingPlan(
        network,
        settings,
        normalization,
        penalty,
        class_weights=torch.from_numpy(data.class_weights(split)) if settings.class_weights else None,
        child_matrix=torch.from_numpy(data.child_matrix),
        unlooked_subtypes=torch.from_numpy(data.unlooked_subtypes),
        differences=None if differences is None else SparseRows(differences),
        n_batches=batches.n_batches,
    )
    best = KeepBestWeights(first_epoch=_first_settled_epoch(settings))
    has_validation = len(split.validation) > 0
    callbacks: list[Callback] = list(trainer_kwargs.pop("callbacks", None) or [])
    if run_dir is not None:
        callbacks.append(SaveCheckpoints(as_path(run_dir) / CHECKPOINTS_DIRECTORY, model.write_checkpoint))
    if has_validation:
        callbacks.append(best)
        if settings.early_stopping:
            callbacks.append(LoudEarlyStopping(monitor=MONITOR, mode="max", patience=settings.patience, warmup_epochs=0))
    what = {"model": type(model).__name__} | dict(model.spec.architecture) | asdict(settings)
    history = None
    if run_dir is not None:
        state = as_path(run_dir) / STATE_FILE
        goes_on = model.is_trained or getattr(model, "_has_pretrained_weights", False)  # otherwise they follow from the seed
        identity = what | {
            "reference": data.identity,
            "genes": model.spec.features.names,
            "labels": model.spec.labels.names,
            "covariates": model.spec.category_names,
            "initial weights": content_hash(*(tensor.cpu().numpy() for tensor in network.state_dict().values())) if goes_on else "",
        }
        callbacks.append(KeepState(state, identity))  # after all that it keeps
        trainer_kwargs["plugins"] = [*(trainer_kwargs.get("plugins") or []), StateIO()]
        if resume and state.exists():
            history = read_history(state, identity)
            trainer_kwargs["ckpt_path"] = state
        elif resume:
            forget(run_dir)
    options = {
        "enable_progress_bar": True,
        "check_val_every_n_epoch": 1,
        "gradient_clip_val": settings.gradient_clip,
        "log_every_n_steps": 1,
        "benchmark": False,
        "use_distributed_sampler": False,  # batches are shared out where they are made
        **({} if has_validation else {"limit_val_batches": 0}),
        **trainer_kwargs,
        "callbacks": callbacks,
        "logger": start_logging(run_dir, logger, what, history=history),
    }
    if run_dir is not None and differences is not None and is_first_process():
        how = (donor_differences.__kwdefaults__ or {}) | {"seed": settings.seed} | asdict(normalization)
        write_augmentation(run_dir, differences, model.spec.features, how)
    _set_training_mode(network)
    with _quiet_lightning(), _without_denormals():
        runner = _Runner(
            model,
            training_plan=plan,
            data_splitter=batches,
            max_epochs=settings.max_epochs,
            accelerator=accelerator,
            devices=devices,
            **options,
        )
        try:
            runner()
        except SIGTERMException as error:  # would end the process as if it were done
            raise SystemExit(128 + signal.SIGTERM) from error
    return TrainingResult(split, runner.trainer.current_epoch, best.epoch, best.value)


class _Runner(TrainRunner):
    """Trains and keeps the history also of a training that ended early; scvi-tools' prints a line on every exception."""

    def _run_training_core(self) -> None:
        try:
            self.trainer.fit(self.training_plan, self.data_splitter, ckpt_path=self.ckpt_path)
        finally:
            self._update_history()
        for part, of_splitter in (("train", "train"), ("test", "test"), ("validation", "val")):
            setattr(self.model, f"{part}_indices", getattr(self.data_splitter, f"{of_splitter}_idx", None))
        self.model.module.eval()
        self.model.is_trained_ = True
        self.model.to_device(self.device)
        self.model.trainer = self.trainer


class TrainingPlan(LightningModule):
    """Weighted loss, AdamW and a schedule; loss and ontology-corrected macro F1 of the validation cells after every epoch."""

    def __init__(
        self,
        network: nn.Module,
        settings: TrainingSettings,
        normalization: Normalization,
        penalty: Callable[[Any], Tensor] | None,
        *,
        class_weights: Tensor | None,
        child_matrix: Tensor,
        unlooked_subtypes: Tensor,
        differences: SparseRows | None,
        n_batches: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.normalization = normalization
        self.penalty = penalty
        self.n_batches = n_batches
        self.differences = differences
        self.register_buffer("class_weights", class_weights)
        self.register_buffer("child_matrix", child_matrix)
        self.register_buffer("of_loss", unlooked_subtypes if settings.loss == "auto" else child_matrix)
        self.is_plain = settings.loss == "cross-entropy" or int(self.of_loss.sum()) == len(child_matrix)  # no subtypes
        self.of_epoch = EpochMeans()
        self._confusion = torch.zeros_like(child_matrix, dtype=torch.int64)
        self._validation_loss = torch.zeros(2, dtype=torch.float64)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> Tensor:
        """Loss of one batch of counts, `(n_obs, n_vars)`, covariates, `(n_obs, n_categories)`, and labels, `(n_obs,)`."""
        counts, covariates, labels = batch
        # Dropped before normalisation, as in a query that lacks the genes: what is left is scaled up.
        values = normalise_counts(drop_genes(counts, self.settings.gene_dropout), self.normalization.target_sum)
        if self.differences is not None:
            values = add_donor_differences(values, self.differences)
        known = covariates * (torch.rand_like(covariates) >= self.settings.covariate_dropout)  # one draw per cell and covariate
        output = self.network(torch.cat([values, known], dim=1))
        loss = self._loss(output.logits, labels, label_smoothing=self.settings.label_smoothing)
        loss = loss * self._share(labels) + self._weight_penalty()
        if self.penalty is not None:
            loss = loss + self.penalty(output)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        whole, n_obs = summed(torch.stack([loss, torch.tensor(float(len(labels)), device=loss.device)])).tolist()
        self.of_epoch.add(int(n_obs), {"train_loss": whole / n_processes(), "learning_rate": rate})
        return loss

    def on_train_epoch_end(self) -> None:
        """Log loss and learning rate of the epoch, the mean over its cells."""
        for name, value in self.of_epoch.means().items():
            self.log(name, value, prog_bar=name == "train_loss")
        self.of_epoch = EpochMeans()

    def _weight(self, labels: Tensor) -> Tensor:
        """How much the cells of a batch weigh together."""
        known = labels[labels >= 0]
        return (
            torch.tensor(float(len(known)), device=labels.device) if self.class_weights is None else self.class_weights[known].sum()
        )

    def _share(self, labels: Tensor) -> Tensor | float:
        """What the loss of a part of a batch is multiplied with, so that its mean over processes is the loss of the batch."""
        if n_processes() == 1:
            return 1.0
        weight = self._weight(labels)
        return weight * n_processes() / summed(weight).clamp_min(torch.finfo(weight.dtype).tiny)

    def _loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        options: dict[str, Any] = {"class_weights": self.class_weights, "label_smoothing": label_smoothing}
        if self.is_plain:
            return cross_entropy(logits, labels, **options)
        own_label = OWN_LABEL if self.settings.loss == "auto" else 0.0
        return hierarchical_cross_entropy(logits, labels, self.of_loss, own_label=own_label, **options)

    def _weight_penalty(self) -> Tensor | float:
        penalty: Tensor | float = 0.0
        for module in self.network.modules():
            if isinstance(module, nn.Linear) and (self.settings.l1 or self.settings.l2):
                penalty = (
                    penalty + self.settings.l1 * module.weight.abs().sum() + self.settings.l2 / 2 * module.weight.square().sum()
                )
        return penalty

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> None:
        """Gather predictions of one batch."""
        counts, covariates, labels = batch
        values = normalise_counts(counts, self.normalization.target_sum)
        logits = self.network(torch.cat([values, covariates], dim=1)).logits
        weight = float(self._weight(labels))
        self._validation_loss += torch.tensor([float(self._loss(logits, labels)) * weight, weight], dtype=torch.float64)
        pairs = torch.bincount(labels * len(self.child_matrix) + logits.argmax(dim=1), minlength=self._confusion.numel())
        self._confusion += pairs.view_as(self._confusion).to(self._confusion.device)

    def on_validation_epoch_end(self) -> None:
        """Log loss and macro F1 of the epoch, over all processes."""
        loss, weight = summed(self._validation_loss.to(self.device)).tolist()
        confusion = summed(self._confusion.to(self.device)).cpu().numpy()
        self._validation_loss.zero_()
        self._confusion.zero_()
        truth, predicted = confusion.nonzero()
        corrected = correct_codes(truth, predicted, self.child_matrix.cpu().numpy())
        self.log("validation_loss", loss / max(weight, torch.finfo(torch.float32).tiny))
        self.log(MONITOR, macro_f1_of_codes(truth, corrected, confusion[truth, predicted]), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule of the settings."""
        settings = self.settings
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        if settings.schedule == "step":
            schedule: Any = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=settings.lr_decay)
            return [optimizer], [{"scheduler": schedule, "interval": "epoch"}]
        # A cycle of fewer than three steps has no room to go up and down again.
        total_steps = max(settings.max_epochs * self.n_batches, 3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total_steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


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
        """What a training that goes on takes up."""
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
    """Seed torch's generators for a block, and put them back afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def _without_denormals() -> Iterator[None]:
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
    """No lines on devices that are not there, and no advice on worker processes that the data does not need."""
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
