"""Files behind URLs: opened in parts, with an end to waiting, and named without what gives access to them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from sctab.errors import DataFileError, SettingError, require

if TYPE_CHECKING:
    from zarr.storage import StoreLike

CONNECT_TIMEOUT, READ_TIMEOUT = 30, 60
"""Seconds after which a server that does not answer, or that stops answering, is given up."""
_BLOCK = 4 * 2**20
"""Bytes requested at a time from a file behind a URL."""
_MOST_BLOCKS = 16
"""So many blocks are kept: values and columns of a matrix are read in turn."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"`<>]+")
_USER = re.compile(r"(?<=://)[^/@?#]*@")
_QUERY = re.compile(r"[?#].*")


def is_url(name: str) -> bool:
    """Return whether it is a URL and no local path."""
    return "://" in name


def split_url(url: str) -> SplitResult:
    """Parts of a URL.

    Raises
    ------
    SettingError
        If it is not one, such as `https://[example/lung.tar`.

    Examples
    --------
    >>> split_url("https://example.org/lung.tar").path
    '/lung.tar'
    """
    try:
        return urlsplit(url)
    except ValueError as error:
        raise SettingError(f"`{without_credentials(url)}` is not a valid URL: {error}. Check it.") from error


def is_protected(url: str) -> bool:
    """Return whether nobody on the way can change what is read from a URL; what is on this machine is not sent anywhere.

    Raises
    ------
    SettingError
        If it is not a URL.
    """
    parts = split_url(url.rsplit("::", 1)[-1])
    return parts.scheme not in {"http", "ftp"} or parts.hostname in {"localhost", "127.0.0.1", "::1"}


def is_pattern(name: str) -> bool:
    """Return whether a path or URL is a pattern; in HTTP URLs, a `?` starts a query, such as a signature."""
    is_http = name.rsplit("::", 1)[-1].startswith(("http://", "https://"))
    return any(character in (without_credentials(name) if is_http else name) for character in "*?[")


def without_credentials(text: str) -> str:
    """Remove credentials from every URL in a string: user and password, and what follows `?` or `#`.

    Examples
    --------
    >>> without_credentials("https://me:secret@example.org/atlas.h5ad?sig=abc")
    'https://example.org/atlas.h5ad'
    """
    return _URL.sub(lambda found: _QUERY.sub("", _USER.sub("", found[0])), text)


def base_name(path: str) -> str:
    """The last part of a path or URL."""
    return PurePosixPath(without_credentials(path)).name if is_url(path) else Path(path).name


def suffix_of(path: str) -> str:
    """The ending of a path or URL, in lower case."""
    return PurePosixPath(base_name(path)).suffix.lower()


def store_of(path: str, *, read_only: bool = True) -> StoreLike:
    """Store that Zarr opens for a path or a URL."""
    if not is_url(path):
        return path
    from zarr.storage import FsspecStore

    with _knows_protocol(path):
        return FsspecStore.from_url(path, storage_options=_options(path), read_only=read_only)


def remote_file(path: str) -> Any:
    """A file behind a URL, whose blocks are read on demand and partly cached.

    Raises
    ------
    DataFileError
        If the server gives whole files only.
    """
    system, name = filesystem(path)
    file = system.open(name, mode="rb", block_size=_BLOCK, cache_type="blockcache", cache_options={"maxblocks": _MOST_BLOCKS})
    try:
        file.seek(-1, os.SEEK_END)
        file.read(1)
    except (OSError, ValueError) as error:
        if network_reason(error) is not None:
            raise
        raise DataFileError(
            f"`{without_credentials(path)}` is on a server without range requests, so rows cannot be read. Download it, or "
            "provide a `.zarr`."
        ) from error
    return file


def filesystem(path: str) -> tuple[Any, str]:
    """The file system of a URL, and the name of the file there."""
    with _knows_protocol(path):
        system, name = require("fsspec", extra="remote").core.url_to_fs(path, **_options(path))
        return system, str(name)


def network_reason(error: BaseException | None) -> str | None:
    """Reason for a network error, as the end of a sentence; `None` for other errors."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
            return f"did not answer within {READ_TIMEOUT} s. Check the address and the network, or download the file"
        if isinstance(error, FileNotFoundError) and error.__cause__ is None and error.__context__ is None:
            return "not found. Check the URL"
        if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
            return "may not be read. Check your access to it"
        if isinstance(error, ConnectionError) or type(error).__name__.startswith(("ClientConnector", "EndpointConnection")):
            return "could not be reached. Check the address and the network"
        if type(error).__name__ == "ClientResponseError":
            return (
                f"could not be read: its server answers {getattr(error, 'status', 'with an error')}. Check the URL and your access"
            )
        error = error.__cause__ or error.__context__
    return None


def _options(path: str) -> dict[str, Any]:
    """Settings of a file system that end waiting, for the protocol that a URL ends up at."""
    protocol = path.rsplit("::", 1)[-1].split("://")[0]
    if protocol in {"http", "https"}:
        limits = require("aiohttp", extra="remote").ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
        return {protocol: {"client_kwargs": {"timeout": limits}}}
    if protocol in {"s3", "s3a"}:
        limits = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT, "retries": {"max_attempts": 2}}
        return {protocol: {"config_kwargs": limits}}
    if protocol in {"gs", "gcs", "ftp", "sftp", "ssh"}:
        return {protocol: {"timeout": READ_TIMEOUT}}
    if protocol in {"abfs", "abfss", "az", "adl"}:
        return {protocol: {"connection_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}}
    return {}


@contextmanager
def _knows_protocol(path: str) -> Iterator[None]:
    """Say which package is missing for a URL."""
    try:
        yield
    except ImportError as error:
        protocol = path.split("://")[0]
        require("s3fs" if protocol == "s3" else "fsspec", extra="remote")
        raise DataFileError(
            f"`{without_credentials(path)}` needs a package that supports `{protocol}://`: {error}. Install it."
        ) from error
