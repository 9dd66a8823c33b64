"""The directory of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from sctab.errors import ModelFormatError, ModelNotFoundError, OutputExistsError, SettingError
from sctab.inference._calibration import Calibration
from sctab.inference._reference_arrays import Arrays, read_arrays, write_arrays
from sctab.inference._spec import ModelSpec
from sctab.io import entries_of, strict_json, written_beside
from sctab.keys import ENSEMBLE_FILE, ENSEMBLE_FORMAT, FIRST_FORMAT_VERSION, FORMAT_VERSION, FORMAT_VERSIONS


@dataclass(frozen=True)
class EnsembleFile:
    """Content of `ensemble.json`, with the arrays beside it."""

    hashes: list[str]
    """Hashes of the weights of the members, in order."""
    calibration: Calibration | None = None
    """Temperature of the members together."""
    arrays: Arrays = field(default_factory=dict)
    """Arrays of the reference."""


def read_ensemble(path: Path) -> EnsembleFile:
    """Read what :func:`write_ensemble` wrote; errors as in :meth:`DeepEnsemble.load`."""
    if not path.is_dir():
        raise ModelNotFoundError(f"`{path}` is not an ensemble: there is no such directory.")
    try:
        values = strict_json.read(path / ENSEMBLE_FILE)
    except FileNotFoundError as error:
        raise ModelFormatError(
            f"`{path}` is not an ensemble: it has no `{ENSEMBLE_FILE}`. Provide a directory that `ensemble.save` wrote; for "
            "one model, use `sctab.model.load_model`."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"`{path / ENSEMBLE_FILE}` cannot be read: {error}. Copy the ensemble again.") from error
    if not isinstance(values, dict) or values.get("format") != ENSEMBLE_FORMAT:
        raise ModelFormatError(f"`{path / ENSEMBLE_FILE}` does not describe an ensemble: its `format` is not `{ENSEMBLE_FORMAT}`.")
    if (version := values.get("format_version")) not in FORMAT_VERSIONS:
        raise ModelFormatError(
            f"The ensemble has format version {version!r}; this version of sctab reads {FIRST_FORMAT_VERSION} to {FORMAT_VERSION}. "
            "Update sctab, or train and save the ensemble again."
        )
    try:
        content = values if version == FIRST_FORMAT_VERSION else strict_json.without_digest(values)
        hashes = content.get("members")
        calibrated = {"calibration", "reference"} if version == FORMAT_VERSION else set()
        if set(content) != {"format", "format_version", "members", *calibrated}:
            raise ValueError("it has other entries than an ensemble")
        calibration = None if (found := content.get("calibration")) is None else Calibration.from_json(found)
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"`{path / ENSEMBLE_FILE}` is damaged: {error}. Copy the ensemble again.") from error
    if not isinstance(hashes, list) or len(hashes) < 2 or not all(isinstance(each, str) for each in hashes):
        raise ModelFormatError(
            f"`{path / ENSEMBLE_FILE}` does not have the hashes of at least two members. Copy the ensemble again."
        )
    return EnsembleFile(hashes, calibration, read_arrays(path, content.get("reference")))


def write_ensemble(path: Path, ensemble: EnsembleFile) -> None:
    """Write `ensemble.json`, and the arrays beside it."""
    values = {
        "format": ENSEMBLE_FORMAT,
        "format_version": FORMAT_VERSION,
        "members": list(ensemble.hashes),
        "calibration": None if ensemble.calibration is None else ensemble.calibration.to_json(),
        "reference": write_arrays(path, ensemble.arrays),
    }
    strict_json.write(path / ENSEMBLE_FILE, strict_json.with_digest(values))


def hash_of_members(hashes: Sequence[str]) -> str:
    """Hash of the members' hashes."""
    return sha256("".join(hashes).encode()).hexdigest()


def member_path(directory: Path, i: int) -> Path:
    """Directory of a member."""
    return directory / f"member_{i}"


def member_paths(path: Path, n_members: int) -> list[Path]:
    """Directories of all members.

    Raises
    ------
    ModelFormatError
        If one of them is missing.
    """
    members = [member_path(path, i) for i in range(n_members)]
    if missing := [member for member in members if not member.is_dir()]:
        raise ModelFormatError(
            f"The ensemble `{path}` has {n_members} members, and `{missing[0]}` is missing. Copy the complete ensemble again."
        )
    return members


def check_alike(specs: Sequence[ModelSpec]) -> None:
    """Refuse members that cannot vote together.

    Raises
    ------
    SettingError
        If they differ in their class, genes, antibodies, labels, scale or covariates.
    """
    first = specs[0]
    for position, spec in enumerate(specs[1:], start=1):
        if spec.model_class != first.model_class:
            raise SettingError(f"Member 0 is a `{first.model_class}` and member {position} a `{spec.model_class}`.")
        for part, name in (
            ("features", "genes"),
            ("proteins", "antibodies"),
            ("labels", "labels"),
            ("normalization", "scale"),
            ("covariates", "covariates"),
        ):
            if getattr(spec, part) != getattr(first, part):
                raise SettingError(f"Members 0 and {position} differ in their {name}. Train them on the same reference.")


def check_stored(path: Path, specs: Sequence[ModelSpec], found: Sequence[str | None], expected: Sequence[str]) -> None:
    """Refuse members that are not those that were saved, or that cannot vote together.

    Raises
    ------
    ModelFormatError
        If a hash differs, or if :func:`check_alike` refuses them.
    """
    if changed := [i for i, (now, before) in enumerate(zip(found, expected, strict=True)) if now != before]:
        raise ModelFormatError(
            f"`{member_path(path, changed[0])}` is not the member that was saved. Copy the complete ensemble again."
        )
    try:
        check_alike(specs)
    except SettingError as error:
        raise ModelFormatError(f"`{path}` holds models that do not go together: {error}") from error


def free_path(path: Path) -> Path:
    """The path, or the path with a number appended if it exists from an interrupted training."""
    return path if not path.exists() else next(name for i in count(2) if not (name := Path(f"{path}-{i}")).exists())


def begin_or_resume(directory: Path, identity: Mapping[str, Any]) -> None:
    """Write what is trained to a directory, or make sure that it is what is trained there.

    Raises
    ------
    SettingError
        If something else is trained there, or if the file that says so is damaged.
    OutputExistsError
        If there is something else in the directory.
    """
    path = directory / ENSEMBLE_FILE
    if path.is_file():
        if differing := _differences(path, identity):
            raise SettingError(
                f"`{directory}` belongs to an ensemble that was trained differently: {', '.join(differing)}. Provide another "
                "`run_dir`, or train with the same reference and settings."
            )
        return
    if directory.exists() and entries_of(directory):
        raise OutputExistsError(f"`{directory}` exists and is not the training of an ensemble. Choose another `run_dir`.")
    directory.mkdir(parents=True, exist_ok=True)
    with written_beside(path, overwrite=False) as beside:
        strict_json.write(beside, identity)


def _differences(path: Path, now: Mapping[str, Any]) -> list[str]:
    """Names of what two descriptions of a training do not have in common."""
    try:
        before = strict_json.read(path)
    except (OSError, ValueError):
        return [f"`{ENSEMBLE_FILE}` cannot be read"]
    return [f"`{name}` differs" for name in now if not isinstance(before, dict) or before.get(name) != now[name]]
