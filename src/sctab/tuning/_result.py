"""Results of a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from sctab.errors import SettingError, require
from sctab.tuning._settings import Settings
from sctab.tuning._task import TuningTask

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

IS_DEFAULT = "is_default"
VALIDATION = "validation"
DEFAULTS = "defaults"


@dataclass(frozen=True, eq=False)
class TuningResult:
    """The best settings of a study, and how it found them."""

    best: Settings
    """Those with the highest value; the defaults where nothing does better."""
    trials: pd.DataFrame = field(repr=False)
    """A row per finished trial, in order:

    `state` : str
        `complete`, or `pruned` where training was ended early.
    `value` : float
        Macro F1 on the cells that were held out; `NaN` for a pruned trial.
    `best` : float
        The highest value up to this trial.
    `validation` : float
        Macro F1 on the cells by which training chooses its best epoch; for a pruned trial in its last epoch.
    `is_default` : bool
        Whether it is the trial of the defaults.
    `seconds` : float
        How long it took.

    and a column per setting that was varied. The index, `trial`, has the numbers of the trials.
    """
    importance: pd.DataFrame = field(repr=False)
    """Fraction of the variance of the value that each setting explains (Hutter et al. 2014), with columns `setting` and `importance`, which
    sums to one. It has no rows where complete trials are too few or all equally good; `importance_note` then says so."""
    split: str
    """Kind of split: `"donor"`; `"stratified"` without donors; or `"corpus"` for the validation cells of a corpus."""
    n_held_out: int
    """Number of held-out cells."""
    importance_note: str = ""
    """Reason why `importance` has no rows, and what it needs; empty if it has some."""

    @property
    def best_value(self) -> float:
        """Macro F1 of the best settings on the cells that were held out: the highest of several, so that new cells give less."""
        return float(self.trials["value"].max())

    @property
    def default_value(self) -> float:
        """Macro F1 of the default settings on the same cells."""
        return float(self.trials.loc[self.trials["is_default"], "value"].max())


def finished(study: Study) -> list[FrozenTrial]:
    """Trials that count: complete or pruned."""
    states = require("optuna", extra="tune").trial.TrialState
    return study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))


def summarise(study: Study, task: TuningTask) -> TuningResult:
    """The best settings so far, and the tables.

    Raises
    ------
    SettingError
        If no trial is complete.
    """
    trials = _trials(study, task)
    complete = trials[trials["state"] == "complete"]
    if complete.empty:
        raise SettingError("No trial is complete yet, so there is nothing to choose from. Increase `timeout` or `n_trials`.")
    best = complete.sort_values(["value", "is_default"], ascending=False, kind="stable").index[0]
    values = {} if complete.loc[best, "is_default"] else next(trial.params for trial in finished(study) if trial.number == best)
    importance, note = _importance(study, task)
    return TuningResult(
        best=task.settings(values),
        trials=trials,
        importance=importance,
        split=task.cells.by,
        n_held_out=len(task.cells.truth),
        importance_note=note,
    )


def _trials(study: Study, task: TuningTask) -> pd.DataFrame:
    rows = [_row(trial, list(task.dimensions)) for trial in finished(study)]
    columns = ["trial", "state", "value", VALIDATION, IS_DEFAULT, "seconds", *task.dimensions]
    trials = pd.DataFrame(rows, columns=columns).set_index("trial").sort_index()
    trials.insert(2, "best", trials["value"].cummax().ffill())
    return trials


def _row(trial: FrozenTrial, names: list[str]) -> dict[str, Any]:
    is_complete = trial.state.name == "COMPLETE"
    last_epoch = trial.intermediate_values[trial.last_step] if trial.last_step is not None else None
    tried = trial.user_attrs.get(DEFAULTS, {}) | trial.params
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": float(trial.values[0]) if is_complete else float("nan"),
        VALIDATION: trial.user_attrs.get(VALIDATION) if is_complete else last_epoch,
        IS_DEFAULT: bool(trial.user_attrs.get(IS_DEFAULT, False)),
        "seconds": trial.duration.total_seconds() if trial.duration else float("nan"),
    } | {name: tried.get(name) for name in names}


def _importance(study: Study, task: TuningTask) -> tuple[pd.DataFrame, str]:
    """The table, and why it has no rows.

    A regression on every setting has no variance left to share out unless there are more trials than settings. Optuna itself asks for
    two trials only, and gives each setting the same share where all values are equal.
    """
    optuna = require("optuna", extra="tune")
    names = list(task.dimensions)
    values = [trial.value for trial in finished(study) if trial.state.name == "COMPLETE" and set(names) <= set(trial.params)]
    shares: dict[str, float] = {}
    note = ""
    if len(values) <= len(names):
        note = (
            f"The importance of {len(names)} settings needs at least {len(names) + 1} complete trials, and there "
            f"{'is 1' if len(values) == 1 else f'are {len(values)}'}. Increase `n_trials`."
        )
    elif len(set(values)) == 1:
        note = f"The importance of settings needs trials that differ, and all {len(values)} complete trials are equally good."
    else:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=task.seed)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
    return pd.DataFrame({"setting": list(shares), "importance": list(shares.values())}), note
