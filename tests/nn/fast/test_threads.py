"""Loops in threads do every row once."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from sctab.nn.fast._threads import in_threads


@pytest.fixture(autouse=True)
def restored_threads():
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=20), n_threads=st.integers(1, 5), by_values=st.booleans())
def test_every_row_is_done_once(lengths, n_threads, by_values):
    torch.set_num_threads(n_threads)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    parts = []
    in_threads(parts.append, len(lengths), indptr if by_values else None)
    assert sorted(row for part in parts for row in range(part.start, part.stop)) == list(range(len(lengths)))
    assert len(parts) <= n_threads


def test_parts_have_about_as_many_values():
    torch.set_num_threads(2)
    parts = []
    in_threads(parts.append, 4, np.array([0, 90, 95, 98, 100]))
    assert sorted((part.start, part.stop) for part in parts) == [(0, 1), (1, 4)]


def test_an_error_in_a_thread_is_raised():
    torch.set_num_threads(2)

    def fail(_):
        raise RuntimeError("in a thread")

    with pytest.raises(RuntimeError, match="in a thread"):
        in_threads(fail, 4)
