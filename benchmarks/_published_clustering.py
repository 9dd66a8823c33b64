"""The published way to train scDeepCluster, our own implementation of Tian et al. (2019): dense tensors, and a loss of separate operations.

Settings are those of the published PyTorch code: each step encodes the batch twice, with noise and without; Adam with AMSGrad at a learning
rate of 0.001 in pretraining, Adadelta at 1 afterwards; 256 cells per batch, drawn one by one from a `TensorDataset`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_SIZE = 256
SIGMA = 2.5
SMALL = 1e-10
N_INIT = 20


def standardised(counts: sparse.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Dense input, dense counts and size factors; input is scaled to the median total, log1p, mean 0 and variance 1."""
    dense = counts.toarray().astype(np.float64)
    totals = dense.sum(axis=1)
    factors = totals / np.median(totals)
    values = np.log1p(dense / factors[:, None])
    spread = values.std(axis=0, ddof=1)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), dense, factors


class Autoencoder(nn.Module):
    """Encoder of 256 and 64 units, a latent of 32, a decoder of 64 and 256, and three maps to the genes."""

    def __init__(self, n_vars: int, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_vars, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32))
        self.decoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 256), nn.ReLU())
        self.mean, self.dispersion, self.dropout = (nn.Linear(256, n_vars) for _ in range(3))
        self.to(device, dtype)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latent without noise, and mean, dispersion and dropout from one with noise."""
        hidden = self.decoder(self.encoder(values + torch.randn_like(values) * SIGMA))
        mean = torch.clamp(torch.exp(self.mean(hidden)), min=1e-5, max=1e6)
        dispersion = torch.clamp(functional.softplus(self.dispersion(hidden)), min=1e-4, max=1e4)
        return self.encoder(values), mean, dispersion, torch.sigmoid(self.dropout(hidden))


def negative_log_likelihood(counts: Tensor, mean: Tensor, dispersion: Tensor, dropout: Tensor, factors: Tensor) -> Tensor:
    """Mean over all values; zeros and other counts are both computed for every value."""
    mean = mean * factors[:, None]
    of_gamma = torch.lgamma(dispersion + SMALL) + torch.lgamma(counts + 1.0) - torch.lgamma(counts + dispersion + SMALL)
    of_powers = (dispersion + counts) * torch.log(1.0 + mean / (dispersion + SMALL))
    of_powers = of_powers + counts * (torch.log(dispersion + SMALL) - torch.log(mean + SMALL))
    of_count = of_gamma + of_powers - torch.log(1.0 - dropout + SMALL)
    of_zero = torch.pow(dispersion / (dispersion + mean + SMALL), dispersion)
    of_zero = -torch.log(dropout + (1.0 - dropout) * of_zero + SMALL)
    return torch.where(counts <= 1e-8, of_zero, of_count).mean()


class PublishedClustering:
    """Cells as dense tensors, and their autoencoder."""

    def __init__(self, counts: sparse.csr_matrix, *, device: str, dtype: torch.dtype, seed: int) -> None:
        torch.manual_seed(seed)
        self.device, self.seed = device, seed
        self.tensors = tuple(torch.from_numpy(values).to(dtype) for values in standardised(counts))
        self.network = Autoencoder(counts.shape[1], device, dtype)

    def pretrain(self, n_epochs: int, finished: Callable[[], None] = lambda: None) -> None:
        """Train the autoencoder; `finished` is called after every epoch."""
        batches = DataLoader(TensorDataset(*self.tensors), batch_size=BATCH_SIZE, shuffle=True)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.001, amsgrad=True)
        for _ in range(n_epochs):
            total = 0.0
            for batch in batches:
                values, counts, factors = (each.to(self.device) for each in batch)
                _, *parameters = self.network(values)
                loss = negative_log_likelihood(counts, *parameters, factors)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(values)
            finished()

    def latent(self) -> Tensor:
        """Latent of all cells, `(n_obs, n_latent)`, on the device."""
        with torch.no_grad():
            parts = [self.network.encoder(values.to(self.device)) for values in self.tensors[0].split(BATCH_SIZE)]
        return torch.cat(parts)

    def cluster(self, n_clusters: int, *, max_epochs: int, tolerance: float = 0.001) -> NDArray[np.int64]:
        """Clusters by k-means, which are then trained together with the autoencoder until labels settle."""
        latent = self.latent()
        found = KMeans(n_clusters, n_init=N_INIT, random_state=self.seed).fit(latent.cpu().numpy())
        labels = found.labels_
        centroids = nn.Parameter(torch.from_numpy(found.cluster_centers_).to(latent))
        optimizer = torch.optim.Adadelta([*self.network.parameters(), centroids], lr=1.0, rho=0.95)
        for epoch in range(max_epochs):
            with torch.no_grad():
                assigned = memberships(self.latent(), centroids)
                targets = assigned**2 / assigned.sum(dim=0)
                targets = targets / targets.sum(dim=1, keepdim=True)
            previous, labels = labels, assigned.argmax(dim=1).cpu().numpy()
            if epoch and (labels != previous).mean() < tolerance:
                break
            batches = zip(*(each.split(BATCH_SIZE) for each in (*self.tensors, targets)), strict=True)
            for batch in batches:
                values, counts, factors, target = (each.to(self.device) for each in batch)
                latent, *parameters = self.network(values)
                divergence = (target * torch.log(target / (memberships(latent, centroids) + 1e-6))).sum(dim=1).mean()
                loss = divergence + negative_log_likelihood(counts, *parameters, factors)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return np.asarray(labels, dtype=np.int64)


def memberships(latent: Tensor, centroids: Tensor) -> Tensor:
    """Soft assignments by Student's t, `(n_obs, n_clusters)`."""
    weights = 1.0 / (1.0 + ((latent[:, None] - centroids) ** 2).sum(dim=2))
    return weights / weights.sum(dim=1, keepdim=True)
