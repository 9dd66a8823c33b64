"""A model on disk: a directory of `model.safetensors` and `model.json`, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors, save as dump_tensors
from torch import nn

from sctab.errors import ModelFormatError, ModelNotFoundError, SctabError, listing
from sctab.inference._reference_arrays import NO_ARRAYS, Arrays, read_arrays, write_arrays
from sctab.inference._spec import ModelSpec
from sctab.io import as_path, check_free, strict_json, written_beside
from sctab.keys import ENSEMBLE_FILE, ENSEMBLE_FORMAT, FIRST_FORMAT_VERSION, SPEC_FILE, WEIGHTS_FILE
from sctab.nn import WithoutInitialisation

_IMPORTANCE = "gene_importance"
_NETWORK = "network."
_WEIGHTS, _SPEC_SHA256, _REFERENCE = "weights", "spec_sha256", "reference"
_HASH = re.compile("[0-9a-f]{64}")
_VARIANCE = "running_var"
_MOST_WEIGHTS = 2**35
"""Largest file of weights that is read, in bytes."""
_TYPES = {torch.float32: "F32", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}
_NOTE = (
    "The model was saved by an earlier version of sctab, without a hash of its description: a damaged or edited `model.json` would not be "
    "noticed. If you trust it, save it again with `model.save(path, overwrite=True)`."
)


class StoredModel:
    """Content of a model directory: :class:`ModelSpec`, network weights, gene importance, and arrays of the reference.

    `note` is a caveat on how it is stored; empty if there is none.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Mapping[str, torch.Tensor],
        importance: NDArray[np.float32],
        arrays: Arrays,
        sha256: str,
        note: str,
    ) -> None:
        self.spec = spec
        self.weights = dict(weights)
        self.importance = importance
        self.arrays = arrays
        self.sha256 = sha256
        self.note = note


def write_model(
    path: str | PathLike[str],
    spec: ModelSpec,
    weights: Mapping[str, torch.Tensor],
    importance: NDArray[np.float32],
    *,
    arrays: Arrays = NO_ARRAYS,
    overwrite: bool,
) -> str:
    """Write a model directory, whole or not at all, and give the SHA-256 of its weights.

    Raises
    ------
    OutputExistsError
        If something is there and `overwrite` is false, or if it is not a model directory.
    OutputError
        If it cannot be written.
    """
    require_replaceable(path, overwrite=overwrite)
    require_sound(weights, importance)
    tensors = {_NETWORK + name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    tensors[_IMPORTANCE] = torch.from_numpy(np.ascontiguousarray(importance, dtype=np.float32))
    values = json.loads(json.dumps(spec.to_json()))  # keys are strings from here on
    ModelSpec.from_json(values)  # nothing is written that would not be read
    with written_beside(path, overwrite=overwrite, kind="model") as directory:
        directory.mkdir()
        values[_REFERENCE] = write_arrays(directory, arrays)
        try:
            of_spec = strict_json.digest(values)
        except ValueError as error:
            raise ModelFormatError(
                f"The description of the model cannot be stored: {error}. Change it, and save the model again."
            ) from error
        content = dump_tensors(tensors, metadata={_SPEC_SHA256: of_spec})
        sha256 = _sha256(content)
        (directory / WEIGHTS_FILE).write_bytes(content)
        strict_json.write(
            directory / SPEC_FILE, values | {_WEIGHTS: {"file": WEIGHTS_FILE, "sha256": sha256}, _SPEC_SHA256: of_spec}
        )
    return sha256


def require_sound(weights: Mapping[str, torch.Tensor], importance: NDArray[np.float32] | None = None) -> None:
    """Refuse weights with which no cell can be annotated.

    Raises
    ------
    ModelFormatError
        If a number is NaN or infinite, or if a variance or the importance of a gene is negative.
    """
    if problem := problem_of_weights(weights, importance):
        raise ModelFormatError(f"{problem}: the training diverged, or the model was damaged. Train or copy it again.")


def problem_of_weights(weights: Mapping[str, torch.Tensor], importance: NDArray[np.float32] | None = None) -> str:
    """Say why no cell can be annotated with some weights; empty when cells can be."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return f"The weights `{name}` hold NaN or infinite numbers"
        if name.endswith(_VARIANCE) and (tensor < 0).any():
            return f"The weights `{name}` hold a negative variance"
    if importance is not None and not (np.isfinite(importance).all() and (importance >= 0).all()):
        return "The importance of a gene is negative, NaN or infinite"
    return ""


def require_replaceable(path: str | PathLike[str], *, overwrite: bool) -> None:
    """Refuse to write where something is, unless it may be overwritten and is a model, an ensemble or an empty directory.

    Raises
    ------
    OutputExistsError
        If it must not be replaced.
    """
    check_free(as_path(path), overwrite=overwrite, kind="model")


def is_ensemble(path: str | PathLike[str]) -> bool:
    """Return whether a directory holds a finished ensemble."""
    try:
        return bool(strict_json.read(as_path(path) / ENSEMBLE_FILE)["format"] == ENSEMBLE_FORMAT)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def read_spec(path: str | PathLike[str]) -> ModelSpec:
    """Read only what a model is, without its weights; errors as in :func:`read_model`."""
    return _read_spec(as_path(path))[0]


def read_model(
    path: str | PathLike[str], network_of: Callable[[ModelSpec], nn.Module] | None = None, *, earlier: Collection[str] = ()
) -> StoredModel:
    """Read a model directory. Files other than the two that belong to it are never opened.

    Parameters
    ----------
    path
        The directory.
    network_of
        Builds the network of a description. Names, shapes and types of its weights are compared with those of the file before the
        latter are read. A weight without elements may have any length in the file.
    earlier
        Names that weights of an earlier format may have instead.

    Raises
    ------
    ModelNotFoundError
        If there is no directory.
    ModelFormatError
        If a file is missing, truncated or changed, or if the format is unknown.
    """
    path = as_path(path)
    spec, expected, of_spec, of_arrays = _read_spec(path)
    file_path = path / WEIGHTS_FILE
    try:
        with strict_json.open_regular(file_path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MOST_WEIGHTS:
                raise ValueError(f"it is larger than {_MOST_WEIGHTS:,} bytes")
            header, start = _read_header(file, size)
            _check_header(
                header, start, size, spec, of_spec, None if network_of is None else _weights_of(network_of, spec), earlier
            )
            file.seek(0)
            content = file.read(size)
    except SctabError:
        raise
    except OSError as error:
        raise ModelFormatError(f"`{file_path}` cannot be read ({error.strerror}). Copy the complete model again.") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFormatError(
            f"`{file_path}` does not hold the weights of the model in `{SPEC_FILE}`: {error}. One of the two was truncated or changed. "
            "Copy the model again."
        ) from error
    if _sha256(content) != expected:
        raise ModelFormatError(
            f"`{file_path}` is not the file that was saved: its SHA-256 differs from the one in `{SPEC_FILE}`. "
            "It was truncated or changed; copy the model again."
        )
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError, TypeError, LookupError) as error:
        raise ModelFormatError(f"`{file_path}` is not a safetensors file: {error}. Copy the model again.") from error
    importance = tensors.pop(_IMPORTANCE).numpy()
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items()}
    require_sound(weights, importance)
    return StoredModel(spec, weights, importance, read_arrays(path, of_arrays), expected, "" if of_spec else _NOTE)


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors begin."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(strict_json.MOST_BYTES, size - 8):
        raise ValueError("it is not a safetensors file, or was truncated")
    header = strict_json.parse(file.read(length))
    if not isinstance(header, dict):
        raise TypeError("it is not a safetensors file")
    return header, 8 + length


def _weights_of(network_of: Callable[[ModelSpec], nn.Module], spec: ModelSpec) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of every weight of the network of a description, for which no memory is taken."""
    try:
        with torch.device("meta"), WithoutInitialisation():
            weights = network_of(spec).state_dict()
    except SctabError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"no network can have the architecture of the description ({error})") from error
    return {name: (_TYPES.get(tensor.dtype, str(tensor.dtype)), list(tensor.shape)) for name, tensor in weights.items()}


def _check_header(
    header: Mapping[str, Any],
    start: int,
    size: int,
    spec: ModelSpec,
    of_spec: str | None,
    wanted: Mapping[str, tuple[str, list[int]]] | None,
    earlier: Collection[str],
) -> None:
    """Refuse a header that does not describe the weights of a model; errors are explained by who calls it."""
    found = {name: (entry["dtype"], entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    if header.get("__metadata__", {}).get(_SPEC_SHA256) != of_spec:
        raise ValueError("it belongs to another description")
    if found.pop(_IMPORTANCE, None) != ("F32", [len(spec.features)]):
        raise ValueError(f"it does not have the importance of {len(spec.features)} genes")
    if strangers := [name for name in found if not name.startswith(_NETWORK)]:
        raise ValueError(f"it holds {listing(strangers)}, which is not a weight")
    if (
        start + sum(entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__")
        != size
    ):
        raise ValueError("it has another size than its header says")
    if wanted is None:
        return
    names = {name.removeprefix(_NETWORK) for name in found}
    is_earlier = of_spec is None and not names.isdisjoint(earlier)
    flexible = {name for name, (_, shape) in wanted.items() if 0 in shape}
    if differing := sorted(names ^ set(wanted) if not is_earlier else (names - set(earlier)) ^ (set(wanted) - flexible)):
        raise ValueError(f"its network and that of the description do not both have the weights {listing(differing)}")
    for name in names & set(wanted):
        (kind, shape), (wanted_kind, wanted_shape) = found[_NETWORK + name], wanted[name]
        fits = shape == wanted_shape if name not in flexible else len(shape) == len(wanted_shape) and shape[1:] == wanted_shape[1:]
        if kind != wanted_kind or not fits:
            raise ValueError(
                f"its weights `{name}` are {kind} of shape {shape}, and the description asks for {wanted_kind} of {wanted_shape}"
            )


def _read_spec(path: Path) -> tuple[ModelSpec, str, str | None, Any]:
    """The description, the hash of the weights, its own hash, which the first version does not have, and what it says of arrays."""
    if not os.path.isdir(path):  # noqa: PTH112 (false for a name that no directory can have)
        raise ModelNotFoundError(f"`{path}` is not a model directory: there is no such directory.")
    try:
        values = strict_json.read(path / SPEC_FILE)
    except FileNotFoundError as error:
        hint = " It holds a pickled scvi-tools model, which sctab never opens." if (path / "model.pt").exists() else ""
        if is_ensemble(path):
            raise ModelFormatError(f"`{path}` holds an ensemble and not one model. Use `sctab.model.load_model`.") from error
        if (path / ENSEMBLE_FILE).exists():
            hint = " It is the run directory of an ensemble: when the training is finished, its output is the model."
        raise ModelFormatError(
            f"`{path}` is not an sctab model: it has no `{SPEC_FILE}`.{hint} Provide a directory that `model.save` wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if isinstance(values, dict):
        weights, of_spec = values.pop(_WEIGHTS, None), values.pop(_SPEC_SHA256, None)
    spec = ModelSpec.from_json(values)
    try:
        is_first = values["format_version"] == FIRST_FORMAT_VERSION
        if of_spec != (None if is_first else strict_json.digest(values)):
            raise ValueError("its content is not what was saved: the SHA-256 differs")
        if weights != {"file": WEIGHTS_FILE, "sha256": weights["sha256"]} or not _HASH.fullmatch(weights["sha256"]):
            raise ValueError("it does not have the hash of the weights")
        strict_json.canonical(spec.to_json())
    except (ValueError, LookupError, TypeError) as error:
        raise _unreadable(path, error) from error
    return spec, weights["sha256"], of_spec, values.get(_REFERENCE)


def _unreadable(path: Path, error: Exception) -> ModelFormatError:
    why = getattr(error, "strerror", None) or error
    return ModelFormatError(f"`{path / SPEC_FILE}` cannot be trusted: {why}. It was truncated or changed. Copy the model again.")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
