"""Genes that speak for each label, from the weights of a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sctab.errors import SettingError
from sctab.inference._explain import explain_block, shares_of
from sctab.inference._panel import Panel
from sctab.inference._predictor import Predictor
from sctab.inference._unseen import types_of_arrays
from sctab.nn import LinearNetwork, TabNet

EXPLANATION, COEFFICIENTS, REFERENCE = "explanation", "coefficients", "reference"
"""Sources of the weights of genes."""


def explained_shares(predictor: Predictor, block: sparse.csr_matrix) -> sparse.csr_matrix | None:
    """Share of each gene in the decision on each cell, `(n_obs, n_vars)`, as mean over the members; `None` where no model explains it.

    Parameters
    ----------
    predictor
        The model.
    block
        Its input, `(n_obs, n_inputs)`.
    """
    networks = [network for network in predictor.networks if isinstance(network, TabNet)]
    if len(networks) < len(predictor.networks):
        return None
    weights = (explain_block(network, block, len(predictor.spec.features))[0] for network in networks)
    return sparse.csr_matrix(sum(map(shares_of, weights)) / len(networks))


def gene_evidence(
    predictor: Predictor,
    means: NDArray[np.floating],
    sizes: NDArray[np.integer],
    labels: NDArray[np.floating],
    attention: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.float64], str]:
    r"""Share of each gene in what speaks for the labels of each group of cells, and where it is from.

    It is the attention of a model that explains its decisions. In a linear model, the mean logit of a label :math:`t` relative to the other
    labels is larger in a group than in the other cells by :math:`\sum_g (w_{tg} - \overline{w_{ug}}) (\bar x_g - \bar x'_g)`, with
    coefficients :math:`w`, mean expression :math:`\bar x` in the group and :math:`\bar x'` elsewhere: each term is the evidence of a gene.
    For other models it is the difference between the square roots of the expression of the type and the mean of the others in the
    reference, squared, see :class:`Panel`. Genes that speak against a label have zero.

    Parameters
    ----------
    predictor
        The model.
    means
        Mean normalised expression of each group, `(n_groups, n_vars)`.
    sizes
        Cells of each group, `(n_groups,)`.
    labels
        Fraction of its cells that have each label of the model, `(n_groups, n_labels)`.
    attention
        Mean share of each gene in the decisions, `(n_groups, n_vars)`, where the model explains them.

    Returns
    -------
    `(n_groups, n_vars)`, rows sum to one, or to zero where nothing speaks for a group; and `"explanation"`, `"coefficients"` or
    `"reference"`.

    Raises
    ------
    SettingError
        If the model is not linear and keeps nothing of its types.
    """
    if attention is not None:
        found, source = np.asarray(attention, dtype=np.float64), EXPLANATION
    elif all(isinstance(network, LinearNetwork) for network in predictor.networks):
        found, source = _from_coefficients(predictor, means, sizes, labels), COEFFICIENTS
    else:
        found, source = labels @ _from_reference(predictor), REFERENCE
    sums = found.sum(axis=1, keepdims=True)
    return np.divide(found, sums, out=np.zeros_like(found), where=sums > 0), source


def _from_coefficients(
    predictor: Predictor, means: NDArray[np.floating], sizes: NDArray[np.integer], labels: NDArray[np.floating]
) -> NDArray[np.float64]:
    networks = [network for network in predictor.networks if isinstance(network, LinearNetwork)]
    stacked = [network.classifier.weight.detach().cpu().numpy() for network in networks]
    coefficients = np.mean(stacked, axis=0, dtype=np.float64)[:, : means.shape[1]]
    coefficients -= coefficients.mean(axis=0)
    total = sizes @ means
    n_others = sizes.sum() - sizes
    elsewhere = np.divide(total - sizes[:, None] * means, n_others[:, None], out=np.zeros_like(means), where=n_others[:, None] > 0)
    return np.asarray(np.maximum(labels @ coefficients * (means - elsewhere), 0), dtype=np.float64)


def _from_reference(predictor: Predictor) -> NDArray[np.float64]:
    n_genes, n_labels = len(predictor.spec.features), len(predictor.spec.labels)
    seen = types_of_arrays(predictor.arrays, n_genes=n_genes, n_labels=n_labels)
    if seen is None:
        raise SettingError(
            f"Genes that speak for a type follow from the coefficients of a linear model, from the attention of `SCTAB`, or from the types "
            f"that a model keeps of its reference; `{predictor.name}` ({predictor.spec.model_class}) keeps none. Train it again with this "
            "version, which keeps them."
        )
    panel = Panel(seen, np.ones(n_genes, dtype=bool))
    roots, learned = np.sqrt(seen.expression.astype(np.float64)), panel.is_learned
    others = (roots.sum(axis=0) - roots) / max(int(learned.sum()) - 1, 1)
    found = np.zeros((n_labels, n_genes))
    found[:, seen.genes] = np.where(roots > others, np.nan_to_num(panel.weights()), 0)
    return found
