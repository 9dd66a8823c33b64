"""Figures of a tuning study."""

from __future__ import annotations

from typing import Literal

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sctab.errors import SettingError

# Okabe and Ito's colours, which differ for colour-blind readers too.
_TRIAL, _DEFAULT, _BEST, _PRUNED = "#56B4E9", "#D55E00", "#0072B2", "#8C8C8C"
_HISTORY_SIZE = (6.0, 3.6)
_BAR_HEIGHT = 0.35
"""Inches per setting."""


def tuning_history(trials: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot the value of every trial, the best so far, and the default.

    Parameters
    ----------
    trials
        The table `trials` of a :class:`sctab.tuning.TuningResult`.
    ax
        Where to draw; by default a new figure is made.

    Returns
    -------
    The axes. Trials that were ended early have no value: they are marked at the bottom.

    Examples
    --------
    >>> import matplotlib, pandas as pd
    >>> matplotlib.use("Agg")
    >>> trials = pd.DataFrame({"state": "complete", "value": [0.7, 0.8], "best": [0.7, 0.8], "is_default": [True, False]})
    >>> tuning_history(trials).get_ylabel()
    'Macro F1 on held-out cells'
    """
    if ax is None:
        _, ax = plt.subplots(figsize=_HISTORY_SIZE, layout="constrained")
    complete = trials[trials["state"] == "complete"]
    default, others = complete[complete["is_default"]], complete[~complete["is_default"]]
    pruned = trials.index[trials["state"] == "pruned"]
    ax.scatter(others.index, others["value"], color=_TRIAL, s=22, label="Trial")
    if not default.empty:
        ax.axhline(default["value"].max(), color=_DEFAULT, linestyle=":", linewidth=1.2, zorder=1)
        ax.scatter(default.index, default["value"], color=_DEFAULT, marker="D", s=40, zorder=4, label="Default")
    ax.step(trials.index, trials["best"], where="post", color=_BEST, linewidth=1.5, label="Best so far")
    if len(pruned):
        at_bottom = [0.02] * len(pruned)
        ax.scatter(pruned, at_bottom, transform=ax.get_xaxis_transform(), color=_PRUNED, marker="|", s=40, label="Ended early")
    ax.set_xlabel("Trial")
    ax.set_ylabel("Macro F1 on held-out cells")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    _tidy(ax, grid="y")
    return ax


def tuning_importance(importance: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot the importance of each setting: the fraction of variance in trial values that it explains.

    Parameters
    ----------
    importance
        The table `importance` of a :class:`sctab.tuning.TuningResult`.
    ax
        Where to draw; by default a new figure is made.

    Returns
    -------
    The axes.

    Raises
    ------
    SettingError
        If the table has no rows, because complete trials are too few or all equally good.

    Examples
    --------
    >>> import matplotlib, pandas as pd
    >>> matplotlib.use("Agg")
    >>> ax = tuning_importance(pd.DataFrame({"setting": ["dropout", "n_hidden"], "importance": [0.2, 0.8]}))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['dropout', 'n_hidden']
    """
    if importance.empty:
        raise SettingError(
            "`importance` has no rows: complete trials are too few or all equally good. `importance_note` of the result says how many "
            "are needed."
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 1.0 + _BAR_HEIGHT * max(len(importance), 2)), layout="constrained")
    ordered = importance.sort_values("importance")
    bars = ax.barh(ordered["setting"], ordered["importance"], color=_BEST, height=0.7)
    ax.bar_label(bars, fmt="{:.2f}", padding=3, fontsize="small")
    ax.set_xlim(0, 1.1 * max([*ordered["importance"], 0.1]))  # room for the numbers
    ax.set_xlabel("Fraction of the variance explained")
    _tidy(ax, grid="x")
    return ax


def _tidy(ax: Axes, *, grid: Literal["x", "y"]) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis=grid, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
