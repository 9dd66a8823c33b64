"""Trained models as files that run without `sctab` and without PyTorch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from types import MappingProxyType
from typing import Any

from sctab.errors import Parameter, SettingError
from sctab.inference._backends import portable_networks
from sctab.inference._calibration import Calibration
from sctab.inference._jax_model import JaxModel
from sctab.inference._portable import model_input, or_unmeasured, probabilities_of, without_proteins
from sctab.inference._spec import ModelSpec
from sctab.io import as_path, check_free, written_beside
from sctab.keys import EXPORT_FORMAT
from sctab.nn import PortableNetwork

_FORMAT_VERSION = 1
_LARGEST = 2**31 - 2**24
"""Bytes of weights that a file can hold: its format counts in 32 bits."""
_COUNTS, _COVARIATES, _PROBABILITIES, _LATENT = "counts", "covariates", "probabilities", "latent"
Written = tuple[bytes, int, dict[str, Any]]
"""Content of a file, width of its latent (0 where there is none), and what it is for."""


def export_model(
    spec: ModelSpec, modules: Sequence[Any], path: str | PathLike[str], *, name: str, sha256: str | None, overwrite: bool
) -> None:
    """Write a model and a description of its inputs and outputs.

    Parameters
    ----------
    spec, modules
        The model and the networks of its members, on any device.
    path
        Output, `.stablehlo` or `.onnx`; the description is beside it, `.json` appended.
    name, sha256
        Name of the model and hash of its stored weights.
    overwrite
        Replace existing files.

    Raises
    ------
    SettingError
        If the suffix is another one, if the model is not made of layers, or if it is too large.
    OutputExistsError, OutputError
        If one of the files already exists, or cannot be written.
    MissingDependencyError
        If JAX, for `.stablehlo`, or `onnx`, for `.onnx`, is not installed.
    """
    path = as_path(path)
    if path.suffix not in _WRITERS:
        raise SettingError(Parameter("path", str(path)), " must end with `.stablehlo` or `.onnx`.")
    described = path.with_name(f"{path.name}.json")
    for target in (path, described):
        check_free(target, overwrite=overwrite)
    networks, spec = portable_networks(modules, why="For an export"), without_proteins(spec)
    n_bytes = sum(tensor.nbytes for module in modules for tensor in module.state_dict().values())
    if n_bytes > _LARGEST:
        raise SettingError(
            f"The weights take {n_bytes / 2**30:.1f} GiB, and an exported file holds less than 2. Export the members of an ensemble one "
            "by one."
        )
    written, n_latent, made_for = _WRITERS[path.suffix](spec, networks)
    about = {
        "format": EXPORT_FORMAT,
        "format_version": _FORMAT_VERSION,
        "file": path.name,
        "sha256": hashlib.sha256(written).hexdigest(),
        **_description(spec, len(networks), n_latent),
        "model": {"name": name, "class": spec.model_class, "description": spec.description, "sha256": sha256 or ""},
        **made_for,
    }
    with ExitStack() as stack:  # both are whole before one takes its place
        beside = [stack.enter_context(written_beside(target, overwrite=overwrite)) for target in (path, described)]
        beside[0].write_bytes(written)
        beside[1].write_text(json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _description(spec: ModelSpec, n_members: int, n_latent: int) -> dict[str, Any]:
    """All that is needed to prepare inputs and to read outputs."""
    stored, calibration = spec.to_json(), spec.calibration or Calibration()
    what = "counts over the genes in this order; genes that were not measured are 0"
    inputs = [{"name": _COUNTS, "dtype": "float32", "shape": ["n_obs", len(spec.features)], "holds": what}]
    if spec.category_names:
        what = "1 for the category of a cell, in the order of the covariates and their categories; 0 where it is not known"
        inputs.append({"name": _COVARIATES, "dtype": "float32", "shape": ["n_obs", len(spec.category_names)], "holds": what})
    what = "calibrated probabilities of the labels in this order; NaN for a cell without a count"
    outputs = [{"name": _PROBABILITIES, "dtype": "float32", "shape": ["n_obs", len(spec.labels)], "holds": what}]
    if n_latent:
        what = "input of the last layer, of the members side by side"
        outputs.append({"name": _LATENT, "dtype": "float32", "shape": ["n_obs", n_latent], "holds": what})
    return {
        "inputs": inputs,
        "outputs": outputs,
        "done_inside": ["normalization", "calibration"],
        "normalization": stored["normalization"],
        "calibration": {"temperature": calibration.temperature, "disagreement": calibration.disagreement, "n_members": n_members},
        "labels": stored["labels"],
        "covariates": stored["covariates"],
        "antibodies_left_out": [] if spec.proteins is None else list(spec.proteins.names),
        "genes": stored["features"],
    }


def _stablehlo(spec: ModelSpec, networks: Sequence[PortableNetwork]) -> Written:
    from sctab.nn import EXPORT_PLATFORMS, JAX_OPERATORS, exported_function  # which import JAX

    model = JaxModel(spec, networks)

    def outputs(*matrices: Any) -> dict[str, Any]:
        logits, latent = model.apply(model.host_params, model.normalise(*matrices))
        found = {_PROBABILITIES: or_unmeasured(JAX_OPERATORS, matrices[0], model.calibrate(logits))}
        return found if latent is None else {**found, _LATENT: latent}

    written, widths = exported_function(outputs, [width for _, width in _inputs(spec)])
    versions = {"sctab": importlib.metadata.version("sctab"), "jax": importlib.metadata.version("jax")}
    return written, widths.get(_LATENT, 0), {"platforms": list(EXPORT_PLATFORMS), "versions": versions}


def _onnx(spec: ModelSpec, networks: Sequence[PortableNetwork]) -> Written:
    from sctab.nn import OPSET, OnnxOperators  # which import onnx

    ops = OnnxOperators(spec.n_inputs)
    given = {name: ops.input(name) for name, _ in _inputs(spec)}
    values = model_input(ops, spec, given[_COUNTS], given.get(_COVARIATES))
    members = [network(ops, network.parameters, values) for network in networks]
    found = probabilities_of(ops, spec.calibration or Calibration(), [member.logits for member in members])
    outputs = {_PROBABILITIES: or_unmeasured(ops, given[_COUNTS], found)}
    latents = [member.embedding for member in members if member.embedding is not None]
    n_latent = sum(network.n_latent for network in networks)
    if latents:
        outputs[_LATENT] = ops.node("Concat", *latents, axis=1)
    written = ops.model(dict(_inputs(spec)), outputs, {_PROBABILITIES: len(spec.labels), _LATENT: n_latent})
    versions = {"sctab": importlib.metadata.version("sctab"), "onnx": importlib.metadata.version("onnx")}
    return written, n_latent, {"opset": OPSET, "versions": versions}


def _inputs(spec: ModelSpec) -> list[tuple[str, int]]:
    """Name and width of each input."""
    inputs = [(_COUNTS, len(spec.features))]
    return [*inputs, (_COVARIATES, len(spec.category_names))] if spec.category_names else inputs


_WRITERS: Mapping[str, Callable[[ModelSpec, Sequence[PortableNetwork]], Written]] = MappingProxyType(
    {".stablehlo": _stablehlo, ".onnx": _onnx}
)
