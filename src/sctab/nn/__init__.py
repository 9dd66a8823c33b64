"""Networks and losses on tensors, without AnnData and without Lightning."""

from sctab.nn._losses import cross_entropy, normalise_counts
from sctab.nn._perceptron import LinearNetwork, MultilayerPerceptron, NetworkOutput
from sctab.nn._published import from_published
from sctab.nn._tabnet import TabNet, TabNetOutput

__all__ = [
    "LinearNetwork",
    "MultilayerPerceptron",
    "NetworkOutput",
    "TabNet",
    "TabNetOutput",
    "cross_entropy",
    "from_published",
    "normalise_counts",
]
