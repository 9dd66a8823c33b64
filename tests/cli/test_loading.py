"""Garbage collection is off while libraries are loaded, and afterwards as it was."""

import gc

import pytest

from sctab.cli._loading import without_garbage_collection


@pytest.fixture(autouse=True)
def restored():
    was_on = gc.isenabled()
    yield
    (gc.enable if was_on else gc.disable)()


def test_off_within_the_block():
    gc.enable()
    with without_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_on_again_after_an_error():
    gc.enable()
    with pytest.raises(ImportError), without_garbage_collection():
        raise ImportError
    assert gc.isenabled()


def test_stays_off_where_it_was_off():
    gc.disable()
    with without_garbage_collection():
        pass
    assert not gc.isenabled()
