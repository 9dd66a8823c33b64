"""Parts of rewritten networks: sparse rows, folded normalisations and linear maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from sctab.nn._norm import running_statistics
from sctab.nn.fast import _product_kernels

_LINE = 64
"""Bytes of memory that a processor reads at once, at addresses that this divides."""


def uses_kernels(device: torch.device) -> bool:
    """Return whether loops are compiled ones on NumPy arrays, which share the memory of tensors there."""
    return device.type == "cpu"


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix, `(n_obs, n_columns)`, as tensors on a device."""

    indptr: Tensor
    columns: Tensor
    values: Tensor
    n_columns: int

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device) -> SparseRows:
        indptr = matrix.indptr.astype(np.int64, copy=False)
        columns, values = matrix.indices.astype(np.int32, copy=False), matrix.data.astype(np.float32, copy=False)
        if uses_kernels(device):
            columns, values = _product_kernels.order_by_tile(indptr, columns, values, matrix.shape[1])
        return cls.of_arrays(indptr, columns, values, matrix.shape[1], device)

    @classmethod
    def of_arrays(
        cls, indptr: np.ndarray, columns: np.ndarray, values: np.ndarray, n_columns: int, device: torch.device
    ) -> SparseRows:
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
class Affine:
    """A normalisation that does not change any more: `x * scale + shift`."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, norm: nn.BatchNorm1d) -> Affine:
        """Batch norm in evaluation mode, in double precision."""
        mean, variance = running_statistics(norm)
        scale = norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)
        return cls(scale, norm.bias.detach().double() - mean.double() * scale)

    def float(self) -> Affine:
        return Affine(self.scale.float(), self.shift.float())


def for_random_rows(x: Tensor) -> Tensor:
    """A copy in single precision of which rows are read here and there: not across two lines, and from the large pages NumPy asks for."""
    x = x.detach().float()
    if x.device.type != "cpu":
        return x.contiguous()
    memory = np.empty(x.nbytes + _LINE, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE
    copy = torch.from_numpy(memory[first : first + x.nbytes]).view(torch.float32).view(x.shape)
    return copy.copy_(x)


class SparseLinear:
    """A linear map of sparse input: its weights, a row for each input."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        table = for_random_rows(weight.T)
        self.table = table if dtype is torch.float32 else table.to(dtype)

    def __call__(self, rows: SparseRows, scale: Tensor) -> Tensor:
        """The map of `rows`, its columns scaled, `(n_obs, n_outputs)`."""
        if uses_kernels(self.table.device) and self.table.dtype is torch.float32:
            arrays = (part.numpy() for part in (rows.indptr, rows.columns, rows.values, scale, self.table))
            return torch.from_numpy(_product_kernels.weighted_sum(*arrays))
        weights = (rows.values * scale[rows.columns]).to(self.table.dtype)
        return nn.functional.embedding_bag(
            rows.columns,
            self.table,
            rows.indptr.to(rows.columns.dtype),
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        ).float()


class DenseLinear:
    """A linear map of few inputs."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


def fold(weight: Tensor, bias: Tensor | None, norm: Affine) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map and the normalisation after it."""
    scale = norm.scale
    shift = norm.shift if bias is None else norm.shift + scale * bias.detach().double()
    return (weight.detach().double() * scale[:, None]).float(), shift.float()
