"""From rows of a dataset's antibodies to the input of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data.proteins._learn import SMALLEST_SD, moments_of
from sctab.data.proteins._panel import ProteinMatch, ProteinPanel
from sctab.data.proteins._scale import CLIP, found_by, measured_values, weights_of
from sctab.data.proteins._values import ProteinInspection, ProteinValues
from sctab.errors import InputValueError
from sctab.io import row_blocks

_FEWEST_CELLS = 50
"""Measured cells from which means and standard deviations of a dataset are taken."""
_ON_SEVERAL_SCALES = {ProteinValues.CLR, ProteinValues.NORMALISED}
"""Kinds whose values depend on the program that made them."""
_SCALED_MEAN, _SCALED_RATIO = 0.5, 2.0
"""Median mean of antibodies, and ratio of their median standard deviation to 1, of a reference that may be a part of a scaled dataset."""
_LARGEST_DISTANCE = 1.5
"""Median distance of antibodies from their mean in the reference, in standard deviations, up to which values are of one kind."""
_LARGEST_RATIO = 3.0
"""Ratio of standard deviations above which values are said to be on another scale."""


@dataclass(frozen=True)
class ProteinRecipe:
    """Recipe that turns rows of one matrix of antibodies into the input of a model."""

    positions: NDArray[np.int32] = field(repr=False)
    """Antibody of the model for each feature, -1 for none, `(n_features,)`; -1 throughout where proteins are left out."""
    n_antibodies: int
    """Antibodies of the model."""
    values: ProteinValues
    """Kind of the values of the matrix."""
    mean: NDArray[np.float64] = field(repr=False)
    """Subtracted from each antibody, `(n_antibodies,)`."""
    sd: NDArray[np.float64] = field(repr=False)
    """Divides each antibody, `(n_antibodies,)`; infinite for one that does not vary in the dataset."""
    n_measured: int = 0
    """Cells with a value of an antibody of the model."""

    @property
    def is_used(self) -> bool:
        """True if any antibody is used."""
        return bool((self.positions >= 0).any())

    def apply(self, block: Any) -> NDArray[np.float32]:
        """The input that rows give.

        Parameters
        ----------
        block
            Rows of the matrix, sparse or dense, `(n_obs, n_features)`.

        Returns
        -------
        `(n_obs, n_antibodies + 1)`: standardised values within ±10, 0 for antibodies that are missing; and a last column that is 1 where
        the proteins of the cell were measured. It is 0 for a cell without a value, and for one without a count of the model's antibodies.
        """
        rows = np.asarray(block.toarray() if sparse.issparse(block) else block, dtype=np.float64)
        result = np.zeros((len(rows), self.n_antibodies + 1), dtype=np.float32)
        if not self.is_used:
            return result
        weights = weights_of(self.positions, self.n_antibodies)
        measured, values = measured_values(rows, weights, self.values)
        standardised = np.clip((values - self.mean) / self.sd, -CLIP, CLIP)
        result[measured, :-1] = np.where(found_by(weights), standardised, 0) + 0.0  # no -0
        result[measured, -1] = 1
        return result


def protein_recipe(
    panel: ProteinPanel, names: Sequence[str], matrix: Any, *, name: str, match: ProteinMatch | None = None
) -> tuple[ProteinRecipe, list[str]]:
    """Decide how the antibodies of a dataset become the input of a model, from all of its rows.

    Where both hold values of one kind, the mean and the standard deviation of an antibody are those of the reference. Otherwise they are
    those of the dataset, which needs 50 measured cells and a second pass; scaled values are standardised already.

    Parameters
    ----------
    panel
        Antibodies of the model.
    names
        Names of the features of the dataset.
    matrix
        Anything that :func:`sctab.io._rows.row_blocks` reads, `(n_obs, n_features)`.
    name
        What to call the matrix in messages.
    match
        Which features are which antibodies; `None` matches names.

    Returns
    -------
    The recipe, and notes. Where nothing can be used, the recipe gives zeros only, and a note says why.

    Raises
    ------
    InputValueError
        If there are not as many names as columns, or if values are invalid, as for :func:`inspect_proteins`.

    Examples
    --------
    >>> panel = ProteinPanel(("CD3", "CD19"), ProteinValues.COUNTS, mean=(0.0, 0.0), sd=(1.0, 1.0))
    >>> recipe, notes = protein_recipe(panel, ["CD19", "CD3-1"], np.array([[0, 9], [7, 0]]), name="X")
    >>> recipe.apply(np.array([[0, 9], [0, 0]])).round(2)
    array([[ 1.15, -1.15,  1.  ],
           [ 0.  ,  0.  ,  0.  ]], dtype=float32)
    """
    if len(names) != matrix.shape[1]:
        raise InputValueError(f"There are {len(names)} names of antibodies, and `{name}` has {matrix.shape[1]} columns.")
    match = panel.match(names) if match is None else match
    n, notes = len(panel), list[str]()
    inspection = ProteinInspection(name, len(names))
    columns, n_measured = np.flatnonzero(match.positions >= 0), 0
    for block in row_blocks(matrix, name=name):
        rows = block.toarray()
        inspection.add(rows)
        n_measured += int((np.nan_to_num(rows[:, columns]) != 0).any(axis=1).sum())
    unused = ProteinRecipe(np.full(len(names), -1, dtype=np.int32), n, panel.values, np.zeros(n), np.ones(n))
    if not match.found.any():
        return unused, ["No antibody of the model is in the data: its proteins are left out."]
    if n_measured == 0:
        return unused, [f"`{name}` holds no value of the model's antibodies in any cell: proteins are left out."]
    values = _kind_in_panel(inspection, panel, match)
    notes += match.notes
    if values.are_centred and match.found.sum() == 1:
        return unused, [*notes, f"One antibody is not enough for {values}, which compare antibodies: proteins are left out."]
    mean, sd = np.array(panel.mean), np.array(panel.sd)
    if values is panel.values:
        if values in _ON_SEVERAL_SCALES and inspection.n_measured >= _FEWEST_CELLS:
            moments = moments_of(matrix, name, weights_of(match.positions, n), values)
            notes += _note_on_scale(moments.sd, sd, match.found)
    else:
        notes.append(
            f"Antibodies of the query hold {values}, those of the reference {panel.values}: they are compared relative to the other cells "
            "of each dataset."
        )
        if values is ProteinValues.SCALED:
            mean, sd = np.zeros(n), np.ones(n)
        elif inspection.n_measured >= _FEWEST_CELLS:
            moments = moments_of(matrix, name, weights_of(match.positions, n), values)
            mean, sd = moments.mean, np.where(moments.sd > SMALLEST_SD, moments.sd, np.inf)
        else:
            notes.append(
                f"The comparison requires {_FEWEST_CELLS} cells, and {inspection.n_measured} were measured: proteins are left out."
            )
            return unused, notes
    if inspection.n_measured < inspection.n_obs:
        notes.append(f"Antibodies were measured in {inspection.n_measured:,} of {inspection.n_obs:,} cells.")
    return ProteinRecipe(match.positions, n, values, mean, sd, n_measured), notes


def _kind_in_panel(inspection: ProteinInspection, panel: ProteinPanel, match: ProteinMatch) -> ProteinValues:
    """Decide the kind of a dataset's values; some cells of a scaled dataset are of the kind of the others.

    Cells that were chosen from a dataset after it was scaled, such as those of one type, need not have a mean of 0 and a standard deviation
    of 1. Values with both signs are of the kind of the reference where one of them is scaled, and they lie where the reference's do.
    """
    values = inspection.decide()
    of_scaling = {ProteinValues.SCALED, ProteinValues.NORMALISED}
    if values is panel.values or not {values, panel.values} <= of_scaling or not (inspection.smallest < 0).any():
        return values
    mean, sd = np.array(panel.mean), np.array(panel.sd)
    if np.median(np.abs(mean)) > _SCALED_MEAN or not 1 / _SCALED_RATIO <= np.median(sd) <= _SCALED_RATIO:
        return values
    found = match.positions >= 0
    at = match.positions[found]
    distances = np.abs((inspection.mean[found] - mean[at]) / sd[at])
    return panel.values if np.median(distances) <= _LARGEST_DISTANCE else values


def _note_on_scale(ours: NDArray[np.float64], theirs: NDArray[np.float64], found: NDArray[np.bool_]) -> list[str]:
    """A note where antibodies vary far more or far less than in the reference, so values may be on another scale."""
    ratio = float(np.median(ours[found] / theirs[found]))
    if 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO:
        return []
    return [
        f"Antibodies vary {ratio:.2g} times as much as in the reference: the values may be on another scale. Provide counts, or values "
        "that were normalised as those of the reference."
    ]
