"""Heaps of HDF5 files that never end: HDF5 itself does not return from them, so they are read in a process that can be ended."""

import struct
import subprocess
import sys

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from tests.served import GivesParts, served

from sctab import DataFileError
from sctab.io._heaps import SoundHeaps, is_endless, require_sound_heaps

_HEADER, _OBJECT = 16, 16
READ = "from sctab.io import {what}; import sys; {what}(sys.argv[1])"


@pytest.fixture
def path(tmp_path):
    X = sparse.random(50, 20, density=0.5, format="csr", random_state=0, dtype=np.float32)
    obs = pd.DataFrame({"kind": [f"kind {i} of a cell" for i in range(50)]}, index=[f"cell-{i}" for i in range(50)])
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(20)])
    with ad.settings.override(allow_write_nullable_strings=False):
        ad.AnnData(X, obs=obs, var=var, uns={"note": "some words"}).write_h5ad(
            tmp_path / "query.h5ad", convert_strings_to_categoricals=False
        )
    return tmp_path / "query.h5ad"


def heap_of(content, text):
    """Where the heap begins that holds a text, and where the object with it begins."""
    at = content.index(text)
    start = content.rindex(b"GCOL", 0, at)
    place = start + _HEADER
    while True:
        index, size = struct.unpack_from("<H6xQ", content, place)
        step = size if index == 0 else _OBJECT + -(-size // 8) * 8
        if place <= at < place + step:
            return start, place
        place += step


def spoil(path, text, index, size):
    content = bytearray(path.read_bytes())
    _, place = heap_of(content, text)
    struct.pack_into("<H6xQ", content, place, index, size)
    path.write_bytes(content)


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("what", ["read_data_file", "DataFile"])
@pytest.mark.parametrize("text", [b"kind 7 of a cell", b"cell-7", b"ENSG00000000007", b"some words", b"csr_matrix"])
@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 2**64 - 16)])
def test_it_is_refused(path, what, text, index, size):
    spoil(path, text, index, size)
    done = run(READ.format(what=what), path)
    assert done.returncode == 1
    assert "DataFileError" in done.stderr
    assert "damaged text" in done.stderr


def test_one_that_is_not_read_is_none_of_our_business(path):
    with h5py.File(path, "r+") as file:
        file["obsp/note"] = [f"words that nothing reads {i}" for i in range(400)]
    spoil(path, b"words that nothing reads 7", 0, 0)
    require_sound_heaps(path, read=("X", "obs", "var", "uns"))
    with pytest.raises(DataFileError, match="damaged text"):
        require_sound_heaps(path)


def test_behind_a_url_it_is_refused(path):
    spoil(path, b"cell-7", 0, 0)
    with served(path.parent, GivesParts) as address:
        done = run(READ.format(what="DataFile") + ".names(0, 50)", f"{address}/query.h5ad")
    assert done.returncode == 1
    assert "DataFileError" in done.stderr


def test_sound_files_are_read_as_they_are(path, tmp_path):
    require_sound_heaps(path)
    with h5py.File(path) as direct, path.open("rb") as raw, h5py.File(SoundHeaps(raw), "r") as through:
        assert list(through["obs/kind"].asstr()[:]) == list(direct["obs/kind"].asstr()[:])
        assert dict(through["X"].attrs)["encoding-type"] == dict(direct["X"].attrs)["encoding-type"] == "csr_matrix"


def test_other_damage_is_left_to_those_who_read(path):
    content = bytearray(path.read_bytes())
    start, _ = heap_of(content, b"cell-7")
    content[start : start + 4] = b"NONE"
    path.write_bytes(content)
    require_sound_heaps(path)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30), st.integers(0, 200))
def test_heaps_that_hdf5_could_have_written_end(texts, free):
    objects = b"".join(struct.pack("<HHIQ", i + 1, 1, 0, len(text)) + text + bytes(-len(text) % 8) for i, text in enumerate(texts))
    free = 8 * free + 16
    content = objects + struct.pack("<HHIQ", 0, 0, 0, free) + bytes(free - 16)
    heap = b"GCOL\x01\x00\x00\x00" + struct.pack("<Q", 16 + len(content)) + content
    assert not is_endless(heap)
    for at in range(len(texts)):  # an object that is made to take no space
        place = 16 + sum(16 + len(text) + -len(text) % 8 for text in texts[:at])
        assert is_endless(heap[:place] + struct.pack("<HHIQ", 0, 0, 0, 0) + heap[place + 16 :])
