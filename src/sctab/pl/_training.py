"""Figures of a training."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sctab import get
from sctab.errors import KeyNotFoundError, SettingError, listing

# Okabe and Ito's colours, which differ for colour-blind readers too.
_LEARNED, _HELD_OUT, _OTHER, _KEPT = "#0072B2", "#D55E00", "#3C3C3C", "#8C8C8C"
_COLOURS = {"pretrain_loss": "#009E73", "zinb_loss": "#E69F00", "cluster_loss": "#CC79A7", "nmi": _LEARNED, "ari": _HELD_OUT}
_LOSS = "loss"
_AGREEMENT = ("nmi", "ari", "accuracy")
"""Metrics that compare clusters with given labels."""
_OF_CLUSTERING = ("pretrain_loss", "cluster_loss")
_TITLES = {"changed": "Fraction of cells that changed", "zinb_loss": "ZINB loss", "nmi": "NMI", "ari": "ARI"}
_PANEL_SIZE = (4.0, 3.2)


def training(
    source: str | PathLike[str] | Any, *, metrics: Sequence[str] | None = None, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Plot training curves: losses, macro F1 of the validation cells, learning rate; or the progress of a clustering.

    Parameters
    ----------
    source
        What :func:`sctab.get.training` takes or gives: a model, a directory, or a table.
    metrics
        Metrics to draw, all by default. Losses share a panel, and so do NMI, ARI and accuracy of a clustering; every other metric has its
        own.
    axes
        One per panel; by default a new figure is made.

    Returns
    -------
    Axes of the panels from left to right. A dashed line marks the epoch whose weights the model has, where that is known. A clustering has
    the weights of its last epoch; there, the line marks the end of the pretraining.

    Raises
    ------
    NotTrainedError, DataFileError, ModelFormatError
        As in :func:`sctab.get.training`.
    KeyNotFoundError
        If a metric was not logged.
    SettingError
        If `axes` are not as many as there are panels.

    Examples
    --------
    >>> import matplotlib, sctab
    >>> matplotlib.use("Agg")
    >>> axes = sctab.pl.training(sctab.zoo.packaged_path("pbmc"))
    >>> [ax.get_title() for ax in axes]
    ['Loss', 'Validation macro F1', 'Learning rate']
    """
    table = source if isinstance(source, pd.DataFrame) else get.training(source)
    panels = _panels(_chosen(table, metrics))
    is_clustering = bool(table["metric"].isin(_OF_CLUSTERING).any())
    if axes is None:
        width, height = _PANEL_SIZE
        _, grid = plt.subplots(1, len(panels), figsize=(width * len(panels), height), squeeze=False, layout="constrained")
        axes = list(grid[0])
    if len(axes) != len(panels):
        raise SettingError(f"There are {len(axes)} `axes` for {len(panels)} panels: {listing(panels)}. Provide one for each.")
    for ax, (title, names) in zip(axes, panels.items(), strict=True):
        curves = table[table["metric"].isin(names)]
        marked = _end_of_pretraining(curves) if is_clustering else list(curves.loc[curves["kept"], "epoch"].unique())
        mark = "End of pretraining" if is_clustering else "Kept epoch"
        _draw(ax, title, curves, marked, mark if ax is axes[0] else None)
    return list(axes)


def _chosen(table: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    logged = list(table["metric"].unique())
    if metrics is None:
        return sorted(logged, key=_position)
    missing = [name for name in metrics if name not in logged]
    if missing:
        raise KeyNotFoundError(f"{listing(missing)} was not logged in this training. Metrics: {listing(logged)}.")
    return list(metrics)


def _position(metric: str) -> int:
    """Losses first, the learning rate last."""
    return 0 if metric.endswith(_LOSS) else 2 if metric == "learning_rate" else 1


def _end_of_pretraining(curves: pd.DataFrame) -> list[float]:
    """The border between the epochs of the autoencoder alone and those with clusters, in a panel that has both."""
    is_pretraining = curves["metric"] == "pretrain_loss"
    return [curves.loc[is_pretraining, "epoch"].max() + 0.5] if is_pretraining.any() and not is_pretraining.all() else []


def _panels(metrics: Sequence[str]) -> dict[str, list[str]]:
    """Metrics of each panel by its title."""
    panels: dict[str, list[str]] = {}
    for metric in metrics:
        shared = "Loss" if metric.endswith(_LOSS) else "Agreement with labels" if metric in _AGREEMENT else None
        panels.setdefault(shared or _title(metric), []).append(metric)
    return panels


def _title(metric: str) -> str:
    if metric in _TITLES:
        return _TITLES[metric]
    words = metric.replace("_", " ").replace("f1", "F1")
    return words[:1].upper() + words[1:]


def _draw(ax: Axes, title: str, curves: pd.DataFrame, marked: Sequence[float], mark: str | None) -> None:
    lines = dict(list(curves.groupby("metric", sort=True)))
    for metric, curve in lines.items():
        other = _LEARNED if metric.startswith("train") else _HELD_OUT if metric.startswith("validation") else _OTHER
        colour = _COLOURS.get(metric, other)
        # The title names a curve that is alone; one of a single epoch is a point, which a line does not show.
        label = _title(metric) if len(lines) > 1 else None
        ax.plot(curve["epoch"], curve["value"], color=colour, marker="o" if len(curve) == 1 else "", label=label)
    for epoch in marked:
        ax.axvline(epoch, color=_KEPT, linestyle="--", linewidth=1, zorder=0, label=mark)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    ax.set(title=title, xlabel="Epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="y", alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
