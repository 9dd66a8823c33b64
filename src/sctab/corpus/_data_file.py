"""Data files of users: `.h5ad` and `.zarr`, of which only what is asked for is read."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import pandas as pd
import zarr
from anndata.io import sparse_dataset
from zarr.storage import FsspecStore, StoreLike

from sctab import _integrity
from sctab._errors import DataFileError, SctabError, require
from sctab._stored import StoredRows, TransposedRows
from sctab.corpus._tables import Table, encoding

SUFFIXES = (".h5ad", ".zarr")
_BLOCK = 4 * 2**20
"""Bytes of a file behind a URL that are asked for at a time."""
_MOST_BLOCKS = 16
"""So many blocks are kept: values and columns of a matrix are read in turn."""


@dataclass(frozen=True)
class RawData:
    """What is in `raw` of a file."""

    X: Any
    var: pd.DataFrame


class _FileMatrix:
    """A matrix in a file, whose errors name the file."""

    def __init__(self, path: str, matrix: Any) -> None:
        self._path, self._matrix = path, matrix
        self.shape, self.dtype = tuple(matrix.shape), matrix.dtype
        self.is_dense = hasattr(matrix, "chunks")  # of HDF5 or Zarr

    def __getitem__(self, rows: slice) -> Any:
        """The rows `start:stop`."""
        with explains_damage(self._path):
            return self._matrix[rows]


class DataFile:
    """A `.h5ad` or `.zarr` as it lies on a disk or behind a URL, with what of an AnnData annotation looks at.

    Matrices are backed, and rows of them are read when they are asked for; so are the names of the cells. It can be sent to another
    process, which opens the file again.

    Parameters
    ----------
    path
        Path, or any URL that `fsspec` knows, such as `s3://bucket/atlas.zarr`.
    obs_keys
        Columns of `obs` to read.

    Raises
    ------
    DataFileError
        When it is missing, of another type or written by an old version of anndata, or damaged; or behind a URL whose server does not
        give parts of files.
    """

    def __init__(self, path: str | os.PathLike[str], obs_keys: Sequence[str] = ()) -> None:
        self.path = os.fspath(path)
        self._obs_keys = tuple(obs_keys)
        with explains_damage(self.path):
            self.group: Any = _open_group(self.path)
            obs, var = Table(self.group, "obs"), Table(self.group, "var")
            self._table = obs
            self.n_obs, self.n_vars = obs.n_rows, var.n_rows
            self.obs_columns = obs.columns
            self.obs = obs.select(self._obs_keys)
            self.var: pd.DataFrame = var.whole()
            self.X = self._matrix("X", self.group.get("X"), self.n_vars)
            layers = self.group.get("layers", {})
            self.layers = {key: self._matrix(f"layers[{key!r}]", layers[key], self.n_vars) for key in layers}
            self.raw = self._read_raw()

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again in another process, once there."""
        return _opened_once, (self.path, self._obs_keys, json.dumps(_state(self.path)))

    def close(self) -> None:
        """Let go of the file, so that it can be written again."""
        if isinstance(self.group, h5py.File):
            self.group.close()

    def _read_raw(self) -> RawData | None:
        """`raw`; before anndata 0.7, `raw.X` and `raw.var` lay beside `X`."""
        if "raw.X" in self.group:
            matrix, var = self.group["raw.X"], Table(self.group, "raw.var")
        elif "raw" in self.group and "X" in self.group["raw"]:
            matrix, var = self.group["raw"]["X"], Table(self.group["raw"], "var")
        else:
            return None
        return RawData(self._matrix("raw.X", matrix, var.n_rows), var.whole())

    def _matrix(self, name: str, elem: Any, n_vars: int) -> _FileMatrix | None:
        """A matrix that is read when its rows are asked for; `None` where there is none."""
        how = "null" if elem is None else encoding(elem)[0]
        if how == "null":
            return None
        if how in {"csr_matrix", "csc_matrix"} or "h5sparse_format" in elem.attrs:
            dataset = sparse_dataset(elem)
            elem = (StoredRows if dataset.format == "csr" else TransposedRows)(dataset, name, self.path)
        elif hasattr(elem, "keys"):
            raise DataFileError(f"`{self.path}` holds a matrix as `{how or 'a group'}`, which is none of numbers.")
        if problem := _integrity.shape_problem(elem.shape, (self.n_obs, n_vars)):
            raise _integrity.refuse(name, problem, self.path)
        return _FileMatrix(self.path, elem)

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`."""
        with explains_damage(self.path):
            return self._table.names(start, stop)

    def fingerprint(self) -> dict[str, Any]:
        """What tells this file from another one, or from what it was before, without reading it whole."""
        names = hashlib.sha256("\n".join(self.var.index.astype(str)).encode()).hexdigest()
        return {"path": self.path, "n_obs": self.n_obs, "genes": names, "layers": sorted(self.layers), **_state(self.path)}


def find_data_files(inputs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Paths and URLs of the data files that inputs stand for, each once: files, directories of files, and patterns with `*`.

    Parameters
    ----------
    inputs
        As a user names them. Files in a directory or of a pattern come in alphabetical order.

    Raises
    ------
    DataFileError
        When there is nothing where an input points to, or something else.
    """
    found: list[str] = []
    for given in inputs:
        name = os.fspath(given).rstrip("/") or "/"
        if any(character in name for character in "*?["):
            paths = [path for path in _matching(name) if _suffix(path) in SUFFIXES]
            if not paths:
                raise DataFileError(f"`{name}` matches no `.h5ad` or `.zarr`. Check the pattern.")
        elif not is_url(name) and Path(name).is_dir() and _suffix(name) != ".zarr":
            paths = sorted(str(path) for path in Path(name).iterdir() if path.suffix in SUFFIXES)
            if not paths:
                raise DataFileError(f"The directory `{name}` holds no `.h5ad` or `.zarr`. Give files, or a directory of files.")
        else:
            paths = [name]
        found += paths
    return list(dict.fromkeys(found))


def is_url(name: str) -> bool:
    """Whether it is a URL and no local path."""
    return "://" in name


def base_name(path: str) -> str:
    """The last part of a path or URL."""
    return PurePosixPath(path).name if is_url(path) else Path(path).name


@contextmanager
def explains_damage(path: str, kind: str | None = None) -> Iterator[None]:
    """Turn what libraries raise on a damaged file into one kind of error that names it, and what it was read as: by default its ending."""
    try:
        yield
    except (SctabError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataFileError(
            f"`{path}` cannot be read as {kind or _suffix(path)}: {reason.rstrip('.')}. It may be incomplete or damaged; copy or export it "
            "again."
        ) from error


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix


@lru_cache(maxsize=16)
def _opened_once(path: str, obs_keys: tuple[str, ...], state: str) -> DataFile:
    del state  # a file that has changed is another one
    return DataFile(path, obs_keys)


def _open_group(path: str) -> Any:
    suffix = _suffix(path)
    if suffix not in SUFFIXES:
        raise DataFileError(f"`{path}` is neither `.h5ad` nor `.zarr`. Give one of these.")
    if is_url(path):
        return h5py.File(_remote_file(path), mode="r") if suffix == ".h5ad" else zarr.open_group(store_of(path), mode="r")
    if not Path(path).exists():
        raise DataFileError(f"`{path}` is not there. Check the path.")
    return h5py.File(path, mode="r") if suffix == ".h5ad" else zarr.open_group(path, mode="r")


def store_of(path: str, *, read_only: bool = True) -> StoreLike:
    """What Zarr opens for a path or a URL."""
    if not is_url(path):
        return path
    with _knows_protocol(path):
        return FsspecStore.from_url(path, read_only=read_only)


def _remote_file(path: str) -> Any:
    """A file behind a URL, of which blocks are read when they are asked for and some are kept."""
    filesystem, name = _filesystem(path)
    if not filesystem.exists(name):
        raise DataFileError(f"`{path}` is not there. Check the URL.")
    file = filesystem.open(name, mode="rb", block_size=_BLOCK, cache_type="blockcache", cache_options={"maxblocks": _MOST_BLOCKS})
    try:
        file.seek(-1, os.SEEK_END)
        file.read(1)
    except (OSError, ValueError) as error:
        raise DataFileError(
            f"`{path}` is on a server that gives whole files only, of which rows cannot be read. Copy it here, or give a `.zarr`."
        ) from error
    return file


def _filesystem(path: str) -> tuple[Any, str]:
    """The file system of a URL, and the name of the file there."""
    with _knows_protocol(path):
        filesystem, name = require("fsspec", extra="remote").core.url_to_fs(path)
        return filesystem, str(name)


@contextmanager
def _knows_protocol(path: str) -> Iterator[None]:
    """Say which package is missing for a URL."""
    try:
        yield
    except ImportError as error:
        protocol = path.split("://")[0]
        require("s3fs" if protocol == "s3" else "fsspec", extra="remote")
        raise DataFileError(f"`{path}` needs a package that knows `{protocol}://`: {error}. Install it.") from error


def _matching(pattern: str) -> list[str]:
    if not is_url(pattern):
        return sorted(glob.glob(pattern))  # noqa: PTH207 (a pattern may be absolute)
    filesystem, path = _filesystem(pattern)
    return sorted(filesystem.unstrip_protocol(match) for match in filesystem.glob(path))


def _state(path: str) -> Mapping[str, Any]:
    """Size and time of the last change of what tells of a change: the file, or the metadata of a Zarr store.

    Of a file behind a URL it is what its server says of it, and of a Zarr store there nothing.
    """
    if is_url(path):
        if _suffix(path) != ".h5ad":
            return {}
        filesystem, name = _filesystem(path)
        return {"size": [filesystem.size(name)], "changed": [filesystem.ukey(name)]}
    root = Path(path)
    entries = [root] if root.is_file() else [root / name for name in ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")]
    states = [entry.stat() for entry in entries if entry.exists()]
    return {"size": [state.st_size for state in states], "changed": [state.st_mtime_ns for state in states]}
