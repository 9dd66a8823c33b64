"""The one place that knows the parameter names of the published scTab checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor

_PREFIX = "classifier."
_TRANSFORMER = r"encoder\.(initial_splitter|feat_transformers\.(\d+))\."
_LAYER = re.compile(_TRANSFORMER + r"(shared|specifics)\.glu_layers\.(\d+)\.(fc|bn\.bn)\.(\w+)")
_SHARED = re.compile(_TRANSFORMER + r"shared\.shared_layers\.(\d+)\.weight")
_ATTENTION = re.compile(r"encoder\.att_transformers\.(\d+)\.(fc|bn\.bn)\.(\w+)")
_HIDDEN = re.compile(r"encoder\.(\d+)\.(\w+)")
_PARTS_OF_A_HIDDEN_LAYER = 4
"""Linear map, batch norm, SiLU and dropout are numbered one after another."""


class PublishedNetwork(NamedTuple):
    """Architecture of a published network, from the names and shapes of its weights."""

    kind: Literal["tabnet", "linear", "mlp"]
    """:class:`~sctab.nn.TabNet`, :class:`~sctab.nn.LinearNetwork` or :class:`~sctab.nn.MultilayerPerceptron`."""
    n_features: int
    """Number of genes."""
    n_classes: int
    """Number of cell types."""
    settings: Mapping[str, int]
    """Keyword arguments of that class that shapes tell: widths, and numbers of layers and steps."""


def describe_published(state_dict: Mapping[str, Tensor]) -> PublishedNetwork:
    """Kind and size of the network in a published scTab checkpoint.

    Parameters
    ----------
    state_dict
        The `state_dict` of the checkpoint.

    Raises
    ------
    KeyError
        If a weight that tells it is missing.

    Examples
    --------
    >>> import torch
    >>> describe_published({"classifier.weight": torch.zeros(3, 50), "classifier.bias": torch.zeros(3)})
    PublishedNetwork(kind='linear', n_features=50, n_classes=3, settings={})
    """
    shapes = {
        name.removeprefix(_PREFIX): (*tensor.shape, 1, 1)[:2] for name, tensor in state_dict.items() if name.startswith(_PREFIX)
    }

    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise KeyError(f"`{_PREFIX}{name}` is missing.")
        return shapes[name]

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in shapes)

    if "weight" in shapes:
        n_classes, n_features = shapes["weight"]
        return PublishedNetwork("linear", n_features, n_classes, {})
    if "linear.weight" in shapes:
        n_classes, n_hidden = shapes["linear.weight"]
        n_layers = count(r"encoder\.\d+\.running_mean")
        return PublishedNetwork("mlp", shape("encoder.0.weight")[1], n_classes, {"n_layers": n_layers, "n_hidden": n_hidden})
    n_classes, n_d = shape("final_mapping.weight")
    n_features, n_a = shape("encoder.att_transformers.0.fc.weight")
    settings = {
        "n_d": n_d,
        "n_a": n_a,
        "n_shared": count(r"encoder\.initial_splitter\.shared\.glu_layers\.\d+\.fc\.weight"),
        "n_independent": count(r"encoder\.initial_splitter\.specifics\.glu_layers\.\d+\.fc\.weight"),
        "n_steps": count(r"encoder\.att_transformers\.\d+\.fc\.weight"),
    }
    return PublishedNetwork("tabnet", n_features, n_classes, settings)


def from_published(state_dict: Mapping[str, Tensor], *, n_shared: int = 0) -> dict[str, Tensor]:
    """Rename the weights of a published scTab checkpoint to those of the network here, see :func:`describe_published`.

    Parameters
    ----------
    state_dict
        The `state_dict` of the checkpoint. Names that do not start with `classifier.` (class weights, augmentation vectors) are
        not weights of the network and are left out.
    n_shared
        Number of shared layers of a TabNet: its independent layers are numbered after them.

    Returns
    -------
    A `state_dict` for :meth:`load_state_dict <torch.nn.Module.load_state_dict>`, sharing memory with the input.

    Raises
    ------
    KeyError
        If a name under `classifier.` is none of a published network.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        if name.startswith(_PREFIX):
            renamed[_rename(name.removeprefix(_PREFIX), n_shared)] = tensor
    return renamed


def subtract_means(weights: Mapping[str, Tensor], means: Tensor) -> dict[str, Tensor]:
    """Weights that give of an input what `weights` give of the input less `means`.

    Older published networks saw expression less the mean of every gene. A batch norm of the input, and a linear map with a bias, can
    take that over exactly: :math:`W (x - m) + b = W x + (b - W m)`.

    Parameters
    ----------
    weights
        As :func:`from_published` gives them.
    means
        Mean of every gene, `(n_features,)`.
    """
    means = means.double()
    if (name := "input_norm.running_mean") in weights:
        moved = weights[name].double() + means
    else:
        layer = "layers.0.0" if "layers.0.0.weight" in weights else "classifier"
        name = f"{layer}.bias"
        moved = weights[name].double() - weights[f"{layer}.weight"].double() @ means
    return dict(weights) | {name: moved.float()}


def _rename(name: str, n_shared: int) -> str:
    if name in {"weight", "bias"}:
        return f"classifier.{name}"
    if name in {"linear.weight", "linear.bias", "final_mapping.weight"}:
        return f"classifier.{name.split('.')[1]}"
    if match := _HIDDEN.fullmatch(name):
        layer, position = divmod(int(match[1]), _PARTS_OF_A_HIDDEN_LAYER)
        return f"layers.{layer}.{position}.{match[2]}"
    if name.startswith("encoder.initial_bn."):
        return name.replace("encoder.initial_bn.", "input_norm.")
    if match := _SHARED.fullmatch(name):
        return f"shared.{match[3]}.weight"
    if match := _LAYER.fullmatch(name):
        transformer = "splitter" if match[2] is None else f"feature_transformers.{match[2]}"
        shared, index = match[3] == "shared", int(match[4])
        if match[5] == "bn.bn":
            return f"{transformer}.norms.{index if shared else n_shared + index}.bn.{match[6]}"
        return f"shared.{index}.weight" if shared else f"{transformer}.independent.{index}.weight"
    if match := _ATTENTION.fullmatch(name):
        part = "linear" if match[2] == "fc" else "norm.bn"
        return f"attentive_transformers.{match[1]}.{part}.{match[3]}"
    raise KeyError(f"`{_PREFIX}{name}` is not a parameter of a published scTab network.")
