"""Antibodies that are hidden from training cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def kept_antibodies[Array: ("Tensor", NDArray[np.floating])](draws: Array, dropout: float) -> Array:
    """Choose the antibodies that a training cell keeps, so that a model can annotate cells of which few or none were measured.

    A fraction `dropout` of the cells is chosen. Half of these lose all antibodies; each of the others draws a share between 0 and 1, and
    loses each antibody with this probability.

    Parameters
    ----------
    draws
        Random numbers between 0 and 1, `(n_obs, n_antibodies + 2)`.
    dropout
        That fraction.

    Returns
    -------
    True for antibodies that are kept, `(n_obs, n_antibodies)`.
    """
    how, share, own = draws[:, :1], draws[:, 1:2], draws[:, 2:]
    return (how >= dropout) | ((how >= dropout / 2) & (own >= share))
