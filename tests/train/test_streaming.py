"""What is read when, in a training from a store."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.train import _streaming
from sctab.train._streaming import StreamedBatches, _made_ahead, _span


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(_streaming, "CHUNK_SIZE", 8)
    monkeypatch.setattr(_streaming, "WINDOW_SIZE", 40)


def planned(cells, batch_size, seed, epoch, start=0):
    """Rows of each batch."""
    n_rows = int(cells.max()) + 1
    nothing = sparse.csr_matrix((n_rows, 0))
    loader = StreamedBatches(None, None, cells, np.zeros(n_rows), nothing, batch_size, seed=seed)
    return [rows[positions].tolist() for rows, batches in loader.windows(epoch, start) for positions in batches]


@given(
    cells=st.sets(st.integers(0, 400), min_size=1, max_size=200).map(lambda found: np.array(sorted(found))),
    batch_size=st.integers(16, 50),
    seed=st.none() | st.integers(0, 3),
    epoch=st.integers(0, 3),
    data=st.data(),
)
def test_an_epoch_has_every_cell_once_and_can_begin_at_any_batch(cells, batch_size, seed, epoch, data):
    found = planned(cells, batch_size, seed, epoch)
    assert sorted(np.concatenate(found).tolist()) == cells.tolist()
    assert len(found) == -(-len(cells) // batch_size)
    start = data.draw(st.integers(0, len(found)))
    assert planned(cells, batch_size, seed, epoch, start) == found[start:]


def test_order_follows_from_seed_and_epoch():
    cells = np.arange(300)
    assert planned(cells, 20, 0, 1) == planned(cells, 20, 0, 1)
    assert planned(cells, 20, 0, 0) != planned(cells, 20, 0, 1)
    assert planned(cells, 20, 0, 0) != planned(cells, 20, 1, 0)
    assert planned(cells, 20, None, 0) == planned(cells, 20, None, 1)
    batch = planned(cells, 20, 0, 0)[0]
    assert max(batch) - min(batch) > 20


def test_what_is_read_together_and_the_order_in_it_are_other_ones_in_every_epoch(monkeypatch):
    first = [set(planned(np.arange(300), 40, 0, epoch)[0]) for epoch in (0, 1)]
    assert len(first[0] & first[1]) < 30
    monkeypatch.setattr(_streaming, "CHUNK_SIZE", 300)  # one chunk, whose place among others tells nothing
    assert planned(np.arange(300), 40, 0, 0) != planned(np.arange(300), 40, 0, 1)


@pytest.mark.parametrize("n_processes", [2, 4])
def test_processes_share_every_batch_out(monkeypatch, n_processes):
    cells = np.arange(5, 305)
    whole = planned(cells, 30, 0, 2)
    monkeypatch.setattr(_streaming, "n_processes", lambda: n_processes)
    parts = []
    for number in range(n_processes):
        monkeypatch.setattr(_streaming, "own_number", lambda number=number: number)
        parts.append(planned(cells, 30, 0, 2))
    assert [sorted(np.concatenate(of_batch).tolist()) for of_batch in zip(*parts, strict=True)] == [
        sorted(batch) for batch in whole
    ]


def test_dense_rows_are_read_through_and_sparse_ones_one_by_one():
    np.testing.assert_array_equal(_span(np.array([3, 5, 9])), np.arange(3, 10))
    np.testing.assert_array_equal(_span(np.array([3, 500])), [3, 500])
    assert len(_span(np.array([], dtype=int))) == 0


def test_batches_that_are_made_ahead_are_the_same_and_say_what_failed():
    assert list(_made_ahead(iter(range(10)))) == list(range(10))

    def fails():
        yield 1
        raise ValueError("damaged")

    found = _made_ahead(fails())
    assert next(found) == 1
    with pytest.raises(ValueError, match="damaged"):
        list(found)
