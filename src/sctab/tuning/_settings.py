"""The settings of a model and of its training, as a value and as a file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, Self

from sctab.errors import DataFileError, Parameter, SettingError, listing
from sctab.io import as_path, strict_json, written_beside
from sctab.model import MODEL_NAMES, AutoClassifier, CellTypeClassifier, meant_model, model_by_name, model_classes

_FORMAT = "sctab-settings"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """A model class and the settings for its constructor and for its training; what is not named keeps its default.

    Examples
    --------
    >>> settings = Settings("linear", train_settings={"learning_rate": 0.01})
    >>> settings.model, dict(settings.train_settings)
    ('linear', {'learning_rate': 0.01})
    """

    model: str
    """Name of the class, one of `sctab.model.MODEL_NAMES`."""
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """For the constructor."""
    train_settings: Mapping[str, Any] = field(default_factory=dict)
    """For `train`: how to learn. `seed`, `accelerator`, `run_dir` and what else belongs to a single run is not among them."""

    def __post_init__(self) -> None:
        """Refuse what no model class takes, before any work is done."""
        if self.model not in MODEL_NAMES:
            raise SettingError(
                Parameter("model", self.model),
                f" is not a model class.{meant_model(self.model)} Available: {listing(MODEL_NAMES)}.",
            )
        cls = model_by_name(self.model)
        _require_known("model_settings", self.model_settings, _of_constructor(cls))
        _require_known("train_settings", self.train_settings, _of_training(cls))

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the settings to a JSON file, whole or not at all.

        Parameters
        ----------
        path
            File to write.
        overwrite
            Replace what is there.

        Raises
        ------
        OutputExistsError, OutputError
            If the output already exists, or if it cannot be written.
        """
        content = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "model": self.model,
            "model_settings": dict(self.model_settings),
            "train_settings": dict(self.train_settings),
        }
        with written_beside(path, overwrite=overwrite) as fresh:
            fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read a file that :meth:`write` wrote, or that was written by hand in the same form.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        DataFileError
            If it does not exist, or not a settings file.
        SettingError
            If the model class or a setting is not known.
        """
        content = _read_json(as_path(path))
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise DataFileError(f"`{path}` is not a settings file: `format` must be `{_FORMAT}`. `sctab tune` writes such a file.")
        if content.get("format_version") != _FORMAT_VERSION:
            raise DataFileError(
                f"`{path}` has `format_version` {content.get('format_version')!r}; this version of sctab reads {_FORMAT_VERSION}. "
                "Update sctab, or write the file again."
            )
        known = {"format", "format_version", "model", "model_settings", "train_settings"}
        if unknown := sorted(set(content) - known):
            raise SettingError(
                f"`{path}` has {listing(unknown)}, which a settings file does not have. Available: {listing(sorted(known))}."
            )
        parts = {name: content.get(name, {}) for name in ("model_settings", "train_settings")}
        for name, part in parts.items():
            if not isinstance(part, dict):
                raise SettingError(f"`{name}` in `{path}` must be settings by name, `{{…}}`, and is {json.dumps(part)}.")
        return cls(content.get("model", ""), **parts)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(strict_json.read_bytes(path).decode("utf-8"))
    except FileNotFoundError as error:
        raise DataFileError(f"`{path}` not found. Check the path.") from error
    except OSError as error:
        raise DataFileError(f"`{path}` cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise DataFileError(f"`{path}` is not JSON: {error}. Fix it, or write it again with `sctab tune`.") from error


def _of_constructor(cls: type[CellTypeClassifier] | type[AutoClassifier]) -> list[str]:
    return [name for name in inspect.signature(cls).parameters if name not in ("adata", "spec")]


def _of_training(cls: type[CellTypeClassifier] | type[AutoClassifier]) -> list[str]:
    """Names of the training settings of a class. `AutoClassifier` passes on the settings of any candidate."""
    classes = [cls] if issubclass(cls, CellTypeClassifier) else model_classes().values()
    names = dict.fromkeys(each.name for each_class in classes for each in fields(each_class._default_training(1000)))
    return [*([] if cls in classes else ["n_folds"]), *(name for name in names if name != "seed")]


def _require_known(name: str, settings: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := sorted(set(settings) - set(known)):
        raise SettingError(f"{listing(unknown)} cannot be among the `{name}`. Available: {listing(known, most=30)}.")
