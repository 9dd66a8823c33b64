"""The directory of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from sctab import _json
from sctab._constants import ENSEMBLE_FILE, ENSEMBLE_FORMAT, FIRST_FORMAT_VERSION, FORMAT_VERSION
from sctab._errors import ModelFormatError, ModelNotFoundError


def read_hashes(path: Path) -> list[str]:
    """Hashes of the weights of the members, in order; errors as in :meth:`DeepEnsemble.load`."""
    if not path.is_dir():
        raise ModelNotFoundError(f"`{path}` is not an ensemble: there is no such directory.")
    try:
        values = _json.read(path / ENSEMBLE_FILE)
    except FileNotFoundError as error:
        raise ModelFormatError(
            f"`{path}` is not an ensemble: it has no `{ENSEMBLE_FILE}`. Give a directory that `ensemble.save` wrote; for one model, use "
            "`sctab.model.load_model`."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"`{path / ENSEMBLE_FILE}` cannot be read: {error}. Copy the ensemble again.") from error
    if not isinstance(values, dict) or values.get("format") != ENSEMBLE_FORMAT:
        raise ModelFormatError(f"`{path / ENSEMBLE_FILE}` does not describe an ensemble: its `format` is not `{ENSEMBLE_FORMAT}`.")
    if (version := values.get("format_version")) not in (FIRST_FORMAT_VERSION, FORMAT_VERSION):
        raise ModelFormatError(
            f"The ensemble has format version {version!r}; this version of sctab reads {FIRST_FORMAT_VERSION} to {FORMAT_VERSION}. "
            "Update sctab, or train and save the ensemble again."
        )
    try:
        content = values if version == FIRST_FORMAT_VERSION else _json.without_digest(values)
        hashes = content.get("members")
        if set(content) != {"format", "format_version", "members"}:
            raise ValueError("it has other entries than an ensemble")
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"`{path / ENSEMBLE_FILE}` is damaged: {error}. Copy the ensemble again.") from error
    if not isinstance(hashes, list) or len(hashes) < 2 or not all(isinstance(each, str) for each in hashes):
        raise ModelFormatError(
            f"`{path / ENSEMBLE_FILE}` does not have the hashes of at least two members. Copy the ensemble again."
        )
    return hashes


def write_hashes(path: Path, hashes: Sequence[str]) -> None:
    """Write the hashes of the members of an ensemble, in order."""
    values = {"format": ENSEMBLE_FORMAT, "format_version": FORMAT_VERSION, "members": list(hashes)}
    _json.write(path / ENSEMBLE_FILE, _json.with_digest(values))


def member_path(directory: Path, i: int) -> Path:
    """Where a member is."""
    return directory / f"member_{i}"


def free_path(path: Path) -> Path:
    """The path, or with a number behind it where an interrupted training has left something there."""
    return path if not path.exists() else next(name for i in count(2) if not (name := Path(f"{path}-{i}")).exists())


def differences(earlier: str, now: str) -> list[str]:
    """Names of what two descriptions of a training do not have in common."""
    try:
        before = _json.parse(earlier.encode())
    except ValueError:
        return [f"`{ENSEMBLE_FILE}` cannot be read"]
    after = _json.parse(now.encode())
    return [f"`{name}` differs" for name in after if not isinstance(before, dict) or before.get(name) != after[name]]
