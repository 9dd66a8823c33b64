"""A version never changes under its name."""

from dataclasses import replace

import pytest
from tests.zoo_models import entry_values

from sctab import DownloadError
from sctab.zoo import _pins
from sctab.zoo._index import read_entry

ENTRY = read_entry(entry_values(), "x")


def test_another_hash_is_refused_for_ever(cache):
    _pins.check(ENTRY, "models.json")
    _pins.remember(ENTRY)
    _pins.check(ENTRY, "models.json")
    other = replace(ENTRY, sha256="b" * 64)
    with pytest.raises(DownloadError, match=r"`lung@2.1` has another SHA-256 in `models.json` than when it was first downloaded"):
        _pins.check(other, "models.json")
    _pins.remember(other)
    with pytest.raises(DownloadError, match="another SHA-256"):
        _pins.check(other, "models.json")
    _pins.check(replace(other, version="2.2"), "models.json")


def test_a_damaged_file_is_written_again(cache):
    _pins.remember(ENTRY)
    (cache / "versions/lung@2.1.sha256").write_text("")
    _pins.check(replace(ENTRY, sha256="b" * 64), "models.json")
    _pins.remember(ENTRY)
    assert (cache / "versions/lung@2.1.sha256").read_text() == "a" * 64 + "\n"


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(cache):
    cache.parent.write_text("a file")
    _pins.remember(ENTRY)
    _pins.check(ENTRY, "models.json")
