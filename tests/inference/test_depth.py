"""Depth of training cells: numbers of NumPy, in blocks, and what is expected of data that lacks genes."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab import ModelFormatError
from sctab.inference._depth import Depth, DepthSums

COUNTS = sparse.csr_matrix(np.random.default_rng(0).poisson(0.5, size=(200, 30)).astype(np.float32))


def depth_of(*blocks):
    sums = DepthSums(30)
    for block in blocks:
        sums.add(block)
    return sums.depth()


def test_numbers_are_those_of_numpy():
    found, dense = depth_of(COUNTS), COUNTS.toarray()
    np.testing.assert_allclose(found.counts, np.quantile(dense.sum(axis=1), np.linspace(0, 1, 101)))
    np.testing.assert_allclose(found.detected, np.quantile((dense > 0).sum(axis=1), np.linspace(0, 1, 101)))
    np.testing.assert_allclose(found.mean_counts, dense.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.mean_detected, (dense > 0).mean(axis=0), rtol=1e-6)


@given(st.integers(1, 199))
def test_blocks_do_not_matter(cut):
    whole, parts = depth_of(COUNTS), depth_of(COUNTS[:cut], COUNTS[cut:])
    for name, values in vars(whole).items():
        np.testing.assert_allclose(vars(parts)[name], values, rtol=1e-6)


def test_values_that_are_not_counts_have_no_number_of_counts():
    found = depth_of(COUNTS * 1.5)
    assert len(found.counts) == 0
    assert found.expected_counts(np.ones(30, dtype=bool)) is None
    np.testing.assert_array_equal(found.detected, depth_of(COUNTS).detected)


def test_expectation_on_half_of_the_genes():
    found = np.arange(30) < 15
    depth = depth_of(COUNTS)
    half = COUNTS.toarray()[:, :15]
    assert depth.expected_counts(found) == pytest.approx(np.median(half.sum(axis=1)), rel=0.15)
    assert depth.expected_detected(found) == pytest.approx(np.median((half > 0).sum(axis=1)), rel=0.15)


def test_without_cells():
    assert depth_of() is None


def test_arrays_and_back():
    depth = depth_of(COUNTS)
    again = Depth.from_arrays({"other": np.zeros(1), **depth.to_arrays()}, n_genes=30)
    for name, values in vars(depth).items():
        np.testing.assert_array_equal(vars(again)[name], values)
    assert Depth.from_arrays({"other": np.zeros(1)}, n_genes=30) is None


@pytest.mark.parametrize("name", ["counts", "detected", "mean_counts", "mean_detected"])
def test_damaged_arrays_are_refused(name):
    arrays = depth_of(COUNTS).to_arrays()
    for changed in (np.zeros(7, dtype=np.float32), np.full(101 if "mean" not in name else 30, -1, dtype=np.float32)):
        with pytest.raises(ModelFormatError, match=rf"`{name}`\) was changed\. Copy the complete model again"):
            Depth.from_arrays({**arrays, f"depth.{name}": changed}, n_genes=30)
