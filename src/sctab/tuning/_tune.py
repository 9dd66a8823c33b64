"""Searching for the settings that do best on donors that were held out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata import AnnData

from sctab._deprecation import FRACTION_OF_CORPUS, renamed_arguments
from sctab.corpus import Corpus
from sctab.errors import Parameter, SettingError, require
from sctab.io import ProgressReport, as_path
from sctab.model import Choice, Range, SearchSpace
from sctab.train import CorpusReference, MemoryReference
from sctab.tuning._cells import hold_out
from sctab.tuning._result import DEFAULTS, IS_DEFAULT, VALIDATION, TuningResult, finished, summarise
from sctab.tuning._settings import Settings
from sctab.tuning._study import open_study, quiet
from sctab.tuning._task import TuningTask, make_task

if TYPE_CHECKING:
    from mudata import MuData
    from optuna import Study, Trial
    from optuna.pruners import BasePruner

_TRIALS_BEFORE_PRUNING = 5
_EPOCHS_BEFORE_PRUNING = 1 / 3
"""Fraction of the epochs: the learning rate of a one-cycle schedule, the default, goes up for the first 30 % of the steps."""


def tune(
    adata: AnnData | MuData,
    labels_key: str,
    *,
    model: str = "mlp",
    space: SearchSpace | None = None,
    model_settings: Mapping[str, Any] | None = None,
    train_settings: Mapping[str, Any] | None = None,
    donor_key: str | None = None,
    layer: str | None = None,
    unlabeled_category: str | None = None,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    gene_id_key: str | None = None,
    gene_symbol_key: str | None = None,
    modalities: Mapping[str, str] | None = None,
    protein_layer: str | None = None,
    train_size: float = 0.75,
    n_trials: int = 50,
    timeout: float | None = None,
    storage: str | PathLike[str] | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    show_progress: bool = False,
) -> TuningResult:
    """Find settings of a model class that do well on donors that it has not learned from.

    Each trial trains with other settings on some of the donors and is judged by the macro F1 on the others, which it does not see, not
    even to choose its best epoch. The first trial is that of the defaults, so that the result is never worse than they are on those
    donors. The next settings are drawn by a tree-structured Parzen estimator (Bergstra et al. 2011). A trial that after a third of its
    epochs does worse than half of those before it ends early; the first five run to their end.

    Parameters
    ----------
    adata
        Annotated reference, `(n_obs, n_vars)`, or a MuData with surface proteins too; it is not changed.
    labels_key
        Column of `adata.obs` with cell types.
    model
        Name of the model class, one of `sctab.model.MODEL_NAMES`.
    space
        What to vary; by default what the class says, `search_space()`, without `augment` where no type has two donors to learn from.
    model_settings, train_settings
        Settings for the constructor and for `train` that all trials share, see :class:`Settings`; what is named here is not varied.
    donor_key
        Column of `adata.obs` with donors. With fewer than three, or without, a fraction of the cells of each type is held out.
    layer, unlabeled_category, label_ids, categorical_covariate_keys, gene_id_key, gene_symbol_key
        As in :meth:`sctab.model.CellTypeClassifier.setup_anndata`.
    modalities, protein_layer
        Of a MuData, as in :meth:`sctab.model.CellTypeClassifier.setup_mudata`.
    train_size
        Fraction of the cells to learn from; donors with the others are held out.
    n_trials
        Finished trials that the study is to have, those of earlier calls and of other processes included.
    timeout
        Seconds after which no new trial begins.
    storage
        SQLite file for the study. When it is there, the study is resumed: finished trials are kept, and one whose process was killed is
        tried once more. Several processes can call this with the same arguments at the same time and share the work; each ends with the
        trial that it is at, so that there can be one more per process. By default the study is in memory.
    seed
        Decides which donors are held out, what is drawn and how each trial is trained.
    accelerator
        As in Lightning: `"cpu"`, `"gpu"`, `"auto"`, …
    show_progress
        Show on stderr how many trials are finished: a bar, or a line every half minute where it is not a terminal.

    Raises
    ------
    MissingDependencyError
        If Optuna is not installed; it comes with the extra `tune`.
    SettingError
        If a setting is invalid, or if the study in `storage` was started with other data, columns, model class, space or settings, or by
        another version of sctab.
    KeyNotFoundError, LabelError, InputValueError
        If the reference cannot be learned from.
    DataFileError, OutputError
        If `storage` is something else, or if it cannot be written.

    References
    ----------
    Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011.
    Akiba et al., Optuna, KDD 2019, :doi:`10.1145/3292500.3330701`.

    Examples
    --------
    >>> import sctab.tuning
    >>> found = sctab.tuning.tune(adata, "cell_type", donor_key="donor_id", storage="mlp.db")  # doctest: +SKIP
    >>> found.best.write("settings.json")  # doctest: +SKIP
    """
    settings = _checked(model, model_settings, train_settings, n_trials)
    reference = MemoryReference.of(
        adata,
        labels_key,
        donor_key=donor_key,
        layer=layer,
        unlabeled_category=unlabeled_category,
        label_ids=label_ids,
        categorical_covariate_keys=categorical_covariate_keys,
        gene_id_key=gene_id_key,
        gene_symbol_key=gene_symbol_key,
        modalities=modalities,
        protein_layer=protein_layer,
    )
    cells = hold_out(reference, train_size=train_size, seed=seed)
    task = make_task(cells, settings, space=space, seed=seed, accelerator=accelerator)
    return _study(task, n_trials=n_trials, timeout=timeout, storage=storage, show_progress=show_progress)


@renamed_arguments(FRACTION_OF_CORPUS, since="0.1", removed_in="0.3")
def tune_from_corpus(
    corpus: Corpus | str | PathLike[str],
    *,
    fraction: float = 1.0,
    fraction_by: Literal["donor", "cell"] = "donor",
    categorical_covariate_keys: Sequence[str] = (),
    model: str = "mlp",
    space: SearchSpace | None = None,
    model_settings: Mapping[str, Any] | None = None,
    train_settings: Mapping[str, Any] | None = None,
    n_trials: int = 50,
    timeout: float | None = None,
    storage: str | PathLike[str] | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    show_progress: bool = False,
) -> TuningResult:
    """Find settings of a model class that do well on the validation cells of a corpus, as :func:`tune` does.

    Each trial learns training cells, some of whose donors validate it, and is judged by the validation cells. The test cells are left
    for what is reported.

    Parameters
    ----------
    corpus, fraction, fraction_by, categorical_covariate_keys
        As in :meth:`sctab.model.CellTypeClassifier.from_corpus`. A small `fraction` makes a long study short; what it finds need not be
        best for all cells.
    model, space, model_settings, train_settings, n_trials, timeout, storage, seed, accelerator, show_progress
        As in :func:`tune`.

    Raises
    ------
    MissingDependencyError
        If Optuna or annbatch is not installed; they come with the extras `tune` and `corpus`.
    DataFileError, KeyNotFoundError, LabelError, OutputError, SettingError
        As in :func:`tune`, and when the corpus cannot be learned from.

    Examples
    --------
    >>> import sctab.tuning
    >>> found = sctab.tuning.tune_from_corpus("blood.corpus", fraction=0.15, storage="mlp.db")  # doctest: +SKIP
    """
    settings = _checked(model, model_settings, train_settings, n_trials)
    require("annbatch", extra="corpus")
    cells = CorpusReference.of(corpus, fraction, fraction_by, categorical_covariate_keys).held_out()
    task = make_task(cells, settings, space=space, seed=seed, accelerator=accelerator)
    return _study(task, n_trials=n_trials, timeout=timeout, storage=storage, show_progress=show_progress)


def _checked(
    model: str, model_settings: Mapping[str, Any] | None, train_settings: Mapping[str, Any] | None, n_trials: int
) -> Settings:
    """Settings of all trials; invalid arguments are rejected before any data is read."""
    require("optuna", extra="tune")
    if n_trials < 1:
        raise SettingError(Parameter("n_trials", n_trials), " must be at least 1.")
    return Settings(model, model_settings or {}, train_settings or {})


def _study(
    task: TuningTask, *, n_trials: int, timeout: float | None, storage: str | PathLike[str] | None, show_progress: bool
) -> TuningResult:
    with quiet(), open_study(None if storage is None else as_path(storage), task.identity, _pruner(task)) as study:
        _run(study, task, n_trials=n_trials, timeout=timeout, show_progress=show_progress)
        return summarise(study, task)


def _pruner(task: TuningTask) -> BasePruner:
    first_epochs = round(task.default_training.max_epochs * _EPOCHS_BEFORE_PRUNING)
    return require("optuna", extra="tune").pruners.MedianPruner(
        n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=max(1, first_epochs)
    )


def _run(study: Study, task: TuningTask, *, n_trials: int, timeout: float | None, show_progress: bool) -> None:
    started = time.monotonic()
    n_before = n_shown = len(finished(study))
    with ProgressReport(n_trials, "Tuning", unit="trials", done=n_before, shown=show_progress) as progress:
        while (n_finished := len(finished(study))) < n_trials:
            progress.advance(n_finished - n_shown)
            n_shown = n_finished
            if timeout is not None and time.monotonic() - started >= timeout:
                break
            if _needs_defaults(study, n_left=n_trials - n_finished):
                _enqueue_defaults(study, task)
            study.optimize(_objective(task), n_trials=1)
        progress.advance(n_finished - n_shown)


def _needs_defaults(study: Study, *, n_left: int) -> bool:
    """Return whether nobody tries the defaults: at the start, and at the end where the process that did was killed."""
    states = [trial.state.name for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(IS_DEFAULT)]
    if "COMPLETE" in states or "WAITING" in states:
        return False
    return "RUNNING" not in states or n_left == 1


def _enqueue_defaults(study: Study, task: TuningTask) -> None:
    defaults = task.defaults()
    study.enqueue_trial(task.inside(defaults), user_attrs={IS_DEFAULT: True, DEFAULTS: defaults})


def _objective(task: TuningTask) -> Callable[[Trial], float]:
    """The function that Optuna maximises: settings drawn, trained with and judged."""
    optuna = require("optuna", extra="tune")

    def objective(trial: Trial) -> float:
        # A seed per trial: what is drawn is the same in every run, and different in parallel processes.
        seed = int(np.random.SeedSequence([task.seed, trial.number]).generate_state(1)[0])
        trial.study.sampler = optuna.samplers.TPESampler(seed=seed)
        is_default = trial.user_attrs.get(IS_DEFAULT, False)
        names = task.inside(trial.user_attrs[DEFAULTS]) if is_default else task.dimensions
        drawn = {name: _suggest(trial, name, task.dimensions[name]) for name in names}
        callback = _EpochCallback(trial, may_prune=not is_default)
        outcome = task.evaluate(task.settings({} if is_default else drawn), callback)
        if callback.is_pruned:
            raise optuna.TrialPruned
        trial.set_user_attr(VALIDATION, outcome.validation)
        return outcome.score

    return objective


def _suggest(trial: Trial, name: str, dimension: Range | Choice) -> Any:
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if dimension.is_whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


class _EpochCallback:
    """Tells Optuna of every epoch, and says to stop when it would prune the trial."""

    def __init__(self, trial: Trial, *, may_prune: bool) -> None:
        self.trial = trial
        self.may_prune = may_prune
        self.is_pruned = False

    def __call__(self, epoch: int, macro_f1: float) -> bool:
        self.trial.report(macro_f1, epoch)
        self.is_pruned = self.may_prune and self.trial.should_prune()
        return not self.is_pruned
