"""Indices of models: one strict JSON, whose every field is checked."""

import json

import pytest
from tests.zoo_models import entry_values

from sctab import DataFileError, SettingError
from sctab.zoo._index import Index, ModelEntry, absolute_url, is_name, is_version, matching, read_entry, read_index


def content(*entries, **changes):
    return json.dumps({"format": "sctab-models", "format_version": 1, "models": list(entries)} | changes).encode()


def read(*entries, **changes):
    return read_index(content(*entries, **changes), "https://example.org/zoo/models.json")


def test_it_is_written_as_it_is_read():
    values = entry_values(labels=["B cell", "x"], label_ids=["CL:0000236", None], scores={"macro_f1": 0.5}, n_cells=7,
                          sources=[{"name": "a", "doi": "10.1/2", "n_cells": 3}], tissues=["lung"])  # fmt: skip
    index = read(values)
    assert index.models[0].urls == ("https://example.org/zoo/lung-2.1.tar",)
    assert index.to_json()["models"] == [values | {"url": "https://example.org/zoo/lung-2.1.tar"}]
    assert read_index(index.to_bytes(), "elsewhere") == index


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Lung"}, "a name of lower-case letters"),
        ({"name": "../lung"}, "a name of lower-case letters"),
        ({"name": "con"}, "a name of lower-case letters"),
        ({"version": "2.1-rc1"}, "numbers separated by dots"),
        ({"version": 2}, "a string was expected, found `2`"),
        ({"sha256": "abc"}, "a SHA-256 of 64 hexadecimal digits"),
        ({"sha256": None}, "a string was expected"),
        ({"size": -1}, "an integer of at least 0 and below 2^63 was expected"),
        ({"size": True}, "an integer of at least 0 and below 2^63 was expected"),
        ({"size": 2**64}, "an integer of at least 0 and below 2^63 was expected"),
        ({"scores": {"macro_f1": 10**400}}, "a finite number was expected"),
        ({"version": "٢.١"}, "numbers separated by dots"),
        ({"import_command": "rm -rf ~"}, "`sctab import-checkpoint` with names"),
        ({"import_command": "sctab import-checkpoint a; rm -rf ~"}, "`sctab import-checkpoint` with names"),
        ({"url": "https://[example.org/lung.tar"}, "a URL, or a relative path"),
        ({"url": "../lung.tar"}, "a relative path without `..`"),
        ({"url": "/etc/passwd"}, "a relative path without `..`"),
        ({"urls": ["a.tar"]}, "exclude each other"),
        ({"licence": "MIT"}, "`licence` is not known"),
        ({"description": "a\nb"}, "printable characters"),
        ({"description": ""}, "printable characters"),
        ({"scores": {"f1": float("nan")}}, "a finite number was expected"),
        ({"labels": ["a"], "label_ids": []}, None),
        ({"labels": ["a"], "label_ids": ["CL:1", "CL:2"]}, "there are 2 ids for 1 labels"),
        ({"label_ids": ["CL 1"], "labels": ["a"]}, "an id such as `CL:0000236`"),
        ({"sources": [{"url": "x"}]}, "lacks `name`"),
    ],
    ids=str,
)
def test_an_invalid_entry_is_refused_with_its_field(changes, reason):
    if reason is None:
        read(entry_values() | changes)
        return
    with pytest.raises(
        DataFileError, match=r"`https://example.org/zoo/models.json` is not a valid index of models: Entry 0"
    ) as found:
        read(entry_values() | changes)
    assert reason in str(found.value)


@pytest.mark.parametrize("missing", ["name", "version", "description", "license", "organism", "url", "size", "sha256"])
def test_what_is_missing_is_named(missing):
    values = entry_values()
    del values[missing]
    with pytest.raises(DataFileError, match=rf"lacks `{missing}s?`"):
        read(values)


def test_published_files_need_no_hash():
    values = entry_values(import_command="sctab import-checkpoint a")
    del values["size"], values["sha256"]
    entry = read_entry(values, "x")
    assert entry.import_command == "sctab import-checkpoint a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "is not a valid index"),
        (b"[]", "a mapping of names to values was expected"),
        (b"<html>", "is not a valid index"),
        (content(format="other"), "its `format` must be `sctab-models`, and is `.other.`"),
        (content(format_version=2), "A newer sctab may read it"),
        (content(more=1), "`more` is not known"),
        (content(models={}), "a list was expected"),
        (b'{"format": "sctab-models", "format": "sctab-models"}', "same key twice"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_index_is_refused(text, reason):
    with pytest.raises(DataFileError, match=reason):
        read_index(text, "models.json")


def test_a_version_is_listed_once():
    with pytest.raises(DataFileError, match="`lung@2.1` is listed twice"):
        read(entry_values(), entry_values())


def test_versions_are_sorted_as_numbers():
    index = read(*(entry_values(version=version) for version in ("2.9", "2.10", "1")))
    assert [entry.version for entry in index.versions("lung")] == ["2.10", "2.9", "1"]
    assert index.versions("heart") == []


def test_a_version_never_changes():
    index = read(entry_values())
    same = index.with_entry(index.models[0])
    assert same == index
    other = ModelEntry(**{**vars(index.models[0]), "sha256": "b" * 64})
    with pytest.raises(SettingError, match="the content of a version never changes"):
        index.with_entry(other)
    newer = ModelEntry(**{**vars(other), "version": "2.2"})
    assert [entry.version for entry in index.with_entry(newer).versions("lung")] == ["2.2", "2.1"]
    assert Index().with_entry(newer).models == (newer,)


@pytest.mark.parametrize(
    ("url", "address", "absolute"),
    [
        ("a.tar", "https://example.org/zoo/models.json?sig=1", "https://example.org/zoo/a.tar"),
        ("a.tar", "/shared/zoo/models.json", "/shared/zoo/a.tar"),
        ("a.tar", "memory://zoo/models.json", "memory://zoo/a.tar"),
        ("a.tar", "models.json", "a.tar"),
        ("a.tar", r"C:\zoo\models.json", r"C:\zoo\a.tar"),
        ("https://other.org/a.tar", "models.json", "https://other.org/a.tar"),
        ("zenodo:1/a.tar", "models.json", "zenodo:1/a.tar"),
    ],
)
def test_addresses_begin_at_the_index(url, address, absolute):
    assert absolute_url(url, address) == absolute


def test_names_are_names_on_every_system():
    assert [name for name in ("lung", "a", "b.2", "con", "nul.x", "a.", "-a", "A", "a..b", "", "a/b", "a" * 65) if is_name(name)] == [
        "lung", "a", "b.2"]  # fmt: skip
    assert [text for text in ("1", "2.1", "2024.12.1.3", "", "1.", "v1", "1.2.3.4.5", "1" * 10) if is_version(text)] == [
        "1", "2.1", "2024.12.1.3"]  # fmt: skip


def test_entries_are_found_by_tissue_organism_and_labels():
    index = read(
        entry_values(tissues=["upper lobe of lung"], labels=["B cell"], label_ids=["CL:0000236"]),
        entry_values(name="mouse", organism="Mus musculus", tissues=["lung"]),
    )
    names = lambda **options: [entry.name for entry in matching(index.models, **options)]  # noqa: E731
    assert names() == names(tissue="Lung") == ["lung", "mouse"]
    assert names(organism="mus") == ["mouse"]
    assert names(labels=["b cell"]) == names(labels=["CL:0000236"]) == ["lung"]
    assert names(labels=["b cell", "T cell"]) == names(tissue="heart") == []
