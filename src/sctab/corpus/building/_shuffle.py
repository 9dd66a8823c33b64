"""Cells of all sources on their way to random places in a store."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from sctab.corpus._config import SPLIT_NAMES
from sctab.corpus._entry import COLUMNS
from sctab.corpus._plan import CorpusPlan
from sctab.corpus.building._stages import scatter_source, write_shard
from sctab.corpus.building._workplace import absolute, clear_attempts
from sctab.data import MatrixContent
from sctab.errors import require
from sctab.io import OnProgress, run_tasks, written_beside


@dataclass(frozen=True)
class Placement:
    """A random place for each cell: on which shard, and where on it."""

    shard: NDArray[np.int64]
    place: NDArray[np.int64]
    split_of_shard: tuple[str, ...]
    number_in_split: tuple[int, ...]

    @classmethod
    def of(cls, plan: CorpusPlan, size: int) -> Placement:
        rng = np.random.default_rng(plan.config.split.seed)
        shard, place = np.empty(plan.n_obs, dtype=np.int64), np.empty(plan.n_obs, dtype=np.int64)
        splits: list[str] = []
        numbers: list[int] = []
        for code, split in enumerate(SPLIT_NAMES):
            cells = np.flatnonzero(plan.split == code)
            at = rng.permutation(len(cells))
            n_shards = -(-len(cells) // size)
            bounds = np.linspace(0, len(cells), n_shards + 1).astype(np.int64)  # of even size
            within = np.searchsorted(bounds, at, side="right") - 1
            shard[cells], place[cells] = within + len(splits), at - bounds[within]
            splits += [split] * n_shards
            numbers += range(n_shards)
        return cls(shard, place, tuple(splits), tuple(numbers))


def scatter_sources(
    plan: CorpusPlan,
    numbers: Mapping[str, int],
    contents: Mapping[str, tuple[str, MatrixContent]],
    placement: Placement,
    work: Path,
    *,
    n_jobs: int,
    on_progress: OnProgress,
) -> list[tuple[int, Path]]:
    """Scatter the cells of every source to spill files by shard; the number of each source in the plan, and the directory of its files."""
    folder, places = work / "spills", work / "places"
    folder.mkdir(exist_ok=True)
    clear_attempts(folder)
    sources = [number for number, entry in enumerate(plan.config.sources) if entry.path in contents]
    directories = {number: folder / str(numbers[plan.config.sources[number].path]) for number in sources}

    def arguments(position: int) -> tuple[Any, ...]:
        number = sources[position]
        entry, directory = plan.config.sources[number], directories[number]
        of_source = np.flatnonzero(plan.cells.source == number)
        place = places / f"{directory.name}.npy"
        with written_beside(place, overwrite=True) as beside:
            np.save(beside, np.stack([plan.cells.row[of_source], placement.shard[of_source], placement.place[of_source]]))
        name, content = contents[entry.path]
        return absolute(entry), directory, name, content, plan.genes.features, place

    run_tasks(scatter_source, arguments, len(sources), n_jobs=n_jobs, stage="read", on_progress=on_progress)
    return list(directories.items())


def write_shards(
    plan: CorpusPlan,
    placement: Placement,
    directories: Sequence[tuple[int, Path]],
    work: Path,
    store: Path,
    *,
    n_jobs: int,
    on_progress: OnProgress,
) -> NDArray[np.uint64]:
    """Put every shard in order and write it; the hash of each cell's expression, `(n_obs,)`."""
    for split in SPLIT_NAMES:
        _make_collection(store / f"{split}.zarr")
    order = np.lexsort((placement.place, placement.shard))
    bounds = np.searchsorted(placement.shard[order], np.arange(len(placement.split_of_shard) + 1))
    folder = work / "parts"
    folder.mkdir(exist_ok=True)
    clear_attempts(folder)

    def arguments(number: int) -> tuple[Any, ...]:
        target = store / f"{placement.split_of_shard[number]}.zarr" / f"dataset_{placement.number_in_split[number]}"
        cells = order[bounds[number] : bounds[number + 1]]
        obs = pd.DataFrame({column: plan.cells.codes[column][cells] for column in COLUMNS})
        obs["source"], obs["row"] = plan.cells.source[cells], plan.cells.row[cells]
        return target, folder, number, directories, plan.genes.features.names, obs

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")  # annbatch writes it
        parts = run_tasks(
            write_shard,
            arguments,
            len(placement.split_of_shard),
            n_jobs=min(n_jobs, 2),
            stage="write",
            on_progress=on_progress,
        )
    hashes = np.empty(plan.n_obs, dtype=np.uint64)
    hashes[order] = np.concatenate(parts)
    return hashes


def _make_collection(path: Path) -> None:
    encoding = require("annbatch.io", extra="corpus").V1_ENCODING
    zarr.open_group(path, mode="a", zarr_format=3).update_attributes(encoding)
