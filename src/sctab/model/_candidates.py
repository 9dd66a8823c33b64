"""Judging candidates by cells that they have not seen, sequentially or in parallel."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from sctab.errors import SctabWarning
from sctab.io import progress_titled
from sctab.model._base import new_model
from sctab.model._classes import CLASSES
from sctab.model._crossfit import FoldOutput, evaluate_fold
from sctab.train import HeldOut


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Predictions of the candidates for held-out cells."""

    outputs: Mapping[str, Sequence[FoldOutput]]
    seconds: Mapping[str, float]

    @property
    def parts(self) -> Sequence[FoldOutput]:
        """Outputs of one of the candidates; the cells that were held out are the same for all."""
        return next(iter(self.outputs.values()))


def judge(
    fold: HeldOut, name: str, model_settings: Mapping[str, Any], train_settings: Mapping[str, Any], title: str
) -> tuple[FoldOutput, float]:
    """Outputs of a model of the other cells for those held out, and seconds of its training; its bar has a title."""
    with warnings.catch_warnings(), progress_titled(title):
        warnings.simplefilter("ignore", SctabWarning)  # the model that is kept says it once
        start = time.perf_counter()
        model = new_model(fold.reference, CLASSES[name], model_settings)
        model.train(**train_settings, calibrate=False)
        seconds = time.perf_counter() - start
        return evaluate_fold(fold, model.predictor), seconds


def judge_all(
    tasks: Iterable[tuple[Any, ...]], n_jobs: int, advance: Callable[[], None] = lambda: None
) -> list[tuple[FoldOutput, float]]:
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


def title_of_candidate(name: str, number: int, n_candidates: int, part: int, n_parts: int) -> str:
    """Title of the bar of a candidate; it and the part that is held out are counted from 0."""
    of_all = f"training {part * n_candidates + number + 1} of {n_candidates * n_parts}"
    return f"comparing {name} ({of_all}{f', part {part + 1} of {n_parts}' if n_parts > 1 else ''})"


def _numbered(number: int, task: tuple[Any, ...]) -> tuple[int, tuple[FoldOutput, float]]:
    return number, judge(*task)
