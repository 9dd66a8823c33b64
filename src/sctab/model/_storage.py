"""A model on disk: a directory of `model.safetensors` and `model.json`, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from sctab._atomic import as_path, check_free, written_beside
from sctab._constants import ENSEMBLE_FILE, ENSEMBLE_FORMAT, SPEC_FILE, WEIGHTS_FILE
from sctab._errors import ModelFormatError, ModelNotFoundError
from sctab.model._spec import ModelSpec

_IMPORTANCE = "gene_importance"
_NETWORK = "network."


class StoredModel:
    """What a model directory holds: its :class:`ModelSpec`, the weights of its network, the importance of its genes."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, torch.Tensor], importance: NDArray[np.float32], sha256: str) -> None:
        self.spec = spec
        self.weights = dict(weights)
        self.importance = importance
        self.sha256 = sha256


def write_model(
    path: str | PathLike[str],
    spec: ModelSpec,
    weights: Mapping[str, torch.Tensor],
    importance: NDArray[np.float32],
    *,
    overwrite: bool,
) -> str:
    """Write a model directory, whole or not at all, and give the SHA-256 of its weights.

    Raises
    ------
    OutputExistsError
        When something is there and `overwrite` is false, or when it is not a model directory.
    OutputError
        When it cannot be written.
    """
    require_replaceable(path, overwrite=overwrite)
    tensors = {_NETWORK + name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    tensors[_IMPORTANCE] = torch.from_numpy(np.ascontiguousarray(importance, dtype=np.float32))
    content = dump_tensors(tensors, metadata={"model_class": spec.model_class})
    sha256 = _sha256(content)
    with written_beside(path, overwrite=overwrite, kind="model") as directory:
        directory.mkdir()
        (directory / WEIGHTS_FILE).write_bytes(content)
        values = spec.to_json() | {"weights": {"file": WEIGHTS_FILE, "sha256": sha256}}
        (directory / SPEC_FILE).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return sha256


def require_replaceable(path: str | PathLike[str], *, overwrite: bool) -> None:
    """Refuse to write where something is, unless it may be overwritten and is a model, an ensemble or an empty directory.

    Raises
    ------
    OutputExistsError
        When it must not be replaced.
    """
    check_free(as_path(path), overwrite=overwrite, kind="model")


def is_ensemble(path: str | PathLike[str]) -> bool:
    """Whether a directory holds a finished ensemble."""
    try:
        return json.loads((Path(path) / ENSEMBLE_FILE).read_text(encoding="utf-8")).get("format") == ENSEMBLE_FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def read_spec(path: str | PathLike[str]) -> ModelSpec:
    """Read only what a model is, without its weights; errors as in :func:`read_model`."""
    return _read_spec(Path(path))[0]


def read_model(path: str | PathLike[str]) -> StoredModel:
    """Read a model directory. Files other than the two that belong to it are never opened.

    Raises
    ------
    ModelNotFoundError
        When there is no directory.
    ModelFormatError
        When a file is missing, truncated or changed, or when the format is unknown.
    """
    path = Path(path)
    spec, expected = _read_spec(path)
    try:
        content = (path / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise ModelFormatError(
            f"`{path / WEIGHTS_FILE}` cannot be read ({error.strerror}). Copy the model again, whole."
        ) from error
    if _sha256(content) != expected:
        raise ModelFormatError(
            f"`{path / WEIGHTS_FILE}` is not the file that was saved: its SHA-256 differs from the one in `{SPEC_FILE}`. "
            "It was truncated or changed; copy the model again."
        )
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise ModelFormatError(f"`{path / WEIGHTS_FILE}` is not a safetensors file: {error}. Copy the model again.") from error
    importance = tensors.pop(_IMPORTANCE, None)
    if importance is None or importance.shape != (len(spec.features),):
        raise ModelFormatError(f"`{path / WEIGHTS_FILE}` and `{SPEC_FILE}` disagree on the number of genes. Copy the model again.")
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    return StoredModel(spec, weights, importance.numpy(), expected)


def _read_spec(path: Path) -> tuple[ModelSpec, str]:
    if not path.is_dir():
        raise ModelNotFoundError(f"`{path}` is not a model directory: there is no such directory.")
    try:
        values = json.loads((path / SPEC_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = " It holds a pickled scvi-tools model, which sctab never opens." if (path / "model.pt").exists() else ""
        if is_ensemble(path):
            raise ModelFormatError(f"`{path}` holds an ensemble and not one model. Use `sctab.model.load_model`.") from error
        if (path / ENSEMBLE_FILE).exists():
            hint = " It is the run directory of an ensemble: when the training is finished, its output is the model."
        raise ModelFormatError(
            f"`{path}` is not an sctab model: it has no `{SPEC_FILE}`.{hint} Give a directory that `model.save` wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"`{path / SPEC_FILE}` cannot be read: {error}. Copy the model again.") from error
    spec = ModelSpec.from_json(values)
    try:
        return spec, str(values["weights"]["sha256"])
    except (KeyError, TypeError) as error:
        raise ModelFormatError(f"`{path / SPEC_FILE}` does not name the hash of the weights. Copy the model again.") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
