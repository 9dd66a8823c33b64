"""Cross-fitting: each part of a reference is evaluated by models of the other parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray

from sctab.data import Hidden
from sctab.errors import SctabError, SctabWarning
from sctab.inference import Evaluation, HeldOutCells, Members, ModelSpec, Predictor, Unit, decide
from sctab.io import ProgressReport
from sctab.model._setup import single_device
from sctab.train import REFIT_BELOW, HeldOut, Reference

_TITLES = {"cluster": "Calibrating on held-out clusters"}
_FEWEST_CELLS = 1500
"""Cells from which processes save more than their start takes, some ten seconds each."""


@dataclass(frozen=True, kw_only=True)
class FoldOutput:
    """Outputs of a model of the other parts for a part that was held out."""

    logits: NDArray[np.float32]
    """`(n_held_out, n_members, n_labels)`."""
    measured: NDArray[np.bool_]
    """Cells with a count in the model's genes, `(n_held_out,)`."""
    names: Sequence[str]
    """Labels of the model, in order."""
    learned: Sequence[str]
    """Labels of the cells that it learned."""
    by: str
    """See :attr:`~sctab.train.HeldOut.by`."""
    truth: NDArray[np.object_]
    """Labels of the cells, `(n_held_out,)`."""
    unit: Unit
    """Unit that was held out whole."""
    units: NDArray[np.object_] | None
    """Dataset or donor of each cell, `(n_held_out,)`; `None` where single cells were held out."""
    reduced: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Of a model that also looks at proteins: logits with `"some"` and `"none"` of its antibodies, and with antibodies `"only"`."""

    @property
    def labels(self) -> NDArray[np.str_]:
        """Most probable label of each cell, `(n_held_out,)`; `"nan"` for cells without a count in the model's genes."""
        return decide(Evaluation(self.logits, None, self.measured)).labels(self.names).astype(str)


def evaluate_fold(fold: HeldOut, predictor: Predictor) -> FoldOutput:
    """Evaluate cells that a model has not seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SctabWarning)  # the model that is kept says it once
        evaluation = fold.evaluate(predictor)
        hidden: dict[str, Hidden] = {} if predictor.spec.proteins is None else {"some": "some", "none": "all", "only": "genes"}
        reduced = {measured: fold.evaluate(predictor, hidden=each).logits for measured, each in hidden.items()}
    return FoldOutput(
        logits=evaluation.logits,
        measured=evaluation.measured,
        names=predictor.spec.labels.names,
        learned=fold.reference.label_names,
        by=fold.by,
        truth=fold.truth,
        unit=fold.unit,
        units=fold.units,
        reduced=reduced,
    )


def join_folds(outputs: Sequence[FoldOutput], spec: ModelSpec) -> HeldOutCells:
    """All cells that were held out, over the labels of a model.

    Parameters
    ----------
    outputs
        Outputs of models of the other parts, for each part.
    spec
        The model.
    """
    names = pd.Index(spec.labels.names)
    logits = []
    for output in outputs:
        absent = np.full((*output.logits.shape[:2], 1), -np.inf, dtype=np.float32)
        columns = pd.Index(output.names).get_indexer(names)
        logits.append(np.concatenate([output.logits, absent], axis=2)[:, :, columns])
    truth = names.get_indexer(np.concatenate([output.truth for output in outputs])).astype(np.int64)
    kept = np.concatenate([output.measured for output in outputs]) & (truth >= 0)
    units = [np.arange(len(truth)) if outputs[0].units is None else np.concatenate([output.units for output in outputs])]
    return HeldOutCells(
        members=Members.of(np.concatenate(logits)[kept]),
        truth=truth[kept],
        is_known=np.concatenate([np.isin(output.truth, list(output.learned)) for output in outputs])[kept],
        unit=outputs[0].unit,
        units=np.unique(units[0][kept], return_inverse=True)[1],
        reduced={
            measured: join_folds([replace(output, logits=output.reduced[measured], reduced={}) for output in outputs], spec)
            for measured in outputs[0].reduced
        },
    )


@dataclass(frozen=True)
class FoldTraining:
    """A training on the other parts of a reference, with the genes and labels of the model that all cells give."""

    model_class: type[Any]
    spec: ModelSpec
    train_settings: Mapping[str, Any]
    """Arguments of `train`."""
    start: Mapping[str, torch.Tensor] | None = None
    """Weights to start from; `None` for a new network."""
    is_frozen: bool = False
    """Only the output layer learns."""

    def run(self, fold: HeldOut) -> FoldOutput:
        """Train, and evaluate the part that was held out."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SctabWarning)
            model = self.model_class._with(fold.reference, self.spec, register=False)
            if self.start is not None:
                model.module.load_state_dict(dict(self.start))
                model._has_pretrained_weights = True
            if self.is_frozen:
                model._freeze_for_query()
            model.train(**self.train_settings, calibrate=False)
            return evaluate_fold(fold, model.predictor)


@dataclass(frozen=True, kw_only=True)
class CrossFit:
    """Trainings on the other parts of a reference, of one model or of the members of an ensemble."""

    reference: Reference
    trainings: Sequence[FoldTraining]
    spec: ModelSpec
    """The model that is kept."""
    seed: int
    n_jobs: int
    shown: bool

    def evaluate(self, by: str) -> HeldOutCells:
        """Evaluate each part of the reference by models of the others.

        Parameters
        ----------
        by
            Kind of the parts, see :meth:`~sctab.train.Reference.folds`.
        """
        n_members, n_folds = len(self.trainings), self.reference.n_folds(None)
        folds = self.reference.folds(None, by=by, seed=self.seed)
        tasks = ((training, fold) for fold in folds for training in self.trainings)
        outputs = run_folds(
            tasks, n_folds * n_members, title=_TITLES.get(by, "Calibrating on held-out parts"), n_jobs=self.n_jobs, shown=self.shown
        )
        parts = [outputs[first : first + n_members] for first in range(0, len(outputs), n_members)]
        return join_folds([_together(part) for part in parts], self.spec)

    def evaluate_unlike(self, cells: HeldOutCells) -> HeldOutCells:
        """Held-out cells to learn a temperature from: those that differ from all that was learned, as a new query does.

        Where whole datasets or donors are held out, these are such cells. Random cells are not: the model has learned their like. In their
        place, clusters of cells within each type are held out; if that fails, as with few cells, random cells remain.

        Parameters
        ----------
        cells
            Cells that were held out.
        """
        if cells.unit != "cell" or self.reference.n_folds(None) == 1:
            return cells
        try:
            return self.evaluate("cluster")
        except SctabError:
            return cells


def _together(outputs: Sequence[FoldOutput]) -> FoldOutput:
    """Outputs of the members of an ensemble as those of one model."""
    first = outputs[0]
    return replace(
        first,
        logits=np.concatenate([output.logits for output in outputs], axis=1),
        reduced={name: np.concatenate([output.reduced[name] for output in outputs], axis=1) for name in first.reduced},
    )


def run_folds(
    tasks: Iterable[tuple[FoldTraining, HeldOut]], n_tasks: int, *, title: str, n_jobs: int, shown: bool
) -> list[FoldOutput]:
    """Train and evaluate, `n_jobs` at a time in processes of their own; results are in the order of the tasks."""
    with ProgressReport(n_tasks, title, unit="trainings", shown=shown) as progress:
        found = {}
        for number, output in _side_by_side(tasks, min(n_jobs, n_tasks)):
            found[number] = output
            progress.advance()
    return [found[number] for number in sorted(found)]


def _side_by_side(tasks: Iterable[tuple[FoldTraining, HeldOut]], n_jobs: int) -> Iterator[tuple[int, FoldOutput]]:
    run: Callable[..., Any] = Parallel(n_jobs=n_jobs, pre_dispatch="n_jobs", return_as="generator_unordered")
    yield from run(delayed(_numbered)(number, *task) for number, task in enumerate(tasks))
    if n_jobs > 1:
        get_reusable_executor().shutdown(wait=True)  # they would stay for minutes


def _numbered(number: int, training: FoldTraining, fold: HeldOut) -> tuple[int, FoldOutput]:
    return number, training.run(fold)


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
