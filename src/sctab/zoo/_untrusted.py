"""Files of PyTorch that nobody has to trust: tensors and plain values are made of them, and nothing in them is run."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from sctab.errors import ModelFormatError, listing
from sctab.io import strict_json

_LARGEST_PICKLE = 64 * 2**20
"""Bytes of the part of a checkpoint that is not tensors; in published ones it is far below one megabyte."""
_START_OF_ZIP = b"PK\x03\x04"


def read_tensors(path: Path, *, name: str, stand_ins: Callable[[str], type | None], provide: str) -> Any:
    """Content of a file in the zip format of PyTorch: tensors, mapped from the file, and plain values.

    Tensors that nobody looks at, such as the state of an optimiser, take no memory.

    Parameters
    ----------
    path
        The file.
    name
        What it is called in messages.
    stand_ins
        Class that takes the place of something that the file names, by its full name; `None` refuses the file. What the file names is
        never looked up.
    provide
        What to provide in place of a file of another kind.

    Raises
    ------
    ModelFormatError
        If it is not in the zip format of PyTorch, if it is damaged, or if it names anything without a stand-in.
    """
    _check_zip(path, name, provide)
    try:
        named = get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # the scan raises whatever nonsense leads to
        raise _unreadable(name, error) from error
    found = {entry: stand_ins(entry) for entry in named}
    if refused := sorted(entry for entry, stand_in in found.items() if stand_in is None):
        raise ModelFormatError(
            f"`{name}` names {listing(refused)}, which no published checkpoint does and which may run code. It was not opened, and "
            "nothing of it was run. Get the file again from its authors."
        )
    try:
        with safe_globals([stand_in for stand_in in found.values() if stand_in is not None]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # as above
        raise _unreadable(name, error) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_zip(path: Path, name: str, provide: str) -> None:
    """Refuse what PyTorch has not written: other formats, compressed parts, a changed or missing byte."""
    try:
        with strict_json.open_regular(path) as file:
            start = file.read(len(_START_OF_ZIP))
    except OSError as error:
        raise ModelFormatError(f"`{name}` cannot be read ({error.strerror}). Check the file.") from error
    if start != _START_OF_ZIP:
        raise ModelFormatError(
            f"`{name}` is not a checkpoint in the zip format of PyTorch{', it is empty' * (not start)}. Provide {provide}. "
            "Pickles and the format of PyTorch before 1.6 are not opened, since they may run code."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            compressed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
            pickled = max((part.file_size for part in parts if part.filename.endswith(".pkl")), default=0)
            damaged = compressed or pickled > _LARGEST_PICKLE or archive.testzip() is not None
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise _unreadable(name, error) from error
    if damaged:
        raise ModelFormatError(f"`{name}` is damaged, or was not written by PyTorch. Download it again.")


def _unreadable(name: str, error: Exception) -> ModelFormatError:
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return ModelFormatError(
        f"`{name}` cannot be read as a checkpoint in the zip format of PyTorch: {reason}. It may be truncated; download it again."
    )
