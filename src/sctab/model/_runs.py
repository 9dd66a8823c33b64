"""Identity of a training as a whole, by which a finished model is recognised when its command runs again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sctab.inference import member_path, read_spec
from sctab.io import strict_json
from sctab.keys import ENSEMBLE_FILE
from sctab.model._auto import AutoClassifier
from sctab.model._base import CellTypeClassifier
from sctab.model._ensemble import DeepEnsemble
from sctab.train import LoggerChoice, check_checkpoints, check_logger

_RUN = "run"
"""Key of the hash in the description of the training of a model."""


def check_training(
    model: CellTypeClassifier | DeepEnsemble | AutoClassifier,
    train_settings: Mapping[str, Any],
    *,
    run_dir: Path | None,
    logger: LoggerChoice,
    keep_checkpoints: str,
) -> None:
    """Refuse settings that `train` would refuse, before anything is said or written.

    Parameters
    ----------
    model
        Untrained, with its reference.
    train_settings
        Settings of `train`.
    run_dir, logger, keep_checkpoints
        As in :meth:`CellTypeClassifier.train`.

    Raises
    ------
    SettingError
        If a setting is invalid, or if the class does not have it.
    """
    check_checkpoints(keep_checkpoints, run_dir)
    check_logger(logger)
    if isinstance(model, AutoClassifier):
        model._check_settings(train_settings)
    elif (reference := model._reference) is not None:
        cls = model.model_class if isinstance(model, DeepEnsemble) else type(model)
        cls._settings(reference, train_settings, None)


def run_hash(
    model: CellTypeClassifier | DeepEnsemble | AutoClassifier, model_settings: Mapping[str, Any], train_settings: Mapping[str, Any]
) -> str:
    """Hash of what decides the outcome of a training: the class, the settings that were given, and the reference by its content.

    Parameters
    ----------
    model
        Untrained, with its reference.
    model_settings, train_settings
        Settings of the constructor and of `train`.
    """
    reference = model._reference
    of_ensemble = (model.model_class.__name__, model.n_members) if isinstance(model, DeepEnsemble) else ()
    identity = {
        "model": [type(model).__name__, *of_ensemble],
        "model_settings": dict(model_settings),
        "train_settings": dict(train_settings),
        "reference": None if reference is None else reference.identity,
    }
    return strict_json.digest(json.loads(json.dumps(identity, default=str)))


def keep_run_hash(model: CellTypeClassifier | DeepEnsemble | AutoClassifier, run: str) -> None:
    """Write the hash of its training into the description of a trained model, or of each member of an ensemble."""
    trained = model.best if isinstance(model, AutoClassifier) else model
    for each in trained.members if isinstance(trained, DeepEnsemble) else (trained,):
        each.spec = replace(each.spec, training={**each.spec.training, _RUN: run})


def stored_run_hash(directory: Path) -> str | None:
    """Return the hash of the training of a stored model; `None` where the model does not hold one.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If there is no model, or if it is damaged.
    """
    is_ensemble = (directory / ENSEMBLE_FILE).is_file()
    found = read_spec(member_path(directory, 0) if is_ensemble else directory).training.get(_RUN)
    return found if isinstance(found, str) else None
