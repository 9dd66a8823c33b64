"""Sources of a corpus, whatever they are: found, and opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from sctab.corpus._entry import SPLIT, SourceEntry
from sctab.corpus.sources._parquet import ParquetStore, is_parquet_store
from sctab.corpus.sources._soma import SomaSource, is_soma
from sctab.data import choose_expression
from sctab.errors import SettingError
from sctab.io import SUFFIXES, DataFile, find_data_files, is_pattern, is_url, suffix_of, without_credentials


class CellSource(Protocol):
    """Cells of a source: requested columns, and matrices whose rows are read on demand."""

    @property
    def path(self) -> str:
        """Path or URL of the source."""

    @property
    def n_obs(self) -> int:
        """Number of cells."""

    @property
    def n_vars(self) -> int:
        """Number of genes."""

    @property
    def var(self) -> pd.DataFrame:
        """Its genes, `(n_vars, …)`."""

    @property
    def obs(self) -> pd.DataFrame:
        """Requested columns that exist, `(n_obs, …)`."""

    @property
    def obs_columns(self) -> list[str]:
        """All columns that it has."""

    @property
    def X(self) -> Any:
        """A matrix that :class:`sctab.io._rows.RowReader` reads, or `None`."""

    @property
    def layers(self) -> Mapping[str, Any]:
        """Further matrices, by name."""

    @property
    def raw(self) -> Any:
        """`X` and `var` of another set of genes, or `None`."""

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the cells from `start` to `stop`."""

    def fingerprint(self) -> dict[str, Any]:
        """Values that differ between this source and another one, or an earlier state of it."""

    def close(self) -> None:
        """Release it."""


def find_sources(given: str) -> list[str]:
    """Paths and URLs of the sources of a user's input: a store or an experiment, or files.

    Raises
    ------
    DataFileError
        If there is nothing where it points to, or something else.
    """
    return [given] if _is_parquet(given) or _is_soma(given) else find_data_files([given])


def complete(entry: SourceEntry) -> SourceEntry:
    """Source with the defaults of its kind."""
    return replace(entry, split_key=SPLIT) if entry.split_key is None and _is_parquet(entry.path) else entry


def open_source(entry: SourceEntry, obs_keys: Sequence[str] = ()) -> CellSource:
    """Open a source, with some columns of `obs`.

    Raises
    ------
    DataFileError
        If it is missing, of another type, or damaged.
    SettingError
        If `obs_filter` is set for a kind of source that does not support it.
    MissingDependencyError
        If a library is needed that is not installed.
    """
    if _is_soma(entry.path):
        return SomaSource(entry.path, obs_keys, measurement=entry.measurement, obs_filter=entry.obs_filter)
    if entry.obs_filter is not None:
        raise SettingError(
            f"`{without_credentials(entry.path)}`: `obs_filter` is for SOMA experiments and the Census only. Use `filters`, "
            "or omit it."
        )
    return (
        ParquetStore(entry.path, obs_keys)
        if _is_parquet(entry.path)
        else DataFile(entry.path, obs_keys, modality=entry.modality, choose=choose_expression())
    )


def _is_parquet(path: str) -> bool:
    return not is_url(path) and is_parquet_store(Path(path))


def _is_soma(path: str) -> bool:
    if is_url(path):
        return suffix_of(path) not in SUFFIXES and not is_pattern(path)
    return is_soma(Path(path))
