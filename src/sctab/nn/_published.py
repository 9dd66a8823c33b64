"""The one place that knows the parameter names of the published scTab checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_PREFIX = "classifier."
_TRANSFORMER = r"encoder\.(initial_splitter|feat_transformers\.(\d+))\."
_LAYER = re.compile(_TRANSFORMER + r"(shared|specifics)\.glu_layers\.(\d+)\.(fc|bn\.bn)\.(\w+)")
_SHARED = re.compile(_TRANSFORMER + r"shared\.shared_layers\.(\d+)\.weight")
_ATTENTION = re.compile(r"encoder\.att_transformers\.(\d+)\.(fc|bn\.bn)\.(\w+)")


def from_published(state_dict: Mapping[str, Tensor], *, n_shared: int) -> dict[str, Tensor]:
    """Rename the weights of a published scTab checkpoint to those of :class:`~sctab.nn.TabNet`.

    Parameters
    ----------
    state_dict
        The `state_dict` of the checkpoint. Names that do not start with `classifier.` (class weights, augmentation vectors) are
        not weights of the network and are left out.
    n_shared
        Number of shared layers, from the checkpoint's hyperparameters: the independent layers are numbered after them.

    Returns
    -------
    A `state_dict` for :meth:`TabNet.load_state_dict <torch.nn.Module.load_state_dict>`, sharing memory with the input.

    Raises
    ------
    KeyError
        When a name under `classifier.` is not one of a TabNet.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        if name.startswith(_PREFIX):
            renamed[_rename(name.removeprefix(_PREFIX), n_shared)] = tensor
    return renamed


def _rename(name: str, n_shared: int) -> str:
    if name == "final_mapping.weight":
        return "classifier.weight"
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
