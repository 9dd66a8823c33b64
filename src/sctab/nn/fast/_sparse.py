"""Trained networks, rewritten so that they give the same numbers from sparse input, faster.

A cell has some 2,000 detected genes of 20,000, and a trained mask keeps some 200. What a network computes from the others is known before
the cell is: every normalisation is an affine map that is folded into a neighbouring layer, and the first layer is a weighted sum of the
weights of the expressed genes, plus a constant.

On the CPU the loops are those of :mod:`sctab.nn.fast._kernels`; on other devices they are PyTorch's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import singledispatch
from itertools import chain
from typing import Any, Literal, cast

import torch
from scipy import sparse
from torch import Tensor, nn

from sctab.nn._autoencoder import ZINBAutoencoder, cluster_logits
from sctab.nn._perceptron import LinearNetwork, MultilayerPerceptron, NetworkOutput
from sctab.nn._tabnet import FeatureTransformer, TabNet
from sctab.nn.fast._attention import SparseAttention
from sctab.nn.fast._parts import Affine, DenseLinear, SparseLinear, SparseRows, fold

Precision = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class SparseNetwork(ABC):
    """A trained network for evaluation from sparse input; :func:`sparse_network` makes it."""

    device: torch.device
    """Device of the network."""

    @abstractmethod
    def _forward(self, rows: SparseRows) -> NetworkOutput:
        """Logits and embedding of some cells."""

    def __call__(self, values: sparse.csr_matrix) -> NetworkOutput:
        """Logits and embedding of normalised expression.

        Parameters
        ----------
        values
            `(n_obs, n_features)`, float32; the columns of a row may be in any order and stand once each.
        """
        return predict_sparse([self], values)[0]


def predict_sparse(networks: Sequence[SparseNetwork], values: sparse.csr_matrix) -> list[NetworkOutput]:
    """Evaluate several networks on one device for the same cells.

    Parameters
    ----------
    networks
        The networks.
    values
        Normalised expression, `(n_obs, n_features)`, float32.
    """
    with torch.inference_mode():
        rows = SparseRows.of(values, networks[0].device)
        return [network._forward(rows) for network in networks]


@singledispatch
def sparse_network(network: nn.Module, *, precision: Precision = "float32") -> SparseNetwork:
    """Rewrite a trained network, where it is, for fast evaluation from sparse input.

    Parameters
    ----------
    network
        One of the networks of this package; it is not changed and used in evaluation mode. Any other
        module that gives `logits` and `embedding` is used as it is, on dense blocks.
    precision
        Precision of the weights. `"float32"` reproduces the network up to rounding. `"bfloat16"` keeps 8 bits of each weight, which is
        faster on processors with native support; :doc:`/benchmarks` reports the difference in probabilities.

    Raises
    ------
    ValueError
        If the precision is not known, or is not `"float32"` for a module that cannot be rewritten.

    Examples
    --------
    >>> import torch
    >>> from scipy import sparse
    >>> from sctab.nn import TabNet, sparse_network
    >>> network = TabNet(n_features=50, n_classes=3, n_d=8, n_a=4, n_shared=1, n_independent=1).eval()
    >>> values = sparse.random(5, 50, density=0.2, format="csr", dtype="float32", random_state=0)
    >>> expected = network(torch.from_numpy(values.toarray())).logits
    >>> torch.allclose(sparse_network(network)(values).logits, expected, atol=1e-5)
    True
    """
    if _dtype(precision) is not torch.float32:
        raise ValueError(f"A `{type(network).__name__}` cannot be evaluated with `precision={precision!r}`, only with `'float32'`.")
    return _Dense(network)


@sparse_network.register
def _(network: TabNet, *, precision: Precision = "float32") -> SparseNetwork:
    return _SparseTabNet(network, _dtype(precision))


@sparse_network.register
def _(network: LinearNetwork, *, precision: Precision = "float32") -> SparseNetwork:
    return _SparseLinear(network, _dtype(precision))


@sparse_network.register
def _(network: MultilayerPerceptron, *, precision: Precision = "float32") -> SparseNetwork:
    return _SparsePerceptron(network, _dtype(precision))


@sparse_network.register
def _(network: ZINBAutoencoder, *, precision: Precision = "float32") -> SparseNetwork:
    return _SparseAutoencoder(network, _dtype(precision))


def _dtype(precision: str) -> torch.dtype:
    if precision not in _DTYPES:
        raise ValueError(f"`precision={precision!r}` is unknown. Choose one of: {', '.join(_DTYPES)}.")
    return _DTYPES[precision]


# --------------------------------------------------------------------------------------------------------- the networks


class _Dense(SparseNetwork):
    """A network that has no sparse form, on dense blocks."""

    def __init__(self, network: nn.Module) -> None:
        self.device = next(chain(network.parameters(), network.buffers())).device
        self.network = network

    def _forward(self, rows: SparseRows) -> NetworkOutput:
        return self.network(rows.to_dense())


class _SparseLinear(SparseNetwork):
    def __init__(self, network: LinearNetwork, dtype: torch.dtype) -> None:
        weight = network.classifier.weight
        self.device = weight.device
        self.table = SparseLinear(weight, dtype)
        self.bias = network.classifier.bias.detach().clone()
        self.ones = torch.ones(weight.shape[1], device=self.device)

    def _forward(self, rows: SparseRows) -> NetworkOutput:
        return NetworkOutput(self.table(rows, self.ones) + self.bias, None)


class _SparsePerceptron(SparseNetwork):
    def __init__(self, network: MultilayerPerceptron, dtype: torch.dtype) -> None:
        self.device = network.classifier.weight.device
        layers: Any = network.layers
        folded = [fold(layer[0].weight, layer[0].bias, Affine.of(layer[1])) for layer in layers]
        (first, self.bias), *hidden = folded
        self.table = SparseLinear(first, dtype)
        self.ones = torch.ones(first.shape[1], device=self.device)
        self.layers = [DenseLinear(weight, bias, dtype) for weight, bias in hidden]
        self.classifier = DenseLinear(network.classifier.weight, network.classifier.bias, dtype)

    def _forward(self, rows: SparseRows) -> NetworkOutput:
        hidden = nn.functional.silu(self.table(rows, self.ones) + self.bias)
        for layer in self.layers:
            hidden = nn.functional.silu(layer(hidden))
        return NetworkOutput(self.classifier(hidden), hidden)


class _SparseAutoencoder(SparseNetwork):
    """Encoder and centroids; the standardisation of its input is folded into the first layer."""

    def __init__(self, network: ZINBAutoencoder, dtype: torch.dtype) -> None:
        self.device = network.input_mean.device
        first, *others = (layer for layer in network.encoder if isinstance(layer, nn.Linear))
        weight, n_vars = first.weight.detach().double(), network.n_vars
        scaled = weight[:, :n_vars] / network.input_std.double()
        self.table = SparseLinear(torch.cat([scaled, weight[:, n_vars:]], dim=1), dtype)
        self.bias = (first.bias.detach().double() - scaled @ network.input_mean.double()).float()
        self.ones = torch.ones(weight.shape[1], device=self.device)
        self.layers = [DenseLinear(layer.weight, layer.bias, dtype) for layer in (*others, network.latent)]
        self.centroids = network.centroids.detach().float()

    def _forward(self, rows: SparseRows) -> NetworkOutput:
        hidden = self.table(rows, self.ones) + self.bias
        for layer in self.layers:
            hidden = layer(torch.relu(hidden))
        return NetworkOutput(cluster_logits(hidden, self.centroids), hidden)


class _SparseTabNet(SparseNetwork):
    """TabNet with its norms folded, its first layers sparse, and its masks on their support."""

    def __init__(self, network: TabNet, dtype: torch.dtype) -> None:
        self.device = network.classifier.weight.device
        self.n_d, self.gamma, self.dense_decision = network.n_d, network.gamma, network.dense_decision
        of_decision, of_attention = slice(self.n_d), slice(self.n_d, None)
        norm = Affine.of(network.input_norm)
        self.input = norm.float()
        self.ones = torch.ones_like(self.input.scale)
        shared: Any = list(network.shared)
        table = SparseLinear(shared[0].weight, dtype) if shared else None  # one for all transformers
        used = slice(None) if self.dense_decision else of_attention
        self.splitter = _Transformer(network.splitter, shared, table, dtype, used, constant=norm.shift)
        *others, last = cast("Sequence[FeatureTransformer]", network.feature_transformers)
        self.transformers = [_Transformer(transformer, shared, table, dtype, slice(None)) for transformer in others]
        self.transformers.append(_Transformer(last, shared, table, dtype, of_decision))
        attention: Any = network.attentive_transformers
        self.attention = [SparseAttention(transformer, dtype) for transformer in attention]
        self.classifier = DenseLinear(network.classifier.weight, None, dtype)

    def _forward(self, rows: SparseRows) -> NetworkOutput:
        out = self.splitter(rows, self.input.scale)
        embedding = torch.relu(out[:, : self.n_d]) if self.dense_decision else torch.zeros(rows.n_obs, self.n_d, device=self.device)
        prior: Tensor | None = None
        for step, (attend, transform) in enumerate(zip(self.attention, self.transformers, strict=True), start=1):
            support, mask = attend(out[:, -attend.n_a :], rows, self.input, prior)
            if step < len(self.attention):
                prior = self._next(prior, support, mask)
            out = transform(support, self.ones)
            embedding = embedding + torch.relu(out[:, : self.n_d])
        return NetworkOutput(self.classifier(embedding), embedding)

    def _next(self, prior: Tensor | None, support: SparseRows, mask: Tensor) -> Tensor:
        """The prior of the next step: the last one times gamma minus the mask."""
        if prior is None:
            prior = torch.ones(support.n_obs, len(self.input.scale), device=self.device)
        at = support.row_of_value, support.columns.long()
        on_support = prior[at] * (self.gamma - mask)
        prior *= self.gamma
        prior[at] = on_support
        return prior


class _Transformer:
    r"""A feature transformer whose first layer takes sparse input, and those of its outputs that are used.

    The factor :math:`\sqrt{1/2}` after every layer is taken out of the sum: with :math:`y = x \sqrt{2}^{\,i}` layer *i* only adds to
    :math:`y`, and the powers go into the weights.
    """

    def __init__(
        self,
        transformer: FeatureTransformer,
        shared: Sequence[nn.Linear],
        table: SparseLinear | None,
        dtype: torch.dtype,
        used: slice,
        *,
        constant: Tensor | None = None,
    ) -> None:
        layers: Any = [*shared, *transformer.independent]
        of_layers: Any = transformer.norms
        first, *others = [layer.weight.detach() for layer in layers]
        first_norm, *norms = [Affine.of(norm.bn) for norm in of_layers]
        self.table = SparseLinear(first, dtype) if table is None else table
        shift = first_norm.shift if constant is None else first_norm.shift + first_norm.scale * (first.double() @ constant)
        self.first = Affine(first_norm.scale, shift).float()
        self.used = used
        self.layers = []
        for i, (weight, norm) in enumerate(zip(others, norms, strict=True)):
            weight, bias = fold(weight, None, norm)
            values, gates = weight.chunk(2)
            power = math.sqrt(2) ** i
            grow = torch.cat([torch.full_like(bias.chunk(2)[0], power), torch.ones_like(bias.chunk(2)[1])])
            weight, bias = torch.cat([values, gates / power]), bias * grow
            if i == len(others) - 1:
                weight, bias = (torch.cat([half[used] for half in part.chunk(2)]) for part in (weight, bias))
            self.layers.append(DenseLinear(weight, bias, dtype))
        self.shrink = math.sqrt(0.5) ** len(self.layers)

    def __call__(self, rows: SparseRows, scale: Tensor) -> Tensor:
        x = nn.functional.glu(torch.addcmul(self.first.shift, self.table(rows, scale), self.first.scale), dim=-1)
        if not self.layers:
            return x[:, self.used]
        *layers, last = self.layers
        for layer in layers:
            x += nn.functional.glu(layer(x), dim=-1)
        return (x[:, self.used] + nn.functional.glu(last(x), dim=-1)) * self.shrink
