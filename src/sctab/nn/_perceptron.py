"""A linear map and a multi-layer perceptron: the simple networks that others are compared with."""

from __future__ import annotations

from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

from torch import Tensor, nn

from sctab.nn._norm import BatchNorm

MOST_LAYERS = 1000
"""Layers or steps of a network: more are a mistake or the work of a damaged file."""


def require_count(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse a setting that is not an integer within bounds."""
    if not isinstance(value, Integral) or int(value) < least or (most is not None and int(value) > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ValueError(f"`{name}={value}` must be {bounds}.")


class NetworkOutput(NamedTuple):
    """Output of a network."""

    logits: Tensor
    """Unnormalised log-probabilities, `(n_obs, n_classes)`."""
    embedding: Tensor | None
    """Input of the last layer, `(n_obs, n_hidden)`; `None` where that is the expression itself."""


class LinearNetwork(nn.Module):
    """One weight per class and gene, one bias per class: softmax regression.

    Parameters
    ----------
    n_vars, n_classes
        Genes and cell types.
    """

    def __init__(self, n_vars: int, n_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(n_vars, n_classes)
        nn.init.zeros_(self.classifier.weight)  # the loss is convex, and a gene that is never seen keeps its zero
        nn.init.zeros_(self.classifier.bias)

    def forward(self, values: Tensor) -> NetworkOutput:
        """Logits of normalised expression, `(n_obs, n_vars)`."""
        return NetworkOutput(self.classifier(values), None)


class MultilayerPerceptron(nn.Module):
    """Layers of linear map, batch norm, SiLU and dropout, then a linear map to the classes.

    Parameters
    ----------
    n_vars, n_classes
        Genes and cell types.
    n_layers, n_hidden
        Number of hidden layers and their width.
    dropout
        Fraction of the hidden units set to zero in training.
    """

    def __init__(self, n_vars: int, n_classes: int, *, n_layers: int, n_hidden: int, dropout: float) -> None:
        super().__init__()
        require_count("n_layers", n_layers, 1, MOST_LAYERS)
        require_count("n_hidden", n_hidden, 1)
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout={dropout}` must be at least 0 and below 1.")
        widths = [n_vars, *[n_hidden] * n_layers]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(n_in, n_out), BatchNorm(n_out), nn.SiLU(), nn.Dropout(dropout))
                for n_in, n_out in pairwise(widths)
            )
        )
        self.classifier = nn.Linear(n_hidden, n_classes)

    def forward(self, values: Tensor) -> NetworkOutput:
        """Logits and embedding of normalised expression, `(n_obs, n_vars)`."""
        embedding = self.layers(values)
        return NetworkOutput(self.classifier(embedding), embedding)
