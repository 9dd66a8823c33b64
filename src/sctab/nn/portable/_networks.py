"""Trained networks as functions of plain arrays, over the operators of any framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from sctab.nn._autoencoder import ZINBAutoencoder
from sctab.nn._perceptron import LinearNetwork, MultilayerPerceptron
from sctab.nn._tabnet import TabNet
from sctab.nn.fast._parts import Affine

Array = Any
"""An array of a framework, with the arithmetic operators of Python."""
Parameters = Mapping[str, Any]
"""Weights by name, nested in mappings and lists."""


class Operators(Protocol):
    """Operations of a framework besides arithmetic, on arrays `(n_obs, n)`."""

    def matmul(self, x: Array, weight: Array) -> Array:
        """Product of matrices in full single precision."""

    def columns(self, x: Array, start: int, stop: int) -> Array:
        """Columns from `start` to `stop`."""

    def beside(self, x: Array, other: Array) -> Array:
        """Columns of one array followed by those of another."""

    def zeros(self, like: Array, n: int) -> Array:
        """Zeros, `(n_obs, n)`, for the rows of another array."""

    def sigmoid(self, x: Array) -> Array: ...
    def relu(self, x: Array) -> Array: ...
    def log(self, x: Array) -> Array: ...
    def log1p(self, x: Array) -> Array: ...
    def exp(self, x: Array) -> Array: ...

    def sum(self, x: Array) -> Array:
        """Sums of rows, `(n_obs, 1)`."""

    def largest(self, x: Array) -> Array:
        """Largest values of rows, `(n_obs, 1)`."""

    def where(self, is_so: Array, x: Array, other: Array) -> Array: ...

    def clip(self, x: Array, low: float, high: float) -> Array: ...

    def entmax15(self, logits: Array) -> Array:
        """1.5-entmax of rows."""

    def sparsemax(self, logits: Array) -> Array:
        """Sparsemax of rows."""

    def squared_distances(self, x: Array, points: Array) -> Array:
        """Squared Euclidean distances of the rows of two matrices, `(n_obs, n_points)`."""


class PortableOutput(NamedTuple):
    """Output of a network."""

    logits: Array
    """Unnormalised log-probabilities, `(n_obs, n_classes)`."""
    embedding: Array | None
    """Input of the last layer, `(n_obs, n_latent)`; `None` where that is the expression itself."""


Apply = Callable[[Operators, Any, Parameters, Array], PortableOutput]


@dataclass(frozen=True)
class PortableNetwork:
    """A trained network: what it computes, its settings, and its weights as NumPy arrays."""

    function: Apply
    settings: Any
    parameters: Parameters
    n_latent: int
    """Width of the embedding; 0 where there is none."""

    def __call__(self, operators: Operators, parameters: Parameters, values: Array) -> PortableOutput:
        """Evaluate normalised expression, `(n_obs, n_inputs)`, with these or other parameters of the same shapes."""
        return self.function(operators, self.settings, parameters, values)


@singledispatch
def portable_network(network: nn.Module) -> PortableNetwork:
    """Take a trained network out of PyTorch; it is not changed.

    Parameters
    ----------
    network
        A TabNet, a linear or multi-layer network, or an autoencoder with its centroids, on any device.

    Raises
    ------
    ValueError
        If it is another module, such as boosted trees.
    """
    raise ValueError(f"a `{type(network).__name__}` is not made of layers that other frameworks have")


@portable_network.register
def _(network: LinearNetwork) -> PortableNetwork:
    return PortableNetwork(_linear, None, {"classifier": _affine(network.classifier)}, 0)


@portable_network.register
def _(network: MultilayerPerceptron) -> PortableNetwork:
    layers: Any = network.layers
    hidden = [_affine(linear) | {"norm": _norm(norm)} for linear, norm, *_ in layers]
    return PortableNetwork(
        _perceptron, None, {"layers": hidden, "classifier": _affine(network.classifier)}, network.classifier.in_features
    )


@portable_network.register
def _(network: ZINBAutoencoder) -> PortableNetwork:
    standardised = {"mean": _numbers(network.input_mean), "std": _numbers(network.input_std)}
    encoder = [_affine(layer) for layer in network.encoder if isinstance(layer, nn.Linear)]
    parameters = {
        "input": {name: _beside(part, network, other) for (name, part), other in zip(standardised.items(), (0, 1), strict=True)},
        "encoder": encoder,
        "latent": _affine(network.latent),
        "centroids": _numbers(network.centroids),
    }
    return PortableNetwork(_autoencoder, None, parameters, network.latent.out_features)


@portable_network.register
def _(network: TabNet) -> PortableNetwork:
    attention: Any = network.attentive_transformers
    transformers: Any = [network.splitter, *network.feature_transformers]
    splitter, *others = [
        {"layers": [_weight(layer) for layer in each.independent], "norms": [_norm(norm.bn) for norm in each.norms]}
        for each in transformers
    ]
    parameters = {
        "input": _norm(network.input_norm),
        "shared": [_weight(layer) for layer in cast("Sequence[nn.Linear]", network.shared)],
        "splitter": splitter,
        "attention": [{"weight": _weight(each.linear), "norm": _norm(each.norm.bn)} for each in attention],
        "transformers": others,
        "classifier": _weight(network.classifier),
    }
    settings = _TabNetSettings(network.n_d, network.gamma, attention[0].mask_type == "entmax", network.dense_decision)
    return PortableNetwork(_tabnet, settings, parameters, network.n_d)


# ------------------------------------------------------------------------------------------------------------- functions


class _TabNetSettings(NamedTuple):
    n_d: int
    gamma: float
    is_entmax: bool
    dense_decision: bool


def _linear(ops: Operators, settings: None, parameters: Parameters, values: Array) -> PortableOutput:
    del settings
    return PortableOutput(_map(ops, parameters["classifier"], values), None)


def _perceptron(ops: Operators, settings: None, parameters: Parameters, values: Array) -> PortableOutput:
    del settings
    for layer in parameters["layers"]:
        values = _normalise(layer["norm"], _map(ops, layer, values))
        values = values * ops.sigmoid(values)
    return PortableOutput(_map(ops, parameters["classifier"], values), values)


def _autoencoder(ops: Operators, settings: None, parameters: Parameters, values: Array) -> PortableOutput:
    del settings
    values = (values - parameters["input"]["mean"]) / parameters["input"]["std"]
    for layer in parameters["encoder"]:
        values = ops.relu(_map(ops, layer, values))
    latent = _map(ops, parameters["latent"], values)
    return PortableOutput(-ops.log1p(ops.squared_distances(latent, parameters["centroids"])), latent)


def _tabnet(ops: Operators, settings: _TabNetSettings, parameters: Parameters, values: Array) -> PortableOutput:
    """See :class:`sctab.nn.TabNet` for the formulas."""
    n_d, n_both = settings.n_d, parameters["splitter"]["norms"][0]["scale"].shape[-1] // 2
    shared = parameters["shared"]
    values = _normalise(parameters["input"], values)
    out = _transform(ops, parameters["splitter"], shared, values)
    decisions = [ops.relu(ops.columns(out, 0, n_d))] if settings.dense_decision else []
    prior = None
    for attend, transformer in zip(parameters["attention"], parameters["transformers"], strict=True):
        logits = _normalise(attend["norm"], ops.matmul(ops.columns(out, n_d, n_both), attend["weight"]))
        if prior is not None:
            logits = logits * prior
        mask = (ops.entmax15 if settings.is_entmax else ops.sparsemax)(logits)
        out = _transform(ops, transformer, shared, mask * values)
        decisions.append(ops.relu(ops.columns(out, 0, n_d)))
        prior = settings.gamma - mask if prior is None else prior * (settings.gamma - mask)
    embedding = sum(decisions[1:], decisions[0])
    return PortableOutput(ops.matmul(embedding, parameters["classifier"]), embedding)


def _transform(ops: Operators, transformer: Parameters, shared: list[Array], x: Array) -> Array:
    for i, (weight, norm) in enumerate(zip([*shared, *transformer["layers"]], transformer["norms"], strict=True)):
        both = _normalise(norm, ops.matmul(x, weight))
        n = norm["scale"].shape[-1] // 2
        gated = ops.columns(both, 0, n) * ops.sigmoid(ops.columns(both, n, 2 * n))
        x = gated if i == 0 else (x + gated) * math.sqrt(0.5)
    return x


def _map(ops: Operators, layer: Parameters, x: Array) -> Array:
    return ops.matmul(x, layer["weight"]) + layer["bias"]


def _normalise(norm: Parameters, x: Array) -> Array:
    return x * norm["scale"] + norm["shift"]


# --------------------------------------------------------------------------------------------------------------- weights


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().float().numpy().copy()


def _weight(layer: nn.Linear) -> NDArray[np.float32]:
    """Weight of a linear map, `(n_inputs, n_outputs)`."""
    return np.ascontiguousarray(_numbers(layer.weight).T)


def _affine(layer: nn.Linear) -> dict[str, NDArray[np.float32]]:
    return {"weight": _weight(layer), "bias": _numbers(layer.bias)}


def _norm(norm: nn.BatchNorm1d) -> dict[str, NDArray[np.float32]]:
    affine = Affine.of(norm)
    return {"scale": _numbers(affine.scale), "shift": _numbers(affine.shift)}


def _beside(standardised: NDArray[np.float32], network: ZINBAutoencoder, other: float) -> NDArray[np.float32]:
    """Numbers of genes followed by those of the batch columns, which are not standardised."""
    first: Any = network.encoder[0]
    return np.concatenate([standardised, np.full(first.in_features - network.n_vars, other, dtype=np.float32)])
