"""Annotated copies of data files, made without loading a matrix: what is in the file is copied, and results are written beside it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem, write_elem
from numpy.typing import NDArray

from sctab.errors import DataFileError, SctabError
from sctab.io._data_file import DataFile, is_url
from sctab.io._fresh import write_fresh
from sctab.io._links import check_hdf5, check_store
from sctab.io._replaceable import names_of_system
from sctab.io._tables import attribute_list, quietly
from sctab.io._zarr import fast_reading

_NUMBERS_AT_A_TIME = 4_000_000
"""Numbers of an array that are copied at a time: 32 MB at most."""
_ROWS_PER_CHUNK = 65_536
"""Rows in a chunk of a result in Zarr, where every chunk is a file."""
_STRINGS_AT_A_TIME = 65_536
_MUDATA = b"MuData (format-version=0.1.0;creator=sctab;creator-version=0.1.0)"
_USER_BLOCK = 512
"""Bytes before an HDF5 file begins, which mudata writes into."""


def copy_data(file: DataFile, target: Path) -> None:
    """Copy a data file to a path whose suffix says in which format. Links within a file become what they lead to.

    Raises
    ------
    DataFileError
        If something in the file cannot be written in the other format.
    """
    if file.layout is not None:
        with _opened(target, "w") as group, quietly():
            write_fresh(file, group)
        if target.suffix == ".zarr":
            _consolidate(target)
        return
    has_links = require_whole_links(file)
    if target.suffix == ".h5mu":
        _copy_mudata(file, target, has_links=has_links)
        return
    if file.is_of_records:
        _write_anew(file, target)
        return
    is_whole = file.modality is None and not is_url(file.path)
    if is_whole and Path(file.path).suffix.lower() == target.suffix and not has_links:
        if Path(file.path).is_dir():
            shutil.copytree(file.path, target, symlinks=True, ignore=names_of_system)
        else:
            shutil.copyfile(file.path, target)
        return
    reading = nullcontext() if target.suffix == ".zarr" else fast_reading()  # as anndata reads
    with _opened(target, "w") as group, quietly(), reading:
        if has_links and isinstance(group, h5py.Group):
            _copy_with_links(file.group, group)
        else:
            _Conversion(file.path, target.suffix).copy_group(file.group, group)
    if target.suffix == ".zarr":
        _consolidate(target)


def _copy_mudata(file: DataFile, target: Path, *, has_links: bool) -> None:
    """Copy a whole MuData, all of its modalities, to a `.h5mu`."""
    if isinstance(file.root, h5py.File) and not is_url(file.path) and not has_links:
        shutil.copyfile(file.path, target)
        return
    reading = nullcontext() if isinstance(file.root, h5py.File) else fast_reading()
    with _opened(target, "w") as group, quietly(), reading:
        if has_links:
            _copy_with_links(file.root, group)
        else:
            _Conversion(file.path, target.suffix).copy_group(file.root, group)
    with target.open("r+b") as handle:  # by which mudata knows its files
        handle.write(_MUDATA)


def _copy_with_links(source: h5py.Group, target: h5py.Group) -> None:
    """Copy a group of HDF5; links become what they lead to."""
    target.attrs.update(dict(source.attrs))
    for name in source:
        source.copy(source[name], target, name=name, expand_soft=True, expand_refs=True)


def require_whole_links(file: DataFile) -> bool:
    """Refuse a file of which no copy can be made, since a link in it leads to nothing, and say whether it has links within itself.

    Raises
    ------
    DataFileError
        If there is such a link, also in a part that annotation does not read.
    """
    return isinstance(file.group, h5py.Group) and check_hdf5(file.group.file, file.path)


def _write_anew(file: DataFile, target: Path) -> None:
    """Write a file of anndata 0.6 as anndata does now: its tables are records, to which no column can be added."""
    adata = file.to_anndata()
    try:
        with quietly():
            if target.suffix == ".h5ad":
                adata.write_h5ad(target, convert_strings_to_categoricals=False)
            else:
                adata.write_zarr(target, convert_strings_to_categoricals=False)
    except (ValueError, TypeError) as error:
        raise DataFileError(
            f"`{file.path}` cannot be written as anndata does now: {error}. Write a table of its labels instead."
        ) from error


@contextmanager
def open_copy(path: Path) -> Iterator[Any]:
    """The root of a copy, to write results to; nothing in it leads out of it."""
    if path.suffix == ".zarr":
        check_store(path)
    was_consolidated = path.suffix == ".zarr" and zarr.open_group(str(path), mode="r").metadata.consolidated_metadata is not None
    with _opened(path, "r+") as group:
        if isinstance(group, h5py.File):
            check_hdf5(group, str(path))
        yield group
    if was_consolidated:
        _consolidate(path)


def _consolidate(path: Path) -> None:
    """Gather the metadata of all arrays in one place, as anndata does when it writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(str(path))


@contextmanager
def _opened(path: Path, mode: Any) -> Iterator[Any]:
    if path.suffix in {".h5ad", ".h5mu"}:
        with h5py.File(path, mode, userblock_size=_USER_BLOCK if path.suffix == ".h5mu" and mode == "w" else None) as group:
            yield group
    else:
        yield zarr.open_group(str(path), mode=mode, use_consolidated=False)


class _Conversion:
    """Copies what is in a file of one format to one of the other."""

    def __init__(self, path: str, suffix: str) -> None:
        self._path, self._suffix = path, suffix

    def copy_group(self, source: Any, target: Any, where: str = "") -> None:
        """Copy a group with all that is in it."""
        self._copy_attributes(source, target, where)
        for name in source:
            place = f"{where}/{name}".lstrip("/")
            try:
                self._copy(source[name], target, name, place)
            except (OSError, MemoryError, SctabError):
                raise
            except Exception as error:  # HDF5, Zarr and anndata raise many kinds of errors
                raise self._refusal(place, str(error).splitlines()[0] if str(error) else type(error).__name__) from error

    def _copy(self, element: Any, target: Any, name: str, place: str) -> None:
        if hasattr(element, "keys"):
            if "__categories" in element:  # a frame of anndata 0.7, in which columns refer to their categories
                write_elem(target, name, read_elem(element))
            else:
                self.copy_group(element, target.create_group(name), place)
        elif h5py.check_ref_dtype(element.dtype) is not None:
            raise self._refusal(place, "it holds references to other parts of the file")
        elif element.ndim and (is_text := _is_text(element)) is not None:
            _copy_array(element, target, name, is_text=is_text)
            self._copy_attributes(element, target[name], place)
        else:  # single values, and records
            write_elem(target, name, read_elem(element))

    def _copy_attributes(self, source: Any, target: Any, where: str) -> None:
        # A list: while h5py iterates over items, it holds its lock. A thread of Zarr that writes, and on which this one waits, needs the
        # lock as soon as the garbage collector finds a closed HDF5 file there.
        for name, value in list(source.attrs.items()):
            if isinstance(value, h5py.Reference | h5py.RegionReference):
                raise self._refusal(where, f"its attribute `{name}` refers to another part of the file")
            target.attrs[name] = _plain(value)

    def _refusal(self, where: str, why: str) -> DataFileError:
        return DataFileError(
            f"`{where or '/'}` of `{self._path}` cannot be written as {self._suffix}: {why}. Write a copy in the format of the input, or "
            "a table."
        )


def _copy_array(source: Any, target: Any, name: str, *, is_text: bool) -> None:
    copied = create_array(target, name, source.shape, str if is_text else source.dtype)
    step = max(1, (_STRINGS_AT_A_TIME if is_text else _NUMBERS_AT_A_TIME) // max(1, int(np.prod(source.shape[1:]))))
    for start in range(0, source.shape[0], step):
        values = (
            source.asstr()[start : start + step] if is_text and isinstance(source, h5py.Dataset) else source[start : start + step]
        )
        copied[start : start + step] = np.asarray(values, dtype=object) if is_text else values


def _is_text(array: Any) -> bool | None:
    """Return whether an array holds strings; `None` where it holds neither strings nor numbers."""
    if isinstance(array, h5py.Dataset) and h5py.check_string_dtype(array.dtype) is not None:
        return True
    if array.dtype.kind in "biufc":
        return False
    return True if array.dtype.kind in "TO" and array.ndim == 1 else None


def _plain(value: Any) -> Any:
    """An attribute as both formats take it."""
    if isinstance(value, h5py.Empty):
        return []
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def create_array(group: Any, name: str, shape: Sequence[int], dtype: Any) -> Any:
    """An array to be filled, `str` for strings, with the attributes of AnnData; one that has the name is replaced."""
    if name in group:
        del group[name]
    if isinstance(group, h5py.Group):
        array = group.create_dataset(name, shape=shape, dtype=h5py.string_dtype() if dtype is str else dtype)
    else:
        rows = max(1, min(_ROWS_PER_CHUNK, shape[0], _NUMBERS_AT_A_TIME // max(1, int(np.prod(shape[1:])))))
        array = group.create_array(name, shape=tuple(shape), dtype=dtype, chunks=(rows, *shape[1:]))
    array.attrs.update({"encoding-type": "string-array" if dtype is str else "array", "encoding-version": "0.2.0"})
    return array


class Results:
    """Results of `n_obs` cells in the root of a file like an AnnData, written block by block.

    Parameters
    ----------
    root
        Root of an opened `.h5ad`, `.zarr` or `.h5mu`.
    n_obs
        Number of its cells.
    """

    def __init__(self, root: Any, n_obs: int) -> None:
        self._root, self._n_obs = root, n_obs
        self._arrays: dict[str, Any] = {}

    def add_column(self, name: str, *, categories: Sequence[str] | None = None, dtype: Any = np.float32) -> None:
        """A column of `obs`, of numbers, of true and false, or categorical; one that has the name is replaced."""
        obs = self._root["obs"]
        if categories is None:
            self._arrays[name] = create_array(obs, name, (self._n_obs,), dtype)
        else:
            if name in obs:
                del obs[name]
            column = obs.create_group(name)
            column.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
            write_elem(column, "categories", np.array(categories, dtype=object))
            self._arrays[name] = create_array(column, "codes", (self._n_obs,), _smallest_integer(len(categories)))
        columns = attribute_list(obs, "column-order")
        if name not in columns:
            obs.attrs["column-order"] = [*columns, name]

    def remove(self, slot: str, name: str) -> None:
        """Remove the result of an earlier annotation, if any."""
        if slot in self._root and name in self._root[slot]:
            del self._root[slot][name]
            if slot == "obs":
                columns = attribute_list(self._root["obs"], "column-order")
                self._root["obs"].attrs["column-order"] = [column for column in columns if column != name]

    def add_matrix(self, name: str, width: int) -> None:
        """An array of float32 in `obsm`, `(n_obs, width)`."""
        self._arrays[name] = create_array(self._slot("obsm"), name, (self._n_obs, width), np.float32)

    def add_frame(self, name: str, columns: Sequence[str]) -> None:
        """A frame of float32 in `obsm`, `(n_obs, n_columns)`, indexed by the names of the cells."""
        slot = self._slot("obsm")
        if name in slot:
            del slot[name]
        frame = slot.create_group(name)
        frame.attrs.update(
            {"encoding-type": "dataframe", "encoding-version": "0.2.0", "column-order": list(columns), "_index": "_index"}
        )
        self._arrays[f"{name}/_index"] = create_array(frame, "_index", (self._n_obs,), str)
        for column in columns:
            self._arrays[f"{name}/{column}"] = create_array(frame, column, (self._n_obs,), np.float32)

    def write(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Write some rows of a column or a matrix, or of the column of a frame: `frame/column`."""
        self._arrays[name][start : start + len(values)] = values

    def add_run(self, name: str, values: Mapping[str, Any]) -> None:
        """Write the record of the run into `uns`."""
        write_elem(self._slot("uns"), name, dict(values))

    def add_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table into `uns`."""
        write_elem(self._slot("uns"), name, table)

    def _slot(self, name: str) -> Any:
        if name not in self._root:
            group = self._root.create_group(name)
            group.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
        return self._root[name]


def _smallest_integer(n_categories: int) -> type[np.signedinteger]:
    return next(dtype for dtype in (np.int8, np.int16, np.int32) if n_categories <= np.iinfo(dtype).max)
