"""Models from servers and stores into the cache."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from tests.outputs import contents, write_ensemble, write_model
from tests.served import Step, scripted, served
from tests.zoo_models import sha256, tar_of

import sctab
from sctab import DownloadError, ModelFormatError, SettingError
from sctab.zoo import _cache, fetch
from sctab.zoo._transfer import file_below


def files_in(cache):
    return [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_an_archive_at_a_url(tmp_path, small, cache):
    (tmp_path / "served").mkdir()
    archive = tar_of(small, tmp_path / "served/lung.tar.gz", mode="w:gz")
    handler = scripted(Step(cut=100), Step())
    with served(archive.parent, handler) as address:
        url = f"{address}/lung.tar.gz"
        path = fetch(url)
        assert contents(path) == contents(small)
        assert path.name == "lung"
        assert fetch(url) == path
    assert len([request for request in handler.requests if "range" not in request]) <= 2
    assert fetch(url, offline=True) == path
    (record,) = [each.record for each in _cache.everything() if each.path == path]
    assert (record.source, record.url, record.sha256) == (url, url, sha256(archive))
    assert not list(_cache.partial_dir().iterdir())


def test_a_hash_after_a_url_is_compared(tmp_path, small, cache):
    (tmp_path / "served").mkdir()
    tar_of(small, tmp_path / "served/lung.tar")
    with served(tmp_path / "served", scripted()) as address:
        with pytest.raises(DownloadError, match="is not the file that was expected: its SHA-256"):
            fetch(f"{address}/lung.tar#sha256={'0' * 64}")
        assert files_in(cache) == []


def test_http_needs_a_hash():
    with pytest.raises(SettingError, match=r"`http://example.org/a.tar` is read over http.*#sha256="):
        fetch("http://me:secret@example.org/a.tar")
    with pytest.raises(SettingError, match="is read over http"):
        fetch("http://example.org/model")


def test_a_hostile_archive_leaves_nothing(tmp_path, cache):
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.tar").write_bytes(b"x" * 1000)
    with served(tmp_path / "served", scripted()) as address, pytest.raises(ModelFormatError, match="cannot be unpacked"):
        fetch(f"{address}/a.tar")
    assert files_in(cache) == []


class TestDirectories:
    @pytest.fixture
    def real(self, tmp_path):
        shutil.copytree(sctab.zoo.packaged_path("pbmc"), tmp_path / "served/pbmc")
        return tmp_path / "served"

    def test_of_a_model(self, real):
        handler = scripted()
        with served(real, handler) as address:
            path = fetch(f"{address}/pbmc/")
        assert contents(path) == contents(real / "pbmc")
        assert path.name == "pbmc"
        assert fetch(f"{address}/pbmc/", offline=True) == path
        assert sctab.zoo.load_predictor(f"{address}/pbmc/").spec == sctab.zoo.load_predictor("pbmc").spec

    def test_of_an_ensemble(self, real):
        members = [sctab.zoo.load("pbmc") for _ in range(2)]
        sctab.model.DeepEnsemble.from_members(members).save(real / "two")
        with served(real, scripted()) as address:
            path = fetch(f"{address}/two")
        assert contents(path) == contents(real / "two")

    def test_of_an_object_store(self, real):
        fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
        fsspec.filesystem("memory").put(str(real / "pbmc"), "/store/pbmc", recursive=True)
        path = fetch("memory://store/pbmc")
        assert contents(path) == contents(real / "pbmc")

    def test_a_changed_file_is_refused(self, real, cache):
        content = bytearray((real / "pbmc/reference.safetensors").read_bytes())
        content[-1] ^= 1
        (real / "pbmc/reference.safetensors").write_bytes(content)
        with served(real, scripted()) as address, pytest.raises(DownloadError, match="reference.safetensors` is not the file"):
            fetch(f"{address}/pbmc")
        assert files_in(cache) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [("{", "is not valid JSON"), ("[]", "does not describe a model"), ("{}", "has no hash of `model.safetensors`")],
    )
    def test_a_description_that_is_none_is_refused(self, real, content, message, cache):
        (real / "pbmc/model.json").write_text(content)
        with served(real, scripted()) as address, pytest.raises(ModelFormatError, match=message):
            fetch(f"{address}/pbmc")
        assert files_in(cache) == []

    def test_without_a_model(self, real):
        with (
            served(real, scripted()) as address,
            pytest.raises(DownloadError, match="holds no model: `model.json` and `ensemble.json`"),
        ):
            fetch(f"{address}/other")
        write_ensemble(real / "bad")
        with served(real, scripted()) as address:
            (real / "bad/ensemble.json").write_text(json.dumps({"members": []}))
            with pytest.raises(ModelFormatError, match="lists no members"):
                fetch(f"{address}/bad")


def test_paths_stay_before_the_query():
    assert file_below("s3://bucket/a", "model.json") == "s3://bucket/a/model.json"
    assert file_below("https://example.org?x=1", "a b") == "https://example.org/a%20b?x=1"


FETCH = "import sys; from sctab.zoo import fetch; print(fetch(sys.argv[1], show_progress=False))"


def test_four_processes_get_one_copy(tmp_path, cache):
    write_model(tmp_path / "model", text="x" * 10)
    (tmp_path / "model/model.safetensors").write_bytes(os.urandom(500_000))
    (tmp_path / "served").mkdir()
    tar_of(tmp_path / "model", tmp_path / "served/a.tar")
    handler = scripted(Step(pause=0.1))
    with served(tmp_path / "served", handler) as address:
        command = [sys.executable, "-c", FETCH, f"{address}/a.tar"]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        found = [process.communicate(timeout=120)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(set(found)) == 1
    assert len(handler.requests) == 1
    assert len(_cache.everything()) == 1
