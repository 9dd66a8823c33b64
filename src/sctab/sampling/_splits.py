"""Splits of cells into training and validation, and weights of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sctab.errors import LabelError, Parameter, SettingError
from sctab.sampling._apportion import ROUNDING, apportion

SplitBy = Literal["donor", "stratified"]
SplitRule = Literal["type", "donor", "both"]
_FEWEST_DONORS = 3
_MOST_EXCHANGES = 10_000
_EXCHANGES_PER_PAIR = 20
"""Average number of attempts to exchange each pair of donors, up to a maximum."""


@dataclass(frozen=True)
class Split:
    """Cells to learn from and cells to validate on; cells without a label are in neither."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    by: SplitBy | Literal["dataset", "corpus", "none"]
    """Kind of split: whole donors, a fraction of every type, the split of a corpus, or no validation."""
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
        Fraction of the cells to learn from; 1 validates on none.
    by
        Requested kind of split; the result has the actual one.
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
    validation = [cells[: int(len(cells) * (1 - train_size) + ROUNDING)] for cells in _shuffled_types(labels, rng)]
    chosen = np.sort(np.concatenate(validation))
    if not chosen.size:
        return Split(train=labeled, validation=chosen, by="none")
    return Split(train=np.setdiff1d(labeled, chosen), validation=chosen, by="stratified")


def _donors_to_hold_out(
    labels: NDArray[np.int64], donors: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> list[int]:
    every_donor, of_donor = np.unique(donors, return_inverse=True)
    if len(every_donor) < _FEWEST_DONORS:
        return []
    every_type, of_type = np.unique(labels, return_inverse=True)
    shape = len(every_donor), len(every_type)
    cells = np.bincount(of_donor * shape[1] + of_type, minlength=shape[0] * shape[1]).reshape(shape)
    left = cells.sum(axis=0)
    held_out: list[int] = []
    n_held_out = 0
    for position in rng.permutation(len(every_donor)):
        n_cells = int(cells[position].sum())
        too_many = n_held_out + n_cells > max(2 * fraction, 0.34) * len(labels)
        if too_many or not (left > cells[position]).all():
            continue
        held_out.append(int(every_donor[position]))
        left, n_held_out = left - cells[position], n_held_out + n_cells
        if n_held_out >= fraction * len(labels) - ROUNDING:
            break
    return held_out


def _shuffled_types(labels: NDArray[np.int64], rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The cells of each type in random order, type by type."""
    for label in np.unique(labels[labels >= 0]):
        yield rng.permutation(np.flatnonzero(labels == label))


def assign_splits(
    labels: NDArray[np.int64],
    donors: NDArray[np.int64] | None = None,
    *,
    fractions: Sequence[float],
    by: SplitRule = "type",
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Assign labelled cells to several splits, such as training, validation and test.

    `"type"`
        Each split gets its fraction of the cells of every type, up to rounding by less than one cell. The first split gets a cell of every
        type.
    `"donor"`
        Each split gets its fraction of the donors, up to rounding and at least one, as whole donors at random. Types are not looked at.
    `"both"`
        As many donors as by donor. Then donors of different splits change places, in random order, as long as that brings the share
        that each split has of each type nearer to its size (sum of squared differences). The first split gets a donor of every type.

    Parameters
    ----------
    labels
        Type of each cell, `(n_obs,)`; negative where there is none.
    donors
        Donor of each cell, `(n_obs,)`; `"donor"` and `"both"` need it.
    fractions
        Fraction of each split; they sum to one. The first split is the one to learn from.
    by
        What is kept together and what is shared out evenly.
    rng
        Source of randomness.

    Returns
    -------
    Position in `fractions` of each cell's split, `(n_obs,)`; -1 for cells without a label.

    Raises
    ------
    SettingError
        If `by` or the fractions are invalid, or if there are fewer donors than splits.
    LabelError
        If the types have so few cells that a split gets none, or are in so few donors that the first split cannot have them all.

    Examples
    --------
    >>> labels = np.repeat([0, 1], [10, 20])
    >>> splits = assign_splits(labels, fractions=(0.8, 0.2), rng=np.random.default_rng(0))
    >>> [np.bincount(labels[splits == split]).tolist() for split in (0, 1)]
    [[8, 16], [2, 4]]
    """
    if by not in ("type", "donor", "both"):
        raise SettingError(Parameter("by", by), " must be `'type'`, `'donor'` or `'both'`.")
    checked = _checked_fractions(fractions)
    labeled = labels >= 0
    splits = np.full(len(labels), -1, dtype=np.int64)
    if by == "type":
        for cells in _shuffled_types(labels, rng):
            splits[cells] = np.repeat(np.arange(len(checked)), _cells_per_split(len(cells), checked, rng))
    elif donors is None:
        raise SettingError(Parameter("by", by), " needs to know the donor of each cell. Provide donors, or split `by='type'`.")
    else:
        splits[labeled] = _split_donors(labels[labeled], donors[labeled], checked, by, rng)
    if not np.isin(np.arange(len(checked)), splits).all():
        raise LabelError(
            f"There are {int(labeled.sum())} labelled cells of {len(np.unique(labels[labeled]))} types, too few for {len(checked)} splits "
            "of these fractions: one of them would be empty. Make fewer or more even splits."
        )
    return splits


def _checked_fractions(fractions: Sequence[float]) -> NDArray[np.float64]:
    checked = np.asarray(fractions, dtype=np.float64)
    if len(checked) < 2 or (checked <= 0).any() or abs(checked.sum() - 1) > ROUNDING:
        raise SettingError(
            f"The fractions of splits, {[float(fraction) for fraction in checked]}, must be two or more, positive, and sum to one."
        )
    return checked


def _cells_per_split(n_cells: int, fractions: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Number of cells of a type for each split; which of two splits of the same size gets the odd cell is random."""
    order = rng.permutation(len(fractions))
    counts = np.empty(len(fractions), dtype=np.int64)
    counts[order] = apportion(n_cells * fractions[order], least=(order == 0).astype(np.int64))
    return counts


def _split_donors(
    labels: NDArray[np.int64],
    donors: NDArray[np.int64],
    fractions: NDArray[np.float64],
    by: Literal["donor", "both"],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    every_donor, donor_of_cell = np.unique(donors, return_inverse=True)
    if len(every_donor) < len(fractions):
        raise SettingError(
            f"{len(fractions)} splits need at least {len(fractions)} donors; there are {len(every_donor)}. Make fewer splits, or split "
            "`by='type'`."
        )
    split_of_donor = rng.permutation(np.repeat(np.arange(len(fractions)), apportion(len(every_donor) * fractions, least=1)))
    if by == "both":
        every_type, type_of_cell = np.unique(labels, return_inverse=True)
        cells = np.zeros((len(every_donor), len(every_type)), dtype=np.int64)
        np.add.at(cells, (donor_of_cell, type_of_cell), 1)
        split_of_donor = _exchange_donors(split_of_donor, cells, fractions, rng)
    return split_of_donor[donor_of_cell]


def _exchange_donors(
    split_of_donor: NDArray[np.int64], cells: NDArray[np.int64], fractions: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Let donors of different splits change places while that evens out the types; `cells` is `(n_donors, n_types)`."""
    split_of_donor = split_of_donor.copy()
    held = np.stack([cells[split_of_donor == split].sum(axis=0) for split in range(len(fractions))])

    def cost(held: NDArray[np.int64]) -> tuple[int, float]:
        return int((held[0] == 0).sum()), float(((held / cells.sum(axis=0) - fractions[:, None]) ** 2).sum())

    lowest = cost(held)
    n_tries = min(_MOST_EXCHANGES, _EXCHANGES_PER_PAIR * len(cells) ** 2 // 2)
    for one, other in rng.integers(len(cells), size=(n_tries, 2)).tolist():
        pair = [split_of_donor[one], split_of_donor[other]]
        if pair[0] == pair[1]:
            continue
        exchanged = held.copy()
        exchanged[pair] += [cells[other] - cells[one], cells[one] - cells[other]]
        if (now := cost(exchanged)) < lowest:
            split_of_donor[[one, other]] = pair[::-1]
            held, lowest = exchanged, now
    if lowest[0]:
        raise LabelError(
            f"No {int((split_of_donor == 0).sum())} of {len(cells)} donors were found that have cells of every type: {lowest[0]} of "
            f"{cells.shape[1]} types could not be learned. Make the first split larger, leave out types that are in one donor only, or "
            "split `by='type'`."
        )
    return split_of_donor


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
