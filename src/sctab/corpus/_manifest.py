"""Manifest of a corpus, `corpus.json`: written with a hash of itself, and checked field by field when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.corpus._config import SPLIT_BY, SPLIT_NAMES
from sctab.corpus._entry import COLUMNS, SourceEntry
from sctab.errors import DataFileError
from sctab.io import is_url, without_credentials

FORMAT, VERSION = "sctab-corpus", 1
MANIFEST = "corpus.json"
_HASH = "manifest_sha256"
_LARGEST = 2**30
"""Bytes of a manifest; that of a hundred million cells has some ten million."""
_MOST = 2**48
"""No number of cells or genes is larger."""


def write_manifest(path: Path, values: Mapping[str, Any]) -> None:
    """Write a manifest, with a hash of what it says."""
    values = json.loads(json.dumps(values))
    path.write_text(json.dumps({**values, _HASH: _hash(values)}, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a corpus, checked.

    Raises
    ------
    DataFileError
        If it is missing, damaged, or of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise DataFileError(f"`{folder}` is not a corpus: it has no `{MANIFEST}`. Build one with `sctab corpus build`.")
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise DataFileError(f"`{path}` is not a regular file of at most {_LARGEST:,} bytes. Build the corpus again.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise DataFileError(f"`{path}` cannot be read: {error or 'it is nested too deeply'}. Build the corpus again.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataFileError(f"`{path}` does not describe a corpus. Provide the directory of one.")
    if type(values.get("format_version")) is not int or values["format_version"] != VERSION:
        raise DataFileError(
            f"`{folder}` has version {values.get('format_version')} of the format; this `sctab` reads version {VERSION}. Update it, or "
            "build the corpus again."
        )
    try:
        stored = values.pop(_HASH, None)  # corpora that were built before it was written have none
        if stored is not None and stored != _hash(values):
            raise ValueError("it is not what was written: its hash is another one")
        _check(values)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DataFileError(f"`{path}` is damaged: {reason}. Build the corpus again.") from error
    return values


def source_values(entry: SourceEntry, fingerprint: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Source in a manifest: a path relative to the corpus, or a URL without credentials."""
    path = relative_path(entry.path, folder)
    kept = {name: value for name, value in fingerprint.items() if name != "path"}
    return {"path": path, "entry": asdict(replace(entry, path=path)), "fingerprint": kept}


def hash_codes(codes: NDArray[Any]) -> str:
    """Hash of a column of codes; an incomplete copy of a store gives zeros where there was something else."""
    return hashlib.sha256(np.ascontiguousarray(codes, dtype="<i8").data).hexdigest()


def relative_path(path: str, folder: Path) -> str:
    """A local path from a directory, and a URL without credentials."""
    if is_url(path):
        return without_credentials(path)
    try:
        return Path(os.path.relpath(Path(path).absolute(), folder.absolute())).as_posix()
    except ValueError:  # on another drive
        return Path(path).absolute().as_posix()


def located_entry(values: Mapping[str, Any], folder: Path) -> SourceEntry:
    """A source of a manifest, where it is seen from the corpus."""
    known = {item.name for item in fields(SourceEntry)}
    entry = SourceEntry(**{name: value for name, value in values.items() if name in known})
    return entry if is_url(entry.path) else replace(entry, path=os.path.normpath(folder.absolute() / entry.path))


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name is there twice")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not a number")


def _check(values: Mapping[str, Any]) -> None:
    _each(values, {"sha256": _is_hash, "n_vars": _is_count, "split_seed": _is_count, "split_by": SPLIT_BY.__contains__})
    _each(values["duplicates"], {"barcode": _is_count, "expression": _is_count})
    labels, names = values["labels"], values["names"]
    _each(labels, {"names": _is_names, "ids": _is_list, "ontology_version": _is_text_or_none})
    if len(labels["ids"]) != len(labels["names"]) or not all(map(_is_text_or_none, labels["ids"])):
        raise ValueError("`labels` has not one id, or none, for each name")
    _each(names, dict.fromkeys(COLUMNS, _is_names))
    if names["label"] != labels["names"]:
        raise ValueError("`names` has other labels than `labels`")
    for field in ("splits", "parts"):
        _each(values[field], dict.fromkeys(SPLIT_NAMES, _is_count))
    if "codes_sha256" in values:  # which older corpora do not have
        columns = dict.fromkeys((*COLUMNS, "source", "row"), _is_hash)
        _each(values["codes_sha256"], dict.fromkeys(SPLIT_NAMES, _is_mapping))
        for split in SPLIT_NAMES:
            _each(values["codes_sha256"][split], columns)
    if not _is_list(values["sources"]) or not values["sources"]:
        raise ValueError("`sources` is not a list of sources")
    for source in values["sources"]:
        _each(source, {"path": _is_text, "entry": _is_mapping, "fingerprint": _is_mapping, "sha256": _is_hash})
        _each(source, {"n_found": _is_count, "n_obs": _is_count, "n_genes": _is_count, "content": _is_text_or_none})
        if not all(map(_is_text_or_none, source["entry"].values())) or not _is_text(source["entry"]["path"]):
            raise ValueError("`entry` of a source has other values than strings")
    if (n_obs := sum(values["splits"].values())) != (of_sources := sum(source["n_obs"] for source in values["sources"])):
        raise ValueError(f"its splits have {n_obs:,} cells and its sources {of_sources:,}")


def _each(values: Any, checks: Mapping[str, Callable[[Any], bool]]) -> None:
    if not _is_mapping(values):
        raise TypeError(f"a mapping with `{'`, `'.join(checks)}` was expected, found `{str(values)[:80]}`")
    for name, is_right in checks.items():
        try:
            right = is_right(values[name])
        except TypeError:  # of a type that cannot be looked up
            right = False
        if not right:
            raise ValueError(f"`{name}` cannot be `{str(values[name])[:80]}`")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value)
