"""Sources of releases of the Cell Ontology: a package, a file, the OBO Foundry."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sctab.errors import DataFileError, DownloadError, Parameter, SettingError, listing
from sctab.io import Expected, as_path, cache_dir as default_cache, download, is_protected, written_beside

OBO_FOUNDRY = "https://purl.obolibrary.org/obo/{name}.obo"
"""Permanent address of an ontology of the OBO Foundry; it leads to the newest release."""

_EMBEDDED_FILE = re.compile(r"CL-ontology-(.+)\.json\.\w+")
_PREFIX = "CL:"
_WITHOUT_NETWORK = "Without a network, use `CellOntology.embedded()`, or `CellOntology.from_file` with a file."


@dataclass(frozen=True)
class ObsoleteTerm:
    """A term that is no longer in use.

    Attributes
    ----------
    name
        What it was called; most releases put "obsolete" in front of it.
    replaced_by
        The term that replaces it, which may be obsolete itself; `None` where there is none.
    consider
        Terms that the ontology suggests to look at instead, which is for people to decide.
    """

    name: str
    replaced_by: str | None = None
    consider: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """Content of one release: all that :class:`~sctab.ontology.CellOntology` is made of."""

    version: str
    names: dict[str, str] = field(default_factory=dict)
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    ancestors: dict[str, list[str]] = field(default_factory=dict)
    obsolete: dict[str, ObsoleteTerm] = field(default_factory=dict)


def embedded_files() -> dict[str, str]:
    """File names of the releases in `cellxgene-ontology-guide` by version, the newest last."""
    names = sorted(file.name for file in (files("cellxgene_ontology_guide") / "data").iterdir())
    return {match[1]: match[0] for name in names if (match := _EMBEDDED_FILE.fullmatch(name))}


def read_embedded(version: str) -> Release:
    """One of the releases in `cellxgene-ontology-guide`."""
    from cellxgene_ontology_guide.supported_versions import load_ontology_file

    available = embedded_files()
    if version not in available:
        raise SettingError(
            Parameter("version", version), f" of the Cell Ontology is not embedded. Available: {listing(available)}."
        )
    release = Release(version)
    terms: Mapping[str, Mapping[str, Any]] = load_ontology_file(available[version])
    for term, entry in terms.items():
        if entry["deprecated"]:
            release.obsolete[term] = ObsoleteTerm(entry["label"], entry.get("replaced_by"), tuple(entry.get("consider", ())))
        else:
            release.names[term] = entry["label"]
            release.synonyms[term] = entry.get("synonyms", [])
            release.ancestors[term] = list(entry["ancestors"])
    return release


def read_file(path: str | PathLike[str]) -> Release:
    """Read a file with pronto; terms other than `CL:` are left out."""
    if not as_path(path).is_file():
        raise DataFileError(f"`{path}` not found. Provide the path of an `.obo`, `.owl` or `.json` file.")
    try:
        return _parse(path)
    except Exception as error:  # pronto raises whatever its parsers do
        raise DataFileError(
            f"`{path}` cannot be read as the Cell Ontology: {_reason(error)}. Provide the Cell Ontology as `.obo`, `.owl` or "
            "`.json`, such as `cl.obo` of the OBO Foundry, or use `CellOntology.embedded()`."
        ) from error


def read_obo_foundry(
    name: str, *, cache_dir: str | PathLike[str] | None, refresh: bool, address: str, sha256: str | None = None
) -> Release:
    """An ontology of the OBO Foundry from the cache, or downloaded; it takes its place in the cache when it has been read.

    The OBO Foundry publishes no checksums. The SHA-256 of a download is kept beside it, and compared whenever it is read again.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise SettingError(Parameter("name", name), " is not an OBO Foundry name, which is a lower-case word such as `cl`.")
    cached = (default_cache() if cache_dir is None else as_path(cache_dir)) / f"{name}.obo"
    checksum = cached.with_name(f"{cached.name}.sha256")
    if cached.is_file() and not refresh:
        expected = sha256 or (checksum.read_text(encoding="utf-8").split() or [""])[0] if checksum.is_file() else sha256
        if expected is not None and _sha256(cached) != expected:
            raise DataFileError(
                f"`{cached}` is not what was downloaded: its SHA-256 is not `{expected}`. Download it again with `refresh=True`."
            )
        return read_file(cached)
    url = address.format(name=name)
    _require_https(url)
    with written_beside(cached, overwrite=True) as fresh:
        try:
            download(url, fresh, Expected(sha256=sha256), title=f"{name}.obo", show_progress=True)
            release = _parse(fresh)
            with written_beside(checksum, overwrite=True) as beside:
                beside.write_text(f"{_sha256(fresh)}  {cached.name}\n", encoding="utf-8")
        except Exception as error:  # whatever pronto raises, too
            fix = f"Omit `refresh` to use `{cached}`, which is as it was." if cached.is_file() else _WITHOUT_NETWORK
            raise DataFileError(f"`{url}` could not be downloaded and read: {_reason(error)}. {fix}") from error
    return release


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_https(url: str) -> None:
    """Refuse addresses whose content anybody on the way could change; a server on this machine may do without."""
    if urlsplit(url).scheme not in {"http", "https"} or not is_protected(url):
        raise SettingError(f"`{url}` is not read over https, so it could be changed on the way. Provide an `https://` address.")


def _reason(error: Exception) -> str:
    """Cause of an error, in one line; that of a download follows the URL in its message."""
    if isinstance(error, DownloadError):
        return str(error).partition(": ")[2].rstrip(".") or str(error).rstrip(".")
    cause: BaseException = error
    while isinstance(error, OSError) and (beneath := cause.__cause__ or cause.__context__):
        cause = beneath
    reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return reason.splitlines()[0].rstrip(".")


def _open(path: str | PathLike[str]) -> Any:
    import pronto

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pronto.warnings.ProntoWarning)  # of what it does not know how to read, and we do not use
        try:
            return pronto.Ontology(str(as_path(path)))
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # that of its JSON parser, which is not a `Exception`
                raise
            raise ValueError("it is not a graph of terms") from error


def _parse(path: str | PathLike[str]) -> Release:
    source = _open(path)
    release = Release(str(source.metadata.data_version or ""))
    for term in source.terms():
        if not term.id.startswith(_PREFIX):
            continue
        if term.obsolete:
            replacements = sorted(term.replaced_by.ids)
            replaced_by = replacements[0] if len(replacements) == 1 else None
            release.obsolete[term.id] = ObsoleteTerm(str(term.name or ""), replaced_by, tuple(sorted(term.consider.ids)))
        elif term.name:
            release.names[term.id] = str(term.name)
            release.synonyms[term.id] = sorted(synonym.description for synonym in term.synonyms if synonym.scope == "EXACT")
            above = (other.id for other in term.superclasses(with_self=False))
            release.ancestors[term.id] = [other for other in above if other.startswith(_PREFIX)]
    if not release.names:
        raise ValueError(f"it has no term of the Cell Ontology, `{_PREFIX}…`")
    circular = [
        term for term, above in release.ancestors.items() if any(term in release.ancestors.get(other, ()) for other in above)
    ]
    if circular:
        raise ValueError(f"{listing(circular)} are kinds of themselves")
    return release
