"""Trained networks, rewritten so that they give the same numbers from sparse input, faster.

A cell has some 2,000 detected genes of 20,000, and a trained mask keeps some 200. What a network computes from the others is known before
the cell is: every normalisation is an affine map that is folded into a neighbouring layer, and the first layer is a weighted sum of the
weights of the genes that are there, plus a constant.

On the CPU the loops are those of :mod:`sctab.nn.fast._kernels`; on other devices they are PyTorch's.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain
from typing import Any, Literal, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from sctab.nn._perceptron import LinearNetwork, MultilayerPerceptron, NetworkOutput
from sctab.nn._tabnet import AttentiveTransformer, FeatureTransformer, TabNet
from sctab.nn.fast import _kernels

Precision = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ROWS_OF_LOGITS = 32
"""Cells whose mask logits are there at a time on the CPU: 2.5 MB, which the caches hold until they are looked at."""
_ROUNDING = 1e-6
"""More than single precision loses in a few operations, relative to their result."""
_NO_WEIGHT = np.empty((0, 0), dtype=np.float32)
_NEWTON_STEPS = 24
"""On devices that would have to wait to see whether one more is needed; 15 suffice where all of 20,000 logits are equal."""


class SparseNetwork(ABC):
    """A trained network for evaluation from sparse input; :func:`sparse_network` makes it."""

    device: torch.device
    """Where it computes."""

    @abstractmethod
    def _evaluate(self, rows: _Rows) -> NetworkOutput:
        """Logits and embedding of some cells."""

    def __call__(self, values: sparse.csr_matrix) -> NetworkOutput:
        """Logits and embedding of normalised expression.

        Parameters
        ----------
        values
            `(n_obs, n_features)`, float32; the columns of a row may be in any order and stand once each.
        """
        return evaluate_sparse([self], values)[0]


def evaluate_sparse(networks: Sequence[SparseNetwork], values: sparse.csr_matrix) -> list[NetworkOutput]:
    """What each of several networks on one device gives for the same cells.

    Parameters
    ----------
    networks
        The networks.
    values
        As for one of them, see :class:`SparseNetwork`.
    """
    with torch.inference_mode():
        rows = _Rows.of(values, networks[0].device)
        return [network._evaluate(rows) for network in networks]


@singledispatch
def sparse_network(network: nn.Module, *, precision: Precision = "float32") -> SparseNetwork:
    """Rewrite a trained network, where it is, for fast evaluation from sparse input.

    Parameters
    ----------
    network
        :class:`TabNet`, :class:`LinearNetwork` or :class:`MultilayerPerceptron`; it is not changed and used in evaluation mode. Any other
        module that gives `logits` and `embedding` is used as it is, on dense blocks.
    precision
        Of the weights. `"float32"` gives the numbers of the network, up to rounding. `"bfloat16"` keeps 8 bits of each weight, which is
        faster on processors that know the type; how much probabilities then differ is on the page :doc:`/benchmarks`.

    Raises
    ------
    ValueError
        When the precision is not known, or is not `"float32"` for a module that cannot be rewritten.

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


def _dtype(precision: str) -> torch.dtype:
    if precision not in _DTYPES:
        raise ValueError(f"`precision={precision!r}` is unknown. Choose one of: {', '.join(_DTYPES)}.")
    return _DTYPES[precision]


# ------------------------------------------------------------------------------------------------------------ the parts


def _uses_kernels(device: torch.device) -> bool:
    """Whether loops are compiled ones on NumPy arrays, which share the memory of tensors there."""
    return device.type == "cpu"


def _multiplies_bytes() -> bool:
    """Whether this processor multiplies 8-bit integers exactly and fast."""
    return torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()


@dataclass(frozen=True)
class _Rows:
    """A sparse matrix, `(n_obs, n_columns)`, as tensors on a device."""

    indptr: Tensor
    columns: Tensor
    values: Tensor
    n_columns: int

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device) -> _Rows:
        indptr = matrix.indptr.astype(np.int64, copy=False)
        columns, values = matrix.indices.astype(np.int32, copy=False), matrix.data.astype(np.float32, copy=False)
        if _uses_kernels(device):
            columns, values = _kernels.order_by_tile(indptr, columns, values, matrix.shape[1])
        return cls.of_arrays(indptr, columns, values, matrix.shape[1], device)

    @classmethod
    def of_arrays(cls, indptr: np.ndarray, columns: np.ndarray, values: np.ndarray, n_columns: int, device: torch.device) -> _Rows:
        tensors = [torch.from_numpy(array).to(device) for array in (indptr, columns, values)]
        return cls(tensors[0], tensors[1], tensors[2], n_columns)

    @property
    def n_obs(self) -> int:
        return len(self.indptr) - 1

    @property
    def row_of_value(self) -> Tensor:
        return torch.repeat_interleave(torch.arange(self.n_obs, device=self.indptr.device), self.indptr.diff())

    def to_dense(self) -> Tensor:
        dense = torch.zeros(self.n_obs, self.n_columns, device=self.values.device)
        dense[self.row_of_value, self.columns.long()] = self.values
        return dense


@dataclass(frozen=True)
class _Affine:
    """A normalisation that does not change any more: `x * scale + shift`."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, norm: nn.BatchNorm1d) -> _Affine:
        """Batch norm in evaluation mode, in double precision."""
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError("A batch norm without running statistics cannot be folded.")
        scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
        return cls(scale, norm.bias.detach().double() - norm.running_mean.double() * scale)

    def float(self) -> _Affine:
        return _Affine(self.scale.float(), self.shift.float())


_LINE = 64
"""Bytes of memory that a processor reads at once, at addresses that this divides."""


def _for_random_rows(x: Tensor) -> Tensor:
    """A copy in single precision of which rows are read here and there: not across two lines, and from the large pages NumPy asks for."""
    x = x.detach().float()
    if x.device.type != "cpu":
        return x.contiguous()
    memory = np.empty(x.nbytes + _LINE, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE
    copy = torch.from_numpy(memory[first : first + x.nbytes]).view(torch.float32).view(x.shape)
    return copy.copy_(x)


class _Table:
    """A linear map of sparse input: its weights, a row for each input."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        table = _for_random_rows(weight.T)
        self.table = table if dtype is torch.float32 else table.to(dtype)

    def __call__(self, rows: _Rows, scale: Tensor) -> Tensor:
        """The map of `rows`, its columns scaled, `(n_obs, n_outputs)`."""
        if _uses_kernels(self.table.device) and self.table.dtype is torch.float32:
            arrays = (part.numpy() for part in (rows.indptr, rows.columns, rows.values, scale, self.table))
            return torch.from_numpy(_kernels.weighted_sum(*arrays))
        weights = (rows.values * scale[rows.columns]).to(self.table.dtype)
        return nn.functional.embedding_bag(
            rows.columns,
            self.table,
            rows.indptr.to(rows.columns.dtype),
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        ).float()


class _Layer:
    """A linear map of few inputs."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


# --------------------------------------------------------------------------------------------------------- the networks


class _Dense(SparseNetwork):
    """A network that has no sparse form, on dense blocks."""

    def __init__(self, network: nn.Module) -> None:
        self.device = next(chain(network.parameters(), network.buffers())).device
        self.network = network

    def _evaluate(self, rows: _Rows) -> NetworkOutput:
        return self.network(rows.to_dense())


class _SparseLinear(SparseNetwork):
    def __init__(self, network: LinearNetwork, dtype: torch.dtype) -> None:
        weight = network.classifier.weight
        self.device = weight.device
        self.table = _Table(weight, dtype)
        self.bias = network.classifier.bias.detach().clone()
        self.ones = torch.ones(weight.shape[1], device=self.device)

    def _evaluate(self, rows: _Rows) -> NetworkOutput:
        return NetworkOutput(self.table(rows, self.ones) + self.bias, None)


class _SparsePerceptron(SparseNetwork):
    def __init__(self, network: MultilayerPerceptron, dtype: torch.dtype) -> None:
        self.device = network.classifier.weight.device
        layers: Any = network.layers
        folded = [_fold(layer[0].weight, layer[0].bias, _Affine.of(layer[1])) for layer in layers]
        (first, self.bias), *hidden = folded
        self.table = _Table(first, dtype)
        self.ones = torch.ones(first.shape[1], device=self.device)
        self.layers = [_Layer(weight, bias, dtype) for weight, bias in hidden]
        self.classifier = _Layer(network.classifier.weight, network.classifier.bias, dtype)

    def _evaluate(self, rows: _Rows) -> NetworkOutput:
        hidden = nn.functional.silu(self.table(rows, self.ones) + self.bias)
        for layer in self.layers:
            hidden = nn.functional.silu(layer(hidden))
        return NetworkOutput(self.classifier(hidden), hidden)


class _SparseTabNet(SparseNetwork):
    """TabNet with its norms folded, its first layers sparse, and its masks on their support."""

    def __init__(self, network: TabNet, dtype: torch.dtype) -> None:
        self.device = network.classifier.weight.device
        self.n_d, self.gamma, self.dense_decision = network.n_d, network.gamma, network.dense_decision
        of_decision, of_attention = slice(self.n_d), slice(self.n_d, None)
        norm = _Affine.of(network.input_norm)
        self.input = norm.float()
        self.ones = torch.ones_like(self.input.scale)
        shared: Any = list(network.shared)
        table = _Table(shared[0].weight, dtype) if shared else None  # one for all transformers
        used = slice(None) if self.dense_decision else of_attention
        self.splitter = _Transformer(network.splitter, shared, table, dtype, used, constant=norm.shift)
        *others, last = cast("Sequence[FeatureTransformer]", network.feature_transformers)
        self.transformers = [_Transformer(transformer, shared, table, dtype, slice(None)) for transformer in others]
        self.transformers.append(_Transformer(last, shared, table, dtype, of_decision))
        attention: Any = network.attentive_transformers
        self.attention = [_Attention(transformer, dtype) for transformer in attention]
        self.classifier = _Layer(network.classifier.weight, None, dtype)

    def _evaluate(self, rows: _Rows) -> NetworkOutput:
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

    def _next(self, prior: Tensor | None, support: _Rows, mask: Tensor) -> Tensor:
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
        table: _Table | None,
        dtype: torch.dtype,
        used: slice,
        *,
        constant: Tensor | None = None,
    ) -> None:
        layers: Any = [*shared, *transformer.independent]
        of_layers: Any = transformer.norms
        first, *others = [layer.weight.detach() for layer in layers]
        first_norm, *norms = [_Affine.of(norm.bn) for norm in of_layers]
        self.table = _Table(first, dtype) if table is None else table
        shift = first_norm.shift if constant is None else first_norm.shift + first_norm.scale * (first.double() @ constant)
        self.first = _Affine(first_norm.scale, shift).float()
        self.used = used
        self.layers = []
        for i, (weight, norm) in enumerate(zip(others, norms, strict=True)):
            weight, bias = _fold(weight, None, norm)
            values, gates = weight.chunk(2)
            power = math.sqrt(2) ** i
            grow = torch.cat([torch.full_like(bias.chunk(2)[0], power), torch.ones_like(bias.chunk(2)[1])])
            weight, bias = torch.cat([values, gates / power]), bias * grow
            if i == len(others) - 1:
                weight, bias = (torch.cat([half[used] for half in part.chunk(2)]) for part in (weight, bias))
            self.layers.append(_Layer(weight, bias, dtype))
        self.shrink = math.sqrt(0.5) ** len(self.layers)

    def __call__(self, rows: _Rows, scale: Tensor) -> Tensor:
        x = nn.functional.glu(torch.addcmul(self.first.shift, self.table(rows, scale), self.first.scale), dim=-1)
        if not self.layers:
            return x[:, self.used]
        *layers, last = self.layers
        for layer in layers:
            x += nn.functional.glu(layer(x), dim=-1)
        return (x[:, self.used] + nn.functional.glu(last(x), dim=-1)) * self.shrink


class _Attention:
    """An attentive transformer that gives its mask on the support."""

    def __init__(self, transformer: AttentiveTransformer, dtype: torch.dtype) -> None:
        norm: Any = transformer.norm.bn
        weight, self.bias = _fold(transformer.linear.weight, None, _Affine.of(norm))
        self.weight = weight.to(dtype)
        self.n_a = weight.shape[1]
        self.rounded = _RoundedProduct(self.weight) if _uses_kernels(weight.device) else None
        self.is_entmax = transformer.mask_type == "entmax"

    def __call__(self, attention: Tensor, rows: _Rows, norm: _Affine, prior: Tensor | None) -> tuple[_Rows, Tensor]:
        """The masked input and the mask, on its support."""
        return (self._on_cpu if _uses_kernels(attention.device) else self._on_device)(attention.contiguous(), rows, norm, prior)

    def _on_cpu(self, attention: Tensor, rows: _Rows, norm: _Affine, prior: Tensor | None) -> tuple[_Rows, Tensor]:
        parts = []
        indices, values, scale, shift = (part.numpy() for part in (rows.columns, rows.values, norm.scale, norm.shift))
        starts = range(0, max(rows.n_obs, 1), _ROWS_OF_LOGITS)
        for start, logits in zip(starts, self._logits(attention, prior), strict=True):
            indptr = rows.indptr[start : start + _ROWS_OF_LOGITS + 1].numpy()
            parts.append(_kernels.attend(logits, self.is_entmax, indptr, indices, values, scale, shift))
        indptrs, *others = zip(*parts, strict=True)
        indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in indptrs]))])
        support, mask, masked = (np.concatenate(part) for part in others)
        return _Rows.of_arrays(indptr, support, masked, rows.n_columns, self.bias.device), torch.from_numpy(mask)

    def _logits(self, attention: Tensor, prior: Tensor | None) -> Iterator[_kernels.Logits]:
        """Logits of some cells at a time."""
        if self.rounded is not None and prior is None and _multiplies_bytes():
            yield from self.rounded(attention, self.bias)
            return
        n_obs, n_inputs = len(attention), len(self.bias)
        buffer = _buffer("logits", _ROWS_OF_LOGITS, n_inputs, self.weight.dtype)
        ones, zeros = np.ones(n_inputs, dtype=np.float32), np.zeros(n_inputs, dtype=np.float32)
        for start in range(0, max(n_obs, 1), _ROWS_OF_LOGITS):
            some = attention[start : start + _ROWS_OF_LOGITS]
            products = torch.mm(some.to(self.weight.dtype), self.weight.T, out=buffer[: len(some)]).float()
            bias = self.bias.numpy()
            if prior is not None:
                products, bias = (products + self.bias) * prior[start : start + _ROWS_OF_LOGITS], zeros
            exact = np.zeros(len(some), dtype=np.float32)
            yield _kernels.Logits(products.numpy(), exact + 1, ones, bias, exact, some.numpy(), _NO_WEIGHT)

    def _on_device(self, attention: Tensor, rows: _Rows, norm: _Affine, prior: Tensor | None) -> tuple[_Rows, Tensor]:
        logits = (attention.to(self.weight.dtype) @ self.weight.T).float() + self.bias
        mask = sparse_mask(logits if prior is None else logits * prior, is_entmax=self.is_entmax)
        values = rows.to_dense()
        row, column = mask.nonzero(as_tuple=True)
        weights = mask[row, column]
        masked = weights * (values[row, column] * norm.scale[column] + norm.shift[column])
        indptr = torch.zeros_like(rows.indptr)
        torch.cumsum((mask > 0).sum(dim=1), dim=0, out=indptr[1:])
        return _Rows(indptr, column.to(rows.columns.dtype), masked, rows.n_columns), weights


class _RoundedProduct:
    r"""A linear map of numbers that are rounded to eight bits, four times as fast as in single precision, and how far off it may be.

    With :math:`a = \hat a + e_a` and :math:`w = \hat w + e_w` it gives :math:`\hat a^T \hat w`, and
    :math:`|a^T w - \hat a^T \hat w| = |a^T e_w + e_a^T \hat w| \le \|a\| \|e_w\| + \|e_a\| \|\hat w\|`, and what scaling it rounds.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = _for_random_rows(weight)
        self.rounded, step, lost, left = _round(self.weight)
        self.step, self.lost, self.left = step.squeeze(1), lost.max(), left.max()

    def __call__(self, x: Tensor, bias: Tensor) -> Iterator[_kernels.Logits]:
        """Logits of some cells at a time."""
        rounded, step, lost, left = _round(x)
        error = (left + lost) * self.lost + lost * self.left + _ROUNDING * left * self.left
        buffer = _buffer("rounded logits", _ROWS_OF_LOGITS, len(bias), torch.int32)
        for start in range(0, max(len(x), 1), _ROWS_OF_LOGITS):
            at = slice(start, start + _ROWS_OF_LOGITS)
            products = torch._int_mm(rounded[at], self.rounded.T, out=buffer[: len(rounded[at])])
            parts = (products, step[at, 0], self.step, bias, error[at], x[at], self.weight)
            yield _kernels.Logits(*(part.numpy() for part in parts))


def _round(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows as multiples of a step each, `(n, m)` and `(n, 1)`; and norms of what is lost by that and of what is left, `(n,)`."""
    step = (x.abs().amax(dim=1, keepdim=True) / 127).clamp_min(torch.finfo(x.dtype).tiny)
    multiples = (x / step).round()
    left = multiples * step
    return multiples.to(torch.int8), step, (x - left).norm(dim=1), left.norm(dim=1)


_buffers = threading.local()


def _buffer(name: str, n_rows: int, n_columns: int, dtype: torch.dtype) -> Tensor:
    """Memory of this thread to write to again and again: fresh memory from the system would take longer than the product."""
    buffers: dict[Any, Tensor] = _buffers.__dict__
    tensor = buffers.get(name)
    if tensor is None or tensor.shape != (n_rows, n_columns) or tensor.dtype is not dtype:
        buffers[name] = tensor = torch.empty(n_rows, n_columns, dtype=dtype)
    return tensor


def sparse_mask(logits: Tensor, *, is_entmax: bool) -> Tensor:
    r"""1.5-entmax or sparsemax of the rows of `logits`, without a sort; see :func:`sctab.nn.fast._kernels.collect_candidates` for how.

    Parameters
    ----------
    logits
        `(n_obs, n_features)`.
    is_entmax
        1.5-entmax; otherwise sparsemax.
    """
    z = logits - logits.amax(dim=1, keepdim=True)
    if is_entmax:
        z = z / 2
    tau = torch.full_like(z[:, :1], -1)
    for _ in range(_NEWTON_STEPS):
        distance = torch.relu(z - tau)
        first = distance.sum(dim=1, keepdim=True)
        if is_entmax:
            tau = tau + (distance.square().sum(dim=1, keepdim=True) - 1) / (2 * first)
        else:
            tau = tau + (first - 1) / (distance > 0).sum(dim=1, keepdim=True)
    distance = torch.relu(z - tau)
    return distance.square() if is_entmax else distance


def _fold(weight: Tensor, bias: Tensor | None, norm: _Affine) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map and the normalisation behind it."""
    scale = norm.scale
    shift = norm.shift if bias is None else norm.shift + scale * bias.detach().double()
    return (weight.detach().double() * scale[:, None]).float(), shift.float()
