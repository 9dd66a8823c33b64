"""HTTP: certificates, redirects, and reasons in plain words; `test_download.py` has the rest."""

import shutil
import ssl
import subprocess
import threading
import time
from email.utils import formatdate
from http.server import ThreadingHTTPServer

import pytest
from tests.served import Step, scripted, served

from sctab import DownloadError
from sctab.io import _download, _http, is_protected, read_remote


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(_download, "_FIRST_PAUSE", 0.01)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Certificate of an institute, which is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*command.split(), "-keyout", folder / "key.pem", "-out", folder / "all.pem"], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(certificate, tmp_path):
    """Address of a server over https."""
    (tmp_path / "a.json").write_text("{}")
    handler = scripted(Step(status=302, headers={"Location": "http://example.org/a.json"}), Step())
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: handler(*args, directory=str(tmp_path)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "all.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://localhost:{server.server_port}/a.json", handler
    server.shutdown()
    server.server_close()


def test_an_unknown_certificate_is_refused_with_what_to_do(secure):
    with pytest.raises(DownloadError, match="the certificate of the server is not trusted.* set `SSL_CERT_FILE`"):
        read_remote(secure[0], most=10)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_certificate_of_an_institute_is_trusted(secure, certificate, variable, monkeypatch):
    monkeypatch.setenv(variable, str(certificate / "all.pem"))
    secure[1].steps[:] = [Step()]
    assert read_remote(secure[0], most=10)[0] == b"{}"


def test_https_does_not_lead_to_http(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "all.pem"))
    with pytest.raises(DownloadError, match=r"^`https://.*` leads to `http://example.org/a.json`, which is not read over https"):
        read_remote(secure[0], most=10)


def test_a_wrong_variable_is_named(secure, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(DownloadError, match=r"The certificates cannot be read: .* Check `REQUESTS_CA_BUNDLE`"):
        read_remote(secure[0], most=10)


def test_a_proxy_that_refuses_is_named(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(DownloadError, match="the proxy refuses the connection. Check `HTTPS_PROXY`"):
        read_remote("https://example.org/a.json", most=10)


def test_protection():
    urls = ["https://a.org", "http://localhost:1/a", "http://127.0.0.1", "s3://a", "file:///a", "http://a.org", "ftp://a.org"]
    assert [url for url in urls if not is_protected(url)] == ["http://a.org", "ftp://a.org"]


def test_dates_and_seconds_to_wait():
    class Response:
        def __init__(self, value):
            self.headers = {"Retry-After": value}

    assert _http.retry_after(Response("12")) == 12
    assert _http.retry_after(Response("soon")) is None
    assert _http.retry_after(Response("")) is None
    assert 5 < _http.retry_after(Response(formatdate(time.time() + 10))) <= 10
    assert _http.retry_after(Response(formatdate(0))) == 0


def test_a_server_that_leads_to_no_url(tmp_path):
    handler = scripted(Step(status=302, headers={"Location": "http://[example.org/a.json"}))
    with (
        served(tmp_path, handler) as address,
        pytest.raises(DownloadError, match=r"leads to an address that is not a valid URL\. Ask"),
    ):
        read_remote(f"{address}/a.json", most=10)
