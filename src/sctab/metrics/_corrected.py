"""Scores that know the Cell Ontology: a subtype of what the author said is right, a parent is wrong.

A prediction that is right in this sense is replaced by the truth. Any score of the result is the ontology-corrected score.

References
----------
Fischer et al., Scaling cross-tissue single-cell annotation models, 2023, :doi:`10.1101/2023.10.07.561331`, Methods,
"Ontology-corrected cell type classification".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sctab.metrics._lengths import require_same_length


def correct_codes(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], child_matrix: NDArray[np.bool_]
) -> NDArray[np.integer]:
    """Predictions with every right subtype replaced by the truth, for types that are numbered.

    Parameters
    ----------
    truth
        Type of each cell, from 0, `(n_obs,)`; negative where it is missing.
    predicted
        The same as predicted; negative for none of them.
    child_matrix
        `[i, j]` is true where type `j` is type `i` or one of its subtypes, `(n_types, n_types)`; see
        :meth:`sctab.ontology.CellOntology.child_matrix`.

    Examples
    --------
    >>> below = np.array([[1, 1], [0, 1]], dtype=bool)  # type 1 is a subtype of type 0
    >>> correct_codes(np.array([0, 1]), np.array([1, 0]), below)
    array([0, 0])
    """
    require_same_length(truth=truth, predicted=predicted)
    known = (truth >= 0) & (predicted >= 0)
    is_right = np.zeros(len(truth), dtype=bool)
    is_right[known] = np.asarray(child_matrix, dtype=bool)[truth[known], predicted[known]]
    return np.where(is_right, truth, predicted)


def correct_predictions(
    truth: ArrayLike, predicted: ArrayLike, types: Sequence[str], child_matrix: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """Predictions with every right subtype replaced by the truth.

    Parameters
    ----------
    truth, predicted
        Labels, `(n_obs,)`. What is missing, or none of the `types`, is left as it is.
    types
        Name of each type in the `child_matrix`.
    child_matrix
        `[i, j]` is true where type `j` is type `i` or one of its subtypes, `(n_types, n_types)`; see
        :meth:`sctab.ontology.CellOntology.child_matrix`.

    Examples
    --------
    >>> types = ["T cell", "CD4-positive, alpha-beta T cell"]
    >>> below = np.array([[1, 1], [0, 1]], dtype=bool)
    >>> correct_predictions(types, types[::-1], types, below).tolist()
    ['T cell', 'T cell']
    """
    require_same_length(truth=truth, predicted=predicted)
    truth, predicted = np.asarray(truth, dtype=object), np.asarray(predicted, dtype=object)
    index = pd.Index(types)
    codes, as_codes = index.get_indexer(pd.Index(truth)), index.get_indexer(pd.Index(predicted))
    corrected = correct_codes(codes, as_codes, child_matrix)
    return np.where(corrected != as_codes, truth, predicted)


def correct_probabilities(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], child_matrix: NDArray[np.bool_]
) -> NDArray[np.floating]:
    """Probabilities with those of the truth's subtypes added to that of the truth, cell by cell.

    Parameters
    ----------
    truth
        Type of each cell, from 0, `(n_obs,)`; negative where it is missing, and the cell is left as it is.
    probabilities
        Probability of each type, `(n_obs, n_types)`.
    child_matrix
        `[i, j]` is true where type `j` is type `i` or one of its subtypes, `(n_types, n_types)`.

    Examples
    --------
    >>> below = np.array([[1, 1], [0, 1]], dtype=bool)  # type 1 is a subtype of type 0
    >>> correct_probabilities(np.array([0, 1]), np.array([[0.25, 0.75], [0.25, 0.75]]), below)
    array([[1.  , 0.  ],
           [0.25, 0.75]])
    """
    require_same_length(truth=truth, probabilities=probabilities)
    corrected = probabilities.copy()
    for code in np.unique(truth[truth >= 0]):
        cells = truth == code
        block = probabilities[cells]
        below = np.asarray(child_matrix, dtype=bool)[code]
        total = block[:, below].sum(axis=1)
        block[:, below] = 0
        block[:, code] = total
        corrected[cells] = block
    return corrected
