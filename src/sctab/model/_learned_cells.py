"""Arrays that a model keeps of the cells that it has learned from: their depth, and fingerprints by which they are recognised."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.errors import Parameter, SettingError
from sctab.inference import DepthSums, Fingerprints, ModelSpec, ReferenceSketch, choose_sketch
from sctab.io import BLOCK_SIZE
from sctab.model._seen_types import learned_types
from sctab.train import Reference, TrainingData

_CELLS_FOR_DETECTION = 5_000
"""Cells that say how often each gene is detected, from which the parts of a fingerprint are made."""


def kept_arrays(
    reference: Reference, data: TrainingData, spec: ModelSpec, *, fingerprints: bool, seed: int
) -> dict[str, NDArray[Any]]:
    """All arrays that a model keeps of its reference, but for held-out cells.

    Parameters
    ----------
    reference, data
        What the model learns from, and its training data.
    spec
        The model.
    fingerprints
        Keep fingerprints of the cells.
    seed
        Seed of samples.
    """
    return learned_types(reference, data, spec, seed=seed) | learned_cells(data, fingerprints=fingerprints, seed=seed)


def sketched_cells(data: TrainingData, n_cells: int, *, seed: int) -> dict[str, NDArray[Any]]:
    """A few cells of the reference, from which the model can be refitted.

    Parameters
    ----------
    data
        Training data of the model.
    n_cells
        Cells to keep; 0 for none.
    seed
        Seed of the choice.
    """
    if not n_cells or not (data.labels >= 0).any():
        return {}
    chosen = choose_sketch(data.labels, n_cells, rng=np.random.default_rng(seed))
    return ReferenceSketch(data.rows(chosen), data.labels[chosen].astype(np.int64)).to_arrays()


def require_sketch(n_cells: Any) -> None:
    """Refuse a number of cells that is none.

    Raises
    ------
    SettingError
        If it is not an integer, or is negative.
    """
    if isinstance(n_cells, bool) or not isinstance(n_cells, Integral) or n_cells < 0:
        raise SettingError(Parameter("sketch", n_cells), " must be a number of cells, such as 2000, or 0 to keep none.")


def learned_cells(data: TrainingData, *, fingerprints: bool, seed: int) -> dict[str, NDArray[Any]]:
    """Depth and fingerprints of all labelled cells, those of the validation included, from one pass over them.

    Parameters
    ----------
    data
        Training data of the model.
    fingerprints, seed
        As for :func:`kept_arrays`.
    """
    labelled = np.flatnonzero(data.labels >= 0)
    if not len(labelled):
        return {}
    sample = np.sort(np.random.default_rng(seed).permutation(labelled)[:_CELLS_FOR_DETECTION])
    rows = data.rows(sample)
    detection = np.bincount(rows.indices[rows.data > 0], minlength=rows.shape[1]) / len(sample)
    kept = Fingerprints.empty(len(labelled), detection, seed=seed) if fingerprints else None
    depth, start = DepthSums(rows.shape[1]), 0
    for block in data.read(BLOCK_SIZE):
        cells = block[data.labels[start : start + block.shape[0]] >= 0]
        start += block.shape[0]
        depth.add(cells)
        kept = kept and kept.with_cells(cells)
    found = depth.depth()
    return ({} if found is None else found.to_arrays()) | ({} if kept is None else kept.to_arrays())
