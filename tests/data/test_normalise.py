"""The three forms of normalisation against dense arithmetic in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from tests.scanpy_values import logarithmised, normalised as by_scanpy

from sctab.data import (
    Normalization,
    normalise,
    normalise_tensor,
)
from sctab.data._normalise import align_and_normalise


def normalised(counts, normalization):
    """The definition, cell by cell."""
    totals = counts.sum(axis=1, keepdims=True)
    scaled = np.divide(counts * normalization.target_sum, totals, out=np.zeros_like(counts), where=totals > 0)
    return np.log1p(scaled) if normalization.log1p else scaled


@st.composite
def csr_matrices(draw):
    """Counts and fractions, with empty cells, stored zeros, and entries that are unsorted or stand twice."""
    n_obs, n_vars = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    values = st.one_of(st.integers(0, 200), st.floats(0, 50, width=32, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-3))
    entries = st.lists(st.tuples(st.integers(0, n_vars - 1), values), max_size=12)
    rows = [draw(entries) for _ in range(n_obs)]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.array([column for row in rows for column, _ in row], dtype=np.int32)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return sparse.csr_matrix((np.array([value for row in rows for _, value in row], dtype=dtype), indices, indptr), (n_obs, n_vars))


normalizations = st.builds(Normalization, st.sampled_from([1.0, 1e3, 1e4, 1e6]), st.booleans())


@given(counts=csr_matrices(), normalization=normalizations, data=st.data())
def test_all_forms_are_the_definition(counts, normalization, data):
    before = counts.copy()
    expected = normalised(counts.toarray().astype(np.float64), normalization)
    n_obs, n_vars = counts.shape
    place = np.array(data.draw(st.permutations(range(n_vars))), dtype=np.int32)
    rows, is_measured = align_and_normalise(
        counts, sparse.csr_matrix((n_obs, 0)), positions=place, n_genes=n_vars, normalization=normalization
    )
    forms = {
        "matrix": normalise(counts, normalization).toarray(),
        "tensor": normalise_tensor(torch.from_numpy(counts.toarray()), normalization).numpy(),
        "rows of a query": rows.toarray()[:, place],
    }
    for form, values in forms.items():
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6, err_msg=form)
    np.testing.assert_array_equal(is_measured, counts.toarray().sum(axis=1) > 0)
    assert counts.nnz == before.nnz
    np.testing.assert_array_equal(counts.indices, before.indices)


@pytest.mark.parametrize(
    ("normalization", "largest"),
    [(Normalization(), 9.0), (Normalization(1e6), 13.0), (Normalization(1e4, log1p=False), 1e4)],
)
def test_the_largest_expression_after_augmentation(normalization, largest):
    assert normalization.largest == largest


count_matrices = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 5000)
)
"""Counts of any shape, empty cells among them."""


class TestMatrix:
    @pytest.mark.parametrize("target_sum", [1, 1e4, 1e6])
    def test_is_that_of_scanpy(self, counts, target_sum):
        block = sparse.csr_matrix(counts)
        linear = normalise(block, Normalization(target_sum=target_sum, log1p=False))
        np.testing.assert_allclose(linear.toarray(), by_scanpy(counts, target_sum), rtol=1e-6)
        logs = normalise(block, Normalization(target_sum=target_sum))
        np.testing.assert_allclose(logs.toarray(), logarithmised(counts, target_sum), rtol=1e-6)

    def test_by_hand(self):
        block = sparse.csr_matrix([[1, 3], [0, 0], [0, 5]])
        assert normalise(block, Normalization(target_sum=8, log1p=False)).toarray().tolist() == [[2, 6], [0, 0], [0, 8]]

    @given(matrix=count_matrices)
    def test_cells_sum_to_the_target_or_stay_empty(self, matrix):
        linear = normalise(sparse.csr_matrix(matrix), Normalization(log1p=False))
        expected = np.where(matrix.sum(axis=1) > 0, 1e4, 0)
        np.testing.assert_allclose(np.asarray(linear.sum(axis=1, dtype=np.float64)).ravel(), expected, rtol=1e-6)

    @given(matrix=count_matrices, factor=st.integers(2, 50))
    def test_depth_does_not_matter(self, matrix, factor):
        once, deeper = (normalise(sparse.csr_matrix(m), Normalization()).toarray() for m in (matrix, matrix * factor))
        np.testing.assert_allclose(once, deeper, rtol=1e-6)

    @given(data=st.data(), matrix=count_matrices)
    def test_order_of_genes_does_not_matter(self, data, matrix):
        order = data.draw(st.permutations(range(matrix.shape[1])))
        shuffled = normalise(sparse.csr_matrix(matrix[:, order]), Normalization()).toarray()
        np.testing.assert_array_equal(shuffled, normalise(sparse.csr_matrix(matrix), Normalization()).toarray()[:, order])

    @given(matrix=count_matrices, n_first=st.integers(1, 11))
    def test_cells_do_not_see_each_other(self, matrix, n_first):
        assume(n_first < len(matrix))
        whole = normalise(sparse.csr_matrix(matrix), Normalization()).toarray()
        parts = [normalise(sparse.csr_matrix(part), Normalization()).toarray() for part in (matrix[:n_first], matrix[n_first:])]
        np.testing.assert_array_equal(np.vstack(parts), whole)

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "float32", "float64"])
    def test_of_every_type(self, counts, dtype):
        """Sums of small integers are far beyond what their own type can hold."""
        capped = np.minimum(counts, 100)
        assert capped.sum(axis=1).max() > 255
        result = normalise(sparse.csr_matrix(capped.astype(dtype)), Normalization())
        assert result.dtype == np.float32
        np.testing.assert_allclose(result.toarray(), logarithmised(capped), rtol=1e-6)

    @pytest.mark.parametrize("change", ["data", "structure"])
    def test_the_result_is_a_matrix_of_its_own(self, counts, change):
        block = sparse.csr_matrix(counts)
        result = normalise(block, Normalization())
        result.data[:] = 0
        if change == "structure":
            result.eliminate_zeros()
        np.testing.assert_array_equal(block.toarray(), counts)
