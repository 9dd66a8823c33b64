import torch
from tests.clusters import cells_of_types

from sctab.nn import ZINBAutoencoder
from sctab.train import ClusterCells, UnlabeledAnnData, describe_clustering
from sctab.train._cluster_losses import clustering_losses


def test_noise_is_on_the_input_of_the_encoder_and_not_on_the_assignments():
    reference = UnlabeledAnnData.of(cells_of_types())
    spec = describe_clustering(reference, n_top_genes=None, architecture={})
    cells = ClusterCells.of(reference, spec)
    torch.manual_seed(0)
    network = ZINBAutoencoder(len(spec.features), 3, encoder=(16, 8), n_latent=4)
    torch.nn.init.normal_(network.centroids)
    batch = cells.to_device(next(cells.in_order(50).of_epoch(0, 0)), network)
    targets = torch.full((len(batch.cells), 3), 1 / 3)
    quiet, noisy = ([clustering_losses(network, batch, targets, sigma=s) for _ in range(2)] for s in (0.0, 2.5))
    assert quiet[0] == quiet[1]
    assert noisy[0][0] != noisy[1][0]
    assert noisy[0][1] == noisy[1][1] == quiet[0][1]
