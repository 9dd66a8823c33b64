"""Errors of libraries on damaged files, as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sctab.errors import DataFileError, SctabError
from sctab.io._formats import codec_problem, truncation
from sctab.io._urls import is_url, network_reason, suffix_of, without_credentials


@contextmanager
def explains_damage(path: str, kind: str | None = None) -> Iterator[None]:
    """Convert errors of libraries on a damaged file into a `DataFileError` with its path and format."""
    try:
        yield
    except (SctabError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # that of codecs in Rust
            raise
        called = f"`{without_credentials(path)}`"
        if isinstance(error, MemoryError):
            raise DataFileError(
                f"{called} needs more memory than available: {_reason(error)}. Use a larger machine, or check that the file is not damaged."
            ) from error
        problem = codec_problem(error) or truncation(error) or (network_reason(error) if is_url(path) else None)
        if problem is None and isinstance(error, PermissionError):
            problem = "may not be read. Change its permissions"
        if problem is not None:
            raise DataFileError(f"{called} {problem}.") from error
        raise DataFileError(
            f"{called} cannot be read as {kind or suffix_of(path)}: {_reason(error)}. It may be incomplete or damaged; copy or export it "
            "again."
        ) from error


def _reason(error: BaseException) -> str:
    """Message of an error, in one line."""
    return without_credentials(str(error).splitlines()[0] if str(error).strip() else type(error).__name__).rstrip(".")
