"""Sparse tensors of matrices."""

import torch

from sctab.nn._sparse_products import csr_tensor


def as_tensor(matrix, dtype=torch.float64):
    """A CSR tensor of a SciPy matrix in CSR."""
    indptr, columns, values = (torch.from_numpy(array) for array in (matrix.indptr, matrix.indices, matrix.data))
    return csr_tensor(indptr, columns, values.to(dtype), matrix.shape)
