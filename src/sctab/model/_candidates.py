"""Judging candidates by cells that they have not seen, sequentially or in parallel."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray

from sctab.errors import SctabWarning
from sctab.io import progress_titled
from sctab.model._base import new_model
from sctab.model._classes import CLASSES
from sctab.model._setup import single_device
from sctab.train import REFIT_BELOW, HeldOut

_FEWEST_CELLS = 1500
"""Cells from which processes save more than their start takes, some ten seconds each."""


def judge(
    fold: HeldOut, name: str, model_settings: Mapping[str, Any], train_settings: Mapping[str, Any], title: str
) -> tuple[NDArray[np.str_], float]:
    """Labels of the cells that were held out, by a model of the others, and seconds of its training; its bar has a title."""
    with warnings.catch_warnings(), progress_titled(title):
        warnings.simplefilter("ignore", SctabWarning)  # the model that is kept says it once
        start = time.perf_counter()
        model = new_model(fold.reference, CLASSES[name], model_settings)
        model.train(**train_settings)
        seconds = time.perf_counter() - start
        return fold.judge(model.predictor).astype(str), seconds


def judge_all(
    tasks: Iterable[tuple[Any, ...]], n_jobs: int, advance: Callable[[], None] = lambda: None
) -> list[tuple[NDArray[np.str_], float]]:
    """Results of :func:`judge` for many arguments, in order, `n_jobs` at a time in separate processes.

    Parameters
    ----------
    tasks
        Arguments of :func:`judge`, drawn when there is a process for them.
    n_jobs
        Processes.
    advance
        Called whenever one of them is finished.
    """
    side_by_side = Parallel(n_jobs=n_jobs, pre_dispatch="n_jobs", return_as="generator_unordered")
    found = {}
    for number, result in side_by_side(delayed(_numbered)(number, task) for number, task in enumerate(tasks)):
        found[number] = result
        advance()
    if n_jobs > 1:
        get_reusable_executor().shutdown(wait=True)  # they would stay for minutes
    return [found[number] for number in sorted(found)]


def _numbered(number: int, task: tuple[Any, ...]) -> tuple[int, tuple[NDArray[np.str_], float]]:
    return number, judge(*task)


def useful_jobs(n_obs: int, accelerator: str, devices: Any) -> int:
    """Trainings at a time: as many as PyTorch uses threads, which small batches do not need; one where that cannot help.

    Parameters
    ----------
    n_obs
        Cells in memory. Below 1,500, processes take longer to start than they save; many cells would be copied many times.
    accelerator, devices
        As in Lightning.
    """
    if not _FEWEST_CELLS <= n_obs < REFIT_BELOW or devices not in ("auto", 1):
        return 1
    return torch.get_num_threads() if single_device(accelerator, devices).type == "cpu" else 1
