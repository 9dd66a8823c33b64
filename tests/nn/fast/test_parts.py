"""Parts of rewritten networks against the layers that they represent."""

import pytest
import torch
from scipy import sparse
from torch import nn

from sctab.nn.fast._parts import Affine, DenseLinear, SparseLinear, SparseRows, fold

CPU = torch.device("cpu")


@pytest.fixture
def norm():
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm1d(6).eval()
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        values.data.uniform_(0.5, 2, generator=generator)
    return norm


def test_an_affine_map_is_the_norm(norm):
    x, affine = torch.randn(4, 6), Affine.of(norm).float()
    torch.testing.assert_close(x * affine.scale + affine.shift, norm(x))


def test_a_norm_without_statistics_is_refused():
    with pytest.raises(TypeError, match="without running statistics cannot be folded"):
        Affine.of(nn.BatchNorm1d(3, track_running_stats=False))


@pytest.mark.parametrize("bias", [True, False])
def test_folding_is_the_norm_after_the_map(norm, bias):
    x, linear = torch.randn(4, 3), nn.Linear(3, 6, bias=bias)
    folded = DenseLinear(*fold(linear.weight, linear.bias, Affine.of(norm)), torch.float32)
    torch.testing.assert_close(folded(x), norm(linear(x)), rtol=1e-5, atol=1e-5)


def test_rows_keep_their_values_and_the_sparse_map_is_the_dense_one():
    matrix = sparse.random(5, 900, density=0.1, format="csr", dtype="float32", random_state=0)
    rows = SparseRows.of(matrix, CPU)
    dense = torch.from_numpy(matrix.toarray())
    torch.testing.assert_close(rows.to_dense(), dense, rtol=0, atol=0)
    weight, scale = torch.randn(4, 900), torch.rand(900)
    torch.testing.assert_close(SparseLinear(weight, torch.float32)(rows, scale), (dense * scale) @ weight.T, rtol=1e-4, atol=1e-5)
