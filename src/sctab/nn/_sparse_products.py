"""Products of sparse rows with a table, and their gradients, in time and memory of what is stored."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.autograd.function import once_differentiable

from sctab.nn.fast import _product_kernels as kernels
from sctab.nn.fast._threads import in_threads


def csr_tensor(indptr: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A CSR tensor of arrays that are known to be valid, without the warning that PyTorch has of such tensors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(indptr.to(columns.dtype), columns, values, size=shape, check_invariants=False)


@dataclass(frozen=True)
class Places:
    """Places of a sparse matrix, `(n_obs, n_columns)`, the columns of each row in ascending order."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    n_columns: int

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @cached_property
    def column_index(self) -> Tensor:
        """The column of each place, to index tensors with."""
        return torch.from_numpy(self.columns)

    @cached_property
    def row_index(self) -> Tensor:
        """The row of each place, to index tensors with."""
        return torch.from_numpy(np.repeat(np.arange(self.n_obs), np.diff(self.indptr)))

    def transposed(self, values: NDArray[Any]) -> tuple[Places, NDArray[Any]]:
        """Places and values of the transposed matrix."""
        matrix = sparse.csr_matrix((values, self.columns, self.indptr.astype(np.int32)), shape=(self.n_obs, self.n_columns)).tocsc()
        return Places(matrix.indptr.astype(np.int64), matrix.indices, self.n_obs), matrix.data

    def times(self, values: NDArray[Any], scale: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
        """The product of the matrix, its columns scaled, with `table`, `(n_columns, width)`; the same for any number of threads."""
        out = np.zeros((self.n_obs, table.shape[1]), dtype=table.dtype)
        size = kernels.tile_size(len(values), self.n_obs, self.n_columns)

        def loop(rows: slice) -> None:
            indptr = self.indptr[rows.start : rows.stop + 1]
            kernels.add_weighted_sum(indptr, self.columns, values, scale, table, size, out[rows])

        in_threads(loop, self.n_obs, self.indptr)
        return out

    def products_at(self, rows: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
        """The products of row i of `rows`, `(n_obs, width)`, and row g of `table` at each place i, g."""
        out = np.empty(len(self.columns), dtype=table.dtype)
        in_threads(
            lambda part: kernels.products_at(self.indptr[part.start : part.stop + 1], self.columns, rows[part], table, out),
            self.n_obs,
            self.indptr,
        )
        return out


@dataclass(frozen=True)
class SparseInput:
    """The input of a network, `(n_obs, n_columns)`."""

    places: Places
    values: NDArray[Any]

    @classmethod
    def of(cls, matrix: Tensor) -> SparseInput:
        """The values of a CSR tensor, whose rows are in order and name no column twice."""
        indptr, columns = (index.numpy() for index in (matrix.crow_indices(), matrix.col_indices()))
        places = Places(indptr.astype(np.int64), columns.astype(np.int32, copy=False), matrix.shape[1])
        return cls(places, matrix.values().detach().numpy())

    @cached_property
    def transposed(self) -> tuple[Places, NDArray[Any]]:
        """Places and values of the transposed matrix."""
        return self.places.transposed(self.values)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each column, `(n_columns,)`, without the correction for the mean."""
        places, values = self.transposed
        found = np.empty((places.n_obs, 2))

        def loop(part: slice) -> None:
            kernels.moments(places.indptr[part.start : part.stop + 1], values, self.places.n_obs, found[part])

        in_threads(loop, places.n_obs, places.indptr)
        mean, variance = torch.from_numpy(found.astype(self.values.dtype)).unbind(dim=1)
        return mean, variance

    def to_dense(self) -> Tensor:
        """The same numbers as a dense tensor."""
        places = self.places
        return torch.from_numpy(
            sparse.csr_matrix((self.values, places.columns, places.indptr), shape=(places.n_obs, places.n_columns)).toarray()
        )

    def at(self, places: Places) -> Tensor:
        """The values at some places: zero where none is stored."""
        out = np.empty(len(places.columns), dtype=self.values.dtype)
        own = self.places

        def loop(rows: slice) -> None:
            indptrs = (each.indptr[rows.start : rows.stop + 1] for each in (own, places))
            indptr, wanted = indptrs
            kernels.values_at(indptr, own.columns, self.values, wanted, places.columns, own.n_columns, out)

        in_threads(loop, own.n_obs, own.indptr)
        return torch.from_numpy(out)


class InputProduct(torch.autograd.Function):
    """The product of `x * scale + shift` with `table`, `(n_columns, width)`, for sparse `x`, which has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: SparseInput, scale: Tensor, shift: Tensor, table: Tensor) -> Tensor:
        ctx.x = x
        ctx.save_for_backward(scale, shift, table)
        product = torch.from_numpy(x.places.times(x.values, scale.detach().numpy(), table.detach().numpy()))
        return product.add_(shift @ table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scale, shift, table = (saved.detach().numpy() for saved in ctx.saved_tensors)
        places, values = ctx.x.transposed
        rows = gradient.contiguous().numpy()
        of_table = places.times(values, np.ones(len(rows), dtype=rows.dtype), rows)
        of_scale, of_shift, total = np.empty_like(scale), np.empty_like(shift), gradient.sum(dim=0).numpy()

        def loop(part: slice) -> None:
            given, found = (scale[part], shift[part], table[part], total), (of_table[part], of_scale[part], of_shift[part])
            kernels.finish_gradients(*given, *found)

        in_threads(loop, len(table))
        return None, *(torch.from_numpy(array) for array in (of_scale, of_shift, of_table))


class SparseProduct(torch.autograd.Function):
    """The product of the sparse matrix with `values` at `places` and of `table`, `(n_columns, width)`."""

    @staticmethod
    def forward(ctx: Any, places: Places, values: Tensor, table: Tensor) -> Tensor:
        ctx.places = places
        ctx.save_for_backward(values, table)
        ones = np.ones(places.n_columns, dtype=table.detach().numpy().dtype)
        return torch.from_numpy(places.times(values.detach().numpy(), ones, table.detach().numpy()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, table = (saved.detach().numpy() for saved in ctx.saved_tensors)
        rows = gradient.contiguous().numpy()
        of_values = ctx.places.products_at(rows, table)
        places, transposed = ctx.places.transposed(values)
        of_table = places.times(transposed, np.ones(len(rows), dtype=rows.dtype), rows)
        return None, torch.from_numpy(of_values), torch.from_numpy(of_table)
