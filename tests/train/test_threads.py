"""Threads of a training."""

import pytest
import torch

from sctab.train._threads import PRODUCTS_PER_THREAD, useful_threads, with_useful_threads


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("times", "n_threads", "expected"), [(0, 64, 1), (1, 64, 1), (3, 64, 3), (100, 64, 64), (100, 2, 2)])
def test_as_many_threads_as_there_is_work_for(times, n_threads, expected):
    assert useful_threads(times * PRODUCTS_PER_THREAD, n_threads) == expected


@pytest.mark.usefixtures("four_threads")
def test_threads_are_as_before_also_after_an_error():
    def fail():
        with with_useful_threads(2 * PRODUCTS_PER_THREAD):
            raise RuntimeError(f"in {torch.get_num_threads()} threads")

    with pytest.raises(RuntimeError, match="in 2 threads"):
        fail()
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_no_more_threads_than_pytorch_was_told_to_use():
    torch.set_num_threads(1)
    with with_useful_threads(100 * PRODUCTS_PER_THREAD):
        assert torch.get_num_threads() == 1
