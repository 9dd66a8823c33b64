"""Figures of what an annotation promises: reliability of confidence, abstention, errors of promised terms, and unseen types."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from sctab.errors import Parameter, SettingError
from sctab.keys import DEFAULT_KEY_ADDED
from sctab.pl._evaluation import Level, at_level, table_of
from sctab.pl._figures import ShownFigure
from sctab.pl._panels import name_rows

_KEPT, _BROKEN = "#0072B2", "#D55E00"
_ANSWERS = {"leaf": "#0072B2", "broader": "#56B4E9", "open": "#8C8C8C"}
"""After Okabe and Ito."""
_TITLES = {"leaf": "single label", "broader": "broader term", "open": "left open"}
_ROW, _LETTER = 0.3, 0.075
"""Height of a row and width of a letter in inches."""


def reliability(evaluation: AnnData | pd.DataFrame, *, level: Level = "shared", key_added: str = DEFAULT_KEY_ADDED) -> Figure:
    """Plot accuracy against confidence, with the number of cells of each bin below.

    Parameters
    ----------
    evaluation
        Cells that :func:`sctab.tl.evaluate` has scored, or the table `get.evaluation(adata, "reliability")`.
    level
        Labels to compare: `"shared"`, at the level of detail that both sides share; `"as labelled"`; or `"corrected"`, where a subtype of
        the true label counts as that.
    key_added
        Prefix of the evaluation.

    Returns
    -------
    The figure. A point is a bin, larger with more cells. Points below the diagonal are of cells whose labels are right less often than
    their confidence says. The expected calibration error is written into the diagram.

    Raises
    ------
    SettingError
        If there is no such level, or the table is another one.
    KeyNotFoundError
        If the cells were not evaluated.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("shared", 30, 0.4, 0.6, 0.5, 0.5), ("shared", 70, 0.8, 1.0, 0.9, 0.8)]
    >>> figure = reliability(pd.DataFrame(rows, columns=["level", "cells", "low", "high", "confidence", "accuracy"]))
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['Accuracy', 'Cells']
    """
    rows = at_level(level, evaluation, "reliability", ["cells", "low", "high", "confidence", "accuracy"], key_added=key_added)
    rows = rows[rows["cells"] > 0]
    figure = ShownFigure(figsize=(4.2, 5.0), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    text = above.xaxis.label.get_color()
    above.plot([0, 1], [0, 1], color=text, alpha=0.5, linewidth=1, linestyle="--")
    above.vlines(rows["confidence"], rows["accuracy"], rows["confidence"], color=_BROKEN, alpha=0.6, linewidth=2)
    above.plot(rows["confidence"], rows["accuracy"], color=_KEPT, linewidth=1, alpha=0.6)
    area = 8 + 60 * rows["cells"] / rows["cells"].max()
    above.scatter(rows["confidence"], rows["accuracy"], s=area, color=_KEPT, zorder=3)
    error = (rows["cells"] * (rows["accuracy"] - rows["confidence"]).abs()).sum() / rows["cells"].sum()
    above.text(0.97, 0.05, f"ECE {error:.3f}", ha="right", transform=above.transAxes)
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="Accuracy")
    below.bar(rows["low"], rows["cells"], width=rows["high"] - rows["low"], align="edge", color=_KEPT, linewidth=0)
    below.set(xlabel="Confidence", ylabel="Cells")
    for ax in (above, below):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def abstention(evaluation: AnnData | pd.DataFrame, *, level: Level = "shared", key_added: str = DEFAULT_KEY_ADDED) -> Figure:
    """Plot the error of the most confident cells against the fraction of cells that is answered.

    Parameters
    ----------
    evaluation
        Cells that :func:`sctab.tl.evaluate` has scored, or the table `get.evaluation(adata, "abstention")`.
    level
        Labels to compare: `"shared"`, at the level of detail that both sides share; `"as labelled"`; or `"corrected"`, where a subtype of
        the true label counts as that.
    key_added
        Prefix of the evaluation.

    Returns
    -------
    The figure. The upper curve is the fraction of wrong labels among the cells that keep their label, where the others, which are less
    confident, are left without one; the dashed line is the error of all cells. The lower curve is the confidence that a cell needs.

    Raises
    ------
    SettingError
        If there is no such level, or the table is another one.
    KeyNotFoundError
        If the cells were not evaluated.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("shared", 0.9, 50, 0.5, 0.0), ("shared", 0.6, 100, 1.0, 0.2)]
    >>> figure = abstention(pd.DataFrame(rows, columns=["level", "threshold", "cells", "answered", "error"]))
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['Wrong labels', 'Confidence']
    """
    rows = at_level(level, evaluation, "abstention", ["threshold", "answered", "error"], key_added=key_added)
    rows = rows.sort_values("answered", kind="stable")
    figure = ShownFigure(figsize=(4.2, 5.0), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    text = above.xaxis.label.get_color()
    of_all = float(rows["error"].iloc[-1])
    above.axhline(of_all, color=text, alpha=0.5, linewidth=1, linestyle="--")
    above.plot(rows["answered"], rows["error"], color=_KEPT, linewidth=1.6, marker="o", markersize=3)
    above.set(xlim=(0, 1.02), ylim=(0, max(1.15 * rows["error"].max(), 0.02)), ylabel="Wrong labels")
    below.plot(rows["answered"], rows["threshold"], color=_KEPT, linewidth=1.6)
    below.set(xlabel="Cells with a label", ylabel="Confidence", ylim=(0, 1.02))
    above.yaxis.set_major_formatter(PercentFormatter(1))
    below.xaxis.set_major_formatter(PercentFormatter(1))
    for ax in (above, below):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="0.5", alpha=0.2)
        ax.set_axisbelow(True)
    return figure


def unseen(evaluation: AnnData | pd.DataFrame, *, key_added: str = DEFAULT_KEY_ADDED) -> Figure:
    """Plot the p-values of the cells of each true type for being of a type that the model knows, and the fraction that is reported.

    Parameters
    ----------
    evaluation
        Cells that :func:`sctab.tl.evaluate` has scored, or the table `get.evaluation(adata, "unseen")`.
    key_added
        Prefix of the evaluation.

    Returns
    -------
    The figure. A dot is the median of the p-values, a thick line goes from the first to the third quartile, a thin one from 5 to 95 %.
    Types that the model does not know come first, in another colour: the further left they are of the others, the better are they found.

    Raises
    ------
    SettingError
        If no cell has a p-value, or the table is another one.
    KeyNotFoundError
        If the cells were not evaluated, or unseen types were not looked for.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = ["over", "name", "is_known", "cells", "lowest", "low", "median", "high", "highest", "reported"]
    >>> rows = [
    ...     ("type", "B cell", True, 10, 0.1, 0.2, 0.5, 0.8, 0.9, 0.0),
    ...     ("type", "neuron", False, 5, 0.001, 0.001, 0.001, 0.01, 0.1, 1.0),
    ... ]
    >>> figure = unseen(pd.DataFrame(rows, columns=columns))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['neuron (5)', 'B cell (10)']
    """
    columns = ["over", "name", "is_known", "cells", "lowest", "low", "median", "high", "highest", "reported"]
    table = table_of(evaluation, "unseen", columns, key_added=key_added)
    if not (table["median"] > 0).any():
        raise SettingError("No cell that was scored has a p-value, so there is nothing to draw.")
    rows = table[table["over"] == "type"].sort_values(["is_known", "median"], kind="stable")
    named = [f"{name} ({cells:,})" for name, cells in zip(rows["name"], rows["cells"], strict=True)]
    size = 6.5 + _LETTER * max(map(len, named)), 1.3 + _ROW * max(len(rows), 2)
    figure = ShownFigure(figsize=size, layout="constrained")
    values, reported = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    positions, text = np.arange(len(rows)), values.xaxis.label.get_color()
    for is_known, colour, label in ((True, _KEPT, "known to the model"), (False, _BROKEN, "unknown to the model")):
        own = (rows["is_known"] == is_known).to_numpy()
        if own.any():
            values.hlines(positions[own], rows["lowest"][own], rows["highest"][own], color=colour, linewidth=1)
            values.hlines(positions[own], rows["low"][own], rows["high"][own], color=colour, linewidth=4, alpha=0.6)
            values.scatter(rows["median"][own], positions[own], color=colour, s=34, zorder=3, label=label)
            reported.barh(positions[own], rows["reported"][own], height=0.7, color=colour, linewidth=0)
    values.set_xscale("log")
    values.set_xlabel("p-value")
    values.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    values.xaxis.set_major_formatter("{x:g}")
    values.xaxis.set_minor_formatter(NullFormatter())
    reported.set(xlim=(0, 1), xlabel="Reported cells")
    reported.xaxis.set_major_formatter(PercentFormatter(1))
    n_unknown = int((~rows["is_known"].astype(bool)).sum())
    for ax in (values, reported):
        name_rows(ax, named)
        ax.spines[["top", "right"]].set_visible(False)
        if 0 < n_unknown < len(rows):
            ax.axhline(n_unknown - 0.5, color=text, alpha=0.4, linewidth=0.8)
    reported.tick_params(labelleft=False)
    figure.legend(loc="outside upper right", frameon=False, ncols=2, fontsize=9)
    return figure


def promise(
    evaluation: AnnData | pd.DataFrame, *, over: Literal["type", "donor"] = "type", key_added: str = DEFAULT_KEY_ADDED
) -> Figure:
    """Plot the error of promised terms against the accepted error, and how specific the answers are.

    Parameters
    ----------
    evaluation
        Cells that :func:`sctab.tl.evaluate` has scored, or the table `get.evaluation(adata, "promise")`.
    over
        A row per `"type"`, or per `"donor"`.
    key_added
        Prefix of the evaluation.

    Returns
    -------
    The figure. The first rows are all cells and, with donors, the mean over donors, with 95 % intervals; the others follow with the largest
    error on top. The dashed line is the accepted error, which is promised for the mean, and not for each type or donor.

    Raises
    ------
    SettingError
        If the evaluation is not by donors.
    KeyNotFoundError
        If the cells were not evaluated, or have no promised terms.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("all", "", 30, 0.1, 0.7, 0.1), ("type", "B cell", 10, 0.0, 1.0, 0.0), ("type", "T cell", 20, 0.15, 0.55, 0.15)]
    >>> table = pd.DataFrame(rows, columns=["over", "name", "cells", "error", "leaf", "open"])
    >>> figure = promise(table.assign(accepted_error=0.1, low=float("nan"), high=float("nan")))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['all cells (30)', 'T cell (20)', 'B cell (10)']
    """
    columns = ["over", "name", "cells", "error", "low", "high", "accepted_error", "leaf", "open"]
    table = table_of(evaluation, "promise", columns, key_added=key_added)
    own = table[table["over"] == over].sort_values("error", ascending=False, kind="stable")
    if own.empty:
        raise SettingError(Parameter("over", over), " is not in the evaluation. Call `sctab.tl.evaluate` with `donor_key`.")
    means = table[table["over"].isin(["all", "mean over donors"])]
    rows = pd.concat([means, own], ignore_index=True)
    names = [*means["over"].replace("all", "all cells"), *own["name"]]
    named = [f"{name} ({cells:,})" for name, cells in zip(names, rows["cells"], strict=True)]
    size = 6.5 + _LETTER * max(map(len, named)), 1.3 + _ROW * max(len(rows), 2)
    figure = ShownFigure(figsize=size, layout="constrained")
    errors, answers = figure.subplots(1, 2, sharey=True)
    accepted, positions = float(rows["accepted_error"].iloc[0]), np.arange(len(rows))
    text = errors.xaxis.label.get_color()
    colours = np.where(rows["error"] <= accepted, _KEPT, _BROKEN)
    errors.hlines(positions, 0, rows["error"], color=colours, linewidth=1.4, alpha=0.6)
    ends = [(rows["error"] - rows["low"]).clip(lower=0), (rows["high"] - rows["error"]).clip(lower=0)]
    errors.errorbar(rows["error"], positions, xerr=ends, color=text, linestyle="none", linewidth=1, capsize=3)
    errors.scatter(rows["error"], positions, color=colours, s=34, zorder=3)
    errors.axvline(accepted, color=text, linewidth=1, linestyle="--", label=f"accepted error {accepted:g}")
    errors.set_xlim(0, max(1.15 * np.nanmax([*rows["error"], *rows["high"], accepted]), 0.02))
    errors.set_xlabel("Wrong answers")
    left = np.zeros(len(rows))
    shares = {"leaf": rows["leaf"], "broader": 1 - rows["leaf"] - rows["open"], "open": rows["open"]}
    for name, share in shares.items():
        answers.barh(positions, share, left=left, height=0.7, color=_ANSWERS[name], label=_TITLES[name], linewidth=0)
        left += share.to_numpy()
    answers.set(xlim=(0, 1), xlabel="Cells")
    for ax in (errors, answers):
        name_rows(ax, named)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.spines[["top", "right"]].set_visible(False)
        ax.axhline(len(means) - 0.5, color=text, alpha=0.4, linewidth=0.8)
    answers.tick_params(labelleft=False)
    figure.legend(loc="outside upper right", frameon=False, ncols=4, fontsize=9)
    return figure
