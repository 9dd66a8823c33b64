"""Check of written files: they are read back and compared before they count as written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from anndata.io import read_elem
from numpy.typing import NDArray
from pyarrow import parquet

from sctab.errors import OutputError
from sctab.io._data_file import DataFile
from sctab.io._spreadsheets import from_text

_ROWS_AT_A_TIME = 65_536


def check_table(
    path: Path, target: Path, label_column: str, expected: Iterable[tuple[Sequence[str], Sequence[str | None]]]
) -> None:
    """Compare the cells and labels of a table with what they should be.

    Parameters
    ----------
    path
        The table, `.parquet` or `.csv`.
    target
        What it is called in messages.
    label_column
        Name of the column of labels.
    expected
        Names of cells and their labels, block by block; `None` for a cell without a label.

    Raises
    ------
    OutputError
        If a cell is missing, in another place, or has another label.
    """
    wanted = ((name, label or "") for names, labels in expected for name, label in zip(names, labels, strict=True))
    read = _rows_of_csv if path.suffix == ".csv" else _rows_of_parquet
    try:
        for number, (found, right) in enumerate(zip_longest(read(path, label_column), wanted)):
            if found != right:
                raise _refusal(target, f"row {number} differs from what was found")
    except (OutputError, MemoryError):
        raise
    except Exception as error:  # whatever reading a damaged file raises
        raise _refusal(target, str(error)) from error


def check_copy(
    path: Path, target: Path, label_column: str, names: Iterable[Sequence[str]], labels: Sequence[str], codes: NDArray[np.int32]
) -> None:
    """Compare the cells and labels of an annotated copy with what they should be.

    Parameters
    ----------
    path, target, label_column
        As in :func:`check_table`; the copy is `.h5ad`, `.zarr` or `.h5mu`, of which the cells of the MuData are compared.
    names
        Names of the cells that were annotated, block by block.
    labels
        The labels of the model.
    codes
        Position of the label of each cell in `labels`, -1 for none, `(n_obs,)`.

    Raises
    ------
    OutputError
        As in :func:`check_table`.
    """
    try:
        file = DataFile(path)
        try:
            of_all = file.cells if path.suffix == ".h5mu" else None
            n_obs, names_of = (file.n_obs, file.names) if of_all is None else (of_all.n_all, of_all.names_of_all)
            column = read_elem((file.group if of_all is None else file.root)["obs"][label_column])
            start = 0
            for block in names:
                if names_of(start, start + len(block)) != list(block):
                    raise _refusal(target, f"cells {start} to {start + len(block)} are not those that were annotated")
                start += len(block)
            if start != n_obs or len(column) != n_obs:
                raise _refusal(target, f"it has {n_obs} cells and {len(column)} labels, and {start} cells were annotated")
            if list(column.categories) != list(labels) or not np.array_equal(column.codes, codes):
                raise _refusal(target, f"`obs['{label_column}']` differs from what was found")
        finally:
            file.close()
    except (OutputError, MemoryError):
        raise
    except Exception as error:
        raise _refusal(target, str(error)) from error


def _rows_of_csv(path: Path, label_column: str) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle)
        header = [from_text(name) for name in next(rows, [])]
        cell, label = header.index("cell"), header.index(label_column)
        for row in rows:
            yield from_text(row[cell]), from_text(row[label])


def _rows_of_parquet(path: Path, label_column: str) -> Iterator[tuple[str, str]]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=["cell", label_column]):
            cells, labels = (batch.column(name).to_pylist() for name in ("cell", label_column))
            yield from ((name, label or "") for name, label in zip(cells, labels, strict=True))


def _refusal(target: Path, why: str) -> OutputError:
    return OutputError(
        f"`{target}` was written but cannot be read back: {why}. The disk or file system may be faulty. What was there "
        "before is unchanged."
    )
