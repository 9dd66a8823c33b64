"""A source of a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sctab.io import as_path, base_name, without_credentials

COLUMNS = ("label", "donor", "dataset", "assay", "tissue")
"""Columns with annotation of a cell."""
SPLIT = "split"
"""Column with the declared split of a cell."""


@dataclass(frozen=True)
class SourceEntry:
    """A source, and where in it things are."""

    path: str
    """Path or URL of a `.h5ad` or `.zarr`, of the published store of scTab, or of a SOMA experiment; or `census://release/organism`."""
    labels_key: str | None = None
    """Column of `obs` with cell types."""
    donor_key: str | None = None
    dataset_key: str | None = None
    """Column with studies; by default the source is one, under its name."""
    assay_key: str | None = None
    tissue_key: str | None = None
    primary_key: str = "is_primary_data"
    """Column that says whether a cell is here for the first time. Where there is none, all are."""
    split_key: str | None = None
    """Column that says whether a cell is for `train`, `validation` (or `val`) or `test`, for `split: {by: declared}`."""
    layer: str | None = None
    """Layer with the counts, such as `raw` of the Census; by default counts are detected."""
    modality: str | None = None
    """Modality of a MuData, or genome of a 10x Genomics matrix of several; by default the one with gene expression."""
    gene_id_key: str | None = None
    gene_symbol_key: str | None = None
    measurement: str = "RNA"
    """Measurement of a SOMA experiment."""
    obs_filter: str | None = None
    """Filter on the cells of a SOMA experiment, such as `tissue_general == 'lung' and is_primary_data == True`; others are not read."""

    def __post_init__(self) -> None:
        """Expand a leading `~`."""
        if self.path.startswith("~"):
            object.__setattr__(self, "path", str(as_path(self.path)))

    @property
    def name(self) -> str:
        """Name of the file without its suffix."""
        return Path(base_name(self.path)).stem

    def key_of(self, column: str) -> str | None:
        """Under which name the file has one of `COLUMNS`, or the split."""
        key: str | None = getattr(self, "labels_key" if column == "label" else f"{column}_key")
        return key

    @property
    def obs_keys(self) -> list[str]:
        """All columns of `obs` that are read."""
        return [key for key in (*(self.key_of(column) for column in (*COLUMNS, SPLIT)), self.primary_key) if key is not None]


def source_names(entries: Sequence[SourceEntry]) -> list[str]:
    """Names of sources: those of their files, and where several have the same, those of directories too.

    Examples
    --------
    >>> source_names([SourceEntry("a/counts.h5ad"), SourceEntry("b/counts.h5ad"), SourceEntry("b/blood.h5ad")])
    ['a/counts', 'b/counts', 'blood']
    """
    names = [entry.name for entry in entries]
    folders = [PurePosixPath(Path(without_credentials(entry.path)).as_posix()).parent.parts for entry in entries]
    for depth in range(1, max(map(len, folders), default=0) + 1):
        n_called = Counter(names)
        names = [
            "/".join([*folder[-depth:], entry.name]) if n_called[name] > 1 else name
            for name, folder, entry in zip(names, folders, entries, strict=True)
        ]
    n_called = Counter(names)  # files of several formats may have the same name
    n_files = Counter(base_name(entry.path) for entry in entries)
    whole = [base_name(entry.path) if n_files[base_name(entry.path)] == 1 else without_credentials(entry.path) for entry in entries]
    return [with_ending if n_called[name] > 1 else name for name, with_ending in zip(names, whole, strict=True)]
