"""Choosing cells: which to learn from and which to validate on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitBy = Literal["donor", "stratified"]
_FEWEST_DONORS = 3
_ROUNDING = 1e-6
"""Cells by which a product of shares may be off: a tenth of 100 cells is 10 of them."""


@dataclass(frozen=True)
class Split:
    """Cells to learn from and cells to validate on; cells without a label are in neither."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    by: SplitBy | Literal["none"]
    """How it was made: whole donors, a share of every type, or no validation at all."""
    held_out_donors: tuple[int, ...] = ()


def split_cells(
    labels: NDArray[np.int64],
    donors: NDArray[np.int64] | None = None,
    *,
    train_size: float,
    by: SplitBy,
    rng: np.random.Generator,
) -> Split:
    """Split labelled cells for validation, by donor where that is possible.

    By donor, whole donors are held out, in random order, until they hold at least `1 - train_size` of the cells; a donor without
    whom a type would have no cell left to learn from stays. That takes three donors. Where it cannot be done the split is stratified:
    `1 - train_size` of the cells of each type, rounded down, so that a type with one cell is learned and not validated.

    Parameters
    ----------
    labels
        Type of each cell, `(n_obs,)`; negative where there is none.
    donors
        Donor of each cell, `(n_obs,)`, or `None`.
    train_size
        Share of the cells to learn from; 1 validates on none.
    by
        What is wished for; what was done is in the result.
    rng
        Source of randomness.

    Examples
    --------
    >>> labels, donors = np.tile([0, 1], 6), np.repeat([0, 1, 2], 4)
    >>> split = split_cells(labels, donors, train_size=0.9, by="donor", rng=np.random.default_rng(0))
    >>> split.by, len(split.held_out_donors), len(split.validation)
    ('donor', 1, 4)
    """
    labeled = np.flatnonzero(labels >= 0)
    if train_size >= 1 or not labeled.size:
        return Split(train=labeled, validation=labeled[:0], by="none")
    if by == "donor" and donors is not None:
        held_out = _donors_to_hold_out(labels[labeled], donors[labeled], 1 - train_size, rng)
        if held_out:
            is_validation = np.isin(donors[labeled], held_out)
            return Split(
                train=labeled[~is_validation],
                validation=labeled[is_validation],
                by="donor",
                held_out_donors=tuple(sorted(held_out)),
            )
    validation = [
        rng.permutation(cells)[: int(len(cells) * (1 - train_size) + _ROUNDING)]
        for label in np.unique(labels[labeled])
        if len(cells := np.flatnonzero(labels == label))
    ]
    chosen = np.sort(np.concatenate(validation))
    if not chosen.size:
        return Split(train=labeled, validation=chosen, by="none")
    return Split(train=np.setdiff1d(labeled, chosen), validation=chosen, by="stratified")


def _donors_to_hold_out(labels: NDArray[np.int64], donors: NDArray[np.int64], share: float, rng: np.random.Generator) -> list[int]:
    every_donor, cells = np.unique(donors, return_counts=True)
    if len(every_donor) < _FEWEST_DONORS:
        return []
    n_types = len(np.unique(labels))
    held_out: list[int] = []
    n_held_out = 0
    for position in rng.permutation(len(every_donor)):
        candidate = [*held_out, int(every_donor[position])]
        too_many = n_held_out + cells[position] > max(2 * share, 0.34) * len(labels)
        if too_many or len(np.unique(labels[~np.isin(donors, candidate)])) < n_types:
            continue
        held_out, n_held_out = candidate, n_held_out + int(cells[position])
        if n_held_out >= share * len(labels) - _ROUNDING:
            break
    return held_out


def balanced_class_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    r"""Weight :math:`n / (K n_k)` of each of `K` classes, for a loss in which all classes weigh the same, `(n_classes,)`.

    Parameters
    ----------
    labels
        Class of each cell, `(n_obs,)`; negative ones do not count.
    n_classes
        Number of classes `K`; one without cells has weight zero.

    Examples
    --------
    >>> balanced_class_weights(np.array([0, 0, 0, 1]), 2)
    array([0.6666667, 2.       ], dtype=float32)
    """
    counts = np.bincount(labels[labels >= 0], minlength=n_classes)
    weights = np.divide(counts.sum(), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)
    return weights.astype(np.float32)
