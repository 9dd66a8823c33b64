"""Training of a clustering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from os import PathLike
from typing import Any

import numpy as np
import torch

from sctab.errors import ModelFormatError, Parameter, SettingError, did_you_mean, listing, require, warn
from sctab.inference import device_of
from sctab.model._network_model import NetworkModel
from sctab.model._setup import single_device
from sctab.nn import ZINBAutoencoder
from sctab.ontology import LabelSpace
from sctab.train import (
    ClusterCells,
    ClusteringSettings,
    LoggerChoice,
    UnlabeledReference,
    as_history,
    fit_clusters,
    run_directory,
    seeded,
)

_NOT_PRETRAINED = ("centroids", "input_mean", "input_std")


class TrainableClustering(NetworkModel):
    """A clustering that learns cells."""

    module: ZINBAutoencoder
    _reference: UnlabeledReference | None
    _centroids: torch.Tensor | None = None
    """Centroids that came with pretrained weights."""

    def train(
        self,
        pretrain_epochs: int = 300,
        max_epochs: int = 2000,
        *,
        accelerator: str = "auto",
        devices: Any = "auto",
        run_dir: str | PathLike[str] | None = None,
        logger: LoggerChoice = None,
        resume: bool = False,
        enable_progress_bar: bool = True,
        **settings: Any,
    ) -> None:
        """Train the autoencoder, find clusters in its latent, and train both together until the clusters settle.

        Calling it again continues from the current weights and finds clusters again.

        Parameters
        ----------
        pretrain_epochs
            Passes over the cells to train the autoencoder; 0 where :meth:`load_pretrained` has given it weights.
        max_epochs
            Maximum number of passes that train clusters and autoencoder together.
        accelerator, devices
            As in Lightning: `"cpu"`, `"gpu"`, `"auto"`, …; one device.
        run_dir
            New directory that shows the training while it runs, with `metrics.csv` and `tensorboard/`, see :doc:`/logging`, and from which
            it is resumed. By default, no file is written.
        logger
            A Lightning logger, `"neptune"`, or a list of these, besides those of `run_dir`.
        resume
            Resume the training in `run_dir` from the last state, which is written twice a minute; start a new one if there is none. The
            result is that of a training without interruption. Settings and cells must be the same.
        enable_progress_bar
            Show progress.
        **settings
            Further settings by name, see :class:`~sctab.train.ClusteringSettings`: `update_interval`, `tolerance`, `batch_size`,
            `n_neighbors`, `resolution`, `community`, `n_init`, `seed`, `precision`, `published`, …

        Notes
        -----
        `history` has `pretrain_loss` of the first epochs; then `train_loss`, its parts `zinb_loss` and `cluster_loss` (without its weight),
        and `changed`, the fraction of cells whose cluster changed; and with `labels_key` `nmi`, `ari` and `accuracy`, see
        :func:`sctab.metrics.cluster_accuracy`.

        Raises
        ------
        SettingError
            If a setting is invalid; if there are fewer cells than clusters; if the training diverged; or if `run_dir` belongs to another
            training.
        OutputExistsError, OutputError
            As in :meth:`CellTypeClassifier.train`.
        MissingDependencyError
            If the number of clusters is to be estimated and `igraph` is not installed.
        """
        chosen = _settings({"pretrain_epochs": pretrain_epochs, "max_epochs": max_epochs, **settings})
        if resume and run_dir is None:
            raise SettingError(Parameter("resume", value=True), " needs the `run_dir` of the training to resume.")
        if (reference := self._reference) is None:
            raise SettingError("The model was loaded without cells. Pass them as `adata` to `load`.")
        device_of(accelerator)  # refuses one that is not in this machine
        if not self.spec.architecture["n_clusters"]:
            require("igraph", extra="cluster")
        device, is_new = single_device(accelerator, devices), not self.is_trained and not self._has_pretrained_weights
        cells = ClusterCells.of(reference, self.spec)
        truth = None if reference.truth is None else reference.truth[cells.rows]
        if is_new and not chosen.pretrain_epochs:
            warn(
                "The autoencoder has random weights, and clusters are found in its latent without a pretraining. Train with a larger ",
                Parameter("pretrain_epochs"),
                ", or give weights with `load_pretrained`.",
            )
        with run_directory(run_dir):
            with seeded(chosen.seed):
                network: Any = self._new_network().to(device)
            if not is_new:
                kept = {name: weights for name, weights in self.module.state_dict().items() if name != "centroids"}
                network.load_state_dict(kept, strict=False)
            result = fit_clusters(
                network,
                self.spec,
                cells,
                chosen,
                truth=truth,
                is_new=is_new,
                centroids=None if pretrain_epochs else self._centroids,
                run_dir=run_dir,
                logger=logger,
                resume=resume,
                shown=enable_progress_bar,
            )
        self.module = network.float()
        n_clusters = len(network.centroids)
        history = {name: [value if np.isfinite(value) else None for value in values] for name, values in result.history.items()}
        matrix = {} if cells.data.matrix is None else {"matrix": cells.data.matrix.to_json()}
        summary = (
            cells.data.origin
            | matrix
            | {
                "settings": asdict(chosen),
                "n_obs": cells.n_obs,
                "epochs": max(map(len, history.values()), default=0),
                "best_epoch": None,
                "history": history,
                **result.to_json(),
            }
        )
        names = tuple(map(str, range(n_clusters)))
        self.spec = replace(self.spec.with_training(summary), labels=LabelSpace(names, (None,) * n_clusters))
        self.history_ = {name: as_history(name, values).dropna() for name, values in history.items()}
        self._model_summary_string = self.spec.summary
        self.sha256, self.is_trained_ = None, True
        if result.n_empty:
            warn(
                f"{result.n_empty} of {n_clusters + result.n_empty} clusters lost all of their cells to others in training and "
                f"{'is' if result.n_empty == 1 else 'are'} left out."
            )
        if not result.is_converged and max_epochs:
            warn(
                f"Clusters still changed in the last of {max_epochs:,} epochs. Train longer with a larger ",
                Parameter("max_epochs"),
                ", or accept more changes with a larger ",
                Parameter("tolerance"),
                ".",
            )

    def load_pretrained(self, weights: Mapping[str, torch.Tensor], *, centroids: torch.Tensor | None = None) -> None:
        """Take the weights of an autoencoder; then call :meth:`train` with `pretrain_epochs=0`.

        Parameters
        ----------
        weights
            Tensors by the names that they have in `model.module`. Centroids and statistics of the input are left out.
        centroids
            Centroids of clusters to start from, `(n_clusters, n_latent)`; by default, :meth:`train` finds clusters.

        Raises
        ------
        ModelFormatError
            If they are those of another architecture, or of another number of genes; or if some are not finite.
        """
        own = {name: tensor for name, tensor in self.module.state_dict().items() if name not in _NOT_PRETRAINED}
        given = {name: tensor for name, tensor in weights.items() if name not in _NOT_PRETRAINED}
        if differing := sorted(set(own) ^ set(given)):
            raise ModelFormatError(
                f"The weights are not those of this architecture: {listing(differing)} are in only one of the two."
            )
        for name, tensor in given.items() if centroids is None else [*given.items(), ("centroids", centroids)]:
            if not isinstance(tensor, torch.Tensor) or not torch.isfinite(tensor).all():
                raise ModelFormatError(
                    f"The weights `{name}` must be a tensor of finite numbers. Use those of a training that succeeded."
                )
        for name, tensor in own.items():
            if tensor.shape != given[name].shape:
                raise ModelFormatError(
                    f"The weights `{name}` have the shape {tuple(given[name].shape)}, and the model of {self.module.n_vars:,} genes and "
                    f"{len(self.spec.category_names)} batches asks for {tuple(tensor.shape)}. Use the data that they were trained on."
                )
        if centroids is not None and (not len(centroids) or centroids.shape[1:] != (self.module.latent.out_features,)):
            raise ModelFormatError(
                f"The centroids have the shape {tuple(centroids.shape)}, and the latent has the size {self.module.latent.out_features}."
            )
        self.module.load_state_dict(given, strict=False)
        self._centroids = None if centroids is None else centroids.detach().clone()
        self._has_pretrained_weights = True


def _settings(given: Mapping[str, Any]) -> ClusteringSettings:
    known = list(ClusteringSettings.__dataclass_fields__)
    if unknown := sorted(set(given) - set(known)):
        near = "".join(did_you_mean(name, known) for name in unknown)
        raise SettingError(f"`SCDeepCluster.train` has no {listing(unknown)}.{near} Available: {listing(known, most=20)}.")
    return ClusteringSettings(**{name: value for name, value in given.items() if value is not None})
