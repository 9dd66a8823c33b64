"""Data files among the inputs of a user: files, folders of files, runs, and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from sctab.errors import DataFileError, listing
from sctab.io._formats import FORMATS, SUFFIXES
from sctab.io._market import is_market
from sctab.io._replaceable import as_path
from sctab.io._urls import filesystem, is_pattern, is_url, suffix_of, without_credentials

_IN_RUNS = (
    "filtered_feature_bc_matrix.h5",
    "filtered_feature_bc_matrix",
    "filtered_gene_bc_matrices_h5.h5",
    "filtered_gene_bc_matrices/*",
    "filtered_gene_bc_matrices_mex/*",
    "per_sample_outs/*/count/sample_filtered_feature_bc_matrix.h5",
    "per_sample_outs/*/sample_filtered_feature_bc_matrix.h5",
    "per_sample_outs/*/count/sample_filtered_feature_bc_matrix",
    "sample_filtered_feature_bc_matrix.h5",
    "sample_filtered_feature_bc_matrix",
    "count/filtered_feature_bc_matrix.h5",
    "count/sample_filtered_feature_bc_matrix.h5",
    "raw_feature_bc_matrix.h5",
    "raw_feature_bc_matrix",
)
_OF_RUNS = (
    *_IN_RUNS,
    *(f"outs/{name}" for name in _IN_RUNS),
    *(
        f"{place}{name}"
        for place in ("", "Gene/", "GeneFull/", "Solo.out/Gene/", "Solo.out/GeneFull/")
        for name in ("filtered", "raw")
    ),
    "alevin",
)
"""Places of matrices in the folder of a run, in order of preference."""


def find_data_files(inputs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Paths and URLs of the data files in inputs, each once: files, directories of files, and patterns with `*`.

    Parameters
    ----------
    inputs
        As a user names them. Files in a directory or of a pattern come in alphabetical order.

    Raises
    ------
    DataFileError
        If there is nothing where an input points to, or something else.
    """
    found: list[str] = []
    for given in inputs:
        name = os.fsdecode(given).rstrip("/") or "/"
        name = name if is_url(name) else str(as_path(name))
        if is_pattern(name) and (is_url(name) or not os.path.lexists(name)):
            paths = [path for match in _matching(name) for path in _usable(match)]
            if not paths:
                raise DataFileError(
                    f"`{without_credentials(name)}` matches none of the formats that are read: {FORMATS}. Check the pattern."
                )
        elif not is_url(name) and Path(name).is_dir() and suffix_of(name) != ".zarr":
            paths = _in_folder(Path(name))
        else:
            paths = [name]
        found += paths
    places: dict[str, str] = {}
    for path in found:
        places.setdefault(path if is_url(path) else os.path.abspath(path), path)  # noqa: PTH100 (`./a` is `a`)
    return list(places.values())


def _usable(match: str) -> list[str]:
    """The files that a match of a pattern is or holds; none where it is another format."""
    if suffix_of(match) in SUFFIXES:
        return [match]
    if is_url(match) or not (is_market(match) if Path(match).is_file() else _of_run(Path(match)) or is_market(match)):
        return []
    return [match] if is_market(match) else _in_folder(Path(match))


def _in_folder(folder: Path) -> list[str]:
    """The matrix that a folder is, that of the run whose folder it is, or the data files in it.

    Raises
    ------
    DataFileError
        If it holds none, or several samples of which one has to be chosen.
    """
    if is_market(str(folder)):
        return [str(folder)]
    if found := _of_run(folder):
        if len(found) > 1:
            raise DataFileError(
                f"`{folder}` holds several matrices: {listing(found)}. Provide one of them, or all of them by name with a table as the "
                "output."
            )
        return found
    paths = sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    if not paths:
        inner = [str(path) for path in sorted(folder.iterdir()) if path.is_dir() and (_of_run(path) or is_market(str(path)))]
        has = (
            f", but {listing(inner)} {'do' if len(inner) > 1 else 'does'}. Provide {'these' if len(inner) > 1 else 'it'}."
            if inner
            else ""
        )
        raise DataFileError(
            f"The directory `{folder}` holds no file in the formats that are read: {FORMATS}"
            f"{has or '. Provide files, or a directory of files.'}"
        )
    return paths


def _of_run(folder: Path) -> list[str]:
    """Matrices in the folder of a run of Cell Ranger, STARsolo or alevin-fry: filtered before raw ones; empty for others."""
    for pattern in _OF_RUNS:
        found = sorted(path for path in folder.glob(pattern) if path.is_file() or is_market(str(path)))
        if found:
            return [str(path) for path in found]
    return []


def _matching(pattern: str) -> list[str]:
    if not is_url(pattern):
        folder = Path(pattern).parent
        if folder.is_dir():  # whose name may look like a pattern
            pattern = str(Path(glob.escape(str(folder)), Path(pattern).name))
        return sorted(glob.glob(pattern))  # noqa: PTH207 (a pattern may be absolute)
    system, path = filesystem(pattern)
    return sorted(system.unstrip_protocol(match) for match in system.glob(path))


def filtered_beside(path: str) -> str:
    """Name of the filtered matrix beside a local one of all barcodes, as Cell Ranger and STARsolo name them; empty if there is none."""
    place = Path(path)
    if is_url(path) or "raw" not in place.name:
        return ""
    filtered = place.with_name(place.name.replace("raw", "filtered"))
    return filtered.name if filtered.exists() else ""
