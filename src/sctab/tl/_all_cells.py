"""Results of the cells of one modality as results of all cells of the MuData, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import DataFileError, OutputError
from sctab.inference import Decision
from sctab.io import DataFile, ScatteredRows
from sctab.tl._voted import Voted

_NOTHING: dict[str, Any] = {"codes": -1, "likeliest": -1, "terms": -1, "measured": False}
"""Values of cells that are not in the modality; NaN for other arrays."""


def check_mudata(file: DataFile, target: str) -> None:
    """Refuse a `.h5mu` that would be written of something else than a MuData, or of one whose tables do not have all of its cells.

    Raises
    ------
    OutputError
        If the input is not a MuData.
    DataFileError
        If cells of the modality are not in the `obs` of the MuData.
    """
    if file.cells is None:
        raise OutputError(
            f"`{target}` would be a MuData, and `{file.path}` is not one. Write `.h5ad` or `.zarr`, or a table such as `labels.parquet`."
        )
    rows = file.cells.rows_in_all
    if not file.cells.has_own_table or (rows is not None and (rows < 0).any()):
        raise DataFileError(
            f"`{file.path}` has cells in `mod[{file.modality!r}]` that are not in the `obs` of the MuData, where results are written. Read "
            "it, call `mdata.update()`, and write it again; or write a table of its labels."
        )


def rows_in_all(file: DataFile) -> NDArray[np.int64] | None:
    """Row of each cell in the MuData, `(n_obs,)`; `None` where rows are the same."""
    return None if file.cells is None else file.cells.rows_in_all


def decisions_on_all(
    parts: Iterator[tuple[int, int, Decision]], rows: NDArray[np.int64] | None, n_all: int, size: int
) -> Iterator[tuple[int, int, Decision]]:
    """Start, stop and decisions for all cells of a MuData, in order; cells that are not in the modality were not measured.

    Parameters
    ----------
    parts
        Decisions on the cells of the modality, block by block.
    rows
        Row of each cell of the modality in the MuData, `(n_obs,)`; `None` where rows are the same.
    n_all
        Cells of the MuData.
    size
        Cells at a time. Arrays of decisions lie in temporary files on the way to another order.
    """
    if rows is None:
        yield from parts
        return
    arrays: dict[str, ScatteredRows] = {}
    for start, stop, decision in parts:
        for name, values in decision.to_arrays().items():
            if name not in arrays:
                arrays[name] = ScatteredRows((n_all, *values.shape[1:]), values.dtype, _NOTHING.get(name, np.nan))
            arrays[name].put(rows[start:stop], values)
    for start in range(0, n_all, size):
        stop = min(start + size, n_all)
        yield start, stop, Decision(**{name: array[start:stop] for name, array in arrays.items()})


def codes_of_all(codes: NDArray[Any], rows: NDArray[np.int64] | None, n_all: int) -> NDArray[Any]:
    """Codes of all cells, `(n_all,)`, -1 for cells that are not in the modality."""
    if rows is None:
        return codes
    found = np.full(n_all, -1, dtype=codes.dtype)
    found[rows] = codes
    return found


def voted_of_all(voted: Voted | None, rows: NDArray[np.int64] | None, n_all: int) -> Voted | None:
    """Votes whose groups are of all cells; those that are not in the modality are in none."""
    if voted is None or rows is None:
        return voted
    groups = voted.groups
    return replace(voted, groups=pd.Categorical.from_codes(codes_of_all(groups.codes, rows, n_all), categories=groups.categories))
