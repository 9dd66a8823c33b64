"""Tables of `obs` and `var` in data files, as anndata reads them, in every layout that it has had."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata import ImplicitModificationWarning, OldFormatWarning
from anndata.io import read_elem

from sctab.errors import DataFileError, warn
from sctab.io._claims import claim_problem
from sctab.io.integrity import column_remark, require_stored

_NOW = ("dataframe", "0.2.0")
_FILTERING = threading.RLock()
_OF_UNS = "_categories"
"""anndata 0.6 keeps the categories of `obs["cell_type"]` in `uns["cell_type_categories"]`."""


class Table:
    """`obs` or `var` of a file, whose columns are read on demand.

    A table as anndata has written it since 0.8 is read column by column, and its index in slices. An older one is read whole, by anndata.

    Parameters
    ----------
    root
        Root of the file, or the group that the table lies in.
    name
        Name of the table there.
    """

    def __init__(self, root: Any, name: str) -> None:
        self._is_obs = name == "obs"
        self._frame: pd.DataFrame | None = None
        self._names: Any = None
        if name not in root:
            raise ValueError(f"it has no `{name}`")
        elem = root[name]
        if encoding(elem) == _NOW:
            self.columns = attribute_list(elem, "column-order")
            index = elem[str(attribute(elem, "_index"))]
            require_stored(index, f"the index of `{name}`")
            self._elem, self._index = elem, _strings_of(index)
            if self._index is None:
                with quietly():
                    self._names = _as_in_anndata(pd.DataFrame(index=read_elem(index)), is_obs=self._is_obs).index
            self.n_rows = len(self._names) if self._index is None else int(self._index.shape[0])
        else:
            self._frame = _read_whole(root, name, elem)
            self._names = self._frame.index
            self.columns = [str(column) for column in self._frame.columns]
            self.n_rows = len(self._frame)

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the rows from `start` to `stop`."""
        if self._names is not None:
            return [str(name) for name in self._names[start:stop]]
        values = self._index.asstr()[start:stop] if isinstance(self._index, h5py.Dataset) else self._index[start:stop]
        return [str(value) for value in values]

    def select(self, keys: Sequence[str]) -> pd.DataFrame:
        """Those columns that the table has, in the order of `keys`, with numbers as their index."""
        known = [key for key in dict.fromkeys(keys) if key in self.columns]
        numbered = pd.RangeIndex(self.n_rows)
        if self._frame is not None:
            return self._frame[known].set_axis(numbered)
        for key in known:
            if remark := column_remark(self._elem[key], key):
                warn(remark)
        with quietly():
            return pd.DataFrame({key: self._column(key) for key in known}, index=numbered, columns=known or None)

    def whole(self) -> pd.DataFrame:
        """All of it, as anndata gives it."""
        if self._frame is None:
            for key in self.columns:
                self._require_claim(key)
            with quietly():
                self._frame = _as_in_anndata(read_elem(self._elem), is_obs=self._is_obs)
        return self._frame

    def _require_claim(self, key: str) -> None:
        if key in self._elem and (problem := claim_problem(self._elem[key])):
            raise ValueError(f"its column `{key}` {problem}")

    def _column(self, key: str) -> Any:
        self._require_claim(key)
        values = read_elem(self._elem[key])
        if np.ndim(values) != 1 or len(values) != self.n_rows:
            raise ValueError(f"its column `{key}` has the shape {np.shape(values)} instead of ({self.n_rows},)")
        return values


def encoding(elem: Any) -> tuple[str, str]:
    """Name and version of how anndata has stored something; empty where it does not say."""
    return str(attribute(elem, "encoding-type", "")), str(attribute(elem, "encoding-version", ""))


def attribute(elem: Any, name: str, default: Any = None) -> Any:
    """An attribute; strings that are stored with a fixed length, as other languages do, are strings too.

    Raises
    ------
    KeyError
        If there is none, and no default.
    """
    value = elem.attrs[name] if default is None else elem.attrs.get(name, default)
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [_decoded(item) for item in value.ravel()]
    return _decoded(value)


def attribute_list(elem: Any, name: str) -> list[str]:
    """An attribute that is a list of strings, which may be empty."""
    values = attribute(elem, name, [])
    return [] if isinstance(values, h5py.Empty) else [str(value) for value in values]


def is_compound(elem: Any) -> bool:
    """Return whether it is a table of anndata 0.6 or older: an array of records."""
    return not hasattr(elem, "keys")


def _decoded(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _strings_of(index: Any) -> Any:
    """The array whose slices are the names that anndata reads; `None` where names are anything but plain strings."""
    how = encoding(index)[0]
    if how == "nullable-string-array" and not index["mask"][:].any():
        index, how = index["values"], encoding(index["values"])[0]
    if hasattr(index, "keys") or index.ndim != 1 or how not in {"string-array", ""}:
        return None
    if isinstance(index, h5py.Dataset):
        kind = h5py.check_string_dtype(index.dtype)
        return index if kind is not None and (how == "string-array" or (kind.encoding == "utf-8" and kind.length is None)) else None
    return index if index.dtype.kind in "TUO" else None


def _as_in_anndata(table: Any, *, is_obs: bool) -> pd.DataFrame:
    """Table with an index of strings, as AnnData has it. One without a layout is a mapping."""
    height = len(table if isinstance(table, pd.DataFrame) else next(iter(table.values()), ()))
    return ad.AnnData(obs=table, shape=(height, 0)).obs if is_obs else ad.AnnData(var=table, shape=(0, height)).var


def _read_whole(root: Any, name: str, elem: Any) -> pd.DataFrame:
    with quietly():
        if not is_compound(elem):
            return _as_in_anndata(read_elem(elem), is_obs=name == "obs")
        if not isinstance(elem, h5py.Dataset):
            raise DataFileError(
                "A `.zarr` of anndata 0.6 or older is no longer read, neither here nor by anndata. Read it with anndata 0.10, and "
                "write it again."
            )
        return _read_records(root, name)


def _read_records(root: Any, name: str) -> pd.DataFrame:
    """A table of anndata 0.6, which anndata reads from a file that holds nothing but the tables."""
    tables = ("obs", "var") if name in {"obs", "var"} else (name, name)
    content = io.BytesIO()
    with h5py.File(content, "w") as small:
        for target, source in zip(("obs", "var"), tables, strict=True):
            root.copy(root[source], small, target)
        if name in {"obs", "var"}:
            small.create_group("uns")
            for key in [key for key in root.get("uns", ()) if key.endswith(_OF_UNS)]:
                root.copy(root["uns"][key], small["uns"], key)
    adata = ad.read_h5ad(content)
    return adata.obs if name == "obs" else adata.var


@contextmanager
def quietly() -> Iterator[None]:
    """Silence what anndata says of old layouts and of indices that it turns into strings, and zarrs of arrays that it leaves to Zarr.

    Filters of warnings are those of the whole process, so that one thread changes them at a time and warnings of others are left alone.
    """
    with _FILTERING, warnings.catch_warnings():
        for category in (OldFormatWarning, ImplicitModificationWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="Array is unsupported by ZarrsCodecPipeline", category=UserWarning)
        yield
