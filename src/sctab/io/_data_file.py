"""Data files of users: `.h5ad` and `.zarr`, of which only requested parts are read."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem, read_h5ad, read_zarr

from sctab.errors import DataFileError, SctabError
from sctab.io import integrity
from sctab.io._checks import require_sound_cells, require_whole, stored_rows
from sctab.io._formats import (
    SUFFIXES,
    codec_problem,
    require_anndata,
    require_filters,
    require_known_content,
    require_known_name,
    truncation,
)
from sctab.io._heaps import SoundHeaps, require_sound_heaps
from sctab.io._links import check_hdf5, check_store, is_same_state, require_plain, state_of
from sctab.io._replaceable import as_path
from sctab.io._tables import Table, encoding, quietly
from sctab.io._urls import (
    base_name,
    filesystem,
    is_pattern,
    is_url,
    network_reason,
    remote_file,
    store_of,
    suffix_of,
    without_credentials,
)
from sctab.keys import SPECIES_KEYS

__all__ = [
    "SUFFIXES",
    "DataFile",
    "RawData",
    "base_name",
    "explains_damage",
    "find_data_files",
    "is_url",
    "read_data_file",
    "store_of",
]


_READ = ("X", "layers", "obs", "raw", "raw.X", "raw.var", "var")
"""Parts of a file that are read when it is opened."""
_ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zmetadata")


@dataclass(frozen=True)
class RawData:
    """The `raw` of a file."""

    X: Any
    var: pd.DataFrame


class _FileMatrix:
    """A matrix in a file, whose errors name the file."""

    def __init__(self, path: str, matrix: Any) -> None:
        self._path, self._matrix = path, matrix
        self.shape, self.dtype = tuple(matrix.shape), matrix.dtype
        self.is_dense = hasattr(matrix, "chunks")  # of HDF5 or Zarr

    def remark(self, name: str) -> str:
        """Note on how the matrix is stored; empty where nothing needs saying."""
        return integrity.dense_remark(self._matrix, name) if self.is_dense else ""

    def __getitem__(self, rows: slice) -> Any:
        """The rows `start:stop`."""
        with explains_damage(self._path):
            return self._matrix[rows]


class DataFile:
    """A `.h5ad` or `.zarr` as it lies on a disk or behind a URL, with what of an AnnData annotation looks at.

    Matrices are backed, and rows and cell names are read on demand. It can be sent to another process, which opens the file again.

    Parameters
    ----------
    path
        Path, or any URL that `fsspec` knows, such as `s3://bucket/atlas.zarr`.
    obs_keys
        Columns of `obs` to read.

    Raises
    ------
    DataFileError
        If it is missing, of another format, compressed with what is not installed, or damaged; if its data is in other files; or
        behind a URL whose server does not answer or gives no parts of files.
    """

    path: str
    """Path or URL, without credentials."""

    def __init__(self, path: str | os.PathLike[str], obs_keys: Sequence[str] = ()) -> None:
        self._address = os.fspath(path)
        self.path = without_credentials(self._address)
        self._obs_keys = tuple(obs_keys)
        with explains_damage(self.path):
            self._stamp = _stamp(self._address)
            self.group: Any = _open_group(self._address, _READ)
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
            self.uns = self._read_uns()

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again in another process, once there."""
        return _opened_once, (self._address, self._obs_keys, json.dumps(_state(self._address)))

    def close(self) -> None:
        """Release the file, so that it can be written again."""
        if isinstance(self.group, h5py.File):
            self.group.close()

    def require_unchanged(self) -> None:
        """Refuse a file that is not what it was when it was opened.

        Raises
        ------
        DataFileError
            If it was replaced, written to, or removed.
        """
        try:
            is_same = _is_same(self._stamp, _stamp(self._address))
        except (OSError, DataFileError):
            is_same = False
        if not is_same:
            raise DataFileError(
                f"`{self.path}` changed while it was read, so results may belong to other cells. Nothing was written. Run it "
                "again when the file is no longer being written."
            )

    def _read_raw(self) -> RawData | None:
        """`raw`; before anndata 0.7, `raw.X` and `raw.var` lay beside `X`."""
        if "raw.X" in self.group:
            matrix, var = self.group["raw.X"], Table(self.group, "raw.var")
        elif "raw" in self.group and hasattr(self.group["raw"], "keys") and "X" in self.group["raw"]:
            matrix, var = self.group["raw"]["X"], Table(self.group["raw"], "var")
        else:
            return None
        return RawData(self._matrix("raw.X", matrix, var.n_rows), var.whole())

    def _read_uns(self) -> dict[str, Any]:
        """Species that `uns` states."""
        uns = self.group.get("uns", {})
        found = {key: uns[key] for key in SPECIES_KEYS if hasattr(uns, "keys") and key in uns and not hasattr(uns[key], "keys")}
        with quietly():
            return {key: read_elem(elem) for key, elem in found.items() if encoding(elem)[0] in {"string", "string-array", ""}}

    def _matrix(self, name: str, elem: Any, n_vars: int) -> _FileMatrix | None:
        """A matrix whose rows are read on demand; `None` if there is none."""
        how = "null" if elem is None else encoding(elem)[0]
        if how == "null":
            return None
        if how in {"csr_matrix", "csc_matrix"} or "h5sparse_format" in elem.attrs:
            elem = stored_rows(elem, name, self.path)
        elif hasattr(elem, "keys"):
            raise DataFileError(f"`{self.path}` holds a matrix as `{how or 'a group'}`, which is not a numeric matrix.")
        if problem := integrity.shape_problem(elem.shape, (self.n_obs, n_vars)):
            raise integrity.refuse(name, problem, self.path)
        return _FileMatrix(self.path, elem)

    @property
    def is_of_records(self) -> bool:
        """Return whether anndata 0.6 or older wrote it, with tables as arrays of records."""
        return not hasattr(self.group["obs"], "keys")

    def to_anndata(self) -> AnnData:
        """All of it in memory, as anndata reads it."""
        with explains_damage(self.path), quietly():
            if suffix_of(self._address) == ".zarr":
                return read_zarr(store_of(self._address))
            return read_h5ad(SoundHeaps(remote_file(self._address)) if is_url(self._address) else self._address)

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`."""
        with explains_damage(self.path):
            return self._table.names(start, stop)

    def fingerprint(self) -> dict[str, Any]:
        """Values that differ between this file and another one, or an earlier state of it, without reading it whole."""
        names = hashlib.sha256("\n".join(map(str, self.var.index)).encode()).hexdigest()
        return {"path": self.path, "n_obs": self.n_obs, "genes": names, "layers": sorted(self.layers), **_state(self._address)}


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
            paths = [path for path in _matching(name) if suffix_of(path) in SUFFIXES]
            if not paths:
                raise DataFileError(f"`{without_credentials(name)}` matches no `.h5ad` or `.zarr`. Check the pattern.")
        elif not is_url(name) and Path(name).is_dir() and suffix_of(name) != ".zarr":
            paths = sorted(
                str(path) for path in Path(name).iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
            )
            if not paths:
                raise DataFileError(f"The directory `{name}` holds no `.h5ad` or `.zarr`. Provide files, or a directory of files.")
        else:
            paths = [name]
        found += paths
    places: dict[str, str] = {}
    for path in found:
        places.setdefault(path if is_url(path) else os.path.abspath(path), path)  # noqa: PTH100 (`./a` is `a`)
    return list(places.values())


def read_data_file(path: str | os.PathLike[str]) -> AnnData:
    """A local `.h5ad` or `.zarr`, whole.

    Raises
    ------
    DataFileError
        If it is missing, of another format, compressed with what is not installed, or damaged.
    """
    name = os.fspath(path)
    with explains_damage(name):
        root = _open_group(name)
        require_whole(root, name)
        if isinstance(root, h5py.File):
            root.close()
        with quietly():
            adata = read_h5ad(name) if suffix_of(name) == ".h5ad" else read_zarr(name)
        require_sound_cells(adata, name)
        return adata


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


@lru_cache(maxsize=16)
def _opened_once(path: str, obs_keys: tuple[str, ...], state: str) -> DataFile:
    del state  # a file that has changed is another one
    return DataFile(path, obs_keys)


def _open_group(path: str, read: Sequence[str] | None = None) -> Any:
    """The root of a file or a store that holds an AnnData, of which some slots are read; by default all."""
    require_known_name(path)
    is_hdf5 = suffix_of(path) == ".h5ad"
    if not is_url(path):
        if not Path(path).exists():
            raise DataFileError(f"`{path}` not found. Check the path.")
        require_plain(Path(path))
        require_known_content(path)
        if Path(path).is_dir():
            check_store(path)
    if is_hdf5:
        if not is_url(path):
            require_sound_heaps(path, read=read and (*read, "uns"))
        root = h5py.File(SoundHeaps(remote_file(path)) if is_url(path) else path, mode="r")
        check_hdf5(root, without_credentials(path), read=read)
        require_filters(root, path)
    else:
        root = zarr.open_group(store_of(path), mode="r")
    require_anndata(root, path)
    return root


def _matching(pattern: str) -> list[str]:
    if not is_url(pattern):
        folder = Path(pattern).parent
        if folder.is_dir():  # whose name may look like a pattern
            pattern = str(Path(glob.escape(str(folder)), Path(pattern).name))
        return sorted(glob.glob(pattern))  # noqa: PTH207 (a pattern may be absolute)
    system, path = filesystem(pattern)
    return sorted(system.unstrip_protocol(match) for match in system.glob(path))


def _stamp(path: str) -> Any:
    """State of a file, or of every file of a Zarr store by path; of what is behind a URL what its server says."""
    if not is_url(path):
        place = Path(path)
        require_plain(place)
        return check_store(path) if place.is_dir() else {path: state_of(place.stat())} if place.exists() else {}
    system, name = filesystem(path)
    system.invalidate_cache()
    names = [name] if suffix_of(path) == ".h5ad" else [f"{name}/{part}" for part in _ZARR_METADATA]
    return [(system.size(part), system.ukey(part)) for part in names if system.exists(part)]


def _is_same(before: Any, now: Any) -> bool:
    if not isinstance(before, dict):
        return bool(before == now)
    return before.keys() == now.keys() and all(is_same_state(state, now[path]) for path, state in before.items())


def _state(path: str) -> Mapping[str, Any]:
    """Size and time of the last change of what tells of a change: the file, or the metadata of a Zarr store.

    Of a file behind a URL it is what its server says of it, and of a Zarr store there nothing.
    """
    if is_url(path):
        if suffix_of(path) != ".h5ad":
            return {}
        system, name = filesystem(path)
        return {"size": [system.size(name)], "changed": [system.ukey(name)]}
    root = Path(path)
    entries = [root] if root.is_file() else [root / name for name in _ZARR_METADATA]
    states = [entry.stat() for entry in entries if entry.exists()]
    return {"size": [state.st_size for state in states], "changed": [state.st_mtime_ns for state in states]}
