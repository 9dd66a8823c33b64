"""Labels that Cell Ranger gave the cells of a run: `cell_types/cell_types.csv` beside the matrix, from version 9 on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import listing
from sctab.io._urls import is_url

_FOLDER, _TABLE, _BARCODE = "cell_types", "cell_types.csv", "barcode"
_PREFIX = "cellranger"
_OF_RUNS = "feature_bc_matrix"
"""Part of the names of matrices of Cell Ranger."""
_MOST_BYTES = 500_000_000
"""Size of a table that is read; labels of a million cells take a tenth of it."""
_NAMES_AT_A_TIME = 65_536


@dataclass(frozen=True)
class RunLabels:
    """Columns of `obs` from the tables of a run."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    """Labels and numbers by column, each `(n_obs,)`; missing for cells that a table does not name."""
    notes: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    """The tables."""

    @classmethod
    def beside(cls, path: str, n_obs: int, names: Callable[[int, int], list[str]]) -> RunLabels:
        """Labels of the cells of a matrix, from the run whose matrix it is.

        A table that cannot be used gets a note and no error, since the user did not name it.

        Parameters
        ----------
        path
            The matrix, a file or a folder.
        n_obs
            Number of its barcodes.
        names
            Gives barcodes from one number to another.
        """
        tables = _tables_beside(path)
        columns: dict[str, Any] = {}
        notes = []
        for model, table in tables.items():
            try:
                found = _read(table)
            except (ValueError, OSError) as error:
                notes.append(f"`{table}` was not used: {str(error).splitlines()[0].rstrip('.')}.")
                continue
            rows = _rows_of(pd.Index(found.pop(_BARCODE)), n_obs, names)
            n_known = int((rows >= 0).sum())
            if not n_known:
                notes.append(f"`{table}` was not used: it names none of the {n_obs:,} barcodes of the matrix.")
                continue
            prefix = f"{_PREFIX}_{model}" if len(tables) > 1 and model else _PREFIX
            own = {_key(f"{prefix}_{name}"): _joined(values, rows) for name, values in found.items()}
            columns |= own
            notes.append(
                f"`{table}` has labels of Cell Ranger for {n_known:,} of {n_obs:,} cells, which are in `obs` as {listing(own)}."
            )
        return cls(columns, tuple(notes), tuple(tables.values()))


def _tables_beside(path: str) -> dict[str, Path]:
    """Tables of the run of a matrix by the model that gave the labels: `""` in version 9, then `Azimuth` and `10x_Cloud`."""
    place = Path(path)
    if is_url(path) or _OF_RUNS not in (place := place.parent if ".mtx" in place.name else place).name:
        return {}
    for folder in (place.parent, place.parent.parent) if place.parent.name == "count" else (place.parent,):
        tables = {"": folder / _FOLDER / _TABLE} | {
            table.parent.name: table for table in sorted((folder / _FOLDER).glob(f"*/{_TABLE}"))
        }
        if found := {model: table for model, table in tables.items() if table.is_file()}:
            return found
    return {}


def _read(path: Path) -> pd.DataFrame:
    """A table with unique barcodes.

    Raises
    ------
    ValueError, OSError
        If it is none, or cannot be read.
    """
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, and at most {_MOST_BYTES:,} are read")
    table = pd.read_csv(path, dtype={_BARCODE: str}, keep_default_na=False, na_values=[""])
    if _BARCODE not in table:
        raise ValueError(f"it has no column `{_BARCODE}`, and has {listing(table.columns)}")
    if (is_again := table[_BARCODE].duplicated()).any():
        raise ValueError(f"it names the barcode `{table.loc[is_again, _BARCODE].iloc[0]}` more than once")
    return table


def _rows_of(barcodes: pd.Index, n_obs: int, names: Callable[[int, int], list[str]]) -> NDArray[np.int64]:
    """Row of the table for each cell, -1 for none, `(n_obs,)`."""
    parts = [
        barcodes.get_indexer(pd.Index(names(start, min(start + _NAMES_AT_A_TIME, n_obs)), dtype=object))
        for start in range(0, n_obs, _NAMES_AT_A_TIME)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]).astype(np.int64)


def _joined(values: pd.Series, rows: NDArray[np.int64]) -> Any:
    """A column of the table for the cells."""
    if values.dtype.kind in "iuf":
        return np.append(values.to_numpy(dtype=np.float64), np.nan)[rows]
    labels = pd.Categorical(values.astype(object).where(values.isna(), values.astype(str)))
    return pd.Categorical.from_codes(np.append(labels.codes, -1)[rows], categories=labels.categories).remove_unused_categories()


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name).lower()
