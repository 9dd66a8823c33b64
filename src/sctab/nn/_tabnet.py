"""TabNet with 1.5-entmax feature attention, the network of scTab.

Notation follows Arik and Pfister (2021, :doi:`10.1609/aaai.v35i8.16826`); the settings are those of Fischer et al.
(2023, :doi:`10.1101/2023.10.07.561331`, Methods). What differs is said where it differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from entmax import sparsemax
from torch import Tensor, nn

from sctab.nn._entmax import LARGEST_LOGITS, entmax15
from sctab.nn._norm import BatchNorm, GhostBatchNorm, is_shared
from sctab.nn._perceptron import MOST_LAYERS, require_count
from sctab.nn._sparse_tabnet import sparse_forward

MaskType = Literal["entmax", "sparsemax"]
_MASKS: dict[MaskType, Callable[[Tensor], Tensor]] = {"entmax": entmax15, "sparsemax": partial(sparsemax, dim=-1, k=LARGEST_LOGITS)}

MOST_STORED = 0.2
"""Fraction of stored values up to which a step from stored values is faster than a dense one."""
FEWEST_VALUES = 1_000_000
"""Cells times genes from which it is: smaller ones fit the caches, and each of many small operations takes as long as it needs to begin."""


class TabNetOutput(NamedTuple):
    """Output of :class:`TabNet`."""

    logits: Tensor
    """Unnormalised log-probabilities, `(n_obs, n_classes)`."""
    embedding: Tensor
    """Sum of the decisions, the input of the last layer, `(n_obs, n_d)`."""
    mask_loss: Tensor
    r"""Mean over cells and steps of :math:`\sum_g M_g \log(M_g + \epsilon)`, the negative mask entropy, a scalar."""
    masks: tuple[Tensor, ...]
    """One feature mask per decision step, each `(n_obs, n_vars)`; rows are non-negative and sum to one."""
    decisions: tuple[Tensor, ...]
    """Contribution of each decision step to the embedding, each `(n_obs, n_d)` and non-negative."""


class FeatureTransformer(nn.Module):
    r"""A chain of gated linear units, the first of them shared with the other feature transformers.

    Layer *i* computes :math:`\mathrm{GLU}(\mathrm{GBN}_i(W_i x)) = a \odot \sigma(b)` with :math:`[a, b]` the two halves of
    the normalised product. From the second layer on, :math:`x \leftarrow \sqrt{1/2}\,(x + \mathrm{GLU}_i(x))`.
    The linear maps :math:`W_i` of the first `n_shared` layers are shared and passed at evaluation; the norms never are.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        n_shared: int,
        n_independent: int,
        virtual_batch_size: int,
        momentum: float,
    ) -> None:
        super().__init__()
        self.independent = _glu_maps(n_outputs if n_shared else n_features, n_outputs, n_independent)
        self.norms = nn.ModuleList(
            GhostBatchNorm(2 * n_outputs, virtual_batch_size=virtual_batch_size, momentum=momentum)
            for _ in range(n_shared + n_independent)
        )

    def forward(self, x: Tensor, shared: nn.ModuleList) -> Tensor:
        """Transform `x`, `(n_obs, n_features)`, to `(n_obs, n_outputs)` with the `shared` linear maps first."""
        return self.after_map(self.maps(shared)[0](x), shared)

    def maps(self, shared: nn.ModuleList) -> list[nn.Linear]:
        """The linear maps of all layers."""
        return [*shared, *self.independent]

    def after_map(self, product: Tensor, shared: nn.ModuleList) -> Tensor:
        """Go on from the `product` of the input and the first map, `(n_obs, 2 * n_outputs)`."""
        x = nn.functional.glu(self.norms[0](product), dim=-1)
        for linear, norm in zip(self.maps(shared)[1:], self.norms[1:], strict=True):
            x = (x + nn.functional.glu(norm(linear(x)), dim=-1)) * math.sqrt(0.5)
        return x


class AttentiveTransformer(nn.Module):
    r"""From the attention embedding to a sparse feature mask: :math:`M = \mathrm{entmax}_{1.5}(P \odot \mathrm{GBN}(W a))`."""

    def __init__(self, n_a: int, n_features: int, *, virtual_batch_size: int, momentum: float, mask_type: MaskType) -> None:
        super().__init__()
        self.linear = nn.Linear(n_a, n_features, bias=False)
        _init_linear(self.linear)
        self.norm = GhostBatchNorm(n_features, virtual_batch_size=virtual_batch_size, momentum=momentum)
        self.mask_type: MaskType = mask_type

    def forward(self, attention: Tensor, prior: Tensor | None) -> Tensor:
        """Mask `(n_obs, n_features)` from `attention`, `(n_obs, n_a)`, and the `prior` scale (`None` is all ones)."""
        logits = self.norm(self.linear(attention))
        if prior is not None:
            logits = logits * prior
        # Sums over thousands of genes: in half precision, which mixed precision would take, rows sum to 0.9 or 1.1.
        return _MASKS[self.mask_type](logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits)


class TabNet(nn.Module):
    r"""TabNet for cell types: it selects genes cell by cell, then classifies on what it selected.

    With :math:`x` the batch-normalised input, :math:`F_0 \dots F_S` feature transformers whose output is cut in a decision
    part (`n_d`) and an attention part :math:`a` (`n_a`), and prior :math:`P_1 = 1`, step :math:`s` computes

    .. math::

        M_s = \mathrm{entmax}_{1.5}(P_s \odot \mathrm{GBN}(W_s a_{s-1})), \quad
        [d_s, a_s] = F_s(M_s \odot x), \quad P_{s+1} = P_s \odot (\gamma - M_s),

    and the logits are :math:`W \sum_s \mathrm{ReLU}(d_s)`.

    Parameters
    ----------
    n_features
        Number of genes.
    n_classes
        Number of cell types.
    n_d, n_a
        Width of the decision and of the attention embedding.
    n_shared, n_independent
        Gated linear layers per feature transformer that are shared between transformers, and that are not. Not both zero.
    n_steps
        Number of decision steps.
    gamma
        Prior relaxation :math:`\gamma`: at 1 a gene can be used in one step only; larger values relax that.
    mask_type
        `"entmax"` (1.5-entmax, as in scTab) or `"sparsemax"` (as in the original TabNet).
    virtual_batch_size
        Cells per virtual batch of the ghost batch norms.
    momentum
        Momentum of the ghost batch norms. That of the input batch norm is 0.01, as published.
    epsilon
        Keeps the logarithm in the mask entropy finite.
    dense_decision
        Add :math:`\mathrm{ReLU}(d_0)`, the decision part of :math:`F_0`, which sees every gene and which TabNet throws away, to the
        sum of the decisions. Not in the papers; a small reference cannot learn a useful mask, and this lets it do without.

    Raises
    ------
    ValueError
        If a width or a number of layers or steps is out of bounds, if there is no layer, or if `mask_type` is unknown.

    Examples
    --------
    >>> import torch
    >>> from sctab.nn import TabNet
    >>> network = TabNet(n_features=50, n_classes=3, n_d=8, n_a=4, n_shared=1, n_independent=1).eval()
    >>> out = network(torch.rand(5, 50))
    >>> out.logits.shape, out.embedding.shape, out.masks[0].shape
    (torch.Size([5, 3]), torch.Size([5, 8]), torch.Size([5, 50]))
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        n_d: int = 128,
        n_a: int = 64,
        n_shared: int = 3,
        n_independent: int = 5,
        n_steps: int = 1,
        gamma: float = 1.3,
        mask_type: MaskType = "entmax",
        virtual_batch_size: int = 256,
        momentum: float = 0.02,
        epsilon: float = 1e-15,
        dense_decision: bool = False,
    ) -> None:
        super().__init__()
        for name, value, least, most in (
            ("n_d", n_d, 1, None),
            ("n_a", n_a, 1, None),
            ("n_shared", n_shared, 0, MOST_LAYERS),
            ("n_independent", n_independent, 0, MOST_LAYERS),
            ("n_steps", n_steps, 1, MOST_LAYERS),
            ("virtual_batch_size", virtual_batch_size, 1, None),
        ):
            require_count(name, value, least, most)
        if not isinstance(dense_decision, bool):
            raise ValueError(f"`dense_decision={dense_decision!r}` must be true or false.")
        if n_shared + n_independent < 1:
            raise ValueError("`n_shared` and `n_independent` cannot both be zero: a feature transformer needs a layer.")
        if mask_type not in _MASKS:
            raise ValueError(f"`mask_type={mask_type!r}` is unknown. Choose one of: {', '.join(_MASKS)}.")
        self.n_d = n_d
        self.gamma = gamma
        self.epsilon = epsilon
        self.dense_decision = dense_decision

        ghost: dict[str, Any] = {"virtual_batch_size": virtual_batch_size, "momentum": momentum}
        self.input_norm = BatchNorm(n_features, momentum=0.01)
        self.shared = _glu_maps(n_features, n_d + n_a, n_shared)
        transformers = [
            FeatureTransformer(n_features, n_d + n_a, n_shared=n_shared, n_independent=n_independent, **ghost)
            for _ in range(n_steps + 1)
        ]
        self.splitter = transformers[0]
        self.feature_transformers = nn.ModuleList(transformers[1:])
        self.attentive_transformers = nn.ModuleList(
            AttentiveTransformer(n_a, n_features, mask_type=mask_type, **ghost) for _ in range(n_steps)
        )
        self.classifier = nn.Linear(n_d, n_classes, bias=False)
        _init_linear(self.classifier)

    def forward(self, x: Tensor) -> TabNetOutput:
        """Evaluate normalised expression `x`, `(n_obs, n_features)`: log1p of counts per 10,000.

        It may be a CSR tensor. Where ``takes_sparse(x)`` is true, only its stored values are used; masks are then CSR tensors without a
        gradient.
        """
        if self.takes_sparse(x):
            first, mask, values, second = sparse_forward(self, x)
            negative_entropy = (values * torch.log(values + self.epsilon)).sum() / len(x)
            return self._output(first, [second], [mask], [negative_entropy])
        if x.layout is torch.sparse_csr:
            x = x.to_dense()
        x = self.input_norm(x)
        first = self.splitter(x, self.shared)
        attention = first[:, self.n_d :]

        prior: Tensor | None = None
        masks: list[Tensor] = []
        outputs: list[Tensor] = []
        for attend, transform in zip(self.attentive_transformers, self.feature_transformers, strict=True):
            if masks:
                relaxed = self.gamma - masks[-1]
                prior = relaxed if prior is None else relaxed * prior
            mask = attend(attention, prior)
            outputs.append(transform(mask * x, self.shared))
            attention = outputs[-1][:, self.n_d :]
            masks.append(mask)
        negative_entropies = [(mask * torch.log(mask + self.epsilon)).sum(dim=1).mean() for mask in masks]
        return self._output(first, outputs, masks, negative_entropies)

    def takes_sparse(self, x: Tensor) -> bool:
        """Return whether `x`, `(n_obs, n_features)`, is evaluated from its stored values.

        That is so for a CSR tensor of two cells or more on a processor, with at least a million places of which at most a fifth is stored,
        where the network has one decision step with 1.5-entmax, one process trains it, and precision is not mixed. The numbers are those of
        the dense network but for rounding.
        """
        return (
            x.layout is torch.sparse_csr
            and x.device.type == "cpu"
            and len(self.attentive_transformers) == 1
            and self.attentive_transformers[0].mask_type == "entmax"
            and x.shape[0] > 1
            and x.numel() >= FEWEST_VALUES
            and x.values().numel() <= MOST_STORED * x.numel()
            and not torch.is_autocast_enabled("cpu")
            and not is_shared()
        )

    def _output(self, first: Tensor, outputs: list[Tensor], masks: list[Tensor], negative_entropies: list[Tensor]) -> TabNetOutput:
        decisions = [torch.relu(out[:, : self.n_d]) for out in outputs]
        dense = [torch.relu(first[:, : self.n_d])] if self.dense_decision else []
        embedding = torch.stack([*dense, *decisions]).sum(dim=0)
        return TabNetOutput(
            logits=self.classifier(embedding),
            embedding=embedding,
            mask_loss=torch.stack(negative_entropies).mean(),
            masks=tuple(masks),
            decisions=tuple(decisions),
        )

    def explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Contribution of each gene to the decision on each cell, and the logits that it explains; in evaluation mode.

        With masks :math:`M_s` and decisions :math:`d_s`, gene :math:`g` of a cell has the weight

        .. math::

            w_g = \sum_s M_{sg} \sum_j d_{sj},

        the aggregate feature importance of Arik and Pfister (2021, section "Interpretability") before it is scaled to sum to one.

        The dense decision, where there is one, has no mask. What it adds, :math:`\sum_j d_{0j}`, is shared out among the genes whose
        expression speaks for the predicted type through it: in proportion to
        :math:`\max(0, x_g \, \partial (z_{\hat y} - \bar z) / \partial x_g)`, gradient times input (Shrikumar et al. 2016,
        :doi:`10.48550/arXiv.1605.01713`), where :math:`z = W d_0` and :math:`\bar z` is its mean over types, since only differences
        between logits matter.

        Parameters
        ----------
        x
            Normalised expression, `(n_obs, n_vars)`, as for :meth:`forward`.

        Returns
        -------
        Weights, `(n_obs, n_vars)`, non-negative, whose rows sum to those of the embedding; and logits, `(n_obs, n_classes)`.
        """
        with torch.no_grad():
            output = self(x)
            steps = zip(output.masks, output.decisions, strict=True)
            weights = torch.stack([mask * decision.sum(dim=1, keepdim=True) for mask, decision in steps]).sum(dim=0)
        if self.dense_decision:
            weights = weights + self._explain_dense(x, output.logits.argmax(dim=1))
        return weights, output.logits

    def _explain_dense(self, x: Tensor, predicted: Tensor) -> Tensor:
        towards = (self.classifier.weight[predicted] - self.classifier.weight.mean(dim=0)).detach()
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            dense = torch.relu(self.splitter(self.input_norm(x), self.shared)[:, : self.n_d])
            (gradient,) = torch.autograd.grad((dense * towards).sum(), x)
        evidence = torch.relu(gradient * x).detach()
        return nn.functional.normalize(evidence, p=1.0, dim=1) * dense.detach().sum(dim=1, keepdim=True)


def _glu_maps(n_inputs: int, n_outputs: int, n_layers: int) -> nn.ModuleList:
    """Linear maps without bias of `n_layers` gated layers: the first from `n_inputs`, all to `2 * n_outputs`."""
    widths = [n_inputs] + [n_outputs] * (n_layers - 1)
    layers = [nn.Linear(width, 2 * n_outputs, bias=False) for width in widths[:n_layers]]
    for layer in layers:
        # Xavier with gain sqrt((in + out) / sqrt(in)), as published: the standard deviation comes to sqrt(2 / sqrt(in)).
        nn.init.normal_(layer.weight, std=math.sqrt(2 / math.sqrt(layer.in_features)))
    return nn.ModuleList(layers)


def _init_linear(layer: nn.Linear) -> None:
    """Xavier with gain sqrt((in + out) / sqrt(4 in)), as published: the standard deviation comes to in^(-1/4)."""
    nn.init.normal_(layer.weight, std=layer.in_features**-0.25)
