"""Explanations of a predictor, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Query
from sctab.errors import SettingError
from sctab.inference._block_predictor import Evaluation, require_batch_size
from sctab.inference._decide import Decision, decide
from sctab.inference._predictor import Predictor
from sctab.nn import LinearNetwork, TabNet


@dataclass(frozen=True)
class ExplainedCells:
    """Decisions on cells with the weights of their genes."""

    values: sparse.csr_matrix
    """Normalised expression, then standardised proteins, `(n_obs, n_features)`."""
    weights: sparse.csr_matrix
    """Fraction of the decision that each gene and antibody carries, `(n_obs, n_features)`; rows sum to one, and to zero for cells without a
    count. Of members that looked at covariates alone in a cell, nothing is added to its row."""
    decision: Decision
    """Labels of the cells."""


def require_explainable(predictor: Predictor) -> tuple[TabNet, ...]:
    """The networks of a predictor, all of which select genes.

    Raises
    ------
    SettingError
        If there is no attention that could explain a decision.
    """
    networks = tuple(network for network in predictor.networks if isinstance(network, TabNet))
    if len(networks) == len(predictor.networks):
        return networks
    instead = (
        "`get_coefficients` gives the weight of every gene for every type, which is the whole model"
        if isinstance(predictor.networks[0], LinearNetwork)
        else "`gene_importance` has the weight of each gene in the whole model"
    )
    raise SettingError(
        f"`{predictor.spec.model_class}` does not select genes per cell, so its labels cannot be explained in this way. "
        f"Use `SCTAB` or a `DeepEnsemble` of it. Of this model, {instead}."
    )


def explain_query(predictor: Predictor, query: Query, *, batch_size: int) -> Iterator[ExplainedCells]:
    """Explain all cells of a query, block by block; of an ensemble it is the mean over the members.

    Raises
    ------
    SettingError
        If `batch_size` is less than one, or if the model cannot be explained.
    """
    require_batch_size(batch_size)
    networks, n_features = require_explainable(predictor), len(predictor.spec.feature_names)
    for block in query.blocks(batch_size):
        measured = block[:, :n_features].getnnz(axis=1) > 0
        of_members = [explain_block(network, block, n_features) for network in networks]
        logits = np.stack([logits for _, logits in of_members], axis=1)
        yield ExplainedCells(
            values=block[:, :n_features],
            weights=sum(shares_of(weights) for weights, _ in of_members) / len(networks),
            decision=decide(Evaluation(logits, None, measured), predictor.spec.calibration),
        )


def explain_block(network: TabNet, block: sparse.csr_matrix, n_features: int) -> tuple[sparse.csr_matrix, NDArray[np.float32]]:
    """Weights of genes and antibodies, and logits of cells.

    Parameters
    ----------
    network
        A trained network.
    block
        Its input, `(n_obs, n_inputs)`.
    n_features
        Inputs that are genes or antibodies, which come first.

    Returns
    -------
    Weights `(n_obs, n_features)`, zero for cells without a count, and logits `(n_obs, n_labels)`.
    """
    device = next(chain(network.parameters(), network.buffers())).device
    weights, logits = network.explain(torch.from_numpy(block.toarray()).to(device))
    weights[torch.from_numpy(block[:, :n_features].getnnz(axis=1) == 0)] = 0
    return sparse.csr_matrix(weights[:, :n_features].cpu().numpy()), logits.cpu().numpy()


def shares_of(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Weights divided by the sum of their row; rows without any stay empty."""
    sums = np.asarray(weights.sum(axis=1, dtype=np.float64)).ravel()
    shares = weights.copy()
    shares.data /= np.repeat(sums, np.diff(weights.indptr))
    return shares
