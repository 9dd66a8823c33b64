"""Tidy tables of a benchmark, gathered from its finished runs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sctab.benchmark._files import (
    HISTORY_FILE,
    MANIFEST_FILE,
    PREDICTIONS_FILE,
    RESULTS_FILE,
    RUNS_FOLDER,
    SCORES_FILE,
    SUMMARY_FILE,
)
from sctab.errors import DataFileError
from sctab.io import as_path, written_beside
from sctab.metrics import confusion

_OF_RUN = ("task", "model", "family", "kind", "seed", "subset", "fraction")
_MEASURED = ("seconds", "peak_memory", "n_parameters", "n_reference", "n_donors")


@dataclass(frozen=True)
class Results:
    """Results of a benchmark so far.

    Attributes
    ----------
    scores
        One row per number: `task`, `model` (its label), `family` (its name), `kind` (`model` or `peer`), `seed`, `subset`, `fraction`,
        `metric`, `group` (empty for all cells, `type=…` for a type, `…=…` for a group), `value`, and of the run `seconds` to train and
        predict, `peak_memory` in bytes, `n_parameters` of a network, `n_reference` (cells learned from), `n_donors`,
        and `kept`, the model that `auto` has kept (empty for others).
    curves
        Training curves: `task`, `model`, …, `epoch`, `curve` and `value`.
    confusion
        How many cells of each type are called what: `task`, `model`, …, `truth`, `predicted` and `cells`.
    unfinished
        Runs without a result: `task`, `model`, `seed`, `fraction`, `state` and `reason`.
    baseline
        Label that the others are compared with, if one was declared.
    """

    scores: pd.DataFrame
    curves: pd.DataFrame
    confusion: pd.DataFrame
    unfinished: pd.DataFrame
    baseline: str | None


def read_results(directory: str | os.PathLike[str]) -> Results:
    """Gather what the finished runs of a benchmark have found, and write the scores to `results.parquet`.

    Parameters
    ----------
    directory
        Where :func:`run_benchmark` keeps its results; it may still run.

    Raises
    ------
    DataFileError
        If there is no benchmark.
    """
    directory = as_path(directory)
    manifest = _read_manifest(directory)
    scores, curves, confusions, unfinished = [], [], [], []
    for run in manifest["runs"]:
        folder = directory / RUNS_FOLDER / run["key"]
        if not (folder / SUMMARY_FILE).is_file():
            unfinished.append({key: run[key] for key in ("task", "model", "seed", "fraction", "state", "reason")})
            continue
        of_run = {key: run[key] for key in _OF_RUN}
        summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        measured = {key: summary.get(key) for key in _MEASURED} | {"kept": summary.get("kept") or ""}
        scores.append(pd.read_parquet(folder / SCORES_FILE).assign(**of_run, **measured))
        if (folder / HISTORY_FILE).is_file():
            curves.append(pd.read_parquet(folder / HISTORY_FILE).assign(**of_run))
        confusions.append(_confusion(pd.read_parquet(folder / PREDICTIONS_FILE)).assign(**of_run))
    results = Results(
        scores=_concatenated(scores, [*_OF_RUN, "metric", "group", "value", *_MEASURED, "kept"]),
        curves=_concatenated(curves, [*_OF_RUN, "epoch", "curve", "value"]),
        confusion=_concatenated(confusions, [*_OF_RUN, "truth", "predicted", "cells"]),
        unfinished=pd.DataFrame(unfinished, columns=["task", "model", "seed", "fraction", "state", "reason"]),
        baseline=manifest["baseline"],
    )
    with written_beside(directory / RESULTS_FILE, overwrite=True) as path:
        results.scores.to_parquet(path, index=False)
    return results


def _read_manifest(directory: Path) -> dict[str, Any]:
    try:
        return json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataFileError(f"`{directory}` holds no benchmark. Make one with `sctab benchmark run`.") from error


def _confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    table = confusion(predictions["truth"], predictions["predicted"])
    return table.reset_index().melt("truth", var_name="predicted", value_name="cells").query("cells > 0")


def _concatenated(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    table = (
        pd.concat([frame.reindex(columns=columns) for frame in frames], ignore_index=True)
        if frames
        else pd.DataFrame(columns=columns)
    )
    numbers = [column for column in ("value", *_MEASURED) if column in columns]
    return table.astype(dict.fromkeys(numbers, "float64"))
