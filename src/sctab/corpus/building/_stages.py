"""Work on one source, or one part of the store: in a thread, or by a worker of a cluster.

Each function can be done twice, also at the same time and after an interruption: it writes into a directory of its own, moves that into its
place when it is whole, and keeps existing output.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.corpus._entry import SourceEntry
from sctab.corpus.building._shards import SpillWriter, read_shard
from sctab.corpus.sources._open import CellSource, open_source
from sctab.data import Content, FeatureSpace, MatrixContent, Source, choose_source, matrices
from sctab.errors import DataFileError, InputValueError, KeyNotFoundError, require
from sctab.io import RowReader, integrity, row_ranges, without_credentials, written_beside

_DAMAGED = "The unfinished work on this corpus is damaged. Delete its directory, and rebuild it."
ATTEMPT = ".part"
"""Suffix of directories that are being written."""
_WRITING = threading.Lock()
"""anndata sets its settings and the filters of warnings for the process while it writes, so that one thread does at a time."""


def inspect_source(entry: SourceEntry, kept: Path) -> tuple[str, MatrixContent] | DataFileError:
    """Choose the matrix of a source that is read and decide its content; an error where it cannot be read.

    Parameters
    ----------
    entry
        The source.
    kept
        File for the result.
    """
    if kept.exists():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        return stored["name"], MatrixContent(
            Content(stored["content"]), stored["log_base"], stored["note"], stored.get("remark", "")
        )
    try:
        with closing(open_source(entry)) as file:
            source, _ = choose_source(file, layer=entry.layer)
    except DataFileError as error:
        return error
    except (InputValueError, KeyNotFoundError) as error:
        raise type(error)(f"`{without_credentials(entry.path)}`: ", error.message) from error
    content = source.content
    with written_beside(kept, overwrite=True) as beside:
        values = {"name": source.name, **asdict(content), "content": str(content.content)}
        beside.write_text(json.dumps(values), encoding="utf-8")
    return source.name, content


def scatter_source(
    entry: SourceEntry, directory: Path, name: str, content: MatrixContent, features: FeatureSpace, places: Path
) -> None:
    """Scatter the cells of a source to spill files, sorted by shard.

    Parameters
    ----------
    entry
        The source.
    directory
        Where its spill files belong.
    name, content
        Which of its matrices is read, and what that holds.
    features
        The genes of the corpus.
    places
        File with the rows that are read, in order, and the shard of each and its place there, `(3, n_obs)`.
    """
    if directory.exists():
        return
    rows, shard, place = np.load(places, allow_pickle=False)
    with closing(open_source(entry)) as file, _moved_to(directory, directory.parent) as unfinished:
        source = _named(file, name, content)
        match = features.match(source.var, gene_id_key=entry.gene_id_key, gene_symbol_key=entry.gene_symbol_key)
        reader = RowReader(source.matrix, source.name)
        spills = SpillWriter(unfinished)
        for start, stop in row_ranges(source.matrix):
            first, last = np.searchsorted(rows, [start, stop])
            if first < last:
                block = reader.read(start, stop)[rows[first:last] - start]
                aligned = match.align(source.content.to_linear(block))
                aligned.eliminate_zeros()
                spills.add(aligned, shard[first:last], place[first:last], rows[first:last])
        spills.flush()


def write_shard(
    target: Path, folder: Path, shard: int, directories: Sequence[tuple[int, Path]], names: Sequence[str], obs: pd.DataFrame
) -> NDArray[np.uint64]:
    """Put a shard in order and write it as a part of the store; the hash of each cell's expression, `(n_obs,)`.

    Parameters
    ----------
    target
        Where the part belongs.
    folder
        Where it is written until it is whole.
    shard
        Which.
    directories
        Number of each source, and where its spill files are.
    names
        Names of the genes.
    obs
        Annotation of the cells, in order.
    """
    if target.exists():
        return np.asarray(zarr.open_array(target / "obs" / "hash", mode="r")[:])
    try:
        found = read_shard(directories, shard, len(names))
    except (OSError, ValueError, IndexError) as error:
        raise DataFileError(_DAMAGED) from error
    is_known = np.array_equal(found.source, obs["source"]) and np.array_equal(found.row, obs["row"])
    if not is_known or integrity.sparse_problem(found.matrix):
        raise DataFileError(_DAMAGED)
    with _moved_to(target, folder) as unfinished:
        _write_part(unfinished, found.matrix, obs.assign(hash=found.hashes), names)
    return found.hashes


def _named(file: CellSource, name: str, content: MatrixContent) -> Source:
    for found, matrix, var in matrices(file):
        if found == name:
            return Source(name, matrix, var, content)
    raise DataFileError(f"`{file.path}` no longer has `{name}`. Build the corpus again.")


def _write_part(target: Path, matrix: sparse.csr_matrix, obs: pd.DataFrame, names: Sequence[str]) -> None:
    part = AnnData(matrix, obs=obs.set_index(obs.index.astype(str)), var=pd.DataFrame(index=pd.Index(names)))
    with _WRITING:
        require("annbatch", extra="corpus").write_sharded(zarr.open_group(target, mode="w", zarr_format=3), part)


@contextmanager
def _moved_to(target: Path, folder: Path) -> Iterator[Path]:
    """A new directory in `folder`, moved to `target` when the block ends without an error; if it exists by then, it is kept."""
    attempt = Path(tempfile.mkdtemp(prefix=f"{target.name}-", suffix=ATTEMPT, dir=folder))
    try:
        fresh = attempt / target.name
        fresh.mkdir()
        yield fresh
        try:
            fresh.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(attempt, ignore_errors=True)
