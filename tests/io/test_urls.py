"""Servers that do not answer, and what gives access to a URL."""

import socket
import threading
import time
from contextlib import contextmanager

import anndata as ad
import numpy as np
import pytest
from tests.served import GivesParts, served

from sctab import DataFileError
from sctab.corpus.sources._open import find_sources
from sctab.io import _urls
from sctab.io._data_file import DataFile, find_data_files
from sctab.io._urls import base_name, is_pattern, suffix_of, without_credentials


@contextmanager
def silent(answer=b""):
    """A server that takes connections, may begin an answer, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                if answer:
                    connection.recv(4096)
                    connection.sendall(answer)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread, which may have taken one more connection
            accepting.join(timeout=10)
            for connection in kept:
                connection.close()


class TestTimeouts:
    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 9999\r\n\r\nab"])
    def test_a_server_that_says_nothing(self, monkeypatch, suffix, answer):
        monkeypatch.setattr(_urls, "READ_TIMEOUT", 0.3)
        began = time.monotonic()
        with silent(answer) as address, pytest.raises(DataFileError, match=r"did not answer within 0.3 s. Check the address"):
            DataFile(f"{address}/a{suffix}").names(0, 1)
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_nobody_listens(self, suffix):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(DataFileError, match=r"could not be reached. Check the address|not found. Check the URL"):
            DataFile(f"http://127.0.0.1:{port}/a{suffix}")

    @pytest.mark.parametrize("protocol", ["s3", "gs", "https", "abfs", "sftp"])
    def test_each_protocol_ends_waiting(self, protocol):
        assert str(_urls.READ_TIMEOUT) in str(_urls._options(f"{protocol}://bucket/a.h5ad"))


class TestCredentials:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://me:secret@example.org/a.h5ad", "https://example.org/a.h5ad"),
            ("https://token@example.org/a.h5ad", "https://example.org/a.h5ad"),
            ("https://example.org/a.h5ad?sv=1&sig=secret", "https://example.org/a.h5ad"),
            ("https://example.org/a.h5ad#token=secret", "https://example.org/a.h5ad"),
            ("s3://key:secret@bucket/a.zarr", "s3://bucket/a.zarr"),
            ("simplecache::https://me:secret@example.org/a.h5ad", "simplecache::https://example.org/a.h5ad"),
            ("see https://me:secret@a.org/x?t=1 and ftp://you:pw@b.org/y", "see https://a.org/x and ftp://b.org/y"),
            ("/local/a?b/me@home.h5ad", "/local/a?b/me@home.h5ad"),
        ],
    )
    def test_they_are_not_shown(self, url, shown):
        assert without_credentials(url) == shown

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("https://example.org/a.h5ad?sig=x", False),
            ("simplecache::https://example.org/a.h5ad?sig=x*", False),
            ("https://example.org/*.h5ad?sig=x", True),
            ("s3://bucket/a?.zarr", True),
            ("s3://bucket/[ab].zarr", True),
            ("runs/a?.h5ad", True),
            ("runs/a.h5ad", False),
        ],
    )
    def test_a_signature_is_no_pattern(self, name, expected):
        assert is_pattern(name) is expected

    def test_a_signed_url_is_found(self):
        name = "https://me:secret@example.org/a.h5ad?sig=hidden"
        assert find_data_files([name]) == [name]
        assert find_sources(name) == [name]

    def test_a_pattern_that_matches_nothing_does_not_tell_them(self, tmp_path):
        with served(tmp_path, GivesParts) as address, pytest.raises(DataFileError, match="matches no") as caught:
            find_data_files([f"{address.replace('://', '://me:secret@')}/*.h5ad?sig=hidden"])
        assert "secret" not in str(caught.value)
        assert "hidden" not in str(caught.value)

    def test_names_of_files(self):
        assert base_name("https://me:secret@example.org/b/a.H5AD?sig=x/y.z") == "a.H5AD"
        assert suffix_of("https://example.org/a.H5AD?sig=x") == ".h5ad"

    def test_a_file_forgets_them(self, tmp_path):
        ad.AnnData(np.eye(6, dtype=np.float32)).write_h5ad(tmp_path / "a.h5ad")
        with served(tmp_path, GivesParts) as address:
            file = DataFile(f"{address.replace('://', '://me:secret@')}/a.h5ad?sig=hidden")
            assert file.n_obs == 6
            for shown in (file.path, str(file.fingerprint())):
                assert "secret" not in shown
                assert "hidden" not in shown
            file.close()

    def test_errors_do_not_tell_them(self, tmp_path):
        with (
            served(tmp_path, GivesParts) as address,
            pytest.raises(DataFileError, match="not found|answers 404") as found,
        ):
            DataFile(f"{address.replace('://', '://me:secret@')}/missing.h5ad?sig=hidden")
        assert "secret" not in str(found.value)
        assert "hidden" not in str(found.value)
