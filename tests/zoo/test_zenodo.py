"""Records of Zenodo, from a server that answers like it."""

import hashlib
import json

import pytest
from tests.outputs import contents
from tests.served import scripted, served
from tests.zoo_models import tar_of

from sctab import DownloadError, ModelNotFoundError
from sctab.zoo import fetch


@pytest.fixture
def record(tmp_path, small):
    """Folder of a server with the record 1234567."""
    files = tmp_path / "served/api/records/1234567.files"
    files.mkdir(parents=True)
    return tar_of(small, files / "lung.tar")


def host(tmp_path, archive, *names, **changes):
    """Handler of a server with a record of some files, which all have the content of an archive."""
    content = archive.read_bytes()
    file = {"size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"} | changes
    values = {"id": 1234567, "files": [file | {"key": name} for name in names]}

    class Zenodo(scripted()):
        def do_GET(self):
            if self.path == "/api/records/1234567":
                self._send(200, json.dumps(values).encode(), self.steps[0], {"Content-Type": "application/json"})
            elif self.path.endswith("/content"):
                self.requests.append(self.path)
                self._send(200, content, self.steps[0])
            else:
                self._send(404, b"", self.steps[0])

    return served(tmp_path, Zenodo), Zenodo.requests


def test_the_only_archive_of_a_record(tmp_path, record, small, monkeypatch):
    server, requests = host(tmp_path, record, "lung atlas.tar", "README.md")
    with server as address:
        monkeypatch.setenv("SCTAB_ZENODO", address)
        path = fetch("zenodo:1234567")
        assert contents(path) == contents(small)
        assert requests == ["/api/records/1234567/files/lung%20atlas.tar/content"]
        assert fetch("zenodo:1234567/lung atlas.tar") == path
    assert fetch("zenodo:1234567", offline=True) == path


def test_one_of_several(tmp_path, record, monkeypatch):
    server, _ = host(tmp_path, record, "a.tar", "b.tar")
    with server as address:
        monkeypatch.setenv("SCTAB_ZENODO", address)
        with pytest.raises(
            ModelNotFoundError, match="has 2 archives, and one was expected. Choose a file with `zenodo:1234567/FILE`"
        ):
            fetch("zenodo:1234567")
        assert fetch("zenodo:1234567/b.tar").name == "b"
        with pytest.raises(ModelNotFoundError, match=r"has no file `c.tar`.* Files: `a.tar`, `b.tar`"):
            fetch("zenodo:1234567/c.tar")


def test_another_content_is_refused(tmp_path, record, monkeypatch):
    server, _ = host(tmp_path, record, "a.tar", checksum="md5:" + "0" * 32)
    with server as address:
        monkeypatch.setenv("SCTAB_ZENODO", address)
        with pytest.raises(DownloadError, match="its MD5 is"):
            fetch("zenodo:1234567")
        with pytest.raises(DownloadError, match="there is no such file"):
            fetch("zenodo:7654321")


def test_what_is_no_record_is_refused(tmp_path, monkeypatch):
    (tmp_path / "served/api/records").mkdir(parents=True)
    (tmp_path / "served/api/records/1").write_text("{}")
    with served(tmp_path / "served", scripted()) as address:
        monkeypatch.setenv("SCTAB_ZENODO", address)
        with pytest.raises(ModelNotFoundError, match="does not describe a record"):
            fetch("zenodo:1")


def test_offline():
    with pytest.raises(DownloadError, match="`zenodo:1` is not in the cache .*, and the network is not used"):
        fetch("zenodo:1", offline=True)
