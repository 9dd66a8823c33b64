"""Tables of labels, a row per cell, written block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from sctab.io._spreadsheets import write_csv

TABLE_SUFFIXES = (".parquet", ".csv")


class _Table(ABC):
    """Takes rows block by block."""

    @abstractmethod
    def add(self, rows: pd.DataFrame) -> None:
        """Write more rows; the index is the name of the cell."""


class _Csv(_Table):
    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self._is_first = True

    def add(self, rows: pd.DataFrame) -> None:
        write_csv(rows, self._handle, index_label="cell", header=self._is_first)
        self._is_first = False


class _Parquet(_Table):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def add(self, rows: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(rows.rename_axis("cell").reset_index(), preserve_index=False)
        table = table.replace_schema_metadata(None)  # what pandas says of a block is not true of all
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def open_table(path: Path, suffix: str) -> Iterator[_Table]:
    """A table to write to, Parquet or CSV as `suffix` says."""
    if suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as handle:
            yield _Csv(handle)
    else:
        table = _Parquet(path)
        try:
            yield table
        finally:
            table.close()
