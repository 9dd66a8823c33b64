"""The autoencoder of scDeepCluster: counts to a latent, from which it describes them, with centroids of clusters in the latent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sctab.nn._perceptron import MOST_LAYERS, NetworkOutput, require_count
from sctab.nn._zinb import MEAN_BOUNDS, ZINBOutput

_LOG_EPSILON = 1e-6
"""Added to soft assignments inside the logarithm of :func:`cluster_loss`, as in the published code."""


class ZINBAutoencoder(nn.Module):
    r"""Autoencoder with a zero-inflated negative binomial decoder, and centroids in its latent.

    Linear maps with ReLU encode standardised expression; the latent is linear. The decoder mirrors the encoder, and three linear maps give
    mean, dispersion and dropout of every gene (Tian et al. 2019, :doi:`10.1038/s42256-019-0037-0`).

    Parameters
    ----------
    n_vars
        Genes.
    n_clusters
        Clusters; 0 before they are known.
    n_batches
        Columns of the one-hot batch, which follow expression in the encoder's input and the latent in the decoder's.
    n_latent
        Size of the latent.
    encoder
        Widths of the hidden layers; the decoder has them in reverse.

    Attributes
    ----------
    input_mean, input_std
        Mean and standard deviation of each gene's normalised expression in the training cells, `(n_vars,)`.
    centroids
        Centroid of each cluster in the latent, `(n_clusters, n_latent)`.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self, n_vars: int, n_clusters: int = 0, *, n_batches: int = 0, n_latent: int = 32, encoder: Sequence[int] = (256, 64)
    ) -> None:
        super().__init__()
        require_count("n_latent", n_latent, 1)
        require_count("n_clusters", n_clusters, 0)
        if not 1 <= len(encoder) <= MOST_LAYERS:
            raise ValueError(f"`encoder={tuple(encoder)}` must have at least one width.")
        for width in encoder:
            require_count("encoder", width, 1)
        self.n_vars = n_vars
        self.encoder = _layers([n_vars + n_batches, *encoder])
        self.latent = nn.Linear(encoder[-1], n_latent)
        self.decoder = _layers([n_latent + n_batches, *reversed(encoder)])
        self.mean, self.dispersion, self.dropout = (nn.Linear(encoder[0], n_vars) for _ in range(3))
        self.centroids = nn.Parameter(torch.zeros(n_clusters, n_latent))
        self.register_buffer("input_mean", torch.zeros(n_vars))
        self.register_buffer("input_std", torch.ones(n_vars))

    def encode(self, inputs: Tensor, batches: Tensor) -> Tensor:
        """Latent, `(n_obs, n_latent)`, of standardised expression, `(n_obs, n_vars)`, and one-hot batches, `(n_obs, n_batches)`."""
        latent: Tensor = self.latent(self.encoder(_beside(inputs, batches)))
        return latent

    def decode(self, latent: Tensor, batches: Tensor) -> ZINBOutput:
        """Parameters of every gene's counts before their activations, from a latent and one-hot batches."""
        hidden = self.decoder(_beside(latent, batches))
        return ZINBOutput(self.mean(hidden), self.dispersion(hidden), self.dropout(hidden))

    def denoise(self, latent: Tensor, batches: Tensor, genes: Sequence[int]) -> Tensor:
        """Mean of the counts of some genes in a cell whose size factor is one, `(n_obs, len(genes))`."""
        hidden = self.decoder(_beside(latent, batches))
        return functional.linear(hidden, self.mean.weight[genes], self.mean.bias[genes]).exp().clamp(*MEAN_BOUNDS)

    def standardise(self, values: Tensor) -> Tensor:
        """Standardised expression from normalised expression, `(n_obs, n_vars)`."""
        return (values - self.input_mean) / self.input_std

    def forward(self, values: Tensor) -> NetworkOutput:
        """Log-weights of the clusters and latent of normalised expression and one-hot batches, `(n_obs, n_vars + n_batches)`."""
        latent = self.encode(self.standardise(values[:, : self.n_vars]), values[:, self.n_vars :])
        return NetworkOutput(cluster_logits(latent, self.centroids), latent)


def cluster_logits(latent: Tensor, centroids: Tensor) -> Tensor:
    r"""Logarithm of the soft assignments up to a constant, :math:`-\log(1 + \lVert z_i - \mu_j \rVert^2)`, `(n_obs, n_clusters)`.

    Parameters
    ----------
    latent, centroids
        `(n_obs, n_latent)` and `(n_clusters, n_latent)`.
    """
    return -torch.log1p((latent.unsqueeze(1) - centroids).square().sum(dim=2))


def soft_assignments(latent: Tensor, centroids: Tensor) -> Tensor:
    r"""Probability of each cluster, by Student's t with one degree of freedom around its centroid, `(n_obs, n_clusters)`.

    .. math:: q_{ij} = \frac{(1 + \lVert z_i - \mu_j \rVert^2)^{-1}}{\sum_k (1 + \lVert z_i - \mu_k \rVert^2)^{-1}}

    (Xie et al. 2016, equation 1).

    Parameters
    ----------
    latent, centroids
        `(n_obs, n_latent)` and `(n_clusters, n_latent)`.

    Examples
    --------
    >>> soft_assignments(torch.tensor([[0.0]]), torch.tensor([[0.0], [1.0]]))
    tensor([[0.6667, 0.3333]])
    """
    return cluster_logits(latent, centroids).softmax(dim=1)


def target_distribution(assignments: Tensor) -> Tensor:
    r"""Sharper assignments that do not favour large clusters, `(n_obs, n_clusters)`.

    .. math:: p_{ij} = \frac{q_{ij}^2 / \sum_i q_{ij}}{\sum_k q_{ik}^2 / \sum_i q_{ik}}

    (Xie et al. 2016, equation 3). A cluster without any assignment has none.

    Parameters
    ----------
    assignments
        Those of all cells, `(n_obs, n_clusters)`.
    """
    weighted = assignments.square() / assignments.sum(dim=0).clamp_min(torch.finfo(assignments.dtype).tiny)
    return weighted / weighted.sum(dim=1, keepdim=True)


def cluster_loss(targets: Tensor, assignments: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence :math:`\sum_j p_{ij} \log(p_{ij} / q_{ij})`, the mean over cells (Xie et al. 2016, equation 2).

    Parameters
    ----------
    targets, assignments
        `(n_obs, n_clusters)`.
    """
    terms = torch.special.xlogy(targets, targets) - targets * torch.log(assignments + _LOG_EPSILON)
    return terms.sum(dim=1).mean()


def _layers(widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(layer for n_in, n_out in pairwise(widths) for layer in (nn.Linear(n_in, n_out), nn.ReLU())))


def _beside(values: Tensor, batches: Tensor) -> Tensor:
    return torch.cat([values, batches], dim=1) if batches.shape[1] else values
