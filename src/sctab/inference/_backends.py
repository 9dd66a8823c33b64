"""Evaluation of the networks of a model by PyTorch and compiled loops, or by JAX."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from sctab.errors import Parameter, SettingError
from sctab.nn import PortableNetwork, Precision, portable_network, predict_sparse, sparse_network

Backend = Literal["torch", "jax"]
"""`"torch"`: the sparse evaluator of this package, on the device of the model. `"jax"`: XLA, on the default devices of JAX."""
Outputs = tuple[NDArray[np.float32], NDArray[np.float32] | None]
"""Logits, `(n_obs, n_members, n_labels)`, and latents, `(n_obs, n_latent)`, if any."""


def evaluator_of(
    modules: Sequence[nn.Module], *, precision: Precision, device: str | None, backend: Backend
) -> Callable[[sparse.csr_matrix], Outputs]:
    """Evaluate networks on normalised expression by a backend.

    Parameters
    ----------
    modules
        Trained networks on one device.
    precision, device
        As in :class:`sctab.inference.BlockPredictor`.
    backend
        See :data:`Backend`.

    Raises
    ------
    SettingError
        If the backend is unknown, or if it does not have the precision or the networks.
    MissingDependencyError
        If it is not installed.
    """
    if backend not in get_args(Backend):
        raise SettingError(
            Parameter("backend", backend), f" is unknown. Choose one of: {', '.join(f'`{name}`' for name in get_args(Backend))}."
        )
    if backend == "torch":
        return TorchEvaluator(modules, precision, device)
    if precision != "float32":
        raise SettingError(
            Parameter("precision", precision), " is not available with ", Parameter("backend", backend), ". Omit one of them."
        )
    return JaxEvaluator(portable_networks(modules, why="With the backend `jax`"))


def portable_networks(modules: Sequence[nn.Module], *, why: str) -> list[PortableNetwork]:
    """Take networks out of PyTorch.

    Parameters
    ----------
    modules
        Trained networks.
    why
        Beginning of the sentence that says what they are needed for.

    Raises
    ------
    SettingError
        If another framework does not have their layers.
    """
    try:
        return [portable_network(module) for module in modules]
    except ValueError as error:
        raise SettingError(
            f"{why}, `SCTAB`, `LinearClassifier`, `MLPClassifier`, `SCDeepCluster` and ensembles of them can be used: {error}."
        ) from error


class TorchEvaluator:
    """Networks in their fast form, see :func:`sctab.nn.sparse_network`.

    Parameters
    ----------
    modules, precision, device
        As in :func:`evaluator_of`; errors are those of it.
    """

    def __init__(self, modules: Sequence[nn.Module], precision: Precision, device: str | None) -> None:
        if device is not None:
            modules = [copy.deepcopy(module).to(device) for module in modules]
        try:
            self._networks = [sparse_network(module, precision=precision) for module in modules]
        except ValueError as error:
            raise SettingError(str(error)) from error

    def __call__(self, values: sparse.csr_matrix) -> Outputs:
        """Evaluate normalised expression, `(n_obs, n_inputs)`."""
        outputs = predict_sparse(self._networks, values)
        latents = [output.embedding.cpu().numpy() for output in outputs if output.embedding is not None]
        logits = np.stack([output.logits.cpu().numpy() for output in outputs], axis=1)
        return logits, np.concatenate(latents, axis=1) if latents else None


class JaxEvaluator:
    """Networks compiled by JAX, on its default devices. Another process compiles them for its own.

    Parameters
    ----------
    networks
        The networks.
    """

    def __init__(self, networks: Sequence[PortableNetwork]) -> None:
        from sctab.nn import BatchedFunction, JaxMembers  # which import JAX

        self._networks = tuple(networks)
        members = JaxMembers(networks)
        self._evaluate = BatchedFunction(members, members.parameters)

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, which have devices of their own."""
        return JaxEvaluator, (self._networks,)

    def __call__(self, values: sparse.csr_matrix) -> Outputs:
        """Evaluate normalised expression, `(n_obs, n_inputs)`."""
        outputs: Outputs = self._evaluate(values)
        return outputs
