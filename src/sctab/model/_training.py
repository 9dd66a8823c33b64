"""Training a network by gradient: plan and loop, without any knowledge of which network it is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from scipy import sparse
from scvi.train import TrainRunner
from torch import Tensor, nn

from sctab._errors import SettingError
from sctab.augmentation import SparseRows, add_donor_differences, donor_differences, drop_genes
from sctab.counts import Normalization, normalise
from sctab.metrics import correct_codes, macro_f1_of_codes
from sctab.model._batches import CountsDataModule
from sctab.model._logging import (
    CHECKPOINTS_DIRECTORY,
    LoggerChoice,
    LogLearningRate,
    SaveCheckpoints,
    start_logging,
    write_augmentation,
)
from sctab.model._settings import OWN_LABEL, TrainingData, TrainingResult, TrainingSettings
from sctab.nn import cross_entropy, hierarchical_cross_entropy, normalise_counts
from sctab.sampling import Split, split_cells

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
    run_dir, logger
        What to leave behind, see :meth:`CellTypeClassifier.train`.
    accelerator, devices, **trainer_kwargs
        Passed to :class:`scvi.train.Trainer`.
    """
    split = split_cells(
        data.labels,
        data.donors,
        train_size=settings.train_size,
        by=settings.validation_split,
        rng=settings.split_rng,
    )
    batches = CountsDataModule(data, split, settings.batch_size, settings.seed)
    differences = _donor_differences(data, split, normalization, settings.seed) if settings.augment else None
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
    options = {
        "enable_progress_bar": True,
        "check_val_every_n_epoch": 1,
        "early_stopping": settings.early_stopping and has_validation,
        "early_stopping_monitor": MONITOR,
        "early_stopping_mode": "max",
        "early_stopping_patience": settings.patience,
        "gradient_clip_val": settings.gradient_clip,
        "log_every_n_steps": 1,
        "benchmark": False,
        **({} if has_validation else {"limit_val_batches": 0}),
        **trainer_kwargs,
    }
    recording: list[Callback] = [LogLearningRate()]
    if run_dir is not None:
        recording.append(SaveCheckpoints(Path(run_dir) / CHECKPOINTS_DIRECTORY, model.write_checkpoint))
    options["callbacks"] = [*(options.get("callbacks") or []), *recording, *([best] if has_validation else [])]
    options["logger"] = start_logging(
        run_dir, logger, {"model": type(model).__name__} | dict(model.spec.architecture) | asdict(settings)
    )
    if run_dir is not None and differences is not None:
        how = (donor_differences.__kwdefaults__ or {}) | {"seed": settings.seed} | asdict(normalization)
        write_augmentation(run_dir, differences, model.spec.features, how)
    _set_training_mode(network)
    with _quiet_lightning(), _without_denormals():
        runner = TrainRunner(
            model,
            training_plan=plan,
            data_splitter=batches,
            max_epochs=settings.max_epochs,
            accelerator=accelerator,
            devices=devices,
            **options,
        )
        runner()
    return TrainingResult(split, runner.trainer.current_epoch, best.epoch, best.value)


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
        self._validated: list[tuple[Tensor, Tensor, float]] = []

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> Tensor:
        """Loss of one batch of counts, `(n_obs, n_vars)`, covariates, `(n_obs, n_categories)`, and labels, `(n_obs,)`."""
        counts, covariates, labels = batch
        # Dropped before normalisation, as in a query that lacks the genes: what is left is scaled up.
        values = normalise_counts(drop_genes(counts, self.settings.gene_dropout), self.normalization.target_sum)
        if self.differences is not None:
            values = add_donor_differences(values, self.differences)
        known = covariates * (torch.rand_like(covariates) >= self.settings.covariate_dropout)  # one draw per cell and covariate
        output = self.network(torch.cat([values, known], dim=1))
        loss = self._loss(output.logits, labels, label_smoothing=self.settings.label_smoothing) + self._weight_penalty()
        if self.penalty is not None:
            loss = loss + self.penalty(output)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), prog_bar=True)
        return loss

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
        loss = self._loss(logits, labels)
        self._validated.append((labels.cpu(), logits.argmax(dim=1).cpu(), float(loss)))

    def on_validation_epoch_end(self) -> None:
        """Log loss and macro F1 of the epoch."""
        labels, predicted, losses = zip(*self._validated, strict=True)
        self._validated = []
        sizes = [len(part) for part in labels]
        truth = torch.cat(labels).numpy()
        corrected = correct_codes(truth, torch.cat(predicted).numpy(), self.child_matrix.cpu().numpy())
        value = macro_f1_of_codes(truth, corrected)
        self.log("validation_loss", float(np.average(losses, weights=sizes)))
        self.log(MONITOR, value, prog_bar=True)

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


def _donor_differences(data: TrainingData, split: Split, normalization: Normalization, seed: int) -> sparse.csr_matrix:
    if data.donors is None:
        raise SettingError("`augment=True` needs donors. Pass `donor_key` to `setup_anndata`, or leave `augment` out.")
    found = donor_differences(
        lambda cells: normalise(data.counts[split.train[cells]], normalization),
        data.labels[split.train],
        data.donors[split.train],
        rng=np.random.default_rng(seed),
    )
    if not found.shape[0]:
        raise SettingError("`augment=True` needs a cell type of which two training donors have cells. Leave `augment` out.")
    return found


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
