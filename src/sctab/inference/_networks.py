"""Networks of models by what describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from types import MappingProxyType

import torch
from torch import nn

from sctab.errors import ModelFormatError, listing
from sctab.inference._spec import CLUSTERING, ModelSpec
from sctab.nn import EARLIER_TREES, BoostedTrees, LinearNetwork, MultilayerPerceptron, TabNet, ZINBAutoencoder


def _tabnet(spec: ModelSpec) -> TabNet:
    network = {name: value for name, value in spec.architecture.items() if name != "lambda_sparse"}
    return TabNet(spec.n_inputs, len(spec.labels), **network)


def _linear(spec: ModelSpec) -> LinearNetwork:
    return LinearNetwork(spec.n_inputs, len(spec.labels), **spec.architecture)


def _perceptron(spec: ModelSpec) -> MultilayerPerceptron:
    return MultilayerPerceptron(spec.n_inputs, len(spec.labels), **spec.architecture)


def _trees(spec: ModelSpec) -> BoostedTrees:
    if spec.architecture["max_depth"] < 1 or not 0 < spec.architecture["subsample"] <= 1:
        raise ValueError("`max_depth` must be at least 1, and `subsample` above 0 and at most 1.")
    return BoostedTrees(
        len(spec.features),
        len(spec.labels),
        n_components=spec.architecture["n_components"],
        n_covariates=spec.n_beside,
    )


def _autoencoder(spec: ModelSpec) -> ZINBAutoencoder:
    size = {name: spec.architecture[name] for name in ("n_latent", "encoder")}
    return ZINBAutoencoder(len(spec.features), len(spec.labels), n_batches=len(spec.category_names), **size)


_NETWORKS: Mapping[str, Callable[[ModelSpec], nn.Module]] = MappingProxyType(
    {
        "LinearClassifier": _linear,
        "MLPClassifier": _perceptron,
        "XGBoostClassifier": _trees,
        "SCTAB": _tabnet,
        CLUSTERING: _autoencoder,
    }
)
EARLIER_WEIGHTS = (EARLIER_TREES,)
"""Names that weights had in an earlier format, which networks read too."""


def build_network(spec: ModelSpec) -> nn.Module:
    """The network of a model, with random weights from torch's generator.

    Raises
    ------
    ModelFormatError
        If the class of the model is unknown.
    TypeError, ValueError
        If no network has the architecture of the model.
    """
    if spec.model_class not in _NETWORKS:
        raise ModelFormatError(
            f"The model is of class `{spec.model_class}`, which this version of sctab does not have. Available: "
            f"{listing(_NETWORKS)}. Update sctab."
        )
    return _NETWORKS[spec.model_class](spec)


def network_with(weights: Mapping[str, torch.Tensor], spec: ModelSpec, *, where: str | PathLike[str]) -> nn.Module:
    """The network of a model with its stored weights, ready to predict.

    Raises
    ------
    ModelFormatError
        If the weights do not fit the architecture.
    """
    with torch.random.fork_rng(devices=[]):
        network = build_network(spec)
    take_weights(network, weights, where=where)
    return network.eval()


def take_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], *, where: str | PathLike[str]) -> None:
    """Load stored weights into a network.

    Raises
    ------
    ModelFormatError
        If they do not fit its architecture.
    """
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ModelFormatError(
            f"The weights in `{where}` do not fit the architecture in its `model.json`. Copy the model again."
        ) from error
