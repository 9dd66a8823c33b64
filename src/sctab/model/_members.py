"""Training of the members of an ensemble, sequentially or in parallel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from sctab.inference import HeldOutCells, Predictor, begin_or_resume, member_path
from sctab.io import ProgressReport, progress_titled
from sctab.keys import SPEC_FILE
from sctab.model._base import CellTypeClassifier, new_model
from sctab.model._crossfit import CrossFit, FoldTraining, evaluate_fold, join_folds
from sctab.train import Reference

_RUN_FORMAT = "sctab-ensemble-training"
_RUN_VERSION = 2
_LEFT_BEHIND = {"run_dir", "logger", "callbacks", "keep_checkpoints"}
"""Settings of a training that say what stays of it."""
_HOW_IT_RUNS = {"accelerator", "devices", "enable_progress_bar", "logger", "callbacks", "keep_checkpoints"}
"""Settings of a training that may be others when it resumes: where it runs, and who watches it."""


@dataclass(frozen=True)
class MemberTraining:
    """Training that all members of an ensemble share; only the seed in their `train` settings differs."""

    model_class: type[CellTypeClassifier]
    reference: Reference
    model_settings: Mapping[str, Any]

    def run(self, train_settings: Mapping[str, Any]) -> CellTypeClassifier:
        """Train one member."""
        model = new_model(self.reference, self.model_class, self.model_settings)
        model.train(**train_settings, calibrate=False)
        return model

    def run_all(self, jobs: Sequence[Mapping[str, Any]]) -> list[CellTypeClassifier]:
        """Train the members one after another, and keep them in memory."""
        members = []
        for i, job in enumerate(jobs):
            with progress_titled(title_of_member(i, len(jobs))):
                members.append(self.run(job))
        return members

    def run_in(self, directory: Path, jobs: Sequence[Mapping[str, Any]], n_jobs: int) -> list[CellTypeClassifier]:
        """Train the members that are not yet in a directory, and read all of them from there."""
        todo = [i for i in range(len(jobs)) if not (member_path(directory, i) / SPEC_FILE).is_file()]
        sent = self if n_jobs == 1 else replace(self, reference=self.reference.to_send())
        is_shown = n_jobs > 1 and jobs[0].get("enable_progress_bar", True)
        own = {"enable_progress_bar": False} if is_shown else {}  # bars of several processes would overwrite each other
        work = (
            delayed(_train_and_save)(member_path(directory, i), sent, {**jobs[i], **own}, title_of_member(i, len(jobs)))
            for i in todo
        )
        with ProgressReport(len(jobs), "Training", unit="members", done=len(jobs) - len(todo), shown=is_shown) as progress:
            for _ in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(work):
                progress.advance()
        if n_jobs > 1:
            get_reusable_executor().shutdown(wait=True)  # they would stay for minutes
        accelerator = jobs[0].get("accelerator", "auto")
        members = [self.model_class.load(member_path(directory, i), accelerator=accelerator) for i in range(len(jobs))]
        for member in members:
            member._reference = self.reference
        return members

    def evaluate_held_out(self, predictor: Predictor, jobs: Sequence[Mapping[str, Any]], n_jobs: int) -> HeldOutCells:
        """Evaluate each part of the reference by ensembles of the others; of a large reference, its validation cells by this one."""
        settings, _ = self.model_class._settings(self.reference, jobs[0], None)
        if self.reference.n_folds(None) == 1 and not settings.refit:
            validation = self.reference.validation(self.reference.data(predictor.spec).split(settings))
            if validation is not None:
                return join_folds([evaluate_fold(validation, predictor)], predictor.spec)
        return self.cross_fit(predictor, jobs, n_jobs).evaluate("dataset")

    def cross_fit(self, predictor: Predictor, jobs: Sequence[Mapping[str, Any]], n_jobs: int) -> CrossFit:
        """Trainings of the members on other parts of the reference."""
        settings, _ = self.model_class._settings(self.reference, jobs[0], None)
        spec = predictor.spec.with_training({})
        given = [{name: value for name, value in job.items() if name not in _LEFT_BEHIND} | {"refit": False} for job in jobs]
        return CrossFit(
            reference=self.reference,
            trainings=[FoldTraining(self.model_class, spec, each | {"enable_progress_bar": False}) for each in given],
            spec=predictor.spec,
            seed=settings.seed if settings.split_seed is None else settings.split_seed,
            n_jobs=n_jobs,
            shown=bool(jobs[0].get("enable_progress_bar", True)),
        )

    def begin_or_resume(self, directory: Path, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Write down in the directory what is trained, or make sure that it is the same."""
        identity = {
            "format": _RUN_FORMAT,
            "format_version": _RUN_VERSION,
            "model_class": self.model_class.__name__,
            "model_settings": self.model_settings,
            "train_settings": [{name: value for name, value in job.items() if name not in _HOW_IT_RUNS} for job in jobs],
            "data": self.reference.identity,
        }
        begin_or_resume(directory, json.loads(json.dumps(identity, default=str)))


def title_of_member(number: int, n_members: int) -> str:
    """Return the title of the bar of a member, counted from 0."""
    return f"member {number + 1} of {n_members}"


def _train_and_save(path: Path, training: MemberTraining, train_settings: Mapping[str, Any], title: str) -> None:
    """Train a member and leave nothing but its directory."""
    with progress_titled(title):
        model = training.run(train_settings)
    if not (path / SPEC_FILE).is_file():  # a process that outlived an interrupted run may have been first, with the same member
        model.save(path)
