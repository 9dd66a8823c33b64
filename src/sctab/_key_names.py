"""Names under which results are written, which have to be names in files too."""

from __future__ import annotations

from sctab.errors import SettingError
from sctab.keys import DEFAULT_KEY_ADDED

LONGEST_NAME = 200
"""Bytes of the name of an array, which is that of a directory in Zarr."""


def check_key_added(key_added: str) -> None:
    """Refuse a prefix that cannot be the name of an array in a file, before any work is done.

    Raises
    ------
    SettingError
        When it is no string, is empty, `.` or `..`, is too long, or has a `/` or a control character in it.
    """
    if not isinstance(key_added, str) or not key_added.strip() or key_added in {".", ".."} or not _is_name(key_added):
        raise SettingError(
            f"`key_added={key_added!r}` cannot be the name of something in a file. Give one without `/` and control characters, such as "
            f"`{DEFAULT_KEY_ADDED}`."
        )


def is_encodable(text: str) -> bool:
    """Whether a string is Unicode: what came from undecodable bytes is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(text: str) -> bool:
    return "/" not in text and text.isprintable() and is_encodable(text) and len(text.encode()) <= LONGEST_NAME
