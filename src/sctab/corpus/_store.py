"""A corpus on disk: shuffled collections that `annbatch` reads, and what there is to know of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset
from numpy.typing import NDArray
from scipy import sparse

from sctab.corpus._config import SPLIT_NAMES
from sctab.corpus._entry import COLUMNS
from sctab.corpus._manifest import hash_codes, located_entry, read_manifest
from sctab.corpus.building._shards import hash_rows
from sctab.corpus.sources._open import open_source
from sctab.data import FeatureSpace
from sctab.errors import DataFileError, KeyNotFoundError, Parameter, SctabError, SettingError, listing, require
from sctab.io import (
    RowReader,
    StoredRows,
    as_path,
    check_store,
    explains_damage,
    fast_reading,
    file_of,
    integrity,
    row_ranges,
    written_beside,
)
from sctab.ontology import LabelSpace
from sctab.sampling import nested_subset

FEATURES = "features.parquet"
MEASURED = "measured.npy"
SUBSETS = "subsets_by_{by}.npy"
FRACTIONS = (0.15, 0.3, 0.5, 0.7, 1.0)
"""Fractions of the training cells that Fischer et al. (2023, :doi:`10.1101/2023.10.07.561331`, Fig. 3) train on."""


class Corpus:
    """Cells of many files, over the same genes, shuffled and split; :meth:`open` opens one.

    Parameters
    ----------
    path
        Its directory.
    manifest
        What was built of what: sources, rules, splits, versions.

    Attributes
    ----------
    features
        Its genes, in order.
    labels
        Its types, in the order of their codes.
    is_measured
        `(n_sources, n_vars)`: which source measured which gene. Others are zero there without being known to be zero.
    sha256
        Hash of all cells, of their annotation, order and genes: what was trained on it can tell it from another one.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.sha256 = str(manifest["sha256"])
        for name in (FEATURES, MEASURED):
            if not (path / name).is_file():
                raise ValueError(f"`{name}` is missing, or no regular file")
        genes = pd.read_parquet(path / FEATURES)
        other = {i: tuple(map(str, ids)) for i, ids in enumerate(genes["other_ids"]) if len(ids)}
        self.features = FeatureSpace(ids=_strings(genes["id"]), symbols=_strings(genes["symbol"]), other_ids=other)
        if len(self.features) != manifest["n_vars"]:
            raise ValueError(f"`{FEATURES}` has {len(self.features):,} genes instead of {manifest['n_vars']:,}")
        labels = manifest["labels"]
        self.labels = LabelSpace(tuple(labels["names"]), tuple(labels["ids"]), labels["ontology_version"])
        self.is_measured: NDArray[np.bool_] = _stored_array(path / MEASURED, (len(manifest["sources"]), self.n_vars), np.bool_)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a corpus that was built.

        Raises
        ------
        DataFileError
            If it is missing, damaged, or of another version.
        """
        path = as_path(path)
        manifest = read_manifest(path)
        with _explains(path):
            check_store(path, "Build the corpus again, or copy it with what its links lead to (`cp -rL`).")
            return cls(path, manifest)

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return len(self.features)

    @property
    def n_obs(self) -> int:
        """Number of cells in all splits."""
        return sum(self.manifest["splits"].values())

    def n_obs_of(self, split: str) -> int:
        """Number of cells in a split."""
        self._require_split(split)
        return int(self.manifest["splits"][split])

    def collection(self, split: str) -> Any:
        """The :class:`annbatch.DatasetCollection` of a split.

        Raises
        ------
        KeyNotFoundError
            If there is no such split.
        MissingDependencyError
            If `annbatch` is not installed.
        """
        self._require_split(split)
        annbatch = require("annbatch", extra="corpus")
        return annbatch.DatasetCollection(zarr.open_group(self.path / f"{split}.zarr", mode="r"))

    @property
    def var(self) -> pd.DataFrame:
        """Its genes as those of an AnnData, `(n_vars, 2)`: columns `gene_id` and `gene_symbol`."""
        names = pd.Index(self.features.names)
        return pd.DataFrame({"gene_id": self.features.ids, "gene_symbol": self.features.symbols}, index=names)

    def to_anndata(self, split: str, cells: NDArray[np.int64] | None = None) -> AnnData:
        """Cells of a split in memory, for example to score a model on those of the test split.

        Parameters
        ----------
        split
            `"train"`, `"validation"` or `"test"`.
        cells
            Their positions, in ascending order; by default all.

        Returns
        -------
        AnnData `(n_obs, n_vars)` with counts, the columns of :meth:`obs` and :attr:`var`.
        """
        wanted = np.arange(self.n_obs_of(split)) if cells is None else np.asarray(cells)
        blocks = [sparse.csr_matrix((0, self.n_vars), dtype=np.float32)]
        start = 0
        with _explains(self.path):
            for matrix in self.matrices(split):
                of_part = wanted[(wanted >= start) & (wanted < start + matrix.shape[0])] - start
                start += matrix.shape[0]
                if len(of_part):
                    blocks.append(sparse.csr_matrix(matrix[of_part]))
                    if problem := integrity.sparse_problem(blocks[-1]):
                        raise integrity.refuse("X", problem, file_of(matrix.group))
        obs = self.obs(split).iloc[wanted]
        obs.index = pd.Index([f"{split}_{position}" for position in wanted])
        return AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csr")), obs=obs, var=self.var)

    def matrices(self, split: str) -> list[Any]:
        """The matrices of the parts of a split, in order, each backed and `(n_obs, n_vars)`.

        Raises
        ------
        DataFileError
            If rows of one cannot be found: a part of the corpus is missing or damaged.
        """
        self._require_split(split)
        with _explains(self.path):
            found = [sparse_dataset(group["X"]) for group in self._shards(split)]
            for matrix in found:
                path = file_of(matrix.group)
                StoredRows(matrix, "X", path).require_whole()
                if problem := integrity.shape_problem(matrix.shape, (matrix.shape[0], self.n_vars)):
                    raise integrity.refuse("X", problem, path)
            return found

    def obs(self, split: str) -> pd.DataFrame:
        """Table of the cells of a split, in their order: labels and so on as categories, source and row."""
        table = self.codes(split)
        for column in COLUMNS:
            table[column] = pd.Categorical.from_codes(
                table[column], categories=pd.Index(self.manifest["names"][column], dtype=object)
            )
        return table

    def codes(self, split: str, columns: Sequence[str] = (*COLUMNS, "source", "row")) -> pd.DataFrame:
        """Table of the cells of a split as codes: positions in `manifest["names"]`, -1 for unknown.

        Parameters
        ----------
        split
            Of which split.
        columns
            Which of the columns.
        """
        self._require_split(split)
        with _explains(self.path):
            tables: list[Any] = [group["obs"] for group in self._shards(split)]
            parts = [{column: table[column][:] for column in columns} for table in tables]
            found = {column: np.concatenate([part[column] for part in parts] or [np.empty(0, np.int32)]) for column in columns}
            for column, codes in found.items():
                self._check_codes(split, column, codes)
            return pd.DataFrame(found)

    def _check_codes(self, split: str, column: str, codes: NDArray[Any]) -> None:
        """Codes are positions in names, and nothing that reads them asks again."""
        n_obs = self.n_obs_of(split)
        if codes.shape != (n_obs,) or codes.dtype.kind not in "iu":
            raise ValueError(f"`{column}` of its cells has the shape {codes.shape} of {codes.dtype} instead of {n_obs:,} integers")
        lowest, sources = (-1 if column in COLUMNS else 0), self.manifest["sources"]
        highest = len(self.manifest["names"][column]) if column in COLUMNS else len(sources)
        if column == "row":
            highest = max(source["n_found"] for source in sources)
        if column != "hash" and n_obs and not lowest <= int(codes.min()) <= int(codes.max()) < highest:
            raise ValueError(
                f"`{column}` of its cells goes from {codes.min()} to {codes.max()}, which is not within {lowest} to {highest - 1}"
            )
        expected = self.manifest.get("codes_sha256", {}).get(split, {}).get(column)
        if expected is not None and hash_codes(codes) != expected:
            raise ValueError(f"`{column}` of the cells in `{split}` is not what was written: its hash is another one")

    def subset(self, fraction: float, *, by: str = "donor", split: str = "train", seed: int = 0) -> NDArray[np.int64]:
        """Positions of a fraction of the cells of a split; with the same seed, a smaller subset lies in a larger one.

        Parameters
        ----------
        fraction
            Above 0 and up to 1.
        by
            `"donor"` takes whole donors, `"cell"` single cells.
        split, seed
            Of which split, and which.
        """
        if by not in {"donor", "cell"}:
            raise SettingError(Parameter("by", by), " must be `'donor'` or `'cell'`.")
        if seed == 0 and split == "train" and fraction in FRACTIONS and (stored := self.path / SUBSETS.format(by=by)).exists():
            with _explains(self.path):
                return np.flatnonzero(_stored_array(stored, (self.n_obs_of(split),), np.uint8) <= FRACTIONS.index(fraction))
        return nested_subset(self._units(split, by), fraction, rng=np.random.default_rng(seed))

    def keep_subsets(self) -> None:
        """Write down which training cells are in which of the fractions `FRACTIONS` of donors and of cells, a byte for each."""
        for by in ("donor", "cell"):
            first = np.full(self.n_obs_of("train"), len(FRACTIONS), dtype=np.uint8)
            for number, fraction in reversed(list(enumerate(FRACTIONS))):
                first[nested_subset(self._units("train", by), fraction, rng=np.random.default_rng(0))] = number
            with written_beside(self.path / SUBSETS.format(by=by), overwrite=True) as beside, beside.open("wb") as file:
                np.save(file, first, allow_pickle=False)

    def _units(self, split: str, by: str) -> NDArray[np.int64]:
        if by == "cell":
            return np.arange(self.n_obs_of(split))
        return self.codes(split, ["donor"])["donor"].to_numpy().astype(np.int64)

    @fast_reading()
    def verify(self, *, sources: bool = False) -> list[str]:
        """Read all of it, and name what is wrong: nothing, where it is as it was built.

        Every cell is read again and its hash compared with the one it had when it came from its source. Donors are in one split each, and
        no cell is there twice.

        Parameters
        ----------
        sources
            Look at the sources too, which may be on servers: those that are still there must not have changed.
        """
        problems: list[str] = []
        cells: list[NDArray[np.int64]] = []
        donors: dict[str, set[int]] = {}
        for split in SPLIT_NAMES:
            n_obs = 0
            with _collects(problems, f"`{split}`"):
                self.codes(split)
            for number in range(int(self.manifest["parts"][split])):
                where = f"`{split}`, part {number}"
                with _collects(problems, where):
                    group = self._shard(split, number)
                    obs = read_elem(group["obs"])
                    n_obs += len(obs)
                    cells.append(obs[["source", "row"]].to_numpy().astype(np.int64))
                    donors.setdefault(split, set()).update(obs["donor"][obs["donor"] >= 0])
                    problems += _compare(group, obs["hash"].to_numpy(), where)
            if n_obs != self.n_obs_of(split):
                problems.append(f"`{split}` has {n_obs:,} cells instead of {self.n_obs_of(split):,}.")
        every_cell = np.concatenate(cells) if cells else np.empty((0, 2), dtype=np.int64)
        n_double = len(every_cell) - len(np.unique(every_cell, axis=0))
        if n_double:
            problems.append(f"{n_double:,} cells occur more than once.")
        if self.manifest["split_by"] in {"donor", "declared"}:
            for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
                if shared := donors.get(one, set()) & donors.get(other, set()):
                    names = [self.manifest["names"]["donor"][code] for code in sorted(shared)]
                    problems.append(f"Donors are in `{one}` and in `{other}`: {listing(names)}.")
        if sources and (changed := self.changed_sources()):
            problems.append(f"{listing(changed)} changed since the corpus was built.")
        return problems

    def changed_sources(self) -> list[str]:
        """Existing sources that differ from those that the corpus was built from; opens each, including remote ones."""
        changed = []
        for source in self.manifest["sources"]:
            with suppress(SctabError):  # it was removed or is out of reach
                found = open_source(located_entry(source["entry"], self.path))
                before = {name: value for name, value in source["fingerprint"].items() if name != "path"}
                now = {name: value for name, value in json.loads(json.dumps(found.fingerprint())).items() if name != "path"}
                if now != before:
                    changed.append(str(source["path"]))
                found.close()
        return changed

    def _shards(self, split: str) -> Iterator[zarr.Group]:
        for number in range(int(self.manifest["parts"][split])):
            yield self._shard(split, number)

    def _shard(self, split: str, number: int) -> zarr.Group:
        place = self.path / f"{split}.zarr" / f"dataset_{number}"
        try:
            return zarr.open_group(place, mode="r")
        except (OSError, KeyError, ValueError) as error:
            raise DataFileError(f"`{place.parent}` lacks `{place.name}`. Build the corpus again.") from error

    def _require_split(self, split: str) -> None:
        if split not in SPLIT_NAMES:
            raise KeyNotFoundError(f"There is no split `{split}`. Available: {listing(SPLIT_NAMES)}.")

    @cached_property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def __repr__(self) -> str:
        """Say what it is."""
        splits = ", ".join(f"{name} {n:,}" for name, n in self.manifest["splits"].items())
        return f"Corpus of {self.n_obs:,} cells × {self.n_vars:,} genes, {len(self.labels)} types ({splits}) at {self.path}"


def _explains(path: Path) -> AbstractContextManager[None]:
    return explains_damage(os.fspath(path), "a corpus")


def _strings(values: pd.Series) -> tuple[str, ...]:
    return tuple(map(str, values))


def _stored_array(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array of a `.npy`, of which nothing is read before its size is known to be right."""
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(stored, np.ndarray) or stored.shape != shape or stored.dtype != dtype:
        raise ValueError(f"`{path.name}` has the shape {getattr(stored, 'shape', None)} instead of {shape}, or has another type")
    return np.array(stored)


def _compare(group: zarr.Group, expected: NDArray[np.uint64], where: str) -> list[str]:
    rows = RowReader(sparse_dataset(group["X"]))
    found = np.concatenate([hash_rows(rows.read(*at)) for at in row_ranges(sparse_dataset(group["X"]))])
    n_wrong = int((found != expected).sum()) if len(found) == len(expected) else len(expected)
    return [f"{where}: {n_wrong:,} cells are not what they were."] if n_wrong else []


@contextmanager
def _collects(problems: list[str], where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        problems.append(f"{where} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
