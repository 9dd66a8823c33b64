"""Training history as a table."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import pandas as pd

from sctab.errors import NotTrainedError, SettingError
from sctab.inference import read_spec
from sctab.io import as_path
from sctab.keys import ENSEMBLE_FILE, SPEC_FILE
from sctab.model import AutoClassifier, CellTypeClassifier, DeepEnsemble, SCDeepCluster
from sctab.train import read_metrics, stored_history


def training(source: str | PathLike[str] | CellTypeClassifier | SCDeepCluster) -> pd.DataFrame:
    """Get the training history, epoch by epoch.

    Parameters
    ----------
    source
        A trained model or clustering, its directory, or the `run_dir` of a finished or running training.

    Returns
    -------
    A row per metric and epoch, with the columns

    `metric` : str
        `train_loss`, `validation_loss`, `validation_macro_f1`, `learning_rate`, and what else the model logs; those of a clustering are in
        the notes of :meth:`sctab.model.SCDeepCluster.train`.
    `epoch` : int
        Counted from 0. Values that were not computed in an epoch have no row: clusters begin after the pretraining.
    `value` : float
        The value of the metric in that epoch.
    `kept` : bool
        Whether the model has the weights of that epoch. Always false for a `run_dir`.

    Raises
    ------
    SettingError
        If it is an ensemble, which has several.
    NotTrainedError
        If the model has not been trained, or if it does not say how.
    DataFileError, ModelFormatError
        If there is no model and no training in the directory, or if it cannot be read.

    Examples
    --------
    >>> import sctab
    >>> curves = sctab.get.training(sctab.zoo.packaged_path("pbmc"))
    >>> list(curves.columns)
    ['metric', 'epoch', 'value', 'kept']
    """
    if isinstance(source, AutoClassifier):
        source = source.best
    if isinstance(source, CellTypeClassifier | SCDeepCluster):
        return _tidy(source.history_, source.spec.training)
    if isinstance(source, DeepEnsemble) or (as_path(source) / ENSEMBLE_FILE).is_file():
        raise SettingError(
            "An ensemble has a training for each member. Provide one of its `members`, or of a directory the `member_0` or "
            "`curves_0` in it."
        )
    if (as_path(source) / SPEC_FILE).is_file():
        stored = read_spec(source).training
        return _tidy(stored_history(stored), stored)
    return _tidy(read_metrics(source), None)


def _tidy(history: Mapping[str, pd.DataFrame] | None, summary: Mapping[str, Any] | None) -> pd.DataFrame:
    if not history:
        raise NotTrainedError("There is no history of a training. Train the model with `train`, or give one that was trained.")
    table = pd.concat(
        [
            pd.DataFrame({"metric": name, "epoch": values.index.astype(int), "value": values.iloc[:, 0].to_numpy(dtype=float)})
            for name, values in sorted((name, values.dropna()) for name, values in history.items())
        ],
        ignore_index=True,
    )
    return table.assign(kept=False if summary is None else table["epoch"] == _kept_epoch(summary, int(table["epoch"].max())))


def _kept_epoch(summary: Mapping[str, Any], last: int) -> int:
    """The epoch whose weights the model has; a history continues when a model is trained again, the count of its training does not."""
    if summary["best_epoch"] is None:
        return last
    return last + 1 - int(summary["epochs"]) + int(summary["best_epoch"])
