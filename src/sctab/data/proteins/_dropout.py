"""Antibodies that are hidden from training cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

_GENES = 5
"""So many times as many cells lose antibodies as lose genes."""


def kept_antibodies[Array: ("Tensor", NDArray[Any])](draws: Array, dropout: float) -> Array:
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


def kept_genes[Array: ("Tensor", NDArray[Any])](draws: Array, dropout: float) -> Array:
    """Choose the training cells that keep their genes, so that a model can annotate cells by antibodies alone.

    The cells that lose them, a fraction of `dropout` / 5, keep all antibodies.

    Parameters
    ----------
    draws, dropout
        As for :func:`kept_antibodies`.

    Returns
    -------
    True for cells that keep them, `(n_obs, 1)`.
    """
    return draws[:, :1] < 1 - dropout / _GENES
