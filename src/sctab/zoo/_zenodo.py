"""Files of a record of Zenodo, whose content never changes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sctab.errors import ModelNotFoundError, did_you_mean, listing
from sctab.io import declared, read_remote, strict_json
from sctab.zoo._archive import is_archive

ZENODO_VARIABLE = "SCTAB_ZENODO"
_ADDRESS = "https://zenodo.org"
_MD5 = re.compile(r"md5:([0-9a-f]{32})")


@dataclass(frozen=True)
class ZenodoFile:
    """A file of a record."""

    name: str
    url: str
    size: int | None
    md5: str | None


def file_of(record: str, name: str | None) -> ZenodoFile:
    """File of a record: the one with a name, or its only archive.

    Raises
    ------
    ModelNotFoundError
        If the record has no such file, or several archives.
    DownloadError
        If the record cannot be read.
    """
    base = os.environ.get(ZENODO_VARIABLE, _ADDRESS).rstrip("/")
    address = f"{base}/api/records/{record}"
    found = read_remote(address, most=strict_json.MOST_BYTES)
    try:
        values = declared.mapping(strict_json.parse(b"" if found is None else found[0]), "The record")
        files = [_file(values, f"{address}/files") for values in declared.sequence(values.get("files"), "`files`")]
    except ValueError as error:
        raise ModelNotFoundError(f"`{address}` does not describe a record: {error}. Check the number of the record.") from error
    names = [file.name for file in files]
    if name is not None:
        if name not in names:
            raise ModelNotFoundError(
                f"The record `zenodo:{record}` has no file `{name}`.{did_you_mean(name, names)} Files: {listing(names)}."
            )
        return files[names.index(name)]
    archives = [file for file in files if is_archive(file.name)]
    if len(archives) != 1:
        raise ModelNotFoundError(
            f"The record `zenodo:{record}` has {len(archives) or 'no'} archives, and one was expected. Choose a file with "
            f"`zenodo:{record}/FILE`. Files: {listing(names)}."
        )
    return archives[0]


def _file(values: Any, address: str) -> ZenodoFile:
    values = declared.mapping(values, "A file")
    name = declared.string(values.get("key", values.get("filename")), "`key`")
    md5 = _MD5.fullmatch(str(values.get("checksum")))
    size = values.get("size", values.get("filesize"))
    return ZenodoFile(
        name, f"{address}/{quote(name)}/content", size if isinstance(size, int) else None, None if md5 is None else md5[1]
    )
