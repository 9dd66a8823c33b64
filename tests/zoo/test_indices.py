"""Indices: found, read, copied and refreshed."""

import json
import os
import time
import warnings
from pathlib import Path

import pytest
from tests.served import Step, scripted, served
from tests.zoo_models import entry_values, index_file

from sctab import DownloadError, SctabWarning, SettingError
from sctab.zoo import _cache
from sctab.zoo._indices import addresses, read_indices


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served").mkdir()
    index_file(tmp_path / "served/models.json", entry_values())
    return tmp_path / "served"


def names(indices):
    return [found.entry.reference for found in indices]


def own(indices):
    return [(address, [entry.reference for entry in index.models]) for address, index in indices.indices[:-1]]


class TestAddresses:
    def test_of_option_environment_and_configuration(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SCTAB_ZOO", "https://a.org:8080/x/models.json, s3://bucket/zoo")
        (tmp_path / "config.toml").write_text('[zoo]\nindices = ["lab", "https://b.org/zoo", "https://a.org:8080/x/models.json"]\n')
        assert addresses(["~x", tmp_path]) == [
            str(Path("~x/models.json")),
            str(tmp_path / "models.json"),
            "https://a.org:8080/x/models.json",
            "s3://bucket/zoo/models.json",
            str(tmp_path / "lab/models.json"),
            "https://b.org/zoo/models.json",
        ]

    def test_paths_as_in_PATH(self, monkeypatch):
        monkeypatch.setenv("SCTAB_ZOO", os.pathsep.join(["/a", "/b/lab.json", ""]))
        assert addresses() == [str(Path("/a/models.json")), "/b/lab.json"]

    def test_without_any(self):
        assert addresses() == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("zoo = [", "cannot be read"),
            ("[zooo]", "`zooo` is not known"),
            ("[zoo]\nindex = 1", "`index` is not known"),
            ("[zoo]\nindices = 1", "a list was expected"),
        ],
    )
    def test_an_invalid_configuration_is_refused(self, tmp_path, text, message):
        (tmp_path / "config.toml").write_text(text)
        with pytest.raises(SettingError, match=f"The configuration .*{message}"):
            addresses()

    def test_http_is_refused(self):
        with pytest.raises(SettingError, match="is read over http"):
            addresses("http://example.org/models.json")


class TestReading:
    def test_a_file_and_a_folder(self, folder):
        for index in (folder, str(folder), folder / "models.json", (folder / "models.json").as_uri(), [folder]):
            assert names(read_indices(index, offline=False))[0] == "lung@2.1"

    def test_a_copy_is_used_until_it_is_old(self, folder):
        handler = scripted()
        with served(folder, handler) as address:
            for _ in range(3):
                assert own(read_indices(address, offline=False)) == [(f"{address}/models.json", ["lung@2.1"])]
            assert len(handler.requests) == 1
            read_indices(address, offline=False, max_age=0)
        assert [request.get("if-none-match") for request in handler.requests] == [None, '"1"']
        assert own(read_indices(address, offline=True))[0][1] == ["lung@2.1"]

    def test_a_new_index_takes_the_place_of_the_copy(self, folder):
        with served(folder, scripted(Step(tag='"1"'), Step(tag='"2"'))) as address:
            read_indices(address, offline=False)
            index_file(folder / "models.json", entry_values(version="2.2"))
            assert own(read_indices(address, offline=False, max_age=0))[0][1] == ["lung@2.2"]
        assert own(read_indices(address, offline=True))[0][1] == ["lung@2.2"]

    @pytest.mark.parametrize(
        "step",
        [Step(status=404), Step(tag='"2"', body=b"<html>"), Step(tag='"2"', body=b'{"format": "sctab-models"'), Step(tag='"2"', cut=20),
         Step(close=True), Step(status=503), Step(headers={"Content-Type": "text/html"}, tag='"2"'), Step(tag='"2"', body=b"\xff\xfe")],
        ids=lambda step: str(step.status or step.body or step.cut or "closed"),
    )  # fmt: skip
    def test_a_failed_refresh_leaves_the_copy_and_says_so(self, folder, step):
        with served(folder, scripted(Step(), step)) as address:
            read_indices(address, offline=False)
            with pytest.warns(SctabWarning, match=r"The index could not be refreshed, and its copy of \d{4}-\d\d-\d\d is used: "):
                assert own(read_indices(address, offline=False, max_age=0))[0][1] == ["lung@2.1"]
        assert own(read_indices(address, offline=True))[0][1] == ["lung@2.1"]

    def test_one_that_cannot_be_read_does_not_hide_the_others(self, folder, tmp_path):
        (tmp_path / "bad.json").write_text("{")
        found = read_indices([tmp_path / "bad.json", tmp_path / "none", folder], offline=True)
        assert len(own(found)) == 1
        assert len(found.problems) == 2
        assert "is not a valid index of models" in found.problems[0]
        assert "could not be read" in found.problems[1]

    def test_offline_without_a_copy(self):
        found = read_indices("https://example.org/zoo", offline=True)
        assert "There is no copy of the index `https://example.org/zoo/models.json`" in found.problems[0]

    @pytest.mark.parametrize("damage", ["{", "{}", '{"format": "sctab-index-copy", "tag": 1, "content": "", "fetched": 1}'])
    def test_a_damaged_copy_is_read_again(self, folder, cache, damage):
        with served(folder, scripted()) as address:
            read_indices(address, offline=False)
            (copy,) = (cache / "indices").iterdir()
            copy.write_text(damage)
            assert own(read_indices(address, offline=False))[0][1] == ["lung@2.1"]
            assert json.loads(copy.read_text())["tag"] == '"1"'

    def test_a_copy_of_the_future_is_old(self, folder, monkeypatch):
        handler = scripted()
        with served(folder, handler) as address:
            read_indices(address, offline=False)
            then = time.time() - 10_000
            monkeypatch.setattr(time, "time", lambda: then)
            read_indices(address, offline=False)
        assert len(handler.requests) == 2

    def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(self, folder, cache):
        cache.parent.write_text("a file")
        with served(folder, scripted()) as address, warnings.catch_warnings(action="error"):
            assert own(read_indices(address, offline=False))[0][1] == ["lung@2.1"]

    def test_credentials_are_not_kept(self, folder, cache):
        with served(folder, scripted()) as address:
            read_indices(f"{address.replace('//', '//me:secret@')}/models.json?key=secret", offline=False)
        assert "secret" not in "".join(path.read_text() for path in (cache / "indices").iterdir())


class TestFinding:
    def test_the_first_index_that_has_a_model_decides(self, tmp_path):
        index_file(tmp_path / "a.json", entry_values(version="1"), entry_values(version="1.5"))
        index_file(tmp_path / "b.json", entry_values(version="2"))
        indices = read_indices([tmp_path / "a.json", tmp_path / "b.json"], offline=True)
        assert indices.find("lung", None).entry.version == "1.5"
        assert indices.find("lung", "2").index == str(tmp_path / "b.json")
        assert indices.find("lung", "3") is indices.find("heart", None) is None
        assert names(indices)[:3] == ["lung@1", "lung@1.5", "lung@2"]

    def test_indices_that_disagree_are_refused(self, tmp_path):
        index_file(tmp_path / "a.json", entry_values())
        index_file(tmp_path / "b.json", entry_values(sha256="b" * 64))
        indices = read_indices([tmp_path / "a.json", tmp_path / "b.json"], offline=True)
        with pytest.raises(DownloadError, match="`lung@2.1` has different hashes in"):
            indices.find("lung", None)
        assert _cache.everything() == []


def test_archives_beside_an_index_are_read_with_its_credentials(folder):
    """From the first time on, and not only from the copy."""
    handler = scripted(Step())
    with served(folder, handler) as address:
        given = address.replace("://", "://me:secret@")
        for _ in range(2):
            (found, _) = read_indices(given, offline=False).indices
            assert found[1].models[0].urls == (f"{given}/lung-2.1.tar",)
            assert "secret" not in found[0]


def test_an_invalid_index_does_not_show_credentials(folder):
    (folder / "models.json").write_text("{}")
    with served(folder, scripted(Step())) as address:
        (problem,) = read_indices(address.replace("://", "://me:secret@"), offline=False).problems
    assert "is not a valid index" in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    "address", ["https://[example.org/models.json", "https://[example.org", "file://[x/models.json", "s3://[x"]
)
def test_an_address_that_is_no_url(address):
    with pytest.raises(SettingError, match=r"is not a valid URL: Invalid IPv6 URL\. Check it\.$"):
        read_indices(address, offline=False)
