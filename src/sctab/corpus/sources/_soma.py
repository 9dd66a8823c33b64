"""Experiments of TileDB-SOMA, and the CELLxGENE Census, as sources.

Needs `tiledbsoma`, and `cellxgene_census` for the Census, which are optional: `pip install 'sctab[census]'`. It is the only file of the
package that knows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.corpus.sources._blocks import BlockRows
from sctab.errors import DataFileError, KeyNotFoundError, SettingError, listing, require
from sctab.io import explains_damage, without_credentials

CENSUS = "census://"
_KIND = "a SOMA experiment"
_JOIN_ID = "soma_joinid"
_NAMES = ("obs_id", "observation_joinid")
"""Columns of `obs` with names of cells, the first that exists."""
_GENES = ("feature_id", "var_id")
"""Columns of `var` with names of genes, the first that exists."""
_COUNTS_FIRST = ("raw", "counts")
"""Layers that are looked at before others: to look at one is to read it."""
_CONFIG = {"soma.init_buffer_bytes": 64 * 2**20}
"""By default a read takes a gigabyte for each column."""
_CELLS_AT_A_TIME = 4096
"""With 2,000 values each they take 65 MB, and three times that on the way; fewer would be many small requests to the Census."""


def is_soma(path: Path) -> bool:
    """Return whether a directory is a group of TileDB, by what is in it; whether that is an experiment, only `tiledbsoma` knows."""
    return (path / "__group").is_dir() or (path / "__tiledb_group.tdb").exists()


class SomaSource:
    """A measurement of an experiment, with what of an AnnData a corpus looks at; see :class:`sctab.corpus.sources._open.CellSource`.

    Cells are in the order of their `soma_joinid`, and so are genes. The sparse layers of `X` are layers, and there is no `X` besides.

    Parameters
    ----------
    path
        Path or URI of the experiment, or `census://release/organism`.
    obs_keys
        Columns of `obs` to read.
    measurement
        Which of its measurements.
    obs_filter
        Which cells, as a value filter of SOMA, such as `tissue_general == 'lung'`; by default all.

    Raises
    ------
    DataFileError
        If it is missing, or no experiment, or damaged.
    KeyNotFoundError
        If it has no such measurement.
    SettingError
        If `obs_filter` cannot be applied, or leaves no cell.
    MissingDependencyError
        If the library is not installed.
    """

    X = None
    raw = None
    path: str
    """Path or URL, without credentials."""

    def __init__(self, path: str, obs_keys: Sequence[str] = (), *, measurement: str = "RNA", obs_filter: str | None = None) -> None:
        address, path = path, without_credentials(path)
        self.path, self._obs_filter = path, obs_filter
        tiledbsoma = require("tiledbsoma", extra="census")
        with explains_damage(path, _KIND):
            self._opened, experiment = _open_census(address) if address.startswith(CENSUS) else _open_experiment(address)
            if measurement not in experiment.ms:
                raise KeyNotFoundError(f"`{path}` has no measurement `{measurement}`. Measurements: {listing(experiment.ms)}.")
            of_genes = experiment.ms[measurement]
            var = of_genes.var.read().concat().sort_by(_JOIN_ID).to_pandas()
            genes = var.pop(_JOIN_ID).to_numpy(dtype=np.int64)
            names = next((var[key] for key in _GENES if key in var), var.index.to_series())
            self.var: pd.DataFrame = var.set_axis(pd.Index(names.astype(str), name=None))
            self.n_vars = len(self.var)
            self._obs = experiment.obs
            self.obs_columns = [key for key in self._obs.keys() if not key.startswith("soma_")]  # noqa: SIM118 (it is not a mapping)
            obs = self._read_obs([key for key in obs_keys if key in self.obs_columns], tiledbsoma.SOMAError)
            self._cells = obs.pop(_JOIN_ID).to_numpy(dtype=np.int64)
            self.obs: pd.DataFrame = obs
            self.n_obs = len(obs)
            self.uns = {"organism": path.rpartition("/")[2]} if path.startswith(CENSUS) else {}
            found = of_genes.X if "X" in of_genes else {}
            self.layers = {
                key: _Layer(path, found[key], self._cells, genes).rows()
                for key in sorted(found, key=lambda key: (key not in _COUNTS_FIRST, key))
                if isinstance(found[key], tiledbsoma.SparseNDArray)
            }
        if obs_filter is not None and not self.n_obs:
            raise SettingError(f"`{path}`: `obs_filter: {obs_filter}` matches no cell. Relax it.")

    def _read_obs(self, keys: list[str], soma_error: type[Exception]) -> pd.DataFrame:
        try:
            reader = self._obs.read(column_names=[_JOIN_ID, *keys], value_filter=self._obs_filter)
        except soma_error as error:
            if self._obs_filter is None:
                raise
            reason = without_credentials(str(error).splitlines()[0]).rstrip(".")
            raise SettingError(
                f"`{self.path}`: `obs_filter: {self._obs_filter}` cannot be applied: {reason}. Columns: {listing(self.obs_columns)}."
            ) from error
        return reader.concat().sort_by(_JOIN_ID).to_pandas()

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`; where there are none, their `soma_joinid`."""
        cells = self._cells[start:stop]
        key = next((key for key in _NAMES if key in self.obs_columns), None)
        if key is None:
            return [str(cell) for cell in cells]
        coords = tuple(_range(cells) if column == _JOIN_ID else slice(None) for column in self._obs.index_column_names)
        with explains_damage(self.path, _KIND):
            table = self._obs.read(coords, column_names=[_JOIN_ID, key]).concat().sort_by(_JOIN_ID).to_pandas()
        return table[key].to_numpy()[np.searchsorted(table[_JOIN_ID], cells)].tolist()

    def fingerprint(self) -> dict[str, Any]:
        """Values that differ between this experiment and another one, or an earlier state of it, without reading it whole."""
        written = [] if "://" in self.path else sorted(str(file) for file in Path(self.path).rglob("__*/*") if file.is_file())
        text = "\n".join([*self.var.index, *written])  # names of what was written have the time and a number of their own
        state = hashlib.sha256(text.encode()).hexdigest()
        return {"path": self.path, "n_obs": self.n_obs, "layers": sorted(self.layers), "state": state}

    def close(self) -> None:
        """Release it."""
        self._opened.close()


class _Layer:
    """A layer of `X`, read in blocks of cells."""

    def __init__(self, path: str, array: Any, cells: NDArray[np.int64], genes: NDArray[np.int64]) -> None:
        self._path, self._array, self._cells, self._genes = path, array, cells, genes

    def rows(self) -> BlockRows:
        n_obs = len(self._cells)
        lengths = [min(_CELLS_AT_A_TIME, n_obs - start) for start in range(0, n_obs, _CELLS_AT_A_TIME)]
        return BlockRows(lengths, len(self._genes), self._read)

    def _read(self, number: int) -> sparse.csr_matrix:
        cells = self._cells[number * _CELLS_AT_A_TIME : (number + 1) * _CELLS_AT_A_TIME]
        with explains_damage(self._path, _KIND):
            parts = list(self._array.read((_range(cells), slice(None))).tables())
        found_cells, found_genes, values = (
            np.concatenate([part.column(name).to_numpy() for part in parts]) for name in ("soma_dim_0", "soma_dim_1", "soma_data")
        )
        columns = np.searchsorted(self._genes, found_genes)
        is_known = np.append(self._genes, -1)[columns] == found_genes  # `X` may have columns that `var` has no gene for
        entries = (np.searchsorted(cells, found_cells)[is_known], columns[is_known])
        return sparse.coo_matrix((values[is_known], entries), shape=(len(cells), len(self._genes))).tocsr()


def _range(ids: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Sorted ids as SOMA takes them: a range, last one included, where there is no gap."""
    first, last = int(ids[0]), int(ids[-1])
    return slice(first, last) if last - first == len(ids) - 1 else ids


def _open_experiment(path: str) -> tuple[Any, Any]:
    tiledbsoma = require("tiledbsoma", extra="census")
    context = tiledbsoma.SOMATileDBContext(tiledb_config=_CONFIG)
    if not tiledbsoma.Experiment.exists(path, context=context):
        raise DataFileError(f"`{without_credentials(path)}` is neither `.h5ad` nor `.zarr` nor {_KIND}. Check the path.")
    experiment = tiledbsoma.Experiment.open(path, context=context)
    return experiment, experiment


def _open_census(path: str) -> tuple[Any, Any]:
    release, _, organism = path.removeprefix(CENSUS).partition("/")
    if not release or not organism:
        raise DataFileError(
            f"`{without_credentials(path)}` is not a valid Census source. Provide release and organism, such as "
            f"`{CENSUS}2024-07-01/homo_sapiens`."
        )
    census = require("cellxgene_census", extra="census").open_soma(census_version=release, tiledb_config=_CONFIG)
    organisms = census["census_data"]
    if organism not in organisms:
        raise DataFileError(f"The Census of {release} has no `{organism}`. Available: {listing(organisms)}.")
    return census, organisms[organism]
