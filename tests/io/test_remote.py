"""Files elsewhere that are read from a position on; `test_download.py` has what servers do."""

import pytest
from tests.served import Step, scripted, served

from sctab.io._remote import TransferError, UnchangedError, path_of, remote_file_at


def read(url, start=0, validator=None, **options):
    with remote_file_at(url).open(start, validator, **options) as opened:
        return opened.start, opened.total, b"".join(opened.chunks), opened.validator


@pytest.fixture(params=["http", "path", "file", "memory"])
def url(request, tmp_path):
    (tmp_path / "a b.bin").write_bytes(b"0123456789")
    if request.param == "http":
        with served(tmp_path, scripted()) as address:
            yield f"{address}/a%20b.bin"
    elif request.param == "memory":
        fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
        fsspec.filesystem("memory").pipe("/test/a b.bin", b"0123456789")
        yield "memory://test/a b.bin"
    else:
        yield str(tmp_path / "a b.bin") if request.param == "path" else (tmp_path / "a b.bin").as_uri()


def test_every_kind_is_read_from_a_position(url):
    start, total, content, validator = read(url)
    assert (start, total, content) == (0, 10, b"0123456789")
    assert read(url, 4, validator)[:3] == (4, 10, b"456789")
    assert read(url, 4)[:3] == (4, 10, b"456789")
    assert read(url, 4, "another")[:3] == (0, 10, b"0123456789")


def test_every_kind_says_that_it_is_unchanged(url):
    with pytest.raises(UnchangedError):
        read(url, unless=read(url)[3])


def test_what_does_not_exist_is_final(tmp_path):
    for url in (str(tmp_path / "x"), (tmp_path / "x").as_uri(), str(tmp_path)):
        with pytest.raises(TransferError) as found:
            read(url)
        assert found.value.is_final


def test_paths_of_urls():
    assert path_of("file:///a%20b/c").as_posix() == "/a b/c"


def test_schemes_are_the_same_in_capitals(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    assert read((tmp_path / "a").as_uri().replace("file:", "FILE:"))[2] == b"x"
    assert type(remote_file_at("HTTPS://example.org/a")) is type(remote_file_at("https://example.org/a"))


def test_a_path_that_no_file_can_have():
    with pytest.raises(TransferError) as found:
        read("file:///a%00b")
    assert found.value.is_final


@pytest.mark.parametrize("number", ["9" * 5000, "-1"])
def test_lengths_that_are_none(tmp_path, number):
    (tmp_path / "a").write_bytes(b"0123456789")
    with served(tmp_path, scripted(Step(length=number, cut=10))) as address, remote_file_at(f"{address}/a").open(0, None) as opened:
        assert opened.total is None
    part = {"Content-Range": f"bytes 3-9/{number}"}
    with served(tmp_path, scripted(Step(headers=part))) as address:
        assert read(f"{address}/a", 3)[:3] == (0, 10, b"0123456789")
