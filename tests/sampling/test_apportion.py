"""Integers near quotas, by what must hold of them."""

import numpy as np
from hypothesis import given, strategies as st

from sctab.sampling._apportion import apportion, level


@given(cells=st.integers(3, 500), weights=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_apportioned_numbers_are_within_one_of_their_quotas(cells, weights):
    quotas = cells * np.array(weights) / sum(weights)
    counts = apportion(quotas, least=0)
    assert counts.sum() == cells
    assert (np.abs(counts - quotas) < 1).all()


@given(weights=st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(any), spare=st.integers(0, 20))
def test_none_gets_less_than_the_least(weights, spare):
    quotas = (len(weights) + spare) * np.array(weights) / sum(weights)
    counts = apportion(quotas, least=1)
    assert counts.sum() == len(weights) + spare
    assert counts.min() >= 1


@given(available=st.lists(st.integers(0, 40), min_size=1, max_size=8), data=st.data())
def test_level_numbers_differ_only_where_there_is_no_more(available, data):
    available = np.array(available)
    n = data.draw(st.integers(0, int(available.sum())))
    counts = level(available, n)
    assert counts.sum() == n
    assert (counts <= available).all()
    assert (counts[counts < available] >= counts.max() - 1).all()
