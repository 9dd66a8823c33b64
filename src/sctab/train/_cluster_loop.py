"""Training of an autoencoder of counts, and of clusters in its latent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sctab.errors import Parameter, SettingError
from sctab.inference import ModelSpec
from sctab.io import ProgressReport, as_path
from sctab.metrics import cluster_scores
from sctab.nn import ZINBAutoencoder, soft_assignments, target_distribution
from sctab.train._adadelta import Adadelta
from sctab.train._batches import Batches
from sctab.train._cluster_cells import ClusterCells, CountBatch
from sctab.train._cluster_losses import clustering_losses, pretraining_loss
from sctab.train._cluster_settings import ClusteringResult, ClusteringSettings
from sctab.train._communities import by_size, communities, k_means
from sctab.train._logging import LoggerChoice, forget, log_epoch, start_logging
from sctab.train._loop import seeded, without_denormals
from sctab.train._reference import content_hash
from sctab.train._state import STATE_FILE, STATE_KEY, StateIO, read_history
from sctab.train._threads import with_useful_threads

_DECAY = 0.95
"""Decay of the averages of Adadelta."""
_SECONDS_BETWEEN_STATES = 30.0
_STATE = ("starts", "best", "labels", "epoch")
"""Attributes of a training that are kept."""
_METRICS = ("pretrain_loss", "train_loss", "zinb_loss", "cluster_loss", "changed", "nmi", "ari", "accuracy")


def fit_clusters(
    network: ZINBAutoencoder,
    spec: ModelSpec,
    cells: ClusterCells,
    settings: ClusteringSettings,
    *,
    truth: NDArray[np.object_] | None = None,
    is_new: bool = True,
    centroids: Tensor | None = None,
    run_dir: str | PathLike[str] | None = None,
    logger: LoggerChoice = None,
    resume: bool = False,
    shown: bool = True,
) -> ClusteringResult:
    """Train an autoencoder, then clusters in its latent together with it; the network has the weights of the last epoch.

    Parameters
    ----------
    network
        On the device that trains it. It gets centroids, in the order of the size of their clusters.
    spec
        The model that it belongs to; its architecture has `sigma`, `gamma` and `n_clusters`.
    cells, settings
        What to train on, and how.
    truth
        Given label of each cell, NaN for none, `(n_obs,)`; clusters are compared with them after every update.
    is_new
        Whether the initial weights follow from the seed.
    centroids
        Centroids to start from instead of clusters that are found, `(n_clusters, n_latent)`.
    run_dir, logger, resume
        As in :meth:`sctab.model.SCDeepCluster.train`.
    shown
        Show progress.

    Raises
    ------
    SettingError
        If the training diverges, if there are fewer cells than clusters, or if `run_dir` belongs to another training.
    """
    dtype = torch.float64 if settings.precision == "64-true" else torch.float32
    network.to(dtype)
    network.input_mean.copy_(torch.from_numpy(cells.mean))
    network.input_std.copy_(torch.from_numpy(cells.std))
    facts = {"model": spec.model_class} | dict(spec.architecture) | asdict(settings)
    initial = [] if is_new else [*network.state_dict().values(), *([] if centroids is None else [centroids])]
    start = content_hash(*(tensor.cpu().numpy() for tensor in initial)) if initial else ""
    identity = facts | {"reference": cells.data.identity, "genes": spec.features.names, "initial weights": start}
    n_products = settings.batch_size * sum(parameter.numel() for parameter in network.parameters())
    with seeded(settings.seed), without_denormals(), with_useful_threads(n_products):
        training = _Training(network, cells, settings, spec.architecture, truth, shown=shown)
        with training.logged(run_dir, logger, facts, identity, resume=resume):
            training.pretrain(is_new=is_new)
            training.find_clusters(centroids)
            training.refine()
            training.order()
    network.train(mode=False)
    return training.result


class _Training:
    """The state of a training, which can be kept after every epoch."""

    def __init__(
        self,
        network: ZINBAutoencoder,
        cells: ClusterCells,
        settings: ClusteringSettings,
        architecture: Mapping[str, Any],
        truth: NDArray[np.object_] | None,
        *,
        shown: bool,
    ) -> None:
        self.network, self.cells, self.settings, self.truth, self.shown = network, cells, settings, truth, shown
        self.sigma, self.gamma = float(architecture["sigma"]), float(architecture["gamma"])
        self.n_clusters = int(architecture["n_clusters"])
        self.history: dict[str, dict[int, float]] = {}
        self.starts: list[float] = []
        """Reconstruction loss of each random start that is done."""
        self.best: dict[str, Tensor] = {}
        """Weights of the best of them."""
        self.labels: Tensor | None = None
        self.epoch = 0
        """Epochs of this phase, or of this random start, that are done."""
        self.is_converged = False
        self.n_empty = 0
        self._optimizer: torch.optim.Optimizer | None = None
        self._resumed: dict[str, Any] | None = None
        self._loggers: list[Any] = []
        self._state: Path | None = None
        self._identity: Mapping[str, Any] = {}
        self._kept_at = time.monotonic()

    @property
    def result(self) -> ClusteringResult:
        """Result of the training."""
        n_epochs = 1 + max((epoch for values in self.history.values() for epoch in values), default=-1)
        history = {
            name: [self.history[name].get(epoch, math.nan) for epoch in range(n_epochs)]
            for name in _METRICS
            if name in self.history
        }
        labels = np.zeros(0, dtype=np.int64) if self.labels is None else self.labels.numpy()
        return ClusteringResult(history, self._n_pretrained, self.is_converged, labels, tuple(self.starts), self.n_empty)

    @property
    def _n_pretrained(self) -> int:
        return len(self.history.get("pretrain_loss", {}))

    # -------------------------------------------------------------------------------------------------- three steps

    def pretrain(self, *, is_new: bool) -> None:
        """Train the autoencoder from every random start, and leave it with the weights of the best."""
        settings = self.settings
        if self.labels is not None or not settings.pretrain_epochs:
            return
        n_starts = settings.n_init if is_new else 1
        done = len(self.starts) * settings.pretrain_epochs + self.epoch
        title = "Training the autoencoder"
        with ProgressReport(n_starts * settings.pretrain_epochs, title, unit="epochs", done=done, shown=self.shown) as progress:
            for start in range(len(self.starts), n_starts):
                batches = self.cells.shuffled(settings.batch_size, settings.seed + start)
                if not self.epoch:
                    self._resumed = None
                    torch.manual_seed(settings.seed + start)
                    if is_new:
                        _initialise(self.network)
                weights = [parameter for name, parameter in self.network.named_parameters() if name != "centroids"]
                fused = True if self.network.input_mean.device.type in ("cpu", "cuda") else None
                optimizer = torch.optim.Adam(weights, lr=settings.pretrain_learning_rate, amsgrad=True, fused=fused)
                self._begin(optimizer)
                for epoch in range(self.epoch, settings.pretrain_epochs):
                    means = self._epoch(batches, epoch, self._pretraining_losses)
                    self._log({"pretrain_loss": means[0]}, start * settings.pretrain_epochs + epoch, progress)
                    self.epoch = epoch + 1
                    self._keep()
                self.starts.append(self._reconstruction_loss())
                self.epoch, self._optimizer = 0, None
                if n_starts > 1:
                    if self.starts[-1] == min(self.starts):
                        self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
                    self._keep(at_once=True)
        if self.best:
            self.network.load_state_dict(self.best)
            self.best = {}

    def find_clusters(self, given: Tensor | None) -> None:
        """Take the centroids of k-means clusters or of communities, the largest first; or given ones."""
        if self.labels is not None:
            return
        settings, latent = self.settings, self._latents()
        if given is not None:
            labels = soft_assignments(latent, given.to(latent)).argmax(dim=1).numpy()
        elif self.n_clusters:
            labels = k_means(latent.numpy(), self.n_clusters, seed=settings.seed)
        else:
            labels = communities(
                latent.numpy(),
                n_neighbors=settings.n_neighbors,
                resolution=settings.resolution,
                community=settings.community,
                seed=settings.seed,
            )
        order = by_size(labels, int(labels.max()) + 1 if given is None else len(given))
        labels = np.argsort(order)[labels]
        if given is None:
            centroids = torch.stack([latent[torch.from_numpy(labels == number)].mean(dim=0) for number in range(len(order))])
        else:
            centroids = given[torch.from_numpy(order)]
        self.network.centroids = nn.Parameter(centroids.to(self.network.input_mean))
        self.labels, self.epoch, self._optimizer = torch.from_numpy(labels), 0, None
        self._keep(at_once=True)

    def refine(self) -> None:
        """Train clusters and autoencoder together until labels settle."""
        settings = self.settings
        self._begin(Adadelta(self.network.parameters(), lr=settings.learning_rate, rho=_DECAY))
        batches = self.cells.in_order(settings.batch_size)
        weight = self.gamma**2 if settings.published else self.gamma
        first, targets = self._n_pretrained, torch.empty(0)

        def losses(batch: CountBatch) -> tuple[Tensor, ...]:
            of_batch = targets[torch.from_numpy(batch.cells)].to(batch.inputs)
            reconstruction, clustering = clustering_losses(self.network, batch, of_batch, sigma=self.sigma)
            return reconstruction + weight * clustering, reconstruction, clustering

        with ProgressReport(settings.max_epochs, "Clustering", unit="epochs", done=self.epoch, shown=self.shown) as progress:
            for epoch in range(self.epoch, settings.max_epochs):
                metrics = {}
                if epoch % settings.update_interval == 0:
                    self.epoch = epoch
                    self._keep()
                    assignments = soft_assignments(self._latents(), self.network.centroids.detach().cpu())
                    metrics = self._relabel(assignments.argmax(dim=1))
                    if epoch and metrics["changed"] < settings.tolerance:
                        self._log(metrics, first + epoch, progress)
                        self.is_converged = True
                        break
                    targets = target_distribution(assignments)
                means = self._epoch(batches, epoch, losses)
                metrics |= dict(zip(("train_loss", "zinb_loss", "cluster_loss"), means, strict=True))
                self._log(metrics, first + epoch, progress)
            else:
                assignments = soft_assignments(self._latents(), self.network.centroids.detach().cpu())
                self._relabel(assignments.argmax(dim=1))

    def order(self) -> None:
        """Order the clusters by their size, and leave out those that lost all of their cells to others."""
        if self.labels is None:
            return
        n_clusters = len(self.labels.unique())
        self.n_empty = len(self.network.centroids) - n_clusters
        order = torch.from_numpy(by_size(self.labels.numpy(), len(self.network.centroids))[:n_clusters].copy())
        self.network.centroids = nn.Parameter(self.network.centroids.detach()[order.to(self.network.centroids.device)])
        numbers = torch.empty(n_clusters + self.n_empty, dtype=torch.int64)
        numbers[order] = torch.arange(n_clusters)
        self.labels = numbers[self.labels]

    # ----------------------------------------------------------------------------------------------------- their parts

    def _pretraining_losses(self, batch: CountBatch) -> tuple[Tensor]:
        return (pretraining_loss(self.network, batch, sigma=self.sigma),)

    def _epoch(self, batches: Batches, epoch: int, losses: Callable[[CountBatch], tuple[Tensor, ...]]) -> list[float]:
        """Take a step down the first loss of every batch, and give the mean of each over the cells."""
        optimizer: Any = self._optimizer
        sums: Tensor | float = 0.0
        for each in batches.of_epoch(epoch, 0):
            batch = self.cells.to_device(each, self.network)
            optimizer.zero_grad()
            found = losses(batch)
            found[0].backward()
            optimizer.step()
            sums = sums + torch.stack([loss.detach() for loss in found]).to(_exact(found[0])) * len(batch.cells)
        means: list[float] = (torch.as_tensor(sums) / self.cells.n_obs).tolist()
        self._require_finite("loss", is_finite=math.isfinite(means[0]))
        return means

    def _require_finite(self, what: str, *, is_finite: bool) -> None:
        if not is_finite:
            name = "pretrain_learning_rate" if self.labels is None else "learning_rate"
            raise SettingError(f"The training diverged: its {what} is not finite. Train again with a lower ", Parameter(name), ".")

    def _evaluated(self) -> Iterator[CountBatch]:
        """Batches of all cells, without gradients."""
        with torch.no_grad():
            for each in self.cells.in_order(self.settings.batch_size).of_epoch(0, 0):
                yield self.cells.to_device(each, self.network)

    def _latents(self) -> Tensor:
        """Latent of all cells, `(n_obs, n_latent)`, on the processor."""
        latent = torch.empty(self.cells.n_obs, self.network.latent.out_features, dtype=self.network.input_mean.dtype)
        for batch in self._evaluated():
            latent[torch.from_numpy(batch.cells)] = self.network.encode(batch.inputs, batch.batches).cpu()
        self._require_finite("latent", is_finite=bool(torch.isfinite(latent).all()))
        return latent

    def _reconstruction_loss(self) -> float:
        """Mean over all cells, without noise."""
        losses = [float(pretraining_loss(self.network, batch, sigma=0.0)) * len(batch.cells) for batch in self._evaluated()]
        return sum(losses) / self.cells.n_obs

    def _relabel(self, labels: Tensor) -> dict[str, float]:
        """Take new labels; the fraction of cells that changed, and agreement with the given labels."""
        changed = 1.0 if self.labels is None else torch.ne(labels, self.labels).double().mean().item()
        self.labels = labels
        if self.truth is None:
            return {"changed": changed}
        return {"changed": changed} | cluster_scores(self.truth, labels.numpy())

    # ------------------------------------------------------------------------------------------- what is kept and shown

    def _begin(self, optimizer: torch.optim.Optimizer) -> None:
        """Use an optimiser, with the state that it had where a training is resumed."""
        self._optimizer = optimizer
        if self._resumed is not None:
            if self._resumed["optimizer"]:
                optimizer.load_state_dict(self._resumed["optimizer"])
            self._resumed = None

    def _log(self, metrics: Mapping[str, float], epoch: int, progress: ProgressReport) -> None:
        for name, value in metrics.items():
            self.history.setdefault(name, {})[epoch] = value
        log_epoch(self._loggers, epoch, metrics)
        progress.remark(", ".join(f"{name}={value:.3f}" for name, value in metrics.items()))
        progress.advance()

    def _keep(self, *, at_once: bool = False) -> None:
        """Write the state, where it is kept, when half a minute has passed since the last time."""
        if self._state is None or not (at_once or time.monotonic() - self._kept_at > _SECONDS_BETWEEN_STATES):
            return
        is_cuda = self.network.input_mean.device.type == "cuda"
        ours = {"identity": dict(self._identity), "history": self.history}
        state = {name: getattr(self, name) for name in _STATE}
        state |= {
            "weights": self.network.state_dict(),
            "optimizer": None if self._optimizer is None else self._optimizer.state_dict(),
        }
        state["random"] = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if is_cuda else [])]
        StateIO().save_checkpoint({STATE_KEY: ours} | state, self._state)
        self._kept_at = time.monotonic()

    def _resume(self, path: Path) -> None:
        """Take up the state that is kept."""
        state = StateIO().load_checkpoint(path)
        for name in _STATE:
            setattr(self, name, state[name])
        self.history = state[STATE_KEY]["history"]
        self.network.centroids = nn.Parameter(state["weights"]["centroids"].to(self.network.input_mean))
        self.network.load_state_dict(state["weights"])
        for values, put in zip(state["random"], (torch.set_rng_state, torch.cuda.set_rng_state), strict=False):
            put(values)
        self._resumed = state

    @contextmanager
    def logged(
        self,
        run_dir: str | PathLike[str] | None,
        logger: LoggerChoice,
        facts: Mapping[str, Any],
        identity: Mapping[str, Any],
        *,
        resume: bool,
    ) -> Iterator[None]:
        """Log the epochs of a block, and keep its state in `run_dir`; a training that was interrupted there is resumed."""
        history = None
        if run_dir is not None:
            self._state, self._identity = as_path(run_dir) / STATE_FILE, identity
            if resume and self._state.exists():
                history = read_history(self._state, identity)
                self._resume(self._state)
            elif resume:
                forget(run_dir)
        self._loggers = start_logging(run_dir, logger, facts, history=history)
        try:
            yield
        finally:
            for each in self._loggers:
                each.finalize("success")


def _initialise(network: ZINBAutoencoder) -> None:
    """Draw the weights of all linear maps."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()


def _exact(values: Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "mps" else torch.float64
