"""Batches of counts from memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.train._batches import MemoryBatches, to_sparse_tensor

COUNTS = sparse.csr_matrix(np.arange(1, 101, dtype=np.float32)[:, None] * np.array([1, 0, 2], dtype=np.float32))
LABELS = np.arange(100)
NOTHING = sparse.csr_matrix((100, 0), dtype=np.float32)


def batches(cells, batch_size, seed):
    return MemoryBatches(COUNTS, NOTHING, LABELS, np.asarray(cells), batch_size, seed=seed)


def cells_of(loader):
    return [labels.tolist() for _, _, labels in loader]


@given(n=st.integers(1, 100), batch_size=st.integers(2, 40), seed=st.none() | st.integers(0, 5), epoch=st.integers(0, 3))
def test_an_epoch_has_every_cell_once_in_batches_of_nearly_equal_size(n, batch_size, seed, epoch):
    cells = np.arange(100)[-n:]
    loader = batches(cells, batch_size, seed)
    loader.set_epoch(epoch)
    found = cells_of(loader)
    assert sorted(np.concatenate(found).tolist()) == cells.tolist()
    sizes = [len(batch) for batch in found]
    assert len(found) == len(loader)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_counts_are_those_of_the_cells():
    for counts, covariates, labels in batches(range(20, 50), 7, 0):
        np.testing.assert_array_equal(counts.to_dense(), COUNTS[labels.numpy()].toarray())
        assert covariates.shape == (len(labels), 0)


def test_order_follows_from_seed_and_epoch_and_not_from_what_was_read_before():
    def order(seed, epoch):
        loader = batches(range(100), 10, seed)
        loader.set_epoch(epoch)
        return cells_of(loader)

    loader = batches(range(100), 10, 4)
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert cells_of(loader) == order(4, epoch)
    assert order(4, 0) != order(4, 1) != order(4, 2)
    assert order(4, 1) != order(5, 1)
    assert order(None, 0) == order(None, 7) == [part.tolist() for part in np.array_split(range(100), 10)]


@pytest.mark.parametrize("n_read", [0, 1, 6])
def test_going_on_leaves_out_what_was_given(n_read):
    loader, whole, other = (batches(range(100), 10, 1) for _ in range(3))
    for each in (loader, whole, other):
        each.set_epoch(2)
    given_before = iter(loader)
    read = [next(given_before)[2].tolist() for _ in range(n_read)]
    other.load_state_dict(loader.state_dict())
    assert read + cells_of(other) == cells_of(whole)
    for each in (whole, other):
        each.set_epoch(3)
    assert cells_of(other) == cells_of(whole)


def test_a_sparse_tensor_has_the_values_of_the_matrix():
    block = sparse.random(7, 5, density=0.4, format="csr", random_state=0)
    found = to_sparse_tensor(block)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.to_dense(), block.toarray(), rtol=1e-6)
