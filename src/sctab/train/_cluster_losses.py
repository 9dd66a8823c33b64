"""Losses of a batch of cells without labels."""

from __future__ import annotations

import torch
from torch import Tensor

from sctab.nn import ZINBAutoencoder, cluster_loss, soft_assignments, sparse_zinb_loss
from sctab.train._cluster_cells import CountBatch


def pretraining_loss(network: ZINBAutoencoder, batch: CountBatch, *, sigma: float) -> Tensor:
    """Reconstruction loss of a batch, with Gaussian noise of standard deviation `sigma` on the encoder's input."""
    noisy = batch.inputs + sigma * torch.randn_like(batch.inputs) if sigma else batch.inputs
    return sparse_zinb_loss(batch.counts, network.decode(network.encode(noisy, batch.batches), batch.batches))


def clustering_losses(network: ZINBAutoencoder, batch: CountBatch, targets: Tensor, *, sigma: float) -> tuple[Tensor, Tensor]:
    """Reconstruction loss of a batch, and clustering loss of its encoding without noise.

    Parameters
    ----------
    network, batch, sigma
        As for :func:`pretraining_loss`.
    targets
        Target distribution of the cells of the batch, `(n_obs, n_clusters)`.
    """
    assignments = soft_assignments(network.encode(batch.inputs, batch.batches), network.centroids)
    return pretraining_loss(network, batch, sigma=sigma), cluster_loss(targets, assignments)
