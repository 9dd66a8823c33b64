"""Genes that speak for one label of a cell and against another."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from sctab.data import Query
from sctab.inference._predictor import Predictor
from sctab.nn import LinearNetwork, MultilayerPerceptron, TabNet

_CELLS_AT_A_TIME = 256


def can_contrast(predictor: Predictor) -> bool:
    """Return whether all networks of a model have gradients: those of boosted trees have none.

    Parameters
    ----------
    predictor
        The model.
    """
    return all(isinstance(network, LinearNetwork | MultilayerPerceptron | TabNet) for network in predictor.networks)


def contrast_query(
    predictor: Predictor, query: Query, favoured: NDArray[np.integer], rejected: NDArray[np.integer], *, n_top: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Genes that contribute most to the difference between two labels, for some cells of a query.

    Parameters
    ----------
    predictor, query
        The model, and the cells.
    favoured, rejected
        The two labels, `(n_obs,)`; negative for cells to leave out.
    n_top
        Number of genes.

    Returns
    -------
    Positions of genes and antibodies among those of the model that speak for the favoured label, and of those that speak against it, the
    first most, `(n_obs, n_top)` each; -1 where there are no more.
    """
    n_features, start = len(predictor.spec.feature_names), 0
    speaks_for, against = (np.full((len(favoured), n_top), -1, dtype=np.int64) for _ in range(2))
    wanted = (favoured >= 0) & (rejected >= 0)
    for block in query.blocks(_CELLS_AT_A_TIME):
        stop = start + block.shape[0]
        rows = np.flatnonzero(wanted[start:stop])
        if len(rows):
            at = rows + start
            found = contributions(predictor.networks, block[rows], favoured[at], rejected[at])[:, :n_features]
            speaks_for[at], against[at] = largest_entries(found, n_top), largest_entries(-found, n_top)
        start = stop
    return speaks_for, against


def contributions(
    networks: tuple[nn.Module, ...], block: sparse.csr_matrix, favoured: NDArray[np.integer], rejected: NDArray[np.integer]
) -> sparse.csr_matrix:
    """Gradient times input of the difference between the logits of two labels, averaged over members.

    For a linear network this is its exact decomposition: the weights' difference times expression, which sums to the difference of the
    logits up to that of the biases. For others it is its first-order approximation.

    Parameters
    ----------
    networks
        Trained networks.
    block
        Their input, `(n_obs, n_inputs)`.
    favoured, rejected
        The two labels of each cell, `(n_obs,)`.

    Returns
    -------
    `(n_obs, n_inputs)`; a gene that a cell does not express contributes nothing.
    """
    device = next(networks[0].parameters()).device
    values = torch.from_numpy(block.toarray()).to(device).requires_grad_()
    first, second = (torch.from_numpy(np.asarray(codes, dtype=np.int64)).to(device)[:, None] for codes in (favoured, rejected))
    total = torch.zeros((), device=device)
    for network in networks:
        logits = network.eval()(values).logits
        total = total + (logits.gather(1, first) - logits.gather(1, second)).sum() / len(networks)
    (gradient,) = torch.autograd.grad(total, values)
    return sparse.csr_matrix((gradient * values).detach().cpu().numpy())


def largest_entries(values: sparse.csr_matrix, n: int) -> NDArray[np.int64]:
    """Columns of the `n` largest positive entries of each row, the largest first; -1 where there are no more."""
    columns = np.full((values.shape[0], n), -1, dtype=np.int64)
    for row, (start, stop) in enumerate(pairwise(values.indptr)):
        entries = values.data[start:stop]
        order = np.argsort(-entries, kind="stable")[:n]
        order = order[entries[order] > 0]
        columns[row, : len(order)] = values.indices[start:stop][order]
    return columns
