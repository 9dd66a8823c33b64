"""Check that anndata can read everything in a data file, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.experimental import read_dispatched
from anndata.io import read_elem, sparse_dataset

from sctab.errors import DataFileError, SctabError, listing
from sctab.io._stored import StoredRows
from sctab.io._tables import attribute, attribute_list, quietly
from sctab.io._zarr import fast_reading

_NUMBERS_AT_A_TIME = 4_000_000
"""Numbers that are read at a time: 32 MB at most."""
_SLOTS = ("X", "layers", "obs", "var", "obsm", "varm", "obsp", "varp", "uns", "raw")
_SLOTS_OF_RAW = ("X", "var", "varm")
_OF_CELLS, _OF_GENES = ("obsm", "obsp"), ("varm", "varp")


def require_readable(path: Path, name: str) -> None:
    """Refuse a data file of which anndata cannot read a part, also one that annotation does not look at.

    Numbers are read in blocks and forgotten, and tables column by column.

    Parameters
    ----------
    path
        A `.h5ad`, `.zarr` or `.h5mu` on this machine.
    name
        What to call it in messages.

    Raises
    ------
    DataFileError
        If a part is damaged, of an unknown encoding, or does not fit the others.
    """
    check = _Check(name)
    try:
        with quietly():
            if path.suffix.lower() == ".zarr":
                _require_same_metadata(path)
                with fast_reading():  # as anndata reads: what decodes chunks differs in what it refuses
                    check.root(zarr.open_group(str(path), mode="r", use_consolidated=False))
            else:
                with h5py.File(path, mode="r") as root:
                    (check.mudata if path.suffix.lower() == ".h5mu" else check.root)(root)
    except SctabError:
        raise
    except BaseException as error:  # HDF5, Zarr, pandas and anndata raise many kinds of errors on a damaged file
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # that of codecs in Rust
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _refusal(name, check.where, reason.rstrip(".")) from error


def _refusal(name: str, where: str, reason: str) -> DataFileError:
    return DataFileError(
        f"`{where or '/'}` of `{name}` cannot be read by anndata: {reason}. A copy could not be read either. Export the file again, "
        "or write a table of labels, such as `labels.csv`."
    )


def _require_same_metadata(path: Path) -> None:
    """Refuse a store whose gathered metadata are not those of its arrays: a copy gathers them again."""
    gathered = zarr.open_group(str(path), mode="r").metadata.consolidated_metadata
    if gathered is None:
        return
    root = zarr.open_group(str(path), mode="r", use_consolidated=False)
    for place, expected in gathered.flattened_metadata.items():
        found = root[place].metadata.to_dict()
        wanted = expected.to_dict()
        if any(found.get(key) != value for key, value in wanted.items() if key != "consolidated_metadata"):
            raise ValueError(f"the metadata of `{place}` are not those that the store has gathered of it")


class _Check:
    """Reads every element of a data file as anndata would, and keeps only shapes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.where = ""

    def mudata(self, root: Any) -> None:
        """Check all modalities of a MuData, and what it has itself."""
        for name in root["mod"]:
            self.root(root["mod"][name])
        for slot in root:
            if slot != "mod":
                self._visit(root[slot])

    def root(self, root: Any) -> None:
        """Check everything of an AnnData."""
        if unknown := [key for key in root if key not in _SLOTS and not key.startswith("raw.")]:
            raise _refusal(self._name, "", f"AnnData has no {listing(unknown)}")
        shapes = self._visit(root) if root.name == "/" else {key: self._visit(root[key]) for key in root}
        if not isinstance(shapes, Mapping):
            raise _refusal(self._name, "", "it is no AnnData")
        n_obs, n_vars = shapes["obs"][0], shapes["var"][0]
        for slots, n in ((_OF_CELLS, n_obs), (_OF_GENES, n_vars)):
            for slot in slots:
                arrays = shapes.get(slot) or {}
                if not isinstance(arrays, Mapping):
                    raise _refusal(self._name, slot, "it does not hold arrays by name")
                for key, shape in arrays.items():
                    expected = (n, n) if slot.endswith("p") else (n,)
                    if not isinstance(shape, tuple) or shape[: len(expected)] != expected:
                        raise _refusal(self._name, f"{slot}/{key}", f"its shape is {shape}, and it belongs to {n:,} rows")

    def _visit(self, elem: Any) -> Any:
        self.where = elem.name.lstrip("/")
        return read_dispatched(elem, self._read)

    def _read(self, _: Callable[[Any], Any], name: str, elem: Any, iospec: Any) -> Any:
        kind = iospec.encoding_type
        is_group = hasattr(elem, "keys")
        if name == "/raw" and kind == "dict" and (unknown := [key for key in elem if key not in _SLOTS_OF_RAW]):
            raise ValueError(f"`raw` has no {listing(unknown)}")
        if name == "/" or (is_group and kind in {"raw", "dict"}):
            return {key: self._visit(elem[key]) for key in elem if not key.startswith("raw.")}
        if kind == "dataframe" and iospec.encoding_version == "0.2.0":
            return self._read_frame(elem)
        if kind in {"csr_matrix", "csc_matrix"}:
            return self._read_sparse(elem, self.where)
        if not is_group and kind in {"array", ""} and elem.shape and getattr(elem.dtype, "kind", "O") in "biufc":
            return _read_blocks(elem)
        return _shape(read_elem(elem))

    def _read_frame(self, elem: Any) -> tuple[int, int]:
        columns = attribute_list(elem, "column-order")
        index = attribute(elem, "_index")
        sizes = {column: self._visit(elem[column]) for column in (index, *columns)}
        self.where = elem.name.lstrip("/")
        if pd.isna(read_elem(elem[index])).any():
            raise ValueError("a name in its index is missing")
        shapes = set(sizes.values())
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"its columns have the shapes {listing(sorted(shapes, key=str))}")
        return (next(iter(shapes))[0], len(columns))

    def _read_sparse(self, elem: Any, where: str) -> tuple[int, ...]:
        dataset = sparse_dataset(elem)
        rows = StoredRows(dataset, where, self._name)
        n_major = rows.shape[0 if rows.kind == "csr" else 1]
        step = max(1, _NUMBERS_AT_A_TIME * n_major // max(1, rows.n_values))
        for start in range(0, n_major, step):
            rows.values(slice(start, min(start + step, n_major)))
        return rows.shape


def _read_blocks(elem: Any) -> tuple[int, ...]:
    step = max(1, _NUMBERS_AT_A_TIME // max(1, int(np.prod(elem.shape[1:], dtype=np.int64))))
    for start in range(0, elem.shape[0], step):
        elem[start : start + step]
    return tuple(elem.shape)


def _shape(value: Any) -> Any:
    return tuple(value.shape) if hasattr(value, "shape") else None
