import numpy as np
import pytest
from hypothesis import given, strategies as st

from sctab.io import _scattered
from sctab.io._scattered import ScatteredRows


@given(st.permutations(range(9)), st.integers(1, 9))
def test_any_order(order, size):
    values = np.arange(18, dtype=np.float32).reshape(9, 2)
    rows = ScatteredRows((9, 2), np.float32)
    for start in range(0, 9, size):
        part = np.array(order[start : start + size])
        rows.put(part, values[part])
    np.testing.assert_array_equal(rows[2:7], values[2:7])


def test_fill_in_portions(monkeypatch):
    monkeypatch.setattr(_scattered, "ROWS", 4)
    rows = ScatteredRows((10,), np.float32, fill=np.nan)
    rows.put(np.array([9, 3]), np.array([1, 2]))
    np.testing.assert_array_equal(rows[0:10], [np.nan] * 3 + [2] + [np.nan] * 5 + [1])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty(shape):
    rows = ScatteredRows(shape, np.float32)
    rows.put(np.arange(shape[0]), np.empty(shape))
    assert rows[0:2].shape == (min(shape[0], 2), shape[1])
