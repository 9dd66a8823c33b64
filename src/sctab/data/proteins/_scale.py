"""From values of antibodies to a scale that datasets have in common."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.data.proteins._panel import ProteinPanel
from sctab.data.proteins._values import ProteinValues, measured_cells

CLIP = 10.0
"""Largest standardised value, and smallest below 0."""
SMALLEST_DIFFERENCE = 1e-4
"""Centred values of a cell are all 0 if none is larger: it has no counts, or only one antibody is left."""


def weights_of(positions: NDArray[np.int32], n_antibodies: int) -> sparse.csr_matrix:
    """Weights that average the features of each antibody, `(n_features, n_antibodies)`; zero for an antibody without features.

    Examples
    --------
    >>> weights_of(np.array([0, -1, 1, 0], dtype=np.int32), 2).toarray()
    array([[0.5, 0. ],
           [0. , 0. ],
           [0. , 1. ],
           [0.5, 0. ]])
    """
    features = np.flatnonzero(positions >= 0)
    antibodies = positions[features]
    weights = 1 / np.bincount(antibodies, minlength=n_antibodies)[antibodies]
    return sparse.csr_matrix((weights, (features, antibodies)), shape=(len(positions), n_antibodies))


def found_by(weights: sparse.csr_matrix) -> NDArray[np.bool_]:
    """Mask of the antibodies that have features, `(n_antibodies,)`."""
    return np.bincount(weights.nonzero()[1], minlength=weights.shape[1]) > 0


def antibody_values(rows: NDArray[np.float64], weights: sparse.csr_matrix, values: ProteinValues) -> NDArray[np.float64]:
    r"""Values of the antibodies of a model, `(n_obs, n_antibodies)`; zero for those that are missing.

    Counts become centred log ratios, :math:`\log(1 + x) - \overline{\log(1 + x)}`, where the mean is that of the antibodies of the cell
    that the model and the data share, so that other antibodies do not move it (Stoeckius et al. 2017, :doi:`10.1038/nmeth.4380`). Features
    of one antigen are averaged after the logarithm and before the mean of the cell is taken, so an antigen with two clones does not
    count twice. Centred log ratios are centred again over the shared antibodies. Other values are only averaged.

    Parameters
    ----------
    rows
        Measured cells, `(n_obs, n_features)`.
    weights
        As :func:`weights_of` gives them, `(n_features, n_antibodies)`.
    values
        Kind of the rows.

    Examples
    --------
    >>> antibody_values(np.array([[0.0, np.e**2 - 1]]), sparse.identity(2), ProteinValues.COUNTS)
    array([[-1.,  1.]])
    """
    averaged = np.asarray((np.log1p(rows) if values is ProteinValues.COUNTS else rows) @ weights)
    if not values.are_centred:
        return averaged
    found = found_by(weights)
    return (averaged - averaged[:, found].mean(axis=1, keepdims=True)) * found if found.any() else averaged


def measured_values(
    rows: NDArray[np.float64], weights: sparse.csr_matrix, values: ProteinValues
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions of the cells that were measured, and their values as :func:`antibody_values` gives them.

    Cells whose values are all NaN were not measured, nor were those whose centred values are all 0, since they have no counts.

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0], [np.nan, np.nan], [0.0, np.e**2 - 1]])
    >>> measured_values(rows, sparse.identity(2), ProteinValues.COUNTS)
    (array([2]), array([[-1.,  1.]]))
    """
    measured = np.flatnonzero(measured_cells(rows))
    found = antibody_values(rows[measured], weights, values)
    if values.are_centred:
        remains = (np.abs(found) > SMALLEST_DIFFERENCE).any(axis=1)
        measured, found = measured[remains], found[remains]
    return measured, found


class _Array(Protocol):
    """Arithmetic of NumPy arrays and tensors."""

    shape: Any

    def __getitem__(self, key: Any) -> Any: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def __mul__(self, other: Any) -> Self: ...


def hide[A: _Array](values: A, keep: Any, panel: ProteinPanel) -> A:
    """Give the input of cells in which only some antibodies were measured: what :class:`ProteinRecipe` gives of such a dataset.

    Centred values are centred again over the antibodies that stay, as they would be if only these had been in the panel. A value that was
    clipped is taken as it is.

    Parameters
    ----------
    values
        Input of a model, `(n_obs, n_inputs)`: an array or a tensor, on any device.
    keep
        Mask of the antibodies that stay, `(n_obs, n_antibodies)`, of the same kind.
    panel
        Antibodies of the model.

    Returns
    -------
    A new array or tensor, `(n_obs, n_inputs)`. Cells in which nothing is left have only zeros, also in the last column; with centred
    values, a cell with only one antibody has nothing left, since its value is always 0.

    Examples
    --------
    >>> panel = ProteinPanel(("CD3", "CD4", "CD19"), ProteinValues.COUNTS, mean=(0.0, 0.0, 0.0), sd=(1.0, 1.0, 1.0))
    >>> hide(np.array([[2.0, 0.0, -2.0, 1.0]]), np.array([[True, True, False]]), panel)
    array([[ 1., -1.,  0.,  1.]])
    """
    given, measured = values[:, :-1], values[:, -1:]
    kept = keep * measured
    if panel.values.are_centred:
        mean, sd = _like(values, panel.mean), _like(values, panel.sd)
        raw = given * sd + mean
        n_kept = kept.sum(1)[:, None]
        centred = raw - (raw * kept).sum(1)[:, None] / n_kept.clip(1)
        remains = (abs(centred) * kept > SMALLEST_DIFFERENCE).sum(1)[:, None] > 0
        given = ((centred - mean) / sd).clip(-CLIP, CLIP) * remains
    else:
        remains = kept.sum(1)[:, None] > 0
    result = values * 0
    result[:, :-1] = given * kept + 0.0  # no -0
    result[:, -1:] = measured * remains
    return result


def _like(values: Any, numbers: tuple[float, ...]) -> Any:
    """Numbers as an array, or as a tensor on the same device."""
    make = getattr(values, "new_tensor", None)
    return np.asarray(numbers, dtype=values.dtype) if make is None else make(numbers)
