"""Arrays that a model keeps to find cells of types that it has not learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data import normalise
from sctab.inference import ModelSpec, learn_types, types_to_arrays
from sctab.train import Reference, TrainingData

_MOST_CELLS = 100_000
"""Labelled cells that types are learned from. An equal number is taken of each label, and all of rarer ones."""


def learned_types(reference: Reference, data: TrainingData, spec: ModelSpec, *, seed: int) -> dict[str, NDArray[Any]]:
    """Types that a model learns, as arrays to keep; none where there are fewer than two.

    Parameters
    ----------
    reference
        What the model learns from.
    data
        Its training data.
    spec
        The model.
    seed
        Seed of the sample.
    """
    cells = sample_of_labels(data.labels, _MOST_CELLS, np.random.default_rng(seed))
    units = _units(reference, data)
    types = learn_types(
        normalise(data.rows(cells), spec.normalization),
        data.labels[cells],
        None if units is None else units[cells],
        n_labels=data.n_classes,
        normalization=spec.normalization,
        seed=seed,
    )
    return {} if types is None else types_to_arrays(types)


def sample_of_labels(labels: NDArray[np.integer], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most about `most` labelled cells, as many of each label where it has them; ascending.

    Parameters
    ----------
    labels
        Label of each cell, negative where there is none, `(n_obs,)`.
    most
        Number of cells.
    rng
        Random generator.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) <= most:
        return known.astype(np.int64)
    sizes = np.sort(np.bincount(labels[known]))
    sizes = sizes[sizes > 0]
    limit, left = 0, most
    for number, size in enumerate(sizes):  # rarest first: what they leave is shared by the others
        limit = left // (len(sizes) - number)
        if size > limit:
            break
        left -= int(size)
    chosen = [rng.permutation(known[labels[known] == label])[: max(limit, 1)] for label in np.unique(labels[known])]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _units(reference: Reference, data: TrainingData) -> NDArray[np.integer] | None:
    """Study of each cell where there are several, otherwise donor, if that is known."""
    key = reference.setup.get("dataset_key")
    if key is not None and reference.n_obs == len(data.labels):
        datasets = pd.factorize(reference.obs[key])[0]
        if len(np.unique(datasets)) > 1:
            return datasets
    return data.donors
