"""Names of models: of an index, of a hub, of a record, URLs and paths."""

from pathlib import Path

import pytest

from sctab import SettingError
from sctab.zoo import fetch
from sctab.zoo._names import AtUrl, InIndex, OnHub, OnZenodo, parse


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("lung", InIndex("lung", None)),
        ("lung@2.1", InIndex("lung", "2.1")),
        ("hf://org/name", OnHub("org/name", None)),
        ("hf://org/name@v1.0", OnHub("org/name", "v1.0")),
        ("zenodo:1234567", OnZenodo("1234567", None)),
        ("zenodo:10.5281/zenodo.1234567", OnZenodo("1234567", None)),
        ("zenodo:1234567/lung.tar", OnZenodo("1234567", "lung.tar")),
        ("https://me:secret@example.org/a.tar?sig=1", AtUrl("https://me:secret@example.org/a.tar?sig=1")),
        ("s3://bucket/a.tar#sha256=" + "A" * 64, AtUrl("s3://bucket/a.tar", "a" * 64)),
        ("lung@latest", Path("lung@latest")),
        ("models/lung", Path("models/lung")),
        ("My-Model", Path("My-Model")),
        ("C:\\models", Path("C:\\models")),
        ("", Path()),
    ],
)
def test_each_kind_is_told_apart(text, parsed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse(text) == parsed


def test_a_path_that_exists_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "lung@2.1").mkdir()
    assert parse("lung@2.1") == Path("lung@2.1")
    assert parse(Path("lung")) == Path("lung")
    assert parse("~/lung") == tmp_path / "lung"


def test_what_gives_access_is_not_shown():
    assert parse("https://me:secret@example.org/a.tar?sig=1").shown == "https://example.org/a.tar"


@pytest.mark.parametrize("text", ["hf://org", "hf:org/name", "hf://org/name@", "zenodo:", "zenodo:abc", "zenodo:1/a\\b"])
def test_what_begins_like_a_name_and_is_none_is_refused(text):
    with pytest.raises(SettingError, match="does not name a model. Write `"):
        parse(text)


def test_a_hash_must_be_one():
    with pytest.raises(SettingError, match=r"`https://example.org/a.tar` is followed by `#sha256=abc`") as found:
        parse("https://example.org/a.tar?sig=secret#sha256=abc")
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("url", ["https://[x/lung.tar", "https://[x/lung", "file://[x/lung.tar", "s3://[x/lung.tar"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(SettingError, match=r"is not a valid URL: .*\. Check it\.$"):
        fetch(url)
