"""Arrays that a model keeps of its reference, in a file beside its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sctab.errors import ModelFormatError
from sctab.io import strict_json
from sctab.keys import REFERENCE_FILE

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by name; a dot separates whose it is from what it is, such as `backoff.scores`."""

NO_ARRAYS: Arrays = {}
"""Of a model that keeps nothing of its reference."""
_MOST_BYTES = 2**31
_ENTRIES = {"file", "sha256"}


def write_arrays(directory: Path, arrays: Arrays) -> dict[str, str] | None:
    """Write arrays into the directory of a model; `None` where there are none.

    Returns
    -------
    What the description of the model says about the file: its name and its hash.
    """
    if not arrays:
        return None
    content = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    (directory / REFERENCE_FILE).write_bytes(content)
    return {"file": REFERENCE_FILE, "sha256": hashlib.sha256(content).hexdigest()}


def read_arrays(directory: Path, entry: Any) -> dict[str, NDArray[Any]]:
    """Read what :func:`write_arrays` wrote.

    Parameters
    ----------
    directory
        Directory of the model.
    entry
        What :func:`write_arrays` returned.

    Raises
    ------
    ModelFormatError
        If the file is missing, or is not the one that was written.
    """
    if entry is None:
        return {}
    path = directory / REFERENCE_FILE
    try:
        if not isinstance(entry, dict) or set(entry) != _ENTRIES or entry["file"] != REFERENCE_FILE:
            raise ValueError("the description of the model does not have its hash")
        content = strict_json.read_bytes(path, most=_MOST_BYTES)
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ValueError("its SHA-256 differs from the one in the description of the model")
        arrays = load(content)
        if any(values.ndim == 0 or values.dtype.kind not in "biuf" for values in arrays.values()):
            raise ValueError("it holds something else than arrays of real numbers")
        if any(values.dtype.kind == "f" and np.isnan(values).any() for values in arrays.values()):
            raise ValueError("it holds NaN")
    except (OSError, SafetensorError, ValueError, TypeError, LookupError) as error:
        why = getattr(error, "strerror", None) or error
        raise ModelFormatError(f"`{path}` is missing, truncated or changed: {why}. Copy the complete model again.") from error
    return arrays
