"""Training the members of an ensemble, one after another or side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from sctab.data import fingerprint, reference_source
from sctab.inference import begin_or_go_on, member_path
from sctab.keys import FORMAT_VERSION, SPEC_FILE
from sctab.model._base import CellTypeClassifier
from sctab.model._setup import own_copy
from sctab.train import CorpusReference

_RUN_FORMAT = "sctab-ensemble-training"
_HOW_IT_RUNS = {"accelerator", "devices", "enable_progress_bar", "logger", "callbacks"}
"""Settings of a training that may be others when it goes on: where it runs, and who watches it."""


@dataclass(frozen=True)
class MemberTraining:
    """What the members of an ensemble have in common: they differ in their settings for `train`, by their seed."""

    model_class: type[CellTypeClassifier]
    reference: AnnData | CorpusReference
    setup: Mapping[str, Any]
    model_settings: Mapping[str, Any]

    def run(self, train_settings: Mapping[str, Any]) -> CellTypeClassifier:
        """Train one member."""
        if isinstance(self.reference, CorpusReference):
            model = self.model_class._of(self.reference, **self.setup, **self.model_settings)
        else:
            self.model_class.setup_anndata(self.reference, **self.setup)
            model = self.model_class(self.reference, **self.model_settings)
        model.train(**train_settings)
        return model

    def run_in(self, directory: Path, jobs: Sequence[Mapping[str, Any]], n_jobs: int) -> list[CellTypeClassifier]:
        """Train the members that are not yet in a directory, and read all of them from there."""
        todo = [i for i in range(len(jobs)) if not (member_path(directory, i) / SPEC_FILE).is_file()]
        adata = self.reference if isinstance(self.reference, AnnData) else None
        sent = self
        if n_jobs > 1 and adata is not None:  # it is set up anew in each process
            sent = MemberTraining(self.model_class, own_copy(adata, np.arange(adata.n_obs)), self.setup, self.model_settings)
        Parallel(n_jobs=n_jobs)(delayed(_train_and_save)(member_path(directory, i), sent, jobs[i]) for i in todo)
        if n_jobs > 1:
            get_reusable_executor().shutdown(wait=True)  # they would stay for minutes
        accelerator = jobs[0].get("accelerator", "auto")
        return [self.model_class.load(member_path(directory, i), adata, accelerator=accelerator) for i in range(len(jobs))]

    def begin_or_go_on(self, directory: Path, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Write down in the directory what is trained, or make sure that it is the same."""
        identity = {
            "format": _RUN_FORMAT,
            "format_version": FORMAT_VERSION,
            "model_class": self.model_class.__name__,
            "setup": self.setup,
            "model_settings": self.model_settings,
            "train_settings": [{name: value for name, value in job.items() if name not in _HOW_IT_RUNS} for job in jobs],
            "data": self._fingerprint(),
        }
        begin_or_go_on(directory, json.loads(json.dumps(identity, default=str)))

    def _fingerprint(self) -> Any:
        if isinstance(self.reference, CorpusReference):
            return [self.reference.corpus.sha256, self.reference.subset, self.reference.subset_by]
        keys = [self.setup["labels_key"], self.setup["donor_key"], *self.setup["categorical_covariate_keys"]]
        source, _ = reference_source(self.reference, self.setup["layer"])
        return fingerprint(source, *(self.reference.obs[key] for key in keys if key is not None))


def _train_and_save(path: Path, training: MemberTraining, train_settings: Mapping[str, Any]) -> None:
    """Train a member and leave nothing but its directory: scvi-tools would keep the reference of every model in memory."""
    model = training.run(train_settings)
    if not (path / SPEC_FILE).is_file():  # a process that outlived an interrupted run may have been first, with the same member
        model.save(path)
    if isinstance(training.reference, AnnData):
        model.deregister_manager(training.reference)
