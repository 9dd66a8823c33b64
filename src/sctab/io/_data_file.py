"""Data files of users, in any format that is read, of which only requested parts are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem, read_h5ad, read_zarr

from sctab.errors import DataFileError, Parameter, SettingError, warn
from sctab.io._checks import require_sound_cells, require_whole
from sctab.io._damage import explains_damage
from sctab.io._file_matrix import FileMatrix, open_matrix
from sctab.io._formats import (
    SUFFIXES,
    Kind,
    kind_of_content,
    require_filters,
    require_known_content,
    require_known_name,
)
from sctab.io._heaps import SoundHeaps, require_sound_heaps
from sctab.io._inputs import filtered_beside, find_data_files
from sctab.io._layout import CellColumns, Choose, Layout, as_counts, choose_part
from sctab.io._links import check_hdf5, check_store, require_plain
from sctab.io._loom import read_loom
from sctab.io._market import is_market, market_files, read_market
from sctab.io._mudata import Beside, ChooseBeside, JointCells, open_beside
from sctab.io._rows import to_csr
from sctab.io._run_labels import RunLabels
from sctab.io._scdeepcluster import read_scdeepcluster
from sctab.io._states import is_same, stamp, state
from sctab.io._tables import Table, encoding, quietly
from sctab.io._ten_x import read_ten_x
from sctab.io._urls import (
    base_name,
    is_url,
    remote_file,
    store_of,
    suffix_of,
    without_credentials,
)
from sctab.keys import SPECIES_KEYS

if TYPE_CHECKING:
    from mudata import MuData

__all__ = [
    "SUFFIXES",
    "DataFile",
    "RawData",
    "base_name",
    "explains_damage",
    "find_data_files",
    "is_url",
    "read_data_file",
    "read_mudata",
    "store_of",
]


_READ = ("X", "layers", "obs", "raw", "raw.X", "raw.var", "var")
"""Parts of a file that are read when it is opened."""


@dataclass(frozen=True)
class RawData:
    """The `raw` of a file."""

    X: Any
    var: pd.DataFrame


class DataFile:
    """A data file as it lies on a disk or behind a URL, with what of an AnnData annotation looks at.

    Matrices are backed, and rows and cell names are read on demand. It can be sent to another process, which opens the file again.

    Parameters
    ----------
    path
        Path, or any URL that `fsspec` knows, such as `s3://bucket/atlas.zarr`.
    obs_keys
        Columns of `obs` to read.
    modality
        Which modality of a MuData, or which genome of a matrix of 10x Genomics that has several, to read.
    choose
        Function from the `var` of each to the name of the one that is read without `modality`.
    beside
        Function from the `var` of each modality, and the name of the one that is read, to another one that is read beside it.

    Raises
    ------
    DataFileError
        If it is missing, of another format, compressed with what is not installed, or damaged; if its data is in other files; or
        behind a URL whose server does not answer or gives no parts of files.
    """

    path: str
    """Path or URL, without credentials."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        obs_keys: Sequence[str] = (),
        *,
        modality: str | None = None,
        choose: Choose | None = None,
        beside: ChooseBeside | None = None,
    ) -> None:
        self._address = os.fspath(path)
        self.path = without_credentials(self._address)
        self._obs_keys = tuple(obs_keys)
        self.layout: Layout | None = None
        """Content of a file in another format than that of anndata; `None` for others."""
        self.modality: str | None = None
        """The modality or genome that is read, where there are several."""
        self.modalities: list[str] = []
        """All of them."""
        self.tables: dict[str, pd.DataFrame] = {}
        """The `var` of each modality of a MuData."""
        self.cells: JointCells | None = None
        """Cells of a MuData."""
        self.beside: Beside | None = None
        """The modality that is read beside it."""
        self.is_modality_given = modality is not None
        self.filtered = filtered_beside(self._address)
        """Name of the file or folder beside it that holds cells only, where this one holds all barcodes; empty if there is none."""
        self.run_labels = RunLabels()
        """Labels from the run of Cell Ranger whose matrix it is."""
        with explains_damage(self.path):
            self._stamp = stamp(self._address)
            self._root, kind = _open_root(self._address, _READ)
            self.group: Any = self._root
            self._open(kind, modality, choose, beside)

    def _open(self, kind: Kind, modality: str | None, choose: Choose | None, beside: ChooseBeside | None) -> None:
        """Read tables, and open matrices."""
        if kind in {"anndata", "loom", "market", "scdeepcluster"} and modality is not None:
            raise SettingError(
                Parameter("modality", modality), f" is for files of several modalities, and `{self.path}` has one. Omit it."
            )
        if kind == "mudata":
            parts = self.tables = {name: Table(self._root["mod"][name], "var").whole() for name in list(self._root["mod"])}
            self.modalities, self.modality = list(parts), choose_part(parts, modality, choose, self.path, "modality")
            self.group = self._root["mod"][self.modality]
            self.cells = JointCells(self._root, self.modality, self.path)
            if beside is not None and (other := beside(parts, self.modality)) is not None:
                self.beside = open_beside(self._root, self.path, other, parts[other], self.cells)
        elif kind == "10x":
            self.layout = read_ten_x(self._root, self.path, part=modality, choose=choose)
        elif kind == "loom":
            self.layout = read_loom(self._root, self.path)
        elif kind == "scdeepcluster":
            self.layout = read_scdeepcluster(self._root, self.path)
        elif kind == "market":
            self.layout = read_market(self._root)
        if self.layout is None:
            self._set_cells(self.cells or Table(self.group, "obs"), Table(self.group, "var").whole())
            self.X = self._matrix("X", self.group.get("X"), self.n_vars)
            layers = self.group.get("layers", {})
            self.layers = {key: self._matrix(f"layers[{key!r}]", layers[key], self.n_vars) for key in layers}
            self.raw = self._read_raw()
            self.uns = self._read_uns()
        else:
            self.modalities, self.modality = self.layout.parts, self.layout.part
            if kind in {"10x", "market"}:
                self.run_labels = RunLabels.beside(self._address, self.layout.obs.n_rows, self.layout.obs.names)
                self.layout.obs.add(self.run_labels.columns)
            self._set_cells(self.layout.obs, self.layout.var)
            self.X = FileMatrix(self.path, self.layout.X)
            self.layers = {key: FileMatrix(self.path, matrix) for key, matrix in self.layout.layers.items()}
            self.raw, self.uns = None, {}

    def _matrix(self, name: str, elem: Any, n_vars: int) -> FileMatrix | None:
        return open_matrix(self.path, name, elem, (self.n_obs, n_vars))

    def _set_cells(self, obs: Table | CellColumns | JointCells, var: pd.DataFrame) -> None:
        self._table = obs
        self.n_obs, self.n_vars = obs.n_rows, len(var)
        self.obs_columns = obs.columns
        self.obs = obs.select(self._obs_keys)
        self.var: pd.DataFrame = var

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again in another process, once there."""
        return _opened_once, (self._address, self._obs_keys, self.modality, json.dumps(state(self._address)))

    def close(self) -> None:
        """Release the file, so that it can be written again."""
        if isinstance(self._root, h5py.File):
            self._root.close()

    def require_unchanged(self) -> None:
        """Refuse a file that is not what it was when it was opened.

        Raises
        ------
        DataFileError
            If it was replaced, written to, or removed.
        """
        try:
            is_unchanged = is_same(self._stamp, stamp(self._address))
        except (OSError, DataFileError):
            is_unchanged = False
        if not is_unchanged:
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

    @property
    def root(self) -> Any:
        """Root of the file, or of the store."""
        return self._root

    @property
    def is_of_records(self) -> bool:
        """Return whether anndata 0.6 or older wrote it, with tables as arrays of records."""
        return self.layout is None and not hasattr(self.group["obs"], "keys")

    def to_anndata(self) -> AnnData:
        """All of it in memory, as anndata reads it."""
        with explains_damage(self.path), quietly():
            if self.layout is not None:
                return self._from_layout(self.layout)
            if self.modality is not None:
                adata: AnnData = read_elem(self.group)
                return adata if self.cells is None else self.cells.complete(adata)
            if suffix_of(self._address) == ".zarr":
                return read_zarr(store_of(self._address))
            return read_h5ad(SoundHeaps(remote_file(self._address)) if is_url(self._address) else self._address)

    def _from_layout(self, layout: Layout) -> AnnData:
        obs = layout.obs.select(layout.obs.columns).set_axis(self.names(0, self.n_obs))
        layers = {key: to_csr(matrix, f"layers[{key!r}]") for key, matrix in layout.layers.items()}
        return AnnData(
            as_counts(to_csr(layout.X)), obs=obs, var=layout.var, layers={key: as_counts(layer) for key, layer in layers.items()}
        )

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`."""
        with explains_damage(self.path):
            return self._table.names(start, stop)

    def fingerprint(self) -> dict[str, Any]:
        """Values that differ between this file and another one, or an earlier state of it, without reading it whole."""
        names = hashlib.sha256("\n".join(map(str, self.var.index)).encode()).hexdigest()
        chosen: dict[str, Any] = {} if self.modality is None else {"modality": self.modality}
        chosen |= {} if self.beside is None else {"beside": self.beside.name}
        if self.run_labels.paths:
            chosen["labels"] = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in self.run_labels.paths}
        return {
            "path": self.path,
            "n_obs": self.n_obs,
            "genes": names,
            "layers": sorted(self.layers),
            **chosen,
            **state(self._address),
        }


def read_data_file(path: str | os.PathLike[str], *, modality: str | None = None, choose: Choose | None = None) -> AnnData:
    """A local data file, whole.

    Parameters
    ----------
    path, modality, choose
        As for :class:`DataFile`.

    Raises
    ------
    DataFileError
        If it is missing, of another format, compressed with what is not installed, or damaged.
    """
    name = os.fspath(path)
    with explains_damage(name):
        root, kind = _open_root(name)
        if kind == "anndata":
            require_whole(root, name)
        if isinstance(root, h5py.File):
            root.close()
        with quietly():
            if kind != "anndata" or modality is not None:
                with closing(DataFile(name, modality=modality, choose=choose)) as file:
                    if file.layout is None:
                        require_whole(file.group, name)
                    for note in file.run_labels.notes:
                        warn(note)
                    adata = file.to_anndata()
            else:
                adata = read_zarr(name) if suffix_of(name) == ".zarr" else read_h5ad(name)
        require_sound_cells(adata, name)
        return adata


def read_mudata(path: str | os.PathLike[str]) -> MuData | None:
    """A local MuData, whole; `None` where the file is another one.

    Parameters
    ----------
    path
        As for :func:`read_data_file`; errors are those of it.
    """
    name = os.fspath(path)
    with explains_damage(name):
        root, kind = _open_root(name)
        if kind == "mudata":
            for part in list(root["mod"]):
                require_whole(root["mod"][part], name)
        if isinstance(root, h5py.File):
            root.close()
        if kind != "mudata":
            return None
        import mudata

        with quietly():
            mdata: MuData = mudata.read_zarr(name) if suffix_of(name) == ".zarr" else mudata.read_h5mu(name)
        for adata in mdata.mod.values():
            require_sound_cells(adata, name)
        return mdata


@lru_cache(maxsize=16)
def _opened_once(path: str, obs_keys: tuple[str, ...], modality: str | None, state: str) -> DataFile:
    del state  # a file that has changed is another one
    return DataFile(path, obs_keys, modality=modality)


def _open_root(path: str, read: Sequence[str] | None = None) -> tuple[Any, Kind]:
    """The root of a file or a store, or the files of a matrix, and what it holds; of an AnnData some slots are read, by default all."""
    if (files := market_files(path)) is not None:
        return files, "market"
    is_missing = not is_url(path) and not Path(path).exists()
    if not (is_missing and (not suffix_of(path) or is_market(path))):
        require_known_name(path)
    if is_missing:
        raise DataFileError(f"`{path}` not found. Check the path.")
    if not is_url(path):
        require_plain(Path(path))
        require_known_content(path)
        if Path(path).is_dir():
            check_store(path)
    if suffix_of(path) != ".zarr":
        read = read if suffix_of(path) == ".h5ad" else None
        if not is_url(path):
            require_sound_heaps(path, read=read and (*read, "uns"))
        root = h5py.File(SoundHeaps(remote_file(path)) if is_url(path) else path, mode="r")
        check_hdf5(root, without_credentials(path), read=read)
        require_filters(root, path)
    else:
        root = zarr.open_group(store_of(path), mode="r")
    return root, kind_of_content(root, path)
