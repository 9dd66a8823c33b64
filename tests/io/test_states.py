"""Changes of files are noticed."""

import os

from tests.formats import write_market, write_ten_x

from sctab.io._states import is_same, stamp, state


def test_a_file(query, tmp_path):
    path = write_ten_x(query[:9], tmp_path / "a.h5")
    before, size = stamp(str(path)), state(str(path))
    assert is_same(before, stamp(str(path)))
    write_ten_x(query[:8], path)
    assert not is_same(before, stamp(str(path)))
    assert state(str(path)) != size


def test_each_file_of_a_matrix(query, tmp_path):
    folder = write_market(query[:9], tmp_path / "m")
    before, size = stamp(str(folder)), state(str(folder))
    (folder / "other.txt").write_text("not a part of it")
    assert is_same(before, stamp(str(folder)))
    for path in ("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"):
        os.utime(folder / path, (1, 1))
        assert not is_same(before, stamp(str(folder)))
        assert state(str(folder)) != size
        before, size = stamp(str(folder)), state(str(folder))
