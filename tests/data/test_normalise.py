"""The three forms of normalisation against dense arithmetic in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.data import Normalization, normalise, normalise_tensor
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
