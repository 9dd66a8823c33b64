"""Operators of JAX, and functions of rows that are compiled for batches of few sizes.

Needs `jax`, which is optional: `pip install 'sctab[jax]'`. This is the only module that imports it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import require
from sctab.nn.portable._masks import MOST_STEPS, SHORTEST_STRIP, TOLERANCE, mask_of
from sctab.nn.portable._networks import Array, PortableNetwork

jax: Any = require("jax", extra="jax")
jax_export: Any = require("jax.export", extra="jax")
jnp = jax.numpy

BATCH_SIZES = (1, 16, 128)
"""Rows of a batch on one device: three compilations, whatever the sizes of blocks are. More rows are slower on a CPU, whose caches hold
what 128 need of 20,000 genes."""
_UNDER_WAY = 2
"""Batches under way at a time: while one is computed, the next is made dense."""
_AXIS = "cells"
EXPORT_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Platforms that an exported function runs on."""


class _JaxOperators:
    """See :class:`~sctab.nn.portable._masks.MaskOperators`."""

    matmul = staticmethod(partial(jnp.matmul, precision="highest"))
    """JAX multiplies with fewer bits on TPUs and GPUs by default."""
    sigmoid = staticmethod(jax.nn.sigmoid)
    relu = staticmethod(jax.nn.relu)
    log, log1p, exp, where, clip = (staticmethod(each) for each in (jnp.log, jnp.log1p, jnp.exp, jnp.where, jnp.clip))
    sum = staticmethod(partial(jnp.sum, axis=-1, keepdims=True))
    largest = staticmethod(partial(jnp.max, axis=-1, keepdims=True))

    def columns(self, x: Array, start: int, stop: int) -> Array:
        return x[:, start:stop]

    def beside(self, x: Array, other: Array) -> Array:
        return jnp.concatenate([x, other], axis=1)

    def asarray(self, x: Any) -> Array:
        """An array of floating-point numbers, in double precision only if they are."""
        array = jnp.asarray(x)
        return array if array.dtype in (jnp.float32, jnp.float64) else array.astype(jnp.float32)

    def zeros(self, like: Array, n: int) -> Array:
        return jnp.zeros((like.shape[0], n), dtype=like.dtype)

    def count_positive(self, x: Array) -> Array:
        return self.sum((x > 0).astype(x.dtype))

    def squared_distances(self, x: Array, points: Array) -> Array:
        return jnp.square(x[:, None] - points).sum(axis=2)

    def entmax15(self, logits: Array) -> Array:
        return entmax15(logits)

    def sparsemax(self, logits: Array) -> Array:
        return sparsemax(logits)

    def strip_maxima(self, x: Array, n_strips: int) -> Array:
        n_obs, width = x.shape[0], x.shape[1] // n_strips
        if width < SHORTEST_STRIP:
            return x
        in_strips = n_strips * width
        maxima = x[:, :in_strips].reshape(n_obs, n_strips, width).max(axis=1)
        return jnp.concatenate([maxima, x[:, in_strips:]], axis=1)  # the rest may hold the largest of all

    def ascend(self, step: Callable[[Array], Array], start: Array) -> Array:
        def is_rising(state: tuple[Array, Array, Array]) -> Array:
            return state[1] & (state[2] < MOST_STEPS)

        def body(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            tau, _, n_steps = state
            raised = step(tau)
            return raised, jnp.any(raised - tau > TOLERANCE), n_steps + 1

        raised: Array
        raised, *_ = jax.lax.while_loop(is_rising, body, (start, jnp.array(True), 0))  # noqa: FBT003
        return raised


JAX_OPERATORS = _JaxOperators()


def _entmax15(logits: Array) -> Array:
    r"""1.5-entmax of each row, exact and without a sort; see :func:`~sctab.nn.portable._masks.mask_of`.

    Its derivative is :math:`\mathrm{d} p = s \odot (\mathrm{d} z - s^T \mathrm{d} z / \sum_g s_g)` with :math:`s = \sqrt{p}` (Peters et
    al. 2019, :doi:`10.18653/v1/P19-1146`, proposition 3).

    Parameters
    ----------
    logits
        `(n_obs, n_inputs)`.

    Returns
    -------
    Non-negative rows that sum to one, `(n_obs, n_inputs)`.
    """
    return mask_of(JAX_OPERATORS, logits, is_entmax=True)


def _sparsemax(logits: Array) -> Array:
    r"""Sparsemax of each row, exact and without a sort, as :func:`entmax15`.

    Its derivative is the same with :math:`s` one on the support (Martins and Astudillo 2016, :doi:`10.48550/arXiv.1602.02068`).

    Parameters
    ----------
    logits
        `(n_obs, n_inputs)`.

    Returns
    -------
    Non-negative rows that sum to one, `(n_obs, n_inputs)`.
    """
    return mask_of(JAX_OPERATORS, logits, is_entmax=False)


def _tangent(s: Array, of_logits: Array) -> Array:
    weighted = s * of_logits
    return weighted - s * (JAX_OPERATORS.sum(weighted) / JAX_OPERATORS.sum(s))


def _entmax15_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    mask = entmax15(*primals)
    is_kept = mask > 0
    root = jnp.where(is_kept, jnp.sqrt(jnp.where(is_kept, mask, 1.0)), 0.0)  # its own derivative is finite beside the support
    return mask, _tangent(root, *tangents)


def _sparsemax_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    mask = sparsemax(*primals)
    return mask, _tangent((mask > 0).astype(mask.dtype), *tangents)


entmax15 = jax.custom_jvp(_entmax15)
entmax15.defjvp(_entmax15_jvp)
sparsemax = jax.custom_jvp(_sparsemax)
sparsemax.defjvp(_sparsemax_jvp)


# --------------------------------------------------------------------------------------------------------------- members


class JaxMembers:
    """Trained networks for the same cells; those of one architecture are one function, over which parameters are mapped.

    Parameters
    ----------
    networks
        One per member.
    """

    def __init__(self, networks: Sequence[PortableNetwork]) -> None:
        groups: dict[Any, list[int]] = {}
        for i, network in enumerate(networks):
            leaves, structure = jax.tree.flatten(network.parameters)
            groups.setdefault((network.function, network.settings, structure, tuple(leaf.shape for leaf in leaves)), []).append(i)
        self._groups = [(networks[members[0]], tuple(members)) for members in groups.values()]
        self.parameters = tuple(_stacked([networks[i].parameters for i in members]) for members in groups.values())
        """One pytree for each architecture; arrays of several members are stacked along a first axis."""

    def __call__(self, parameters: Sequence[Any], values: Array) -> tuple[Array, Array | None]:
        """Logits, `(n_obs, n_members, n_classes)`, and embeddings side by side, `(n_obs, n_members * n_latent)`, or `None`."""
        logits, embeddings = {}, {}
        for (network, members), of_group in zip(self._groups, parameters, strict=True):
            evaluate = partial(network, JAX_OPERATORS)
            if len(members) == 1:
                logits[members[0]], embeddings[members[0]] = evaluate(of_group, values)
                continue
            of_logits, of_embeddings = jax.vmap(evaluate, in_axes=(0, None))(of_group, values)
            for i, member in enumerate(members):
                logits[member] = of_logits[i]
                embeddings[member] = None if of_embeddings is None else of_embeddings[i]
        latents = [embeddings[i] for i in sorted(embeddings) if embeddings[i] is not None]
        return jnp.stack([logits[i] for i in sorted(logits)], axis=1), jnp.concatenate(latents, axis=1) if latents else None


def _stacked(parameters: Sequence[Any]) -> Any:
    return parameters[0] if len(parameters) == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *parameters)


# ----------------------------------------------------------------------------------------------------------------- batches


class BatchedFunction:
    """A pure function of parameters and rows, compiled once per size of batch, with the rows of a batch spread over devices.

    Parameters
    ----------
    function
        From parameters and matrices with `n_obs` rows to a pytree of arrays with as many rows. A row must not depend on others.
    parameters
        A pytree; each device gets a copy.
    devices
        Where to compute; by default all devices of JAX's default platform in this process.
    """

    def __init__(self, function: Callable[..., Any], parameters: Any, devices: Sequence[Any] | None = None) -> None:
        mesh = jax.sharding.Mesh(np.array(devices or jax.local_devices()), (_AXIS,))
        everywhere, by_row = (jax.sharding.PartitionSpec(*axes) for axes in ((), (_AXIS,)))
        self.devices = tuple(mesh.devices)
        self.parameters = jax.device_put(parameters, jax.sharding.NamedSharding(mesh, everywhere))
        self._by_row = jax.sharding.NamedSharding(mesh, by_row)

        def of_device(parameters: Any, matrices: tuple[Array, ...]) -> Any:
            return function(parameters, *matrices)

        if len(self.devices) > 1:  # each computes its rows as if it were alone, and no step of a loop waits for the others
            specs = (everywhere, by_row)
            of_device = jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=by_row, check_vma=False)
        self._compiled = jax.jit(of_device)

    def __call__(self, *matrices: sparse.csr_matrix | NDArray[Any]) -> Any:
        """Output for all rows, as NumPy arrays.

        Parameters
        ----------
        *matrices
            Each with the same number of rows; sparse ones are made dense batch by batch.
        """
        parts, waiting = [], deque[Any]()
        for start, stop, size in self._batches(matrices[0].shape[0]):
            batch = tuple(jax.device_put(_dense(matrix[start:stop], size), self._by_row) for matrix in matrices)
            waiting.append((self._compiled(self.parameters, batch), stop - start))
            if len(waiting) > _UNDER_WAY:
                parts.append(_rows(*waiting.popleft()))
        parts += [_rows(*each) for each in waiting]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _batches(self, n_obs: int) -> Iterator[tuple[int, int, int]]:
        """Start and end of each batch, and the size that it is filled up to."""
        sizes = [size * len(self.devices) for size in BATCH_SIZES]
        for start in range(0, max(n_obs, 1), sizes[-1]):
            stop = min(start + sizes[-1], n_obs)
            yield start, stop, next(size for size in sizes if size >= stop - start)


def _dense(matrix: Any, n_rows: int) -> NDArray[np.float32]:
    filled = np.zeros((n_rows, matrix.shape[1]), dtype=np.float32)
    filled[: matrix.shape[0]] = matrix.toarray() if sparse.issparse(matrix) else matrix
    return filled


def _rows(output: Any, n_rows: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:n_rows], output)


def exported_function(function: Callable[..., Any], n_columns: Sequence[int]) -> tuple[bytes, dict[str, int]]:
    """Compile a pure function to StableHLO, for any number of rows and every platform.

    Parameters
    ----------
    function
        From matrices with `n_obs` rows, float32, to a dictionary of matrices with as many rows.
    n_columns
        Number of columns of each argument.

    Returns
    -------
    The bytes that :func:`jax.export.deserialize` reads, and the number of columns of each output.

    Raises
    ------
    MissingDependencyError
        If `flatbuffers` is not installed.
    """
    require("flatbuffers", extra="jax")  # which JAX serialises with and does not install
    (n_obs,) = jax_export.symbolic_shape("n_obs")
    arguments = [jax.ShapeDtypeStruct((n_obs, width), jnp.float32) for width in n_columns]
    exported = jax_export.export(jax.jit(function), platforms=EXPORT_PLATFORMS)(*arguments)
    widths = {name: int(output.shape[1]) for name, output in jax.tree.unflatten(exported.out_tree, exported.out_avals).items()}
    return bytes(exported.serialize()), widths
