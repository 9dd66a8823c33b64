"""Settings and result of a training without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sctab.train._settings import CheckedSettings

Community = Literal["louvain", "leiden"]
"""Algorithms that find communities in a graph of neighbours."""
Precision = Literal["32-true", "64-true"]
"""Precision of a training, with the names of Lightning."""


@dataclass(frozen=True, kw_only=True)
class ClusteringSettings(CheckedSettings):
    """Settings of the training of :class:`sctab.model.SCDeepCluster`; the defaults are those of Tian et al. (2019)."""

    pretrain_epochs: int = 300
    """Passes over the cells to train the autoencoder before there are clusters; 0 where it has pretrained weights."""
    max_epochs: int = 2000
    """Maximum number of passes that train clusters and autoencoder together."""
    update_interval: int = 1
    """Passes between two computations of the target distribution, after which the change of labels is looked at."""
    tolerance: float = 0.001
    """Fraction of the cells: training stops when fewer change their cluster."""
    batch_size: int = 256
    """Cells per batch; the batches of a pass are of nearly equal size."""
    n_neighbors: int = 20
    """Neighbours of each cell in the graph from which the number of clusters is estimated."""
    resolution: float = 0.8
    """Resolution of the communities in this graph: larger values give more clusters."""
    community: Community = "louvain"
    """Algorithm that finds them."""
    n_init: int = 1
    """Random starts of the autoencoder; the one with the lowest reconstruction loss is clustered."""
    pretrain_learning_rate: float = 0.001
    """Learning rate of Adam, before there are clusters."""
    learning_rate: float = 1.0
    """Learning rate of Adadelta, which trains clusters and autoencoder together."""
    seed: int = 0
    """Decides initial weights, order of the cells, noise and initial clusters. The global random state is left as it was."""
    precision: Precision = "32-true"
    """`"32-true"` trains in single precision, `"64-true"` in double precision."""
    published: bool = False
    """Reproduce the losses of the published code, which multiplies the clustering loss with `gamma` twice."""

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return {
            "pretrain_epochs": (self.pretrain_epochs >= 0, "at least 0"),
            "max_epochs": (self.max_epochs >= 0, "at least 0"),
            "update_interval": (self.update_interval >= 1, "at least 1"),
            "tolerance": (0 <= self.tolerance < 1, "at least 0 and below 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "n_neighbors": (self.n_neighbors >= 2, "at least 2"),
            "resolution": (0 < self.resolution < float("inf"), "above 0"),
            "community": (self.community in get_args(Community), "`louvain` or `leiden`"),
            "n_init": (self.n_init >= 1, "at least 1"),
            "pretrain_learning_rate": (self.pretrain_learning_rate > 0, "above 0"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "seed": (0 <= self.seed < 2**32 - self.n_init, "between 0 and 4294967295 less `n_init`"),
            "precision": (self.precision in get_args(Precision), "`32-true` or `64-true`"),
        }


@dataclass(frozen=True)
class ClusteringResult:
    """Result of a training without labels."""

    history: Mapping[str, Sequence[float]]
    """Metrics by name, one value per epoch; NaN in epochs that do not have them. Epochs of the pretraining come first."""
    n_pretrained: int
    """Epochs of the pretraining."""
    is_converged: bool
    """True if the labels had settled before the last epoch."""
    labels: NDArray[np.int64] = field(repr=False)
    """Cluster of each trained cell, `(n_obs,)`."""
    reconstruction_losses: Sequence[float] = ()
    """Reconstruction loss of each random start after its pretraining."""
    n_empty: int = 0
    """Clusters that lost all of their cells to others; they are left out."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `model.json`."""
        return {
            "n_pretrained": self.n_pretrained,
            "is_converged": self.is_converged,
            "reconstruction_losses": list(self.reconstruction_losses),
            "n_empty": self.n_empty,
        }
