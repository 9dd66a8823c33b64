"""Products of sparse rows and their gradients against dense ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import sparse
from tests.tensors import as_tensor

from sctab.nn._sparse_products import InputProduct, SparseInput, SparseProduct

matrices = st.builds(
    lambda seed, n_obs, n_columns, density: sparse.random(
        n_obs, n_columns, density=density, format="csr", random_state=seed
    ).sorted_indices(),
    seed=st.integers(0, 10_000),
    n_obs=st.integers(1, 6),
    n_columns=st.integers(1, 8),
    density=st.sampled_from([0.0, 0.2, 1.0]),
)


def doubles(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)


@given(matrix=matrices, seed=st.integers(0, 100))
@settings(deadline=None)
def test_product_of_the_input(matrix, seed):
    x, dense = SparseInput.of(as_tensor(matrix)), torch.from_numpy(matrix.toarray())
    scale, shift, table = (doubles(*shape, seed=seed) for shape in ((len(dense[0]),), (len(dense[0]),), (len(dense[0]), 3)))
    torch.testing.assert_close(InputProduct.apply(x, scale, shift, table), (dense * scale + shift) @ table)
    assert torch.autograd.gradcheck(lambda *inputs: InputProduct.apply(x, *inputs), (scale, shift, table))


@given(matrix=matrices, seed=st.integers(0, 100))
@settings(deadline=None)
def test_product_of_what_has_a_gradient(matrix, seed):
    places = SparseInput.of(as_tensor(matrix)).places
    values, table = torch.from_numpy(matrix.data).requires_grad_(), doubles(matrix.shape[1], 3, seed=seed)
    torch.testing.assert_close(SparseProduct.apply(places, values, table), torch.from_numpy(matrix.toarray()) @ table)
    assert torch.autograd.gradcheck(lambda *inputs: SparseProduct.apply(places, *inputs), (values, table))


@given(matrix=matrices)
@settings(deadline=None)
def test_moments_and_values_are_those_of_the_dense_matrix(matrix):
    x, dense = SparseInput.of(as_tensor(matrix)), torch.from_numpy(matrix.toarray())
    mean, variance = x.moments()
    torch.testing.assert_close(mean, dense.mean(dim=0))
    torch.testing.assert_close(variance, dense.var(dim=0, correction=0))
    everywhere = SparseInput.of(as_tensor(sparse.csr_matrix(np.ones(matrix.shape)))).places
    torch.testing.assert_close(x.at(everywhere).view(dense.shape), dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_do_not_depend_on_threads(dtype):
    matrix = sparse.random(40, 3000, density=0.1, format="csr", random_state=0).sorted_indices()
    n_threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            x = SparseInput.of(as_tensor(matrix, dtype))
            values, table = (doubles(*shape, seed=0).detach().to(dtype).requires_grad_() for shape in ((matrix.nnz,), (3000, 4)))
            product = SparseProduct.apply(x.places, values, table)
            results.append([product, *torch.autograd.grad(product.square().sum(), [values, table]), *x.moments()])
    finally:
        torch.set_num_threads(n_threads)
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, same, rtol=0, atol=0)
