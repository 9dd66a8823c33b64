"""Text in CSV files that spreadsheets open: what would run as a formula there is marked as text, and can be read back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike
from typing import IO, Any

import pandas as pd

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # with the wide forms of East Asian keyboards


def as_text(value: str) -> str:
    """A value as it is written: with an apostrophe in front where a spreadsheet would take it for a formula.

    An apostrophe is also added where there are some already, so that :func:`from_text` returns every value.

    Examples
    --------
    >>> as_text("=1+1"), as_text("'=1+1"), as_text("CD8+ T cell")
    ("'=1+1", "''=1+1", 'CD8+ T cell')
    """
    return f"'{value}" if _FORMULA.match(value) else value


def from_text(value: str) -> str:
    """A value as it was before :func:`as_text`.

    Examples
    --------
    >>> from_text("'=1+1"), from_text("'quoted'")
    ('=1+1', "'quoted'")
    """
    return value[1:] if value.startswith("'") and _FORMULA.match(value) else value


def n_marked(values: Iterable[str]) -> int:
    """Number of values that :func:`as_text` changes."""
    return sum(_FORMULA.match(value) is not None for value in values)


def write_csv(
    table: pd.DataFrame,
    target: str | PathLike[str] | IO[str],
    *,
    index_label: str | None = None,
    header: bool = True,
    separator: str = ",",
    is_gzip: bool = False,
) -> None:
    """Write a table in which text is marked as text and numbers are numbers.

    Parameters
    ----------
    table
        The table.
    target
        Path, or a file that is opened for text with `newline=""`.
    index_label
        Name of the column for the index; by default the index is left out.
    header
        Whether to write the names of the columns.
    separator
        Between columns.
    is_gzip
        Whether to compress it; the same table always gives the same bytes.
    """
    safe = table.copy(deep=False)
    for column in safe.columns:
        values = safe[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            if not pd.api.types.is_numeric_dtype(values.cat.categories.dtype):
                safe[column] = values.cat.rename_categories([_marked(name) for name in values.cat.categories])
        elif not pd.api.types.is_numeric_dtype(values.dtype):
            safe[column] = [_marked(value) for value in values]
    if index_label is not None and not pd.api.types.is_numeric_dtype(safe.index.dtype):
        safe.index = pd.Index([_marked(name) for name in safe.index], dtype=object)
    safe.columns = pd.Index([_marked(name) for name in safe.columns])
    compression: Any = {"method": "gzip", "mtime": 0} if is_gzip else None
    safe.to_csv(
        target, index=index_label is not None, index_label=index_label, header=header, sep=separator, compression=compression
    )


def _marked(value: object) -> object:
    return as_text(value) if isinstance(value, str) else value
