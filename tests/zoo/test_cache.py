"""The cache of models: whole or absent, whatever happens."""

import json
import os
import time

import pytest
from tests.outputs import write_model

from sctab import DownloadError, ModelFormatError
from sctab.zoo import _cache
from sctab.zoo._cache import Record

KEY = _cache.key_of("a")


def stored(key=KEY, name="lung@2.1", fill=write_model):
    with _cache.alone(key, name):
        return _cache.store(key, Record(name, "a" * 64, 7, name="lung", version="2.1"), name, fill)


def test_what_is_stored_is_found(cache):
    assert _cache.find(KEY) is None
    assert _cache.everything() == []
    cached = stored()
    assert cached == _cache.find(KEY)
    assert _cache.everything() == [cached]
    assert cached.path == cache / "models" / KEY / "lung@2.1"
    assert set(cached.record.files) == {"model.json", "model.safetensors"}
    assert cached.n_bytes == sum(path.stat().st_size for path in cached.path.iterdir())
    assert (cached.is_whole(), cached.problems()) == (True, [])
    assert list((cache / "partial").iterdir()) == []


def test_a_failure_leaves_nothing(cache):
    def fail(directory):
        write_model(directory)
        raise ModelFormatError("no")

    with pytest.raises(ModelFormatError, match="no"):
        stored(fill=fail)
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_full_disk_says_so_and_leaves_nothing(cache):
    def fill(directory):
        write_model(directory)
        raise OSError(28, "No space left on device")

    with pytest.raises(DownloadError, match=r"cannot be written: the disk is full. Free some space, or set .*`SCTAB_CACHE`"):
        stored(fill=fill)
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_what_a_killed_process_has_left_is_removed(cache):
    left = cache / "partial" / f"{KEY}-0123"
    left.mkdir(parents=True)
    (left / "model.json").write_text("half")
    stored()
    assert not left.exists()


@pytest.mark.parametrize("damage", ["truncated", "missing", "changed", "record", "no record", "foreign"])
def test_damage_is_seen_and_repaired(damage):
    cached = stored()
    weights, record = cached.path / "model.safetensors", cached.path.parent / "download.json"
    match damage:
        case "truncated":
            weights.write_bytes(b"")
        case "missing":
            weights.unlink()
        case "changed":
            weights.write_bytes(bytes(len(weights.read_bytes())))
        case "record":
            record.write_text("{")
        case "no record":
            record.unlink()
        case "foreign":
            values = json.loads(record.read_text())
            values["files"]["../../x"] = [1, "a"]
            record.write_text(json.dumps(values))
    if damage == "changed":  # only `verify` reads every byte; weights are hashed when they are loaded, too
        assert _cache.find(KEY) is not None
        assert "SHA-256" in cached.problems()[0]
        return
    assert _cache.find(KEY) is None
    if damage in {"truncated", "missing"}:
        assert len(cached.problems()) == 1
        assert [each.key for each in _cache.everything()] == [KEY]
    repaired = stored()
    assert repaired.problems() == []


def test_one_process_at_a_time(monkeypatch):
    from threading import Thread

    monkeypatch.setattr(_cache, "_PATIENCE", 0.1)
    order = []

    def other():
        with pytest.warns(UserWarning, match="Another process is downloading `lung`; waiting for it."), _cache.alone(KEY, "lung"):
            order.append("second")

    with _cache.alone(KEY, "lung"):
        thread = Thread(target=other)
        thread.start()
        time.sleep(1.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written_says_so(cache):
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    with pytest.raises(DownloadError, match="there is no permission to write there"):
        stored()


def test_a_cache_that_is_a_file_says_so(cache):
    cache.parent.write_text("")
    with pytest.raises(DownloadError, match="a part of its path is a file and not a directory"):
        stored()
    assert _cache.find(KEY) is None
    assert _cache.everything() == []


def test_models_are_removed_and_partial_files_too(cache):
    cached = stored()
    (cache / "partial" / f"{KEY}.part").write_bytes(b"12345")
    with _cache.alone(KEY, "x"):
        assert _cache.remove_partial() == 0  # a process works on it
    assert _cache.remove_partial(older_than=60) == 0
    assert _cache.remove_partial() == 5
    _cache.remove(cached)
    assert _cache.everything() == []


def test_use_is_remembered():
    cached = stored()
    os.utime(cached.path.parent / "download.json", (1, 1))
    assert _cache.unused_for(30) == [cached]
    _cache.mark_used(cached)
    assert _cache.unused_for(30) == []


def test_names_of_directories_are_safe():
    assert [_cache.safe_name(text) for text in ("lung@2.1", "../a b", "a/b.", "", "ä", "x" * 99)] == [
        "lung@2.1", "a-b", "a-b", "model", "model", "x" * 80]  # fmt: skip


def test_files_of_others_are_not_removed(cache):
    (cache / "partial").mkdir(parents=True)
    for name in ("notes.txt", f"{KEY}", f"{KEY}.partly", f"{KEY}-01234567x"):
        (cache / "partial" / name).write_text("mine")
    assert _cache.remove_partial() == 0
    assert len(list((cache / "partial").iterdir())) == 4


def test_what_another_process_has_removed_is_removed(cache):
    cached = stored()
    _cache.remove(cached)
    _cache.remove(cached)
    assert _cache.everything() == []


@pytest.mark.parametrize("version", ["../x", "1.x", "٢"])
def test_a_record_with_a_version_that_no_index_has_is_not_read(cache, version):
    cached = stored()
    path = cached.path.parent / "download.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))
    assert _cache.everything() == []
