"""Losses on tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    all_labeled: bool = False,
) -> Tensor:
    r"""Class-weighted cross-entropy :math:`\sum_i w_{y_i} \ell_i / \sum_i w_{y_i}` over the labelled cells of a batch.

    Parameters
    ----------
    logits
        `(n_obs, n_classes)`.
    labels
        Class of each cell, `(n_obs,)`; negative where there is none: such cells do not count.
    class_weights
        `(n_classes,)`; `None` weighs all alike.
    label_smoothing
        Fraction of each label that is spread evenly over all classes (Szegedy et al. 2016, :doi:`10.1109/CVPR.2016.308`).
    all_labeled
        All cells are known to have a label, so that a GPU need not be asked and waited for.

    Returns
    -------
    A scalar; zero, with a gradient of zero, when no cell has a label.
    """
    if not all_labeled:
        logits, labels = _labeled(logits, labels)
    if not len(labels):
        return logits.sum() * 0.0
    return functional.cross_entropy(logits, labels, weight=class_weights, label_smoothing=label_smoothing)


def hierarchical_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    child_matrix: Tensor,
    *,
    own_label: float = 0.0,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    all_labeled: bool = False,
) -> Tensor:
    r"""Cross-entropy for labels of mixed granularity: a label is right in all of its subtypes.

    With :math:`p = \mathrm{softmax}(z)` and :math:`D(y)` the label :math:`y` and its subtypes, the loss of a cell is

    .. math:: \ell = -\log \sum_{k \in D(y)} p_k = \log \sum_k e^{z_k} - \log \sum_{k \in D(y)} e^{z_k}

    so that a cell labelled "T cell" does not teach the model that it is no CD4-positive T cell. The reference computes it with
    probabilities, to which it adds 1e-6 before the logarithm; here both sums are taken in log space, so that a probability that is
    too small to be written down still has its gradient.

    It does not care how the probability is shared out below a label, so that a label which has subtypes need never be predicted, even
    where its cells are of a kind of their own. With `own_label` :math:`= \lambda` above 0 the loss is
    :math:`(1 - \lambda) \, \ell - \lambda \log p_y`. Among cells that look alike, of which a share :math:`f` is labelled :math:`y`
    and the others as a subtype, :math:`p_y = f \lambda / (f \lambda + 1 - f)` is best: the label is predicted where
    :math:`f > 1 / (1 + \lambda)`.

    Parameters
    ----------
    logits
        `(n_obs, n_classes)`.
    labels
        Class of each cell, `(n_obs,)`; negative where there is none: such cells do not count.
    child_matrix
        Whether the class of the column is that of the row or one of its subtypes, boolean, `(n_classes, n_classes)`; see
        :meth:`sctab.ontology.CellOntology.child_matrix`. With the identity the loss is `cross_entropy`.
    own_label
        Fraction of the loss that asks for the label itself and not for one of its subtypes; 0 as in the reference, 1 for
        `cross_entropy`.
    class_weights
        `(n_classes,)`; `None` weighs all alike. The weight of a cell is that of its label.
    label_smoothing
        Fraction of each label that is spread evenly over all classes, as in `cross_entropy`.
    all_labeled
        All cells are known to have a label, as in `cross_entropy`.

    Returns
    -------
    A scalar; zero, with a gradient of zero, when no cell has a label.

    References
    ----------
    Cultrera di Montesano et al., Hierarchical cross-entropy loss improves atlas-scale single-cell annotation models, bioRxiv 2025,
    :doi:`10.1101/2025.04.23.650210`.

    Examples
    --------
    >>> import torch
    >>> t_cell_and_cd4 = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    >>> logits = torch.log(torch.tensor([[0.1, 0.8, 0.1]]))
    >>> hierarchical_cross_entropy(logits, torch.tensor([0]), t_cell_and_cd4).exp()  # 1 / 0.9
    tensor(1.1111)
    """
    if not all_labeled:
        logits, labels = _labeled(logits, labels)
    if not len(labels):
        return logits.sum() * 0.0
    log_probabilities = logits.log_softmax(dim=1)
    of_label = log_probabilities.masked_fill(~child_matrix[labels], -torch.inf).logsumexp(dim=1)
    of_label = (1 - own_label) * of_label + own_label * log_probabilities.gather(1, labels[:, None]).squeeze(1)
    if class_weights is None:
        class_weights = torch.ones_like(log_probabilities[0])
    weights = class_weights[labels]
    loss = -(weights * of_label).sum() / weights.sum()
    if not label_smoothing:
        return loss
    spread = -(log_probabilities * class_weights).mean(dim=1).sum() / weights.sum()
    return (1 - label_smoothing) * loss + label_smoothing * spread


def _labeled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The cells that have a label."""
    labeled = labels >= 0
    return logits[labeled], labels[labeled]
