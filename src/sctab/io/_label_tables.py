"""Tables of cells or genes, a row for each, written block by block."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from sctab.errors import OutputExistsError
from sctab.io import strict_json
from sctab.io._spreadsheets import write_csv

TABLE_SUFFIXES = (".parquet", ".csv")
_RUN = b"sctab_run"
"""Key of the hash of a run in the metadata of a Parquet file."""
_FORMAT, _VERSION = "sctab-table-run", 1
"""Format of the file beside a CSV, which has no metadata."""


class _Table(ABC):
    """Takes rows block by block."""

    @abstractmethod
    def add(self, rows: pd.DataFrame) -> None:
        """Write more rows; the index is the name of the cell or gene."""


class _Csv(_Table):
    def __init__(self, handle: IO[str], index_label: str) -> None:
        self._handle = handle
        self._index_label = index_label
        self._is_first = True

    def add(self, rows: pd.DataFrame) -> None:
        write_csv(rows, self._handle, index_label=self._index_label, header=self._is_first)
        self._is_first = False


class _Parquet(_Table):
    def __init__(self, path: Path, run: str, index_label: str) -> None:
        self._path = path
        self._index_label = index_label
        self._metadata = {_RUN: run.encode()}
        self._writer: Any = None

    def add(self, rows: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(rows.rename_axis(self._index_label).reset_index(), preserve_index=False)
        table = table.replace_schema_metadata(self._metadata)  # what pandas says of a block is not true of all
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def open_table(path: Path, suffix: str, *, run: str = "", index_label: str = "cell") -> Iterator[_Table]:
    """A table to write to, Parquet or CSV as `suffix` says; Parquet holds the hash of the run that it is from.

    Parameters
    ----------
    path, suffix
        Where to write, and the suffix that it will have.
    run
        Hash of the run.
    index_label
        Name of the column for the index of what is added.
    """
    if suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as handle:
            yield _Csv(handle, index_label)
    else:
        table = _Parquet(path, run, index_label)
        try:
            yield table
        finally:
            table.close()


def run_file_of(table: Path) -> Path:
    """Path of the hidden file beside a CSV that holds the hash of its run."""
    return table.with_name(f".{table.name}.sctab-run")


def check_run_file(table: Path) -> None:
    """Refuse to write a CSV where something else has the name of the file that holds the hash of its run.

    Raises
    ------
    OutputExistsError
        If there is such a file or directory.
    """
    path = run_file_of(table)
    if path.exists() and _read_run_file(path) is None:
        raise OutputExistsError(
            f"`{path}` exists and was not written by `sctab`, which would store the run of `{table.name}` there. Choose another name for "
            "the table."
        )


def write_run_file(path: Path, table: Path, run: str) -> None:
    """Write the hash of the run of a CSV, with that of its content, so that an edited table is not taken for a finished one.

    Parameters
    ----------
    path
        The file to write.
    table
        The finished CSV.
    run
        Hash of the run.
    """
    values = {"format": _FORMAT, "format_version": _VERSION, "run": run, "table": _sha256(table)}
    strict_json.write(path, strict_json.with_digest(values))


def run_of_table(path: Path) -> str | None:
    """Return the hash of the run that a table is from; `None` if it is unknown, or if a CSV was changed since it was written.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    if path.suffix == ".parquet":
        found = (parquet.read_schema(path).metadata or {}).get(_RUN)
        return None if found is None else str(found, "utf-8", "replace")
    stored = _read_run_file(run_file_of(path))
    return stored["run"] if stored is not None and stored["table"] == _sha256(path) else None


def _read_run_file(path: Path) -> dict[str, str] | None:
    try:
        values = strict_json.without_digest(strict_json.read(path))
    except (OSError, ValueError, TypeError):  # does not exist, is damaged, or is of something else
        return None
    return values if values.get("format") == _FORMAT and {"run", "table"} <= set(values) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
