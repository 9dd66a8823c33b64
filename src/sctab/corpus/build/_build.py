"""From a declaration to a corpus on disk, in memory that does not grow with it, and so that it can go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from sctab.io import as_path, check_apart, check_free, entries_of, explain, written_beside
from sctab.errors import DataFileError, InputValueError, OutputExistsError, SettingError, listing, require, warn
from sctab.io import give_back_large_arrays
from sctab.corpus._config import SPLIT_NAMES, CorpusConfig
from sctab.io import is_url
from sctab.corpus._entry import COLUMNS, SourceEntry
from sctab.corpus._features import given_genes
from sctab.corpus._manifest import FORMAT, MANIFEST, VERSION, hash_codes, source_values, write_manifest
from sctab.corpus.sources._open import open_source
from sctab.corpus._plan import CorpusPlan, Draft
from sctab.corpus.build._stages import ATTEMPT, bring, look, put
from sctab.corpus._store import FEATURES, MEASURED, Corpus
from sctab.io import without_credentials
from sctab.io import Watch, run_tasks
from sctab.data import Content, MatrixContent
from sctab.data import FeatureSpace
from sctab.ontology import CellOntology

SHELF_SIZE = 24_576
"""Cells that are put in order at a time: with 2,000 values each they take 0.4 GB, and a third of that on the way."""
_WORK_SUFFIX = ".unfinished"
_RUN = "run.json"
_OURS = re.compile(r"lock|run\.json|left_out\.json|contents|pieces|places|parts|store|\.sctab-[0-9a-z_-]+\.part")


def build(
    config: str | os.PathLike[str] | CorpusConfig,
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    skip_damaged: bool = False,
    shelf_size: int = SHELF_SIZE,
    n_threads: int = 2,
    ontology: CellOntology | None = None,
    watch: Watch | None = None,
) -> Corpus:
    """Build a corpus from many files.

    Matrices are read twice: once to find out what they hold, once to bring their cells into the order of the store. Where a Dask client is
    in use, the workers of its cluster do it; they have to see sources and output under the same paths as this process.

    Parameters
    ----------
    config
        The corpus, or a YAML file that declares it.
    output
        New directory for it. Until it is done, work is kept in a directory beside it whose name ends in `.unfinished`.
    resume
        Go on with work that was interrupted, from the first source or part that is not finished.
    skip_damaged
        Leave out sources that cannot be read, with a warning, instead of stopping.
    shelf_size
        Cells that are shuffled in memory and lie in a part of the store together.
    n_threads
        Sources, and then parts, that are worked on at a time, where there is no cluster.
    ontology
        Of cell types; by default the latest release that is embedded.
    watch
        Called with a stage, how much of it is done, and how much there is.

    Returns
    -------
    The corpus.

    Raises
    ------
    DataFileError
        When a source is missing or damaged, or has changed since the work began. The message names it.
    InputValueError
        When a source holds nothing that can be brought back to counts, or some hold counts and others do not.
    OutputExistsError
        When `output` is there, or unfinished work and `resume` is false, or when another process is at it.
    SettingError
        When unfinished work is of another corpus.
    OutputError
        When it cannot be written, for example on a full disk. What is finished is kept, see `resume`.
    ClusterError
        When workers of the cluster are lost again and again. What is finished is kept, see `resume`.
    MissingDependencyError
        When `annbatch`, or what a source needs, is not installed.
    """
    require("annbatch", extra="corpus")
    give_back_large_arrays()
    if shelf_size < 1:
        raise SettingError(f"`shelf_size={shelf_size}` must be at least 1.")
    config = config if isinstance(config, CorpusConfig) else CorpusConfig.read(config)
    ontology = CellOntology.embedded() if ontology is None else ontology
    watch = watch or (lambda *_: None)
    output = as_path(output)
    if os.path.lexists(output):
        raise OutputExistsError(f"`{output}` is already there. Choose another name, or delete it: a corpus is never overwritten.")
    check_apart([output, _work_directory(output)], [entry.path for entry in config.sources])
    check_free(output, overwrite=False)
    states, damaged = _states(config, skip_damaged=skip_damaged)
    with _workplace(output, _identity(config, shelf_size, states), resume=resume) as work:
        draft = Draft.of(_without(config, damaged), ontology)
        contents, further = _contents(draft, config, work, skip_damaged=skip_damaged, n_threads=n_threads, watch=watch)
        if further:
            draft = Draft.of(_without(config, damaged | further), ontology)
        _forget_work_without(damaged | further, work)
        plan = draft.over_genes({path: name for path, (name, _) in contents.items()})
        shelves = _Shelves.of(plan, shelf_size)
        directories = _scatter(plan, _numbers(config), contents, shelves, work, n_threads=n_threads, watch=watch)
        store = work / "store"
        hashes = _gather(plan, shelves, directories, work, store, n_threads=n_threads, watch=watch)
        _describe(plan, contents, shelves, hashes, store, output, ontology)
        Corpus.open(store).keep_subsets()
        _require_same_sources(states, config)
        os.rename(store, output)  # noqa: PTH104 (refuses to replace what came meanwhile)
    _remove_work(_work_directory(output))
    return Corpus.open(output)


# ------------------------------------------------------------------------------------------------------------ the work


def _work_directory(output: Path) -> Path:
    return output.with_name(output.name + _WORK_SUFFIX)


@contextmanager
def _workplace(output: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Path]:
    work = _work_directory(output)
    wanted = json.loads(json.dumps(identity))
    try:
        is_there = work.exists()
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock", timeout=0):
            if is_there and not resume:
                raise OutputExistsError(
                    f"`{work}` holds the unfinished work on this corpus. Go on with it (`--resume`, or `resume=True`), or delete it."
                )
            if is_there and (foreign := [path.name for path in entries_of(work) if not _OURS.fullmatch(path.name)]):
                raise OutputExistsError(f"`{work}` holds something else than work on a corpus: {listing(foreign)}. Move it away.")
            if (work / _RUN).exists():
                before = json.loads((work / _RUN).read_text(encoding="utf-8"))
                _require_same(before, wanted, work)
            else:
                with written_beside(work / _RUN) as beside:
                    beside.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
            yield work.absolute()  # workers of a cluster may run in another directory
    except Timeout as error:
        raise OutputExistsError(f"Another process is building `{output}`. Wait until it is done.") from error
    except OSError as error:
        if isinstance(error, (DataFileError, OutputExistsError)) or error.errno is None:
            raise
        raise explain(error, output) from error


def _remove_work(work: Path) -> None:
    """Remove what the work has left; what somebody else has put there stays."""
    for path in work.iterdir():
        if not _OURS.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        work.rmdir()


def _require_same_sources(before: Mapping[str, Any], config: CorpusConfig) -> None:
    """Refuse sources that changed while they were read: some of what was taken of them may be of other cells."""
    changed = []
    for entry in config.sources:
        path = _absolute(entry).path
        with suppress(DataFileError):
            if before[path] is None or _fingerprint(entry) == before[path]:
                continue
        changed.append(without_credentials(path))
    if changed:
        raise DataFileError(
            f"{listing(changed)} changed while the corpus was built. Delete the unfinished work, and build it anew."
        )


def _states(config: CorpusConfig, *, skip_damaged: bool) -> tuple[dict[str, Any], set[str]]:
    """What tells each source from what it was before, and those that cannot be opened."""
    states: dict[str, Any] = {}
    damaged = set()
    for entry in config.sources:
        try:
            # What cannot be read of `obs` is found now where it is to be left out, and otherwise when it is read.
            states[_absolute(entry).path] = _fingerprint(entry, entry.obs_keys if skip_damaged else ())
        except DataFileError as error:
            if not skip_damaged:
                raise
            warn(f"{error} It is left out.")
            states[_absolute(entry).path] = None
            damaged.add(entry.path)
    return states, damaged


def _without(config: CorpusConfig, paths: set[str]) -> CorpusConfig:
    return replace(config, sources=tuple(entry for entry in config.sources if entry.path not in paths))


def _forget_work_without(damaged: set[str], work: Path) -> None:
    """Begin anew what was done with other sources: which can be read may be different after an interruption."""
    note = work / "left_out.json"
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else []
    if before != sorted(damaged):
        for name in ("pieces", "places", "parts", "store"):
            shutil.rmtree(work / name, ignore_errors=True)
        with written_beside(note, overwrite=True) as beside:
            beside.write_text(json.dumps(sorted(damaged)), encoding="utf-8")


def _identity(config: CorpusConfig, shelf_size: int, sources: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the corpus: the declaration, and the state of the sources."""
    shown = tuple(replace(entry, path=without_credentials(entry.path)) for entry in map(_absolute, config.sources))
    declared = asdict(replace(config, filters=(), features="", sources=shown))
    declared["filters"] = [{rule.name: rule.parameters} for rule in config.filters]
    genes = given_genes(config.features)
    states = {without_credentials(path): state for path, state in sources.items()}
    declared["features"] = genes.to_json() if isinstance(genes, FeatureSpace) else genes
    return {"format": FORMAT, "format_version": VERSION, "config": declared, "shelf_size": shelf_size, "sources": states}


def _fingerprint(entry: SourceEntry, obs_keys: Sequence[str] = ()) -> dict[str, Any]:
    with closing(open_source(_absolute(entry), obs_keys)) as source:
        return source.fingerprint()


def _require_same(before: Mapping[str, Any], wanted: Mapping[str, Any], work: Path) -> None:
    if before == wanted:
        return
    if before.get("config") == wanted["config"] and before.get("shelf_size") == wanted["shelf_size"]:
        changed = [path for path, state in wanted["sources"].items() if before.get("sources", {}).get(path) != state]
        raise DataFileError(f"{listing(changed)} changed since work on this corpus began. Delete `{work}`, and build it anew.")
    raise SettingError(f"`{work}` is of another corpus. Resume with the same declaration, or delete it.")


# ----------------------------------------------------------------------------------------------------- what sources hold


def _contents(
    draft: Draft, config: CorpusConfig, work: Path, *, skip_damaged: bool, n_threads: int, watch: Watch
) -> tuple[dict[str, tuple[str, MatrixContent]], set[str]]:
    """Which matrix is read of each source that has cells in the corpus, and what it holds; and sources that cannot be read."""
    folder = work / "contents"
    folder.mkdir(exist_ok=True)
    entries = [entry for entry, n in zip(draft.config.sources, draft.n_kept_per_source, strict=True) if n]
    numbers = _numbers(config)

    def arguments(number: int) -> tuple[Any, ...]:
        return _absolute(entries[number]), folder / f"{numbers[entries[number].path]}.json"

    results = run_tasks(look, arguments, len(entries), n_threads=n_threads, stage="inspect", watch=watch)
    found = dict(zip((entry.path for entry in entries), results, strict=True))
    errors = {path: result for path, result in found.items() if isinstance(result, DataFileError)}
    if errors and not skip_damaged:
        raise next(iter(errors.values()))
    for error in errors.values():
        warn(f"{error} It is left out.")
    usable = {path: result for path, result in found.items() if not isinstance(result, DataFileError)}
    _require_one_kind(usable)
    for path, (_, content) in usable.items():
        if content.remark:
            warn(f"`{path}`: {content.remark}")
    return usable, set(errors)


def _numbers(config: CorpusConfig) -> dict[str, int]:
    """Position of each source in the declaration, under which work on it is kept."""
    return {entry.path: number for number, entry in enumerate(config.sources)}


def _require_one_kind(contents: Mapping[str, tuple[str, MatrixContent]]) -> None:
    by_counts = {path: content.content is Content.COUNTS for path, (_, content) in contents.items()}
    if len(set(by_counts.values())) > 1:
        others = [
            f"{without_credentials(path)}: {contents[path][1].content}" for path, has_counts in by_counts.items() if not has_counts
        ]
        raise InputValueError(
            f"Some sources hold counts and others do not: {listing(others)}. Name a `layer` with counts for these, or leave them out."
        )


# ------------------------------------------------------------------------------------------------------------- shuffling


@dataclass(frozen=True)
class _Shelves:
    """A random place for each cell: on which shelf, and where on it."""

    shelf: NDArray[np.int64]
    place: NDArray[np.int64]
    split_of_shelf: tuple[str, ...]
    number_in_split: tuple[int, ...]

    @classmethod
    def of(cls, plan: CorpusPlan, size: int) -> _Shelves:
        rng = np.random.default_rng(plan.config.split.seed)
        shelf, place = np.empty(plan.n_obs, dtype=np.int64), np.empty(plan.n_obs, dtype=np.int64)
        splits: list[str] = []
        numbers: list[int] = []
        for code, split in enumerate(SPLIT_NAMES):
            cells = np.flatnonzero(plan.split == code)
            at = rng.permutation(len(cells))
            n_shelves = -(-len(cells) // size)
            bounds = np.linspace(0, len(cells), n_shelves + 1).astype(np.int64)  # of even size
            within = np.searchsorted(bounds, at, side="right") - 1
            shelf[cells], place[cells] = within + len(splits), at - bounds[within]
            splits += [split] * n_shelves
            numbers += range(n_shelves)
        return cls(shelf, place, tuple(splits), tuple(numbers))


def _scatter(
    plan: CorpusPlan,
    numbers: Mapping[str, int],
    contents: Mapping[str, tuple[str, MatrixContent]],
    shelves: _Shelves,
    work: Path,
    *,
    n_threads: int,
    watch: Watch,
) -> list[tuple[int, Path]]:
    """Bring the cells of every source onto the shelves that they belong to; its number in the plan, and where its cells are now."""
    folder, places = work / "pieces", work / "places"
    folder.mkdir(exist_ok=True)
    _clear_attempts(folder)
    sources = [number for number, entry in enumerate(plan.config.sources) if entry.path in contents]
    directories = {number: folder / str(numbers[plan.config.sources[number].path]) for number in sources}

    def arguments(position: int) -> tuple[Any, ...]:
        number = sources[position]
        entry, directory = plan.config.sources[number], directories[number]
        of_source = np.flatnonzero(plan.cells.source == number)
        place = places / f"{directory.name}.npy"
        with written_beside(place, overwrite=True) as beside:
            np.save(beside, np.stack([plan.cells.row[of_source], shelves.shelf[of_source], shelves.place[of_source]]))
        name, content = contents[entry.path]
        return _absolute(entry), directory, name, content, plan.genes.features, place

    run_tasks(bring, arguments, len(sources), n_threads=n_threads, stage="read", watch=watch)
    return list(directories.items())


def _gather(
    plan: CorpusPlan,
    shelves: _Shelves,
    directories: Sequence[tuple[int, Path]],
    work: Path,
    store: Path,
    *,
    n_threads: int,
    watch: Watch,
) -> NDArray[np.uint64]:
    """Put every shelf in order and write it; the hash of each cell's expression, `(n_obs,)`."""
    for split in SPLIT_NAMES:
        _make_collection(store / f"{split}.zarr")
    order = np.lexsort((shelves.place, shelves.shelf))
    bounds = np.searchsorted(shelves.shelf[order], np.arange(len(shelves.split_of_shelf) + 1))
    folder = work / "parts"
    folder.mkdir(exist_ok=True)
    _clear_attempts(folder)

    def arguments(number: int) -> tuple[Any, ...]:
        target = store / f"{shelves.split_of_shelf[number]}.zarr" / f"dataset_{shelves.number_in_split[number]}"
        cells = order[bounds[number] : bounds[number + 1]]
        obs = pd.DataFrame({column: plan.cells.codes[column][cells] for column in COLUMNS})
        obs["source"], obs["row"] = plan.cells.source[cells], plan.cells.row[cells]
        return target, folder, number, directories, plan.genes.features.names, obs

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")  # annbatch writes it
        parts = run_tasks(put, arguments, len(shelves.split_of_shelf), n_threads=min(n_threads, 2), stage="write", watch=watch)
    hashes = np.empty(plan.n_obs, dtype=np.uint64)
    hashes[order] = np.concatenate(parts)
    return hashes


def _make_collection(path: Path) -> None:
    from annbatch.io import V1_ENCODING

    zarr.open_group(path, mode="a", zarr_format=3).update_attributes(V1_ENCODING)


def _clear_attempts(folder: Path) -> None:
    """Remove what interrupted work has left."""
    for attempt in folder.glob(f"*{ATTEMPT}"):
        shutil.rmtree(attempt, ignore_errors=True)


def _absolute(entry: SourceEntry) -> SourceEntry:
    """The same source for a worker that may run in another directory."""
    return entry if is_url(entry.path) else replace(entry, path=str(Path(entry.path).absolute()))


# ----------------------------------------------------------------------------------------------------------- description


def _describe(
    plan: CorpusPlan,
    contents: Mapping[str, tuple[str, MatrixContent]],
    shelves: _Shelves,
    hashes: NDArray[np.uint64],
    store: Path,
    output: Path,
    ontology: CellOntology,
) -> None:
    labels = plan.cells.label_space(ontology)
    features = plan.genes.features
    other_ids = [list(features.other_ids.get(i, ())) for i in range(len(features))]
    pd.DataFrame({"id": features.ids, "symbol": features.symbols, "other_ids": other_ids}).to_parquet(store / FEATURES)
    np.save(store / MEASURED, plan.genes.is_measured)
    sources = []
    for number, entry in enumerate(plan.config.sources):
        of_source = plan.cells.source == number
        read = contents.get(entry.path)  # `None` where the rules have left no cell of it
        sources.append(
            {
                **source_values(entry, _fingerprint(entry), output),
                "size": _size(entry.path),
                "matrix": None if read is None else read[0],
                "content": None if read is None else str(read[1].content),
                "n_found": plan.n_found_per_source[number],
                "n_obs": int(of_source.sum()),
                "n_genes": int(plan.genes.is_measured[number].sum()),
                "sha256": hashlib.sha256(hashes[of_source].tobytes()).hexdigest(),
            }
        )
    filled = hashes[hashes != 0]
    order = np.lexsort((shelves.place, shelves.shelf))
    whole = hashlib.sha256(json.dumps([features.to_json(), plan.cells.names, shelves.split_of_shelf]).encode())
    every: list[NDArray[Any]] = [hashes, shelves.shelf, *(plan.cells.codes[column] for column in COLUMNS)]
    for of_cells in every:
        whole.update(np.ascontiguousarray(of_cells[order]).tobytes())
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("sctab", "annbatch", "anndata", "zarr")},
        "sha256": whole.hexdigest(),
        "codes_sha256": _hash_codes(plan, shelves, order),
        "n_vars": plan.n_vars,
        "labels": {"names": labels.names, "ids": labels.ids, "ontology_version": labels.ontology_version},
        "label_ids": {name: term for name, term in plan.cells.label_ids.items() if name in labels.names},
        "names": {column: plan.cells.names[column] for column in COLUMNS},
        "splits": {split: int((plan.split == code).sum()) for code, split in enumerate(SPLIT_NAMES)},
        "parts": {split: shelves.split_of_shelf.count(split) for split in SPLIT_NAMES},
        "split_by": plan.config.split.by,
        "split_seed": plan.config.split.seed,
        "sources": sources,
        "rules": [
            {
                "name": step.filter.name,
                "parameters": step.filter.parameters,
                "n_cells": step.n_cells,
                "types": step.types,
                "n_donors": step.n_donors,
            }
            for step in plan.steps
        ],
        "duplicates": {"barcode": plan.n_duplicated, "expression": len(filled) - len(np.unique(filled))},
    }
    with written_beside(store / MANIFEST, overwrite=True) as beside:
        write_manifest(beside, manifest)


def _hash_codes(plan: CorpusPlan, shelves: _Shelves, order: NDArray[np.int64]) -> dict[str, dict[str, str]]:
    """For each split and column a hash of the codes, in the order of the store."""
    split_of_shelf = np.array([SPLIT_NAMES.index(split) for split in shelves.split_of_shelf])
    columns: dict[str, NDArray[Any]] = {column: plan.cells.codes[column] for column in COLUMNS}
    columns |= {"source": plan.cells.source, "row": plan.cells.row}
    of_split = split_of_shelf[shelves.shelf[order]]
    return {
        split: {column: hash_codes(codes[order[of_split == number]]) for column, codes in columns.items()}
        for number, split in enumerate(SPLIT_NAMES)
    }


def _size(path: str) -> int | None:
    place = Path(path)
    if not place.exists():
        return None
    return sum(part.stat().st_size for part in place.rglob("*") if part.is_file()) if place.is_dir() else place.stat().st_size
