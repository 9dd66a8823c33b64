"""JSON in files that nobody vouches for."""

import hashlib
import os
import sys

import pytest

from sctab import _json


@pytest.mark.parametrize("values", [{}, [1, 2.5, None, True, "β"], {"b": [{"a": 1}], "a": 1e-300}])
def test_round_trip(tmp_path, values):
    _json.write(tmp_path / "file", values)
    assert _json.read(tmp_path / "file") == values
    assert _json.parse(_json.canonical(values)) == values


def test_the_hash_is_that_of_sorted_keys_without_spaces():
    expected = hashlib.sha256('{"a":[1.5,null],"β":"x"}'.encode()).hexdigest()
    assert _json.digest({"β": "x", "a": [1.5, None]}) == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have(number):
    with pytest.raises(ValueError, match="Out of range float values"):
        _json.canonical({"a": number})


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nul", b"\xff", b"\xef\xbb\xbf{}", b'{"a": 1, "a": 1}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"{}{}"],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_json(content):
    with pytest.raises(ValueError, match=r"."):
        _json.parse(content)


def test_half_a_surrogate_is_no_string():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        _json.canonical(_json.parse(b'"\\ud800"'))


def test_content_and_its_hash():
    values = _json.with_digest({"a": 1})
    assert _json.without_digest(values) == {"a": 1}
    for damaged in (values | {"a": 2}, values | {"b": 1}, values | {"sha256": "0"}, {"a": 1}, [], None, 3):
        with pytest.raises(ValueError, match="the SHA-256 differs|does not hold an object"):
            _json.without_digest(damaged)


def test_a_file_may_have_no_more_bytes_than_allowed(tmp_path):
    (tmp_path / "file").write_bytes(b"[1, 2]")
    assert _json.read_bytes(tmp_path / "file", most=6) == b"[1, 2]"
    with pytest.raises(OSError, match="larger than 5 bytes"):
        _json.read_bytes(tmp_path / "file", most=5)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among its files")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        _json.read(tmp_path / "pipe")
