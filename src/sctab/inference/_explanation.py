"""Explanations of a model or of an ensemble, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from sctab.data import Query
from sctab.errors import SettingError
from sctab.inference._predictor import require_batch_size
from sctab.model import SCTAB, CellTypeClassifier, DeepEnsemble, LinearClassifier


@dataclass(frozen=True)
class ExplainedCells:
    """What a model decides of some cells, and on which genes that rests."""

    values: sparse.csr_matrix
    """Normalised expression, `(n_obs, n_vars)`."""
    weights: sparse.csr_matrix
    """Share of the decision that each gene carries, `(n_obs, n_vars)`; rows sum to one, and to zero for cells without a count. Of members
    that looked at covariates alone in a cell, nothing is added to its row."""
    probabilities: NDArray[np.float32]
    """`(n_obs, n_labels)`; `NaN` for cells without a count in the model's genes."""


def require_explainable(model: CellTypeClassifier | DeepEnsemble) -> tuple[SCTAB, ...]:
    """The networks that make up a model: itself, or the members of an ensemble.

    Raises
    ------
    SettingError
        When there is no attention that could explain what the model decides.
    """
    members = model.members if isinstance(model, DeepEnsemble) else (model,)
    for member in members:
        if not isinstance(member, SCTAB):
            instead = (
                "`get_coefficients` gives the weight of every gene for every type, which is the whole model"
                if isinstance(member, LinearClassifier)
                else "`gene_importance` says how much the model looks at each gene, over its whole reference"
            )
            raise SettingError(
                f"`{type(member).__name__}` selects no genes cell by cell, so that there is nothing to explain with. "
                f"Use `SCTAB` or a `DeepEnsemble` of it. Of this model, {instead}."
            )
    return tuple(members)


def explained_blocks(model: CellTypeClassifier | DeepEnsemble, query: Query, *, batch_size: int) -> Iterator[ExplainedCells]:
    """Explain all cells of a query, block by block; of an ensemble it is the mean over the members.

    Raises
    ------
    NotTrainedError
        When the model is not trained.
    SettingError
        When `batch_size` is less than one, or when the model cannot be explained.
    """
    require_batch_size(batch_size)
    members = require_explainable(model)
    for member in members:
        member._require_trained()
    for block in query.blocks(batch_size):
        of_members = [member._explain_block(block) for member in members]
        yield ExplainedCells(
            values=block[:, : len(members[0].spec.features)],
            weights=sum(normalize(weights, norm="l1") for weights, _ in of_members) / len(members),
            probabilities=np.mean([probabilities for _, probabilities in of_members], axis=0),
        )
