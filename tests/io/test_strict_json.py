"""JSON in files that nobody vouches for."""

import hashlib
import os
import sys

import pytest

from sctab.io import strict_json


@pytest.mark.parametrize("values", [{}, [1, 2.5, None, True, "β"], {"b": [{"a": 1}], "a": 1e-300}])
def test_round_trip(tmp_path, values):
    strict_json.write(tmp_path / "file", values)
    assert strict_json.read(tmp_path / "file") == values
    assert strict_json.parse(strict_json.canonical(values)) == values


def test_the_hash_is_that_of_sorted_keys_without_spaces():
    expected = hashlib.sha256('{"a":[1.5,null],"β":"x"}'.encode()).hexdigest()
    assert strict_json.digest({"β": "x", "a": [1.5, None]}) == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have(number):
    with pytest.raises(ValueError, match="Out of range float values"):
        strict_json.canonical({"a": number})


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nul", b"\xff", b"\xef\xbb\xbf{}", b'{"a": 1, "a": 1}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"{}{}"],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_json(content):
    with pytest.raises(ValueError, match=r"."):
        strict_json.parse(content)


def test_half_a_surrogate_is_no_string():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        strict_json.canonical(strict_json.parse(b'"\\ud800"'))


def test_content_and_its_hash():
    values = strict_json.with_digest({"a": 1})
    assert strict_json.without_digest(values) == {"a": 1}
    for damaged in (values | {"a": 2}, values | {"b": 1}, values | {"sha256": "0"}, {"a": 1}, [], None, 3):
        with pytest.raises(ValueError, match="the SHA-256 differs|does not hold an object"):
            strict_json.without_digest(damaged)


def test_a_file_may_have_no_more_bytes_than_allowed(tmp_path):
    (tmp_path / "file").write_bytes(b"[1, 2]")
    assert strict_json.read_bytes(tmp_path / "file", most=6) == b"[1, 2]"
    with pytest.raises(OSError, match="larger than 5 bytes"):
        strict_json.read_bytes(tmp_path / "file", most=5)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among its files")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        strict_json.read(tmp_path / "pipe")
