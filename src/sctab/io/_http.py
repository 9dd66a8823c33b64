"""Requests over HTTP: certificates and proxies of institutes, timeouts, redirects, and reasons of failures in plain words."""

from __future__ import annotations

import email.utils
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3

from sctab.errors import DownloadError, SctabError, SettingError, listing
from sctab.io._urls import CONNECT_TIMEOUT, READ_TIMEOUT, is_protected, split_url, without_credentials

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError)
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_USER_AGENT = "sctab (+https://sctab.readthedocs.io)"


class _SystemCertificates(requests.adapters.HTTPAdapter):
    """Trusts what the operating system trusts, certificates of an institute among it."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=_context(), **options)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=_context(), **options)


def _context() -> Any:
    """Certificates of the system and, where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, of these."""
    import ssl

    import truststore

    if any(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")):
        context = ssl.create_default_context()  # reads these variables
    else:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


def new_session() -> requests.Session:
    """Session that takes proxies and certificates from the environment and from the system.

    `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` take precedence over `SSL_CERT_FILE` and `SSL_CERT_DIR`, and these over the certificates of
    the operating system.
    """
    session = requests.Session()
    session.headers["User-Agent"] = _USER_AGENT
    if not any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        session.mount("https://", _SystemCertificates())
    session.hooks["response"].append(_check_redirect)
    session.max_redirects = 10
    return session


def get(session: requests.Session, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """Begin a request, whose content is read later. A redirect to another host gets no credentials; one from https to http is refused.

    Raises
    ------
    DownloadError
        If a redirect is refused, or if the URL is not one.
    requests.RequestException
        If the server cannot be reached.
    """
    asked = {"Accept-Encoding": "identity", **(headers or {})}  # hashes and ranges are those of the file
    try:
        return session.get(url, headers=asked, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, UnicodeError) as error:
        raise DownloadError(f"`{without_credentials(url)}` is not a valid URL: {error}. Check it.") from error
    except (SctabError, *NETWORK_ERRORS):
        raise
    except OSError as error:  # certificates that do not exist
        named = [name for name in _CERTIFICATES if os.environ.get(name)]
        raise DownloadError(
            f"The certificates cannot be read: {error}. Check {listing(named) if named else 'the installation'}."
        ) from error


def retry_after(response: requests.Response) -> float | None:
    """Seconds that a server asks to wait; `None` where it does not say."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def status_reason(response: requests.Response) -> str:
    """Reason why an answer is not a file, and a fix, as the end of a sentence."""
    match response.status_code:
        case 401 | 407:
            return f"the server asks for a login ({response.status_code}). Check your access to it"
        case 403 if "cf-mitigated" in response.headers or "captcha" in response.headers.get("Server", "").lower():
            return "the server answers with a check for browsers (403). Download the file in a browser, and provide its path"
        case 403:
            return "the server does not give access to it (403). Check your access, or download the file in a browser and provide its path"
        case 404 | 410:
            return f"there is no such file ({response.status_code}). Check the address"
    return f"the server answers {response.status_code} {response.reason or ''}".rstrip() + ". Try again later"


def error_reason(error: BaseException) -> str:
    """Reason of a failure of the network, and a fix, as the end of a sentence."""
    chain = list(_causes(error))
    names = [type(each).__name__ for each in chain]
    message = " ".join(map(str, chain))
    if any("SSL" in name or "Certificate" in name for name in names) or "CERTIFICATE_VERIFY_FAILED" in message:
        given = next((f" `{name}` is set to `{os.environ[name]}`." for name in _CERTIFICATES if os.environ.get(name)), "")
        return (
            f"the certificate of the server is not trusted.{given} If your institute inspects connections, set `SSL_CERT_FILE` to "
            "the file with its certificates"
        )
    if any("ProxyError" in name for name in names):
        return "the proxy refuses the connection. Check `HTTPS_PROXY` and `NO_PROXY`"
    if any("gaierror" in name or "NameResolution" in name for name in names):
        return "the name of the server is not known. Check the address and the network"
    if any("Timeout" in name for name in names):
        return f"the server did not answer within {READ_TIMEOUT} s. Check the network"
    if any("ConnectionRefused" in name for name in names):
        return "the server refuses the connection. Check the address and the network"
    if any("TooManyRedirects" in name for name in names):
        return "the server leads in circles. Check the address"
    if any(name in {"IncompleteRead", "ChunkedEncodingError", "ProtocolError", "ConnectionResetError"} for name in names):
        return "the connection was cut off. Check the network, and try again: finished parts are kept"
    last = next((str(each) for each in reversed(chain) if str(each)), names[-1])
    return f"{last.splitlines()[0].rstrip('.')}. Check the address and the network"


def _causes(error: BaseException) -> Any:
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def _check_redirect(response: requests.Response, *_: Any, **__: Any) -> None:
    """Refuse to be led from https to where content could be changed on the way."""
    if response.is_redirect:
        try:
            target = urljoin(response.url, response.headers["location"])
            scheme = split_url(target).scheme
        except (ValueError, SettingError) as error:
            raise DownloadError(
                f"`{without_credentials(response.url)}` leads to an address that is not a valid URL. Ask the maintainers of the server."
            ) from error
        if scheme not in {"http", "https"} or (is_protected(response.url) and not is_protected(target)):
            raise DownloadError(
                f"`{without_credentials(response.url)}` leads to `{without_credentials(target)}`, which is not read over https, so "
                "it could be changed on the way. Ask the maintainers of the server."
            )
