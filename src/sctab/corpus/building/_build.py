"""A corpus on disk from its declaration, in memory that does not grow with it, and resumable after an interruption."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sctab.corpus._config import CorpusConfig
from sctab.corpus._manifest import MANIFEST
from sctab.corpus._plan import Draft
from sctab.corpus._store import Corpus
from sctab.corpus.building._description import describe
from sctab.corpus.building._shuffle import Placement, scatter_sources, write_shards
from sctab.corpus.building._stages import inspect_source
from sctab.corpus.building._workplace import (
    absolute,
    forget_work_without,
    hash_of,
    identity_of,
    remove_work,
    require_same_sources,
    states_of,
    work_directory,
    workplace,
)
from sctab.data import Content, MatrixContent
from sctab.errors import DataFileError, InputValueError, OutputExistsError, Parameter, SettingError, listing, require, warn
from sctab.io import (
    OnProgress,
    as_path,
    check_apart,
    check_free,
    release_large_arrays,
    run_tasks,
    without_credentials,
)
from sctab.ontology import CellOntology

SHARD_SIZE = 24_576
"""Cells that are shuffled in memory at a time: with 2,000 values each they take 0.4 GB, and a third of that on the way."""


def build(
    config: str | os.PathLike[str] | CorpusConfig,
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    skip_damaged: bool = False,
    shard_size: int = SHARD_SIZE,
    n_jobs: int = 2,
    ontology: CellOntology | None = None,
    on_progress: OnProgress | None = None,
) -> Corpus:
    """Build a corpus from many files.

    Matrices are read twice: once to decide their content, once to scatter their cells to their places in the store. Where a Dask client
    is in use, the workers of its cluster do it; they have to see sources and output under the same paths as this process.

    Parameters
    ----------
    config
        The corpus, or a YAML file that declares it.
    output
        New directory for it. Until it is done, work is kept in a directory beside it whose name ends in `.unfinished`.
    resume
        Resume work that was interrupted, from the first source or part that is not finished. A finished corpus of the same declaration and
        sources is returned as it is.
    skip_damaged
        Leave out sources that cannot be read, with a warning, instead of stopping.
    shard_size
        Cells that are shuffled in memory and written as one part of the store.
    n_jobs
        Sources, and then parts, that are worked on at a time, where there is no cluster.
    ontology
        Of cell types; by default the latest release that is embedded.
    on_progress
        Called with a stage, how much of it is done, and how much there is.

    Returns
    -------
    The corpus.

    Raises
    ------
    DataFileError
        If a source is missing or damaged, or has changed since the work began. The message names it.
    InputValueError
        If a source holds nothing convertible to counts, or some hold counts and others do not.
    OutputExistsError
        If `output` is there and not the corpus to resume, or unfinished work and `resume` is false, or if another process is at it.
    SettingError
        If unfinished work belongs to another corpus.
    OutputError
        If it cannot be written, for example on a full disk. What is finished is kept, see `resume`.
    ClusterError
        If the cluster keeps losing workers. What is finished is kept, see `resume`.
    MissingDependencyError
        If `annbatch`, or what a source needs, is not installed.
    """
    require("annbatch", extra="corpus")
    release_large_arrays()
    if shard_size < 1:
        raise SettingError(Parameter("shard_size", shard_size), " must be at least 1.")
    config = config if isinstance(config, CorpusConfig) else CorpusConfig.read(config)
    ontology = CellOntology.embedded() if ontology is None else ontology
    on_progress = on_progress or (lambda *_: None)
    output = as_path(output)
    if os.path.lexists(output) and not (resume and (output / MANIFEST).is_file()):
        raise OutputExistsError(f"`{output}` already exists. Choose another name, or delete it: a corpus is never overwritten.")
    check_apart([output, work_directory(output)], [entry.path for entry in config.sources])
    states, damaged = states_of(config, skip_damaged=skip_damaged)
    identity = identity_of(config, shard_size, states)
    if os.path.lexists(output):
        return _finished(output, hash_of(identity))
    check_free(output, overwrite=False)
    with workplace(output, identity, resume=resume) as work:
        draft = Draft.of(_without(config, damaged), ontology)
        contents, further = _contents(draft, config, work, skip_damaged=skip_damaged, n_jobs=n_jobs, on_progress=on_progress)
        if further:
            draft = Draft.of(_without(config, damaged | further), ontology)
        forget_work_without(damaged | further, work)
        plan = draft.over_genes({path: name for path, (name, _) in contents.items()})
        placement = Placement.of(plan, shard_size)
        directories = scatter_sources(plan, _numbers(config), contents, placement, work, n_jobs=n_jobs, on_progress=on_progress)
        store = work / "store"
        hashes = write_shards(plan, placement, directories, work, store, n_jobs=n_jobs, on_progress=on_progress)
        describe(plan, contents, placement, hashes, store, output, ontology, run=hash_of(identity))
        Corpus.open(store).keep_subsets()
        require_same_sources(states, config)
        os.rename(store, output)  # noqa: PTH104 (refuses to replace what came meanwhile)
    remove_work(work_directory(output))
    return Corpus.open(output)


# ------------------------------------------------------------------------------------------------------------ the work


def _finished(output: Path, run: str) -> Corpus:
    """The corpus that was built before, of the same sources with the same declaration."""
    corpus = Corpus.open(output)
    found = corpus.manifest.get("run")
    if found != run:
        why = (
            "does not say from which declaration it is"
            if found is None
            else "belongs to another declaration, or its sources changed"
        )
        raise OutputExistsError(
            f"`{output}` already exists and {why}, so it is not resumed. Choose another name, or delete it: a corpus is never "
            "overwritten."
        )
    return corpus


def _without(config: CorpusConfig, paths: set[str]) -> CorpusConfig:
    return replace(config, sources=tuple(entry for entry in config.sources if entry.path not in paths))


# ----------------------------------------------------------------------------------------------------- what sources hold


def _contents(
    draft: Draft, config: CorpusConfig, work: Path, *, skip_damaged: bool, n_jobs: int, on_progress: OnProgress
) -> tuple[dict[str, tuple[str, MatrixContent]], set[str]]:
    """Name and content of the matrix that is read of each source with cells in the corpus; and sources that cannot be read."""
    folder = work / "contents"
    folder.mkdir(exist_ok=True)
    entries = [entry for entry, n in zip(draft.config.sources, draft.n_kept_per_source, strict=True) if n]
    numbers = _numbers(config)

    def arguments(number: int) -> tuple[Any, ...]:
        return absolute(entries[number]), folder / f"{numbers[entries[number].path]}.json"

    results = run_tasks(inspect_source, arguments, len(entries), n_jobs=n_jobs, stage="inspect", on_progress=on_progress)
    found = dict(zip((entry.path for entry in entries), results, strict=True))
    errors = {path: result for path, result in found.items() if isinstance(result, DataFileError)}
    if errors and not skip_damaged:
        raise next(iter(errors.values()))
    for error in errors.values():
        warn(error.message, " It is left out.")
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
            f"Some sources hold counts and others do not: {listing(others)}. Name a `layer` with counts for these, or exclude them."
        )


# ------------------------------------------------------------------------------------------------------------- shuffling


# ----------------------------------------------------------------------------------------------------------- description
