"""Training a network on counts: data, loop and settings, without any knowledge of which network it is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from scipy import sparse
from scvi.train import TrainRunner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from sctab._errors import SettingError
from sctab.augmentation import drop_genes
from sctab.counts import Normalization
from sctab.metrics import macro_f1
from sctab.nn import cross_entropy, normalise_counts
from sctab.sampling import Split, SplitBy, balanced_class_weights, split_cells

if TYPE_CHECKING:
    from scvi.model.base import BaseModelClass

Schedule = Literal["one-cycle", "step"]
MONITOR = "validation_macro_f1"


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained. The defaults of a model class are a rule over the size of the reference."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    """`"one-cycle"`: up to `learning_rate` and down to almost nothing, batch by batch. `"step"`: times `lr_decay` after every epoch."""
    gene_dropout: float
    """Largest share of genes set to zero in a training cell, see :func:`sctab.augmentation.drop_genes`."""
    early_stopping: bool
    patience: int
    """Epochs without a better validation macro F1 after which training stops."""
    lr_decay: float = 0.9
    gradient_clip: float = 1.0
    """Largest Euclidean norm of the gradient."""
    class_weights: bool = True
    train_size: float = 0.9
    validation_split: SplitBy = "donor"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no sense, before any work is done."""
        rules = {
            "max_epochs": (self.max_epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 2, "at least 2: batch normalisation needs two cells"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "gene_dropout": (0 <= self.gene_dropout <= 1, "between 0 and 1"),
            "patience": (self.patience >= 1, "at least 1"),
            "train_size": (0 < self.train_size <= 1, "above 0 and at most 1"),
            "schedule": (self.schedule in ("one-cycle", "step"), "`one-cycle` or `step`"),
            "validation_split": (self.validation_split in ("donor", "stratified"), "`donor` or `stratified`"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise SettingError(f"`{name}={getattr(self, name)!r}` must be {rule}.")


@dataclass(frozen=True)
class TrainingData:
    """Counts over the model's genes, and what is known of each cell."""

    counts: sparse.csr_matrix = field(repr=False)
    """`(n_obs, n_vars)`."""
    labels: NDArray[np.int64]
    """Class of each cell, `(n_obs,)`; negative where there is none."""
    donors: NDArray[np.int64] | None
    """Donor of each cell, `(n_obs,)`."""
    n_classes: int


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training."""

    split: Split
    epochs: int
    """Epochs that were run."""
    best_epoch: int | None
    """The epoch whose weights were kept, counted from 0; `None` without validation, when the last are kept."""
    best_macro_f1: float | None
    """Validation macro F1 of that epoch."""


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
    accelerator, devices, **trainer_kwargs
        Passed to :class:`scvi.train.Trainer`.
    """
    split = split_cells(
        data.labels,
        data.donors,
        train_size=settings.train_size,
        by=settings.validation_split,
        rng=np.random.default_rng(settings.seed),
    )
    batches = CountsDataModule(data, split, settings.batch_size, settings.seed)
    plan = TrainingPlan(network, settings, normalization, penalty, _class_weights(data, split, settings), batches.n_batches)
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
    options["callbacks"] = [*(options.get("callbacks") or []), *([best] if has_validation else [])]
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


def summarise(
    settings: TrainingSettings, data: TrainingData, result: TrainingResult, history: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """What `model.json` keeps of a training: settings, size of the reference, split, outcome and history."""
    return {
        "settings": asdict(settings),
        "n_obs": int(data.counts.shape[0]),
        "n_labeled": int((data.labels >= 0).sum()),
        "cells_per_label": np.bincount(data.labels[data.labels >= 0], minlength=data.n_classes).tolist(),
        "n_donors": None if data.donors is None else len(np.unique(data.donors)),
        "validation": {
            "by": result.split.by,
            "n_train": len(result.split.train),
            "n_validation": len(result.split.validation),
            "macro_f1": result.best_macro_f1,
        },
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "history": {name: [float(value) for value in values.iloc[:, 0]] for name, values in history.items()},
    }


def stored_history(training: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The `history` of a model from what :func:`summarise` kept."""
    return {
        name: pd.DataFrame({name: values}, index=pd.RangeIndex(len(values), name="epoch"))
        for name, values in training.get("history", {}).items()
    }


class TrainingPlan(LightningModule):
    """Weighted cross-entropy, AdamW and a schedule; loss and macro F1 of the validation cells after every epoch."""

    def __init__(
        self,
        network: nn.Module,
        settings: TrainingSettings,
        normalization: Normalization,
        penalty: Callable[[Any], Tensor] | None,
        class_weights: Tensor | None,
        n_batches: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.normalization = normalization
        self.penalty = penalty
        self.n_batches = n_batches
        self.register_buffer("class_weights", class_weights)
        self._validated: list[tuple[Tensor, Tensor, float]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Loss of one batch of counts, `(n_obs, n_vars)`, and labels, `(n_obs,)`."""
        counts, labels = batch
        # Dropped before normalisation, as in a query that lacks the genes: what is left is scaled up.
        values = normalise_counts(drop_genes(counts, self.settings.gene_dropout), self.normalization.target_sum)
        output = self.network(values)
        loss = cross_entropy(output.logits, labels, class_weights=self.class_weights)
        if self.penalty is not None:
            loss = loss + self.penalty(output)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Gather predictions of one batch."""
        counts, labels = batch
        logits = self.network(normalise_counts(counts, self.normalization.target_sum)).logits
        loss = cross_entropy(logits, labels, class_weights=self.class_weights)
        self._validated.append((labels.cpu(), logits.argmax(dim=1).cpu(), float(loss)))

    def on_validation_epoch_end(self) -> None:
        """Log loss and macro F1 of the epoch."""
        labels, predicted, losses = zip(*self._validated, strict=True)
        self._validated = []
        sizes = [len(part) for part in labels]
        value = macro_f1(torch.cat(labels).numpy(), torch.cat(predicted).numpy())
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


class CountsDataModule(LightningDataModule):
    """Batches of sparse counts, made dense on the device that trains on them."""

    def __init__(self, data: TrainingData, split: Split, batch_size: int, seed: int) -> None:
        super().__init__()
        self.rows = _Rows(data.counts, data.labels)
        self.train_idx = split.train
        self.val_idx = split.validation
        self.test_idx = np.array([], dtype=np.int64)
        self.n_train, self.n_val = len(split.train), len(split.validation)
        self._batches = _Batches(split.train, batch_size, torch.Generator().manual_seed(seed))
        self._validation_batches = _Batches(split.validation, batch_size, None)

    @property
    def n_batches(self) -> int:
        """Training batches per epoch."""
        return len(self._batches)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew in every epoch."""
        return DataLoader(self.rows, sampler=self._batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order."""
        return DataLoader(self.rows, sampler=self._validation_batches, batch_size=None)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], _index: int) -> tuple[Tensor, Tensor]:
        """Make the counts dense where they are now."""
        counts, labels = batch
        return counts.to_dense(), labels


class _Rows(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, counts: sparse.csr_matrix, labels: NDArray[np.int64]) -> None:
        self.counts, self.labels = counts, labels

    def __getitem__(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return to_sparse_tensor(self.counts[rows]), torch.from_numpy(self.labels[rows])


class _Batches(Sampler[NDArray[np.int64]]):
    """Batches of nearly equal size: a last batch of one cell would have no variance to normalise by."""

    def __init__(self, cells: NDArray[np.int64], batch_size: int, shuffle: torch.Generator | None) -> None:
        self.cells, self.shuffle = cells, shuffle
        self._n_batches = -(-len(cells) // batch_size)

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        cells = self.cells
        if self.shuffle is not None:
            cells = cells[torch.randperm(len(cells), generator=self.shuffle).numpy()]
        return iter(np.array_split(cells, self._n_batches))


def to_sparse_tensor(block: sparse.csr_matrix) -> Tensor:
    """A float32 CSR tensor of a block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(block.indptr.astype(np.int64)),
            torch.from_numpy(block.indices.astype(np.int64)),
            torch.from_numpy(block.data.astype(np.float32)),
            size=block.shape,
            check_invariants=False,  # SciPy has made it
        )


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


def _class_weights(data: TrainingData, split: Split, settings: TrainingSettings) -> Tensor | None:
    if not settings.class_weights:
        return None
    return torch.from_numpy(balanced_class_weights(data.labels[split.train], data.n_classes))


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
