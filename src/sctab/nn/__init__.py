"""Networks and losses on tensors, without AnnData and without Lightning."""

from sctab.nn._losses import cross_entropy, hierarchical_cross_entropy, normalise_counts
from sctab.nn._perceptron import LinearNetwork, MultilayerPerceptron, NetworkOutput
from sctab.nn._published import PublishedNetwork, describe_published, from_published, subtract_means
from sctab.nn._sparse import SparseNetwork, evaluate_sparse, sparse_mask, sparse_network
from sctab.nn._tabnet import TabNet, TabNetOutput

__all__ = [
    "LinearNetwork",
    "MultilayerPerceptron",
    "NetworkOutput",
    "PublishedNetwork",
    "SparseNetwork",
    "TabNet",
    "TabNetOutput",
    "cross_entropy",
    "describe_published",
    "evaluate_sparse",
    "from_published",
    "hierarchical_cross_entropy",
    "normalise_counts",
    "sparse_mask",
    "sparse_network",
    "subtract_means",
]
