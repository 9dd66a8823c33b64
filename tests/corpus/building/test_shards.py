"""Cells that go to spill files and come back shard by shard."""

import numpy as np
import pytest
from scipy import sparse

from sctab.corpus.building._shards import SpillWriter, hash_rows, read_shard

pytest.importorskip("annbatch")


def test_hashes_do_not_depend_on_the_order_of_columns(rng):
    rows = sparse.random(20, 30, density=0.3, format="csr", dtype=np.float32, random_state=0)
    shuffled = rows[:, rng.permutation(30)].tocsr()
    back = rows.copy()
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        order = start + rng.permutation(stop - start)
        back.indices[start:stop], back.data[start:stop] = rows.indices[order], rows.data[order]
    np.testing.assert_array_equal(hash_rows(back), hash_rows(rows))
    assert (hash_rows(shuffled) != hash_rows(rows)).any()


def test_cells_come_back_from_their_shards(rng, tmp_path):
    """In few files, however many shards there are, and however often they are written to."""
    parts = [sparse.random(n, 30, density=0.3, format="csr", dtype=np.float32, random_state=n) for n in (97, 60)]
    shard = rng.integers(8, size=157)
    place = np.empty(157, dtype=np.int64)
    for each in range(8):
        place[shard == each] = rng.permutation(int((shard == each).sum()))
    for number, (part, first) in enumerate(zip(parts, (0, 97), strict=True)):
        (tmp_path / str(number)).mkdir()
        spills = SpillWriter(tmp_path / str(number))
        for start in range(0, part.shape[0], 10):
            rows = np.arange(start, min(start + 10, part.shape[0]))
            spills.add(part[rows], shard[first + rows], place[first + rows], rows)
            spills.flush()
        assert len(list((tmp_path / str(number)).iterdir())) == 7
    directories = [(4, tmp_path / "0"), (9, tmp_path / "1")]
    for each in range(8):
        cells = np.flatnonzero(shard == each)[np.argsort(place[shard == each])]
        found = read_shard(directories, each, 30)
        np.testing.assert_array_equal(found.matrix.toarray(), sparse.vstack(parts).tocsr()[cells].toarray())
        np.testing.assert_array_equal(found.source, np.where(cells < 97, 4, 9))
        np.testing.assert_array_equal(found.row, np.where(cells < 97, cells, cells - 97))
