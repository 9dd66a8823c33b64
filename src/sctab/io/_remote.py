"""Files elsewhere that are read from any position on: over HTTP, in an object store, or on another disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.request import url2pathname

from sctab.errors import SctabError
from sctab.io._urls import filesystem, is_url, network_reason, split_url, without_credentials

CHUNK = 2**16
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile("[0-9]{1,18}")


class TransferError(Exception):
    """A failure of a request.

    Parameters
    ----------
    reason
        Its reason and a fix, as the end of a sentence.
    wait
        Seconds that the server asks to wait.
    is_final
        The same request would fail again.
    """

    def __init__(self, reason: str, *, wait: float | None = None, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.is_final = reason, wait, is_final


@dataclass(frozen=True)
class Opened:
    """A file from a position on."""

    start: int
    """First byte: the position that was asked for, or 0 where the file has changed or is given only whole."""
    total: int | None
    """Bytes of the whole file; `None` where the server does not say."""
    validator: str | None
    """String that changes when the file changes; `None` where the server gives none."""
    chunks: Iterator[bytes]
    tag: str | None = None
    """As `validator`, and also of a server that promises no more than the same meaning."""


class UnchangedError(Exception):
    """A file still has the tag that the caller knows."""


class RemoteFile(Protocol):
    """A file that is read from a position on."""

    shown: str

    def open(
        self, start: int, validator: str | None, *, unless: str | None = None, decoded: bool = False
    ) -> AbstractContextManager[Opened]:
        """Open the file; from 0 on where it is not the one that the validator belongs to, and not at all where it has the tag `unless`.

        With `decoded`, content that a server compresses for the transfer is decompressed; an archive is hashed as it is.
        """


def remote_file_at(url: str) -> RemoteFile:
    """File of a URL or path, by its protocol."""
    if not is_url(url):
        return _LocalFile(Path(url))
    scheme = url.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        return _HttpFile(url)
    return _LocalFile(path_of(url)) if scheme == "file" else _StoredFile(url)


def path_of(url: str) -> Path:
    """Path of a `file://` URL.

    Raises
    ------
    SettingError
        If it is not a URL.

    Examples
    --------
    >>> path_of("file:///tmp/a%20b.tar").as_posix()
    '/tmp/a b.tar'
    """
    parts = split_url(url)
    return Path(url2pathname(parts.path))


class _HttpFile:
    def __init__(self, url: str) -> None:
        from sctab.io import _http

        self._url, self.shown, self._http = url, without_credentials(url), _http

    @contextmanager
    def open(self, start: int, validator: str | None, *, unless: str | None = None, decoded: bool = False) -> Iterator[Opened]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and validator is not None:
            headers["If-Range"] = validator
        if unless is not None:
            headers["If-None-Match" if '"' in unless else "If-Modified-Since"] = unless
        with self._http.new_session() as session:
            try:
                response = self._http.get(session, self._url, headers)
            except self._http.NETWORK_ERRORS as error:
                reason = self._http.error_reason(error)
                raise TransferError(reason, is_final="certificate" in reason or "in circles" in reason) from error
            with response:
                if start and (response.status_code == 416 or self._is_another_part(response, start)):  # nothing after this position
                    with self.open(0, None) as opened:
                        yield opened
                    return
                if response.status_code == 304 and unless is not None:
                    raise UnchangedError
                self._check(response)
                begin, total = self._range(response, start)
                tag = response.headers.get("ETag", "").strip() or response.headers.get("Last-Modified")
                given = None if tag is None or tag.startswith("W/") else tag
                if begin and validator is not None and given is not None and given != validator:  # `If-Range` was ignored
                    with self.open(0, None) as opened:
                        yield opened
                    return
                is_decoded = decoded and "Content-Encoding" in response.headers
                yield Opened(begin, None if is_decoded else total, given, self._chunks(response, decoded=is_decoded), tag)

    def _check(self, response: Any) -> None:
        if response.status_code in self._http.TRANSIENT:
            reason = f"the server answers {response.status_code} {response.reason or ''}".rstrip()
            raise TransferError(f"{reason}. Try again later", wait=self._http.retry_after(response))
        if response.status_code not in {200, 206}:
            raise TransferError(self._http.status_reason(response), is_final=True)
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise TransferError(
                "the server sends a web page and not a file. It may ask for a login, or check for browsers. Check the address, or "
                "download the file in a browser and provide its path",
                is_final=True,
            )

    def _is_another_part(self, response: Any, start: int) -> bool:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        return response.status_code == 206 and (found is None or int(found[1]) != start)

    def _range(self, response: Any, start: int) -> tuple[int, int | None]:
        if response.status_code == 206:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if found is None or self._is_another_part(response, start):
                raise TransferError("the server gives another part than it was asked for. Ask its maintainers", is_final=True)
            return start, None if found[3] == "*" else int(found[3])
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if _LENGTH.fullmatch(length) else None

    def _chunks(self, response: Any, *, decoded: bool) -> Iterator[bytes]:
        try:
            yield from response.raw.stream(CHUNK, decode_content=decoded)
        except self._http.NETWORK_ERRORS as error:
            raise TransferError(self._http.error_reason(error)) from error


class _LocalFile:
    def __init__(self, path: Path) -> None:
        self._path, self.shown = path, str(path)

    @contextmanager
    def open(self, start: int, validator: str | None, *, unless: str | None = None, decoded: bool = False) -> Iterator[Opened]:
        del decoded  # only servers compress for the transfer
        from sctab.io.strict_json import open_regular

        try:
            file = open_regular(self._path)
        except (OSError, ValueError) as error:  # a path with a null character
            reason = getattr(error, "strerror", None) or error
            raise TransferError(f"{reason}. Check the path", is_final=True) from error
        with file:
            found = self._path.stat()
            given = f"{found.st_mtime_ns}-{found.st_size}"
            if given == unless:
                raise UnchangedError
            begin = start if validator in (None, given) and start <= found.st_size else 0
            file.seek(begin)
            yield Opened(begin, found.st_size, given, self._chunks(file), given)

    def _chunks(self, file: Any) -> Iterator[bytes]:
        try:
            while chunk := file.read(CHUNK):
                yield chunk
        except OSError as error:
            raise TransferError(f"{error.strerror}. Check the disk") from error


class _StoredFile:
    """A file that fsspec reads."""

    def __init__(self, url: str) -> None:
        self._url, self.shown = url, without_credentials(url)

    @contextmanager
    def open(self, start: int, validator: str | None, *, unless: str | None = None, decoded: bool = False) -> Iterator[Opened]:
        del decoded
        with self._explained():
            system, name = filesystem(self._url)
            found = system.info(name)
            if found.get("type") == "directory":
                raise TransferError("it is a directory and not a file. Check the address", is_final=True)
            given = next((str(found[key]) for key in ("ETag", "etag", "LastModified", "mtime", "created") if found.get(key)), None)
            if given is not None and given == unless:
                raise UnchangedError
            total = found.get("size")
            begin = start if (validator is None or validator == given) and (total is None or start <= total) else 0
            file = system.open(name, mode="rb")
        with file:
            with self._explained():
                file.seek(begin)
            yield Opened(begin, None if total is None else int(total), given, self._chunks(file), given)

    def _chunks(self, file: Any) -> Iterator[bytes]:
        while True:
            with self._explained():
                chunk = file.read(CHUNK)
            if not chunk:
                return
            yield bytes(chunk)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SctabError, TransferError, UnchangedError):
            raise
        except Exception as error:  # each file system has errors of its own
            reason = network_reason(error)
            is_final = reason is not None and ("access" in reason or "not found" in reason)
            message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise TransferError(
                f"it {reason}" if reason else f"{message.rstrip('.')}. Check the address and your access", is_final=is_final
            ) from error
