"""Training and validation steps of any network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from scipy import sparse
from torch import Tensor, nn

from sctab.augmentation import SparseRows, add_donor_differences, drop_genes
from sctab.data import Normalization, ProteinPanel, hide, kept_antibodies, kept_genes, normalise, normalise_tensor
from sctab.metrics import correct_codes, macro_f1_of_codes
from sctab.nn import TabNet, cross_entropy, hierarchical_cross_entropy
from sctab.train._batches import Batch
from sctab.train._processes import n_processes, summed
from sctab.train._settings import OWN_LABEL, TrainingSettings
from sctab.train._state import EpochMeans
from sctab.train._stored_inputs import as_input, as_matrix, stored_values

MONITOR = "validation_macro_f1"


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
        unresolved_subtypes: Tensor,
        differences: SparseRows | None,
        n_batches: int,
        panel: ProteinPanel | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.normalization = normalization
        self.penalty = penalty
        self.n_batches = n_batches
        self.differences = differences
        self.panel = panel
        self.register_buffer("class_weights", class_weights)
        self.register_buffer("child_matrix", child_matrix)
        self.register_buffer("of_loss", unresolved_subtypes if settings.loss == "auto" else child_matrix)
        self.is_plain = settings.loss == "cross-entropy" or int(self.of_loss.sum()) == len(child_matrix)  # no subtypes
        self.of_epoch = EpochMeans()
        self._confusion = torch.zeros_like(child_matrix, dtype=torch.int64)
        self._validation_loss = torch.zeros(2, dtype=torch.float64)

    def takes_sparse(self, counts: Tensor) -> bool:
        """Return whether the network needs only those counts that are stored; with antibodies beside them all are made dense."""
        return self.panel is None and isinstance(self.network, TabNet) and self.network.takes_sparse(counts)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Loss of one batch of counts, `(n_obs, n_vars)`, what is beside them, `(n_obs, n_beside)`, and labels, `(n_obs,)`."""
        counts, covariates, labels = batch
        values = self._augmented(counts)
        if covariates.shape[1]:
            covariates, has_genes = self._partly_hidden(covariates)
            values = values if has_genes is None else values * has_genes
        output = self.network(_beside(values, covariates))
        loss = self._loss(output.logits, labels, label_smoothing=self.settings.label_smoothing)
        loss = loss * self._share(labels) + self._weight_penalty()
        if self.penalty is not None:
            loss = loss + self.penalty(output)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        of_batch = summed(torch.stack([loss / n_processes(), loss.new_full((), len(labels))]))
        self.of_epoch.add(of_batch, {"learning_rate": rate})
        return loss

    def _partly_hidden(self, beside: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inputs after the genes, `(n_obs, n_beside)`, without those that are hidden from a cell; and cells that keep their genes."""
        n_proteins = 0 if self.panel is None else self.panel.n_inputs
        proteins, covariates = beside.tensor_split([n_proteins], dim=1)
        known = covariates * (torch.rand_like(covariates) >= self.settings.covariate_dropout)  # one draw per cell and covariate
        if self.panel is None:
            return known, None
        draws = torch.rand(len(beside), len(self.panel) + 2, device=beside.device)
        dropout = self.settings.protein_dropout
        proteins = hide(proteins, kept_antibodies(draws, dropout), self.panel)
        return torch.cat([proteins, known], dim=1), kept_genes(draws, dropout)

    def _augmented(self, counts: Tensor) -> Tensor | sparse.csr_matrix:
        """Normalised expression of training cells, `(n_obs, n_vars)`."""
        dropout, normalization = self.settings.gene_dropout, self.normalization
        if counts.layout is torch.sparse_csr:
            return stored_values(as_matrix(counts), gene_dropout=dropout, normalization=normalization, differences=self.differences)
        # Dropped before normalisation, as in a query that lacks the genes: what is left is scaled up.
        values = normalise_tensor(drop_genes(counts, dropout), normalization)
        if self.differences is None:
            return values
        return add_donor_differences(values, self.differences, largest=normalization.largest)

    def on_train_epoch_end(self) -> None:
        """Log loss and learning rate of the epoch, the mean over its cells."""
        for name, value in self.of_epoch.means().items():
            self.log(name, value, prog_bar=name == "train_loss")
        self.of_epoch = EpochMeans()

    def _weight(self, labels: Tensor) -> Tensor:
        """Total weight of the cells of a batch."""
        known = labels[labels >= 0]
        return (
            torch.tensor(float(len(known)), device=labels.device) if self.class_weights is None else self.class_weights[known].sum()
        )

    def _share(self, labels: Tensor) -> Tensor | float:
        """Factor for the loss of a part of a batch, so that the mean over processes is the loss of the batch."""
        if n_processes() == 1:
            return 1.0
        weight = self._weight(labels)
        return weight * n_processes() / summed(weight).clamp_min(torch.finfo(weight.dtype).tiny)

    def _loss(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        # Cells without a label are in no split.
        options: dict[str, Any] = {
            "class_weights": self.class_weights,
            "label_smoothing": label_smoothing,
            "all_labeled": True,
        }
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

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Gather predictions of one batch."""
        counts, covariates, labels = batch
        is_sparse = counts.layout is torch.sparse_csr
        values = normalise(as_matrix(counts), self.normalization) if is_sparse else normalise_tensor(counts, self.normalization)
        logits = self.network(_beside(values, covariates)).logits
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
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            # One pass over the weights instead of ten; gradients of mixed precision are clipped before, which it does not allow.
            fused=True if self.device.type == "cpu" and self.trainer.precision == "32-true" else None,
        )
        if settings.schedule == "step":
            schedule: Any = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=settings.lr_decay)
            return [optimizer], [{"scheduler": schedule, "interval": "epoch"}]
        # A cycle of fewer than three steps has no room to go up and down again.
        total_steps = max(settings.max_epochs * self.n_batches, 3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total_steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _beside(values: Tensor | sparse.csr_matrix, covariates: Tensor) -> Tensor:
    """The input of the network."""
    if isinstance(values, Tensor):
        return torch.cat([values, covariates], dim=1) if covariates.shape[1] else values
    return as_input(values, covariates)
