"""From the content of a published checkpoint to a model, if everything belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sctab.data import FeatureSpace, Normalization
from sctab.errors import ModelFormatError, listing
from sctab.inference import NO_SETUP, ModelSpec, build_network, require_sound
from sctab.model import SCTAB, CellTypeClassifier, LinearClassifier, MLPClassifier
from sctab.nn import PublishedNetwork, describe_published, from_published, subtract_means
from sctab.ontology import LabelSpace
from sctab.zoo._published_files import Checkpoint
from sctab.zoo._published_importance import importance_of_weights


class _Kind(NamedTuple):
    """Model class of a kind of network, with names of its settings."""

    model_class: type[CellTypeClassifier]
    sizes: Mapping[str, str]
    """Settings that shapes tell, and what the published hyperparameters call them."""
    others: tuple[str, ...]
    """Settings that only hyperparameters tell, under the same name."""


_KINDS = {
    "tabnet": _Kind(
        SCTAB,
        {name: name for name in ("n_d", "n_a", "n_shared", "n_independent", "n_steps")},
        ("gamma", "mask_type", "virtual_batch_size", "lambda_sparse", "momentum", "epsilon"),
    ),
    "linear": _Kind(LinearClassifier, {}, ()),
    "mlp": _Kind(MLPClassifier, {"n_layers": "n_hidden", "n_hidden": "hidden_size"}, ("dropout",)),
}
_LARGEST = 2.0**53
_MASK_TYPES = ("entmax", "sparsemax")
_MEANS = "feature_means"
"""Buffer with the means that older checkpoints subtract from the expression."""
_SETUP: Mapping[str, Any] = {**NO_SETUP, "labels_key": "cell_type"}
"""As if it had been trained here, on data that names its columns as CELLxGENE does."""


@dataclass(frozen=True)
class Identity:
    """Information that is not in a checkpoint and is the same for all runs of a model."""

    genes: FeatureSpace
    labels: LabelSpace
    description: str


def build_model(checkpoint: Checkpoint, hyperparameters: Mapping[str, Any], identity: Identity, *, name: str) -> CellTypeClassifier:
    """A trained model with the weights of a checkpoint.

    Parameters
    ----------
    checkpoint
        What was read of it.
    hyperparameters
        Those of its `hparams.yaml`; empty where there is none.
    identity
        Genes and labels.
    name
        What the checkpoint is called in messages.

    Raises
    ------
    ModelFormatError
        If the weights are not those of a published network, are not finite, or do not fit the hyperparameters, genes or labels.
    """
    network, weights = _network(checkpoint, name)
    known = _merge(checkpoint.hyperparameters, hyperparameters, network, name)
    _check_sizes(network, identity, name)
    spec = ModelSpec(
        model_class=_KINDS[network.kind].model_class.__name__,
        architecture=_architecture(network, known, name),
        features=identity.genes,
        labels=identity.labels,
        normalization=Normalization(target_sum=10_000, log1p=True),
        description=identity.description,
        setup=_SETUP,
        training={
            "published": True,
            "source": name,
            "sha256": checkpoint.sha256,
            "epoch": checkpoint.epoch,
            "hyperparameters": known,
        },
    )
    weights = _check_weights(weights, _expected(spec, name), name)
    means = _means(checkpoint, network, name)
    return _trained(spec, network, weights if means is None else subtract_means(weights, means), means)


def _network(checkpoint: Checkpoint, name: str) -> tuple[PublishedNetwork, dict[str, Tensor]]:
    try:
        network = describe_published(checkpoint.weights)
        return network, from_published(checkpoint.weights, n_shared=network.settings.get("n_shared", 0))
    except KeyError as error:
        raise ModelFormatError(f"`{name}` does not hold a published scTab network: {error.args[0]}") from error


def _merge(of_checkpoint: Mapping[str, Any], of_file: Mapping[str, Any], network: PublishedNetwork, name: str) -> dict[str, Any]:
    """All hyperparameters, where those of the checkpoint, those of the file and the shapes of the weights say the same."""
    kind = _KINDS[network.kind]
    known = {kind.sizes[key]: value for key, value in network.settings.items()}
    known |= {"gene_dim": network.n_features, "type_dim": network.n_classes}
    for key in (*known, *kind.others):
        said = {
            place: values[key]
            for place, values in {"its weights": known, "its own hyperparameters": of_checkpoint, "`hparams.yaml`": of_file}.items()
            if key in values
        }
        if any(value != other for value, other in pairwise(said.values())):
            different = ", ".join(f"{value!r} by {place}" for place, value in said.items())
            raise ModelFormatError(
                f"`{key}` of `{name}` is {different}. Provide the `hparams.yaml` that belongs to the checkpoint."
            )
    return {**of_file, **of_checkpoint}


def _check_sizes(network: PublishedNetwork, identity: Identity, name: str) -> None:
    for what, given, needed in (
        ("genes", len(identity.genes), network.n_features),
        ("labels", len(identity.labels), network.n_classes),
    ):
        if given != needed:
            raise ModelFormatError(
                f"`{name}` has weights for {needed} {what}, and {given} {what} were given. Provide the list of {what} that belongs to it."
            )


def _architecture(network: PublishedNetwork, hyperparameters: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Keyword arguments of the network. What decides a prediction must be known; what only matters in training may be as published."""
    kind = _KINDS[network.kind]
    needed = [key for key in ("mask_type", "gamma") if key in kind.others]
    if network.settings.get("n_steps") == 1:
        needed = ["mask_type"]  # `gamma` links one step to the next
    if missing := [key for key in needed if key not in hyperparameters]:
        raise ModelFormatError(
            f"`{name}` does not say {listing(missing)} of its network, which decides what it predicts. Provide the "
            "`hparams.yaml` of the run."
        )
    settings = {key: hyperparameters[key] for key in kind.others if key in hyperparameters}
    for key, value in settings.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST  # NaN is not
        if not (value in _MASK_TYPES if key == "mask_type" else is_number):
            raise ModelFormatError(f"`{key}={value!r}` in the hyperparameters of `{name}` is invalid.")
    published = {key: value for key, value in kind.model_class.paper_settings()["model"].items() if key != "n_top_genes"}
    return published | dict(network.settings) | settings


def _expected(spec: ModelSpec, name: str) -> dict[str, Tensor]:
    """Names, shapes and types of the weights of the network, without memory for them."""
    try:
        with torch.device("meta"):
            return dict(build_network(spec).state_dict())
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"The hyperparameters of `{name}` are invalid: {error}") from error


def _check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    if missing := sorted(set(expected) - set(weights)):
        raise ModelFormatError(f"`{name}` lacks weights of its network. In the words of `sctab.nn` they are: {listing(missing)}.")
    if unknown := sorted(set(weights) - set(expected)):
        raise ModelFormatError(
            f"`{name}` has weights that its network does not. In the words of `sctab.nn` they are: {listing(unknown)}."
        )
    return {key: check_tensor(weights[key], like, f"`{key}` of `{name}`") for key, like in expected.items()}


def check_tensor(tensor: Tensor, like: Tensor, what: str) -> Tensor:
    """A weight of the shape and type of `like`, if it can be converted to these."""
    if tensor.shape != like.shape:
        raise ModelFormatError(f"{what} is of shape {tuple(tensor.shape)}, and {tuple(like.shape)} was expected.")
    is_array = tensor.layout == torch.strided and tensor.is_contiguous()
    if not is_array or tensor.is_floating_point() != like.is_floating_point():
        raise ModelFormatError(f"{what} is not an ordinary array of {like.dtype} ({tensor.dtype}, {tensor.layout}).")
    if not torch.isfinite(tensor := tensor.to(like.dtype)).all():
        raise ModelFormatError(f"{what} holds NaN or infinite numbers. The training failed, or the file is damaged.")
    return tensor


def _means(checkpoint: Checkpoint, network: PublishedNetwork, name: str) -> Tensor | None:
    means = checkpoint.weights.get(_MEANS)
    if means is None:
        return None
    shape = (1, network.n_features) if means.ndim == 2 else (network.n_features,)
    return check_tensor(means, torch.empty(shape, device="meta"), f"`{_MEANS}` of `{name}`").flatten()


def _trained(spec: ModelSpec, network: PublishedNetwork, weights: Mapping[str, Tensor], means: Tensor | None) -> CellTypeClassifier:
    model_class: Any = _KINDS[network.kind].model_class
    model = model_class(spec=spec)
    require_sound(weights)
    model.module.load_state_dict(weights)
    model.module.eval()
    model.gene_importance = importance_of_weights(weights, means)
    model.history_ = {}
    model.is_trained_ = True
    return model
