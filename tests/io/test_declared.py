"""Declarations of strangers: plain values of bounded size, or a refusal."""

import os
import time

import pytest

from sctab import DataFileError, SettingError
from sctab.io.declared import integer, read_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_plain_values_and_aliases(tmp_path):
    (tmp_path / "a.yaml").write_text("common: &c {layer: counts}\none: *c\nother:\n  <<: *c\n  layer: raw\n")
    assert read_yaml(tmp_path / "a.yaml") == {"common": {"layer": "counts"}, "one": {"layer": "counts"}, "other": {"layer": "raw"}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LAUGHS, "more than 1,000,000 values"),
        ("a: &a [*a]", "it holds itself"),
        ("a: 1\na: 2", "`a` is there twice"),
        ("!!python/object/apply:os.system [exit]", "is not valid YAML"),
        ("!!python/name:os.system", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("a: 2024-99-99", "is not valid YAML"),
        ("? [1, 2]\n: 3", "is not valid YAML|"),
        ("a: \x00", "is not valid YAML"),
        ("9" * 5000, "is not valid YAML"),
    ],
)
def test_what_is_refused(tmp_path, content, says):
    (tmp_path / "a.yaml").write_text(content)
    began = time.monotonic()
    with pytest.raises(DataFileError, match=says):
        read_yaml(tmp_path / "a.yaml")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("value", [16**5000, [["x" * 10**6]], "x" * 10**6], ids=["digits", "list", "string"])
def test_values_in_messages_are_short(value):
    with pytest.raises(SettingError, match=r"^`a`: an integer of at least 0 and below 2\^63 was expected, found `.{1,210}`\.$"):
        integer(value, "`a`")


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataFileError, match="not a regular file"):
        read_yaml(tmp_path)
    with pytest.raises(DataFileError, match="Check the path"):
        read_yaml(tmp_path / "missing.yaml")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.yaml")
        with pytest.raises(DataFileError, match="not a regular file"):
            read_yaml(tmp_path / "pipe.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DataFileError, match="more than the 16,777,216"):
        read_yaml(tmp_path / "large.yaml")
