"""The cells of many files: what each is called and where it lies, without its expression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.corpus._entry import COLUMNS, SPLIT, SourceEntry, source_names
from sctab.corpus.sources._open import CellSource
from sctab.errors import KeyNotFoundError, LabelError, did_you_mean, listing, warn
from sctab.ontology import CellOntology, LabelSpace, counted, is_missing, tissues_of

_NAMES_AT_A_TIME = 100_000
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Keeps a name and a dataset apart where they are added."""


@dataclass(frozen=True)
class Cells:
    """Cells with their annotation as codes: tens of millions take a few gigabytes less than their strings.

    Attributes
    ----------
    source, row
        Which file each cell is of, and which row in it, `(n_obs,)`.
    codes
        For `label`, `donor`, `dataset`, `assay`, `tissue` and the declared `split`: position in :attr:`names`, -1 where nothing is known,
        `(n_obs,)`.
    names
        What the codes represent. A donor is `dataset/donor`: two studies may both have a donor 1.
    is_primary
        Whether a cell is in this file for the first time, as CELLxGENE has it, `(n_obs,)`; true where the file does not say.
    barcode
        Hash of the name of each cell within its dataset, `(n_obs,)`.
    """

    source: NDArray[np.int32]
    row: NDArray[np.int64]
    codes: Mapping[str, NDArray[np.int32]]
    names: Mapping[str, tuple[str, ...]]
    is_primary: NDArray[np.bool_]
    barcode: NDArray[np.uint64]
    label_ids: Mapping[str, str | None] = field(default_factory=dict)
    """Cell Ontology ids of labels that are confirmed."""

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.source)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """Some of the cells, under the same codes."""
        return replace(
            self,
            source=self.source[chosen],
            row=self.row[chosen],
            codes={key: codes[chosen] for key, codes in self.codes.items()},
            is_primary=self.is_primary[chosen],
            barcode=self.barcode[chosen],
        )

    def compact(self) -> Self:
        """Copy with only the names that have cells."""
        codes, names = {}, {}
        for column, of_cells in self.codes.items():
            has_cells = self.per_name(column) > 0
            codes[column] = np.append(np.cumsum(has_cells) - 1, -1).astype(np.int32)[of_cells]  # what is not known stays -1
            names[column] = tuple(name for name, has in zip(self.names[column], has_cells, strict=True) if has)
        return replace(self, codes=codes, names=names)

    def per_name(self, column: str) -> NDArray[np.int64]:
        """Number of cells of each name of a column, `(n_names,)`."""
        codes = self.codes[column]
        return np.bincount(codes[codes >= 0], minlength=len(self.names[column]))

    def label_space(self, ontology: CellOntology) -> LabelSpace:
        """The labels, looked up in an ontology."""
        return LabelSpace.from_names(self.names["label"], ontology, label_ids=self.label_ids, tissues=self._tissues())

    def _tissues(self) -> list[str]:
        return tissues_of(pd.DataFrame({"tissue": pd.Series(self.names["tissue"], dtype=object)}))

    def n_names(self, column: str) -> int:
        """Number of names of a column that have cells."""
        return int((self.per_name(column) > 0).sum())

    def donors_per_label(self) -> NDArray[np.int64]:
        """In how many donors each label is, `(n_labels,)`."""
        label, donor = self.codes["label"].astype(np.int64), self.codes["donor"]
        known = (label >= 0) & (donor >= 0)
        pairs = np.unique(label[known] * len(self.names["donor"]) + donor[known])
        return np.bincount(pairs // max(len(self.names["donor"]), 1), minlength=len(self.names["label"]))

    @classmethod
    def read(cls, files: Iterable[CellSource], entries: Sequence[SourceEntry]) -> Self:
        """Read `obs` of sources, and nothing else of them.

        Parameters
        ----------
        files
            The sources, opened with the columns that `entries` name; each is closed before the next one is opened.
        entries
            Under which names each has its columns.

        Raises
        ------
        KeyNotFoundError
            If a source lacks a column that it is said to have.
        LabelError
            If a source has no column of labels.
        """
        parts: list[dict[str, pd.Categorical]] = []
        primary, barcodes, n_obs = [], [], []
        for file, entry, name in zip(files, entries, source_names(entries), strict=True):
            n_obs.append(file.n_obs)
            known = {column: _names(file, entry, column, name) for column in (*COLUMNS, SPLIT)}
            known["donor"] = _donors(known["dataset"], known["donor"])
            parts.append(known)
            primary.append(_is_primary(file, entry))
            barcodes.append(_barcodes(file, known["dataset"]))
        codes, names = {}, {}
        for column in (*COLUMNS, SPLIT):
            ordered = sorted({name for part in parts for name in part[column].remove_unused_categories().categories})
            codes[column] = np.concatenate([part[column].set_categories(ordered).codes for part in parts]).astype(np.int32)
            names[column] = tuple(ordered)
        return cls(
            source=np.repeat(np.arange(len(n_obs), dtype=np.int32), n_obs),
            row=np.concatenate([np.arange(n, dtype=np.int64) for n in n_obs]),
            codes=codes,
            names=names,
            is_primary=np.concatenate(primary),
            barcode=np.concatenate(barcodes),
        )


def _names(file: CellSource, entry: SourceEntry, column: str, source_name: str) -> pd.Categorical:
    key = entry.key_of(column)
    if key is None:
        if column == "label":
            raise LabelError(f"`{file.path}` has no `labels_key`. Name the column of `obs` with its cell types.")
        of_file = [source_name] if column == "dataset" else []
        return pd.Categorical.from_codes(np.full(file.n_obs, len(of_file) - 1), categories=pd.Index(of_file, dtype=object))
    if key not in file.obs:
        raise KeyNotFoundError(
            f"`{file.path}` has no column `{key}` in `obs`, which is said to hold its {column}s."
            f"{did_you_mean(key, file.obs_columns)} Columns: {listing(file.obs_columns)}."
        )
    values = pd.Categorical(file.obs[key])
    if column == "label":
        values = _without_missing(values, file, key)
    codes, names = pd.factorize(np.array([_text(name) for name in values.categories], dtype=object))
    return pd.Categorical.from_codes(np.append(codes, -1)[values.codes], categories=pd.Index(names, dtype=object))


def _without_missing(values: pd.Categorical, file: CellSource, key: str) -> pd.Categorical:
    """Labels without strings that denote a missing label, such as `nan`: their cells are left out, as those without a label are."""
    counts = pd.Series(values).value_counts()
    missing = [name for name in values.categories if is_missing(str(name)) and counts[name]]
    if not missing:
        return values
    warn(
        f"{counted(missing, counts)} in column `{key}` of `{file.path}` denote a missing label, and those cells are left out "
        "as cells without a label are."
    )
    return values.remove_categories(missing)


def _text(name: object) -> str:
    """A name as a string; of an integer without `.0`, which numbers get where others of their column are missing."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def _donors(datasets: pd.Categorical, donors: pd.Categorical) -> pd.Categorical:
    """Donors of a dataset; one without a dataset is not known."""
    n_donors = max(len(donors.categories), 1)
    pair = datasets.codes.astype(np.int64) * n_donors + donors.codes
    pair[(datasets.codes < 0) | (donors.codes < 0)] = -1
    found = np.unique(pair[pair >= 0])
    names = [f"{datasets.categories[at // n_donors]}/{donors.categories[at % n_donors]}" for at in found]
    return pd.Categorical.from_codes(
        np.where(pair >= 0, np.searchsorted(found, pair), -1), categories=pd.Index(names, dtype=object)
    )


def _is_primary(file: CellSource, entry: SourceEntry) -> NDArray[np.bool_]:
    key = entry.primary_key
    if key not in file.obs:
        return np.ones(file.n_obs, dtype=bool)
    values = file.obs[key].astype(str).str.lower()
    return values.isin(["true", "1", "1.0"]).to_numpy()


def _barcodes(file: CellSource, datasets: pd.Categorical) -> NDArray[np.uint64]:
    of_dataset = pd.util.hash_array(np.array([*datasets.categories, ""], dtype=object))  # the last one for those without
    hashes = np.empty(file.n_obs, dtype=np.uint64)
    for start in range(0, file.n_obs, _NAMES_AT_A_TIME):
        stop = min(start + _NAMES_AT_A_TIME, file.n_obs)
        names = np.array(file.names(start, stop), dtype=object)
        hashes[start:stop] = pd.util.hash_array(names, categorize=False) * _ODD + of_dataset[datasets.codes[start:stop]]
    return hashes
