"""Outputs of an annotation of files: tables of all cells, a table of genes, and copies of inputs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sctab.errors import OutputError, OutputExistsError, Parameter, SettingError, listing
from sctab.io import (
    SUFFIXES,
    TABLE_SUFFIXES,
    as_path,
    base_name,
    check_apart,
    check_free,
    check_run_file,
    is_url,
    suffix_of,
    without_credentials,
)

COPY_SUFFIXES = (".h5ad", ".zarr", ".h5mu")


@dataclass(frozen=True)
class Target:
    """One file, or one `.zarr`, to write."""

    path: Path
    number: int | None = None
    """Number of the input that it is a copy of; `None` for a table."""
    of_genes: bool = False
    """True for the table of genes."""


def check_targets(
    outputs: Sequence[str | os.PathLike[str]],
    paths: Sequence[str],
    others: Iterable[str | os.PathLike[str]],
    *,
    genes_table: str | os.PathLike[str] | None = None,
    overwrite: bool,
) -> tuple[list[Path], list[Target]]:
    """Requested outputs, and the files to write; invalid outputs are refused before anything is read.

    Parameters
    ----------
    outputs
        Requested outputs: tables, copies, and directories for copies.
    paths
        The inputs.
    others
        What else is read.
    genes_table
        A table of genes to write as well.
    overwrite
        Whether files may be replaced.

    Raises
    ------
    SettingError
        If nothing would be written, or if the name of the table of genes has another suffix.
    OutputError
        If an output has no known kind, is or touches an input or another output, or if inputs do not fit to it.
    OutputExistsError
        If something is there that must not be replaced.
    """
    if not outputs:
        raise SettingError("Nothing would be written. Provide an `output`, such as `labels.parquet`.")
    places: list[Path] = []
    targets: list[Target] = []
    for output in outputs:
        place, files = _targets_of(output, paths)
        places.append(place)
        targets += files
    if genes_table is not None:
        if Path(genes_table).suffix not in TABLE_SUFFIXES:
            raise SettingError(Parameter("genes_table", str(genes_table)), f" must end with one of {listing(TABLE_SUFFIXES)}.")
        place, _ = _targets_of(genes_table, paths)
        places.append(place)
        targets.append(Target(place, of_genes=True))
    check_apart([target.path for target in targets], [*paths, *others], folders=filter(is_folder, places))
    for target in targets:
        check_free(target.path, overwrite=overwrite)
        if target.path.suffix == ".csv":
            check_run_file(target.path)
    return places, targets


def is_folder(output: str | os.PathLike[str]) -> bool:
    """Return whether an output is a directory to put copies into, and not a file or a `.zarr` itself."""
    return Path(output).suffix not in (*TABLE_SUFFIXES, *COPY_SUFFIXES)


def _targets_of(output: str | os.PathLike[str], paths: Sequence[str]) -> tuple[Path, list[Target]]:
    if is_url(os.fspath(output)):
        raise OutputError(
            f"`{without_credentials(os.fspath(output))}` is a URL. Write to a local path, and copy it there when it is done."
        )
    place = as_path(output)
    if place.suffix in TABLE_SUFFIXES:
        return place, [Target(place)]
    if place.suffix in COPY_SUFFIXES:
        if len(paths) > 1:
            raise OutputError(
                f"`{place}` is one file, and there are {len(paths)} inputs. Provide a directory for a copy of each, or a "
                "table such as `labels.parquet`."
            )
        return place, [Target(place, 0)]
    if place.suffix and not place.is_dir():
        raise OutputError(
            f"`{place}` is none of {listing((*TABLE_SUFFIXES, *COPY_SUFFIXES))}. Provide a name with one of these suffixes, "
            "or a directory for a copy of each input."
        )
    _require_directory(place)
    names = [_name_of_copy(path) for path in paths]
    if len(set(names)) < len(names):
        raise OutputError("Inputs of different directories have the same name. Annotate them separately, or write a table.")
    return place, [Target(place / name, number) for number, name in enumerate(names)]


def _name_of_copy(path: str) -> str:
    """Name of the copy of an input: its own where anndata writes such files, else with `.h5ad`; `.H5AD` is read, and `.h5ad` is written."""
    name, suffix = base_name(path), suffix_of(path)
    if suffix in COPY_SUFFIXES:
        return str(Path(name).with_suffix(suffix))
    ending = next((ending for ending in (".mtx.gz", ".mtx", *SUFFIXES) if name.lower().endswith(ending)), "")
    return f"{name[: len(name) - len(ending)]}.h5ad"


def _require_directory(place: Path) -> None:
    """Files are added to an existing directory, also through a link."""
    try:
        mode = place.stat().st_mode
    except OSError:
        if os.path.lexists(place):
            raise OutputExistsError(f"`{place}` is a link that leads nowhere. Choose another name.") from None
        return
    if not stat.S_ISDIR(mode):
        raise OutputExistsError(
            f"`{place}` exists and is not a directory, which copies of several inputs need. Choose another name."
        )
