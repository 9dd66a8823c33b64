"""Annotation of files that do not fit into memory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd

from sctab.data import NO_PROTEINS
from sctab.errors import DataFileError, Either, KeyNotFoundError, Message, Parameter, SettingError, missing_key, warn
from sctab.inference import (
    BATCH_SIZE,
    Adapt,
    Backend,
    Expected,
    FileAnnotation,
    HasPredictor,
    Hierarchy,
    Journal,
    ModelSpec,
    adapted,
    annotate_cells,
    check_adapt,
    coverage_to_require,
    engine_for,
    open_queries,
    require_batch_size,
)
from sctab.io import (
    BLOCK_SIZE,
    TABLE_SUFFIXES,
    DataFile,
    as_path,
    find_data_files,
    require_whole_links,
    run_file_of,
    write_run_file,
    written_beside,
)
from sctab.keys import DEFAULT_KEY_ADDED, DEFAULT_MODEL, check_key_added
from sctab.nn import Precision
from sctab.tl._all_cells import check_mudata
from sctab.tl._finished import RUN, are_finished, run_hash
from sctab.tl._learned import LearnedCells
from sctab.tl._result import (
    adaptation_notes,
    check_hierarchy,
    check_labels,
    describe_run,
    notes_of,
    precision_notes,
    promised,
)
from sctab.tl._targets import COPY_SUFFIXES, check_targets
from sctab.tl._unseen import check_fdr
from sctab.tl._voted import groups_of
from sctab.tl._written_files import Labelled, labels_of, names_of, reports_of, votes_of, write_copy, write_genes, write_table
from sctab.zoo import load_predictor

Inputs = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True)
class AnnotatedFiles:
    """Result of an annotation of files."""

    outputs: tuple[Path, ...]
    """Written files."""
    runs: Mapping[str, Mapping[str, Any]]
    """For each input what :func:`sctab.tl.annotate` writes into `uns`; empty where `resume` found nothing to do."""
    labels: pd.DataFrame
    """For each label that occurs, most frequent first, `n_cells` and the median `confidence`; `NaN` for cells without a label."""


def annotate_files(
    inputs: Inputs,
    model: str | PathLike[str] | HasPredictor = DEFAULT_MODEL,
    *,
    output: str | PathLike[str] | Sequence[str | PathLike[str]],
    layer: str | None = None,
    modality: str | None = None,
    protein_modality: str | None = None,
    batch_size: int = BATCH_SIZE,
    min_gene_coverage: float = 0.1,
    accepted_error: float | None = None,
    label_hierarchy: Hierarchy | None = None,
    labels: str | Sequence[str] | None = None,
    unseen_fdr: float | None = None,
    adapt: Adapt = "auto",
    force: bool = False,
    precision: Precision = "float32",
    backend: Backend = "torch",
    key_added: str = DEFAULT_KEY_ADDED,
    genes_table: str | PathLike[str] | None = None,
    vote: str | None = None,
    block_size: int = BLOCK_SIZE,
    client: Any = None,
    resume: bool = False,
    overwrite: bool = False,
    show_progress: bool = False,
) -> AnnotatedFiles:
    """Annotate files block by block, in constant memory; interrupted runs can be resumed.

    Results are identical to those of :func:`annotate`. Each file is read twice, once to determine its content and once to annotate its
    cells. Finished blocks are stored in a directory beside the first output, named after it with the suffix `.parts`.

    Parameters
    ----------
    inputs
        `.h5ad`, `.zarr`, `.h5mu` and `.loom` files, 10x Genomics matrices (`.h5`), directories, and patterns such as `runs/*.h5ad`; also
        behind any URL that `fsspec` knows, such as `s3://bucket/*.zarr` (extra `remote`).
    model
        As in :func:`annotate`.
    output
        One or several outputs:

        `labels.parquet`, `labels.csv`
            A table with one row per cell: its name, the columns that :func:`annotate` adds to `obs`, and the `file` if there are several
            inputs. A hidden file beside a `.csv`, `.labels.csv.sctab-run`, lets `resume` recognise it.
        `annotated.h5ad`, `annotated.zarr`
            A copy of the input with all results of :func:`annotate`. Matrices are copied unchanged, without loading them. Of an input in
            another format it is its cells, genes and counts as anndata stores them; of a MuData, one modality.
        `annotated.h5mu`
            A copy of a whole MuData, with results in its own `obs`, `obsm` and `uns`, as :func:`annotate` writes them.
        a directory
            A copy of each of several inputs.
    layer
        As in :func:`annotate`.
    modality
        Modality of a MuData, or genome of a 10x Genomics matrix of several, to annotate. By default the one whose features have most of the
        gene importance of the model.
    protein_modality
        Modality of a MuData with antibodies, or `"none"` for gene expression alone. By default, a model that learned from proteins finds
        it by its features.
    batch_size
        Cells per batch; 1,024 are a few percent faster and take about 70 MB more.
    min_gene_coverage, accepted_error, label_hierarchy, labels, unseen_fdr, adapt, force, precision, backend, key_added
        As in :func:`annotate`. Files that a model is adapted to must measure the same genes.
    genes_table
        A table of the genes of the model to write as well, `.parquet` or `.csv`: :func:`sctab.get.genes` of each input, with the `file` if
        there are several.
    vote
        Column of `obs` with groups of cells, such as clusters: also write what :func:`vote` does for them, file by file. Blocks then hold
        probabilities, also for a table.
    block_size
        Cells per block that is read and saved. On two cores four blocks are in memory at a time, 16 MB each with 2,000 detected genes per
        cell; more cores keep more blocks in memory.
    client
        A `distributed.Client` whose workers annotate the cells (extra `dask`). They must see the inputs under the same paths or URLs.
    resume
        Resume an interrupted run with the same inputs, model and settings from its finished blocks, if any. Outputs that the same run
        has written are left as they are.
    overwrite
        Replace existing outputs, and discard the blocks of an interrupted run unless `resume` is set.
    show_progress
        Show progress, speed and remaining time on stderr.

    Returns
    -------
    Written files, how each input was read, and the number of cells per label.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model is not found or cannot be trusted.
    DataFileError
        If an input is missing, has an unsupported format, or is damaged.
    KeyNotFoundError, InputValueError, GeneOverlapError
        If an input cannot be annotated, as in :func:`annotate`, or does not have the column of groups. All inputs are inspected before the
        first cell is annotated.
    SettingError
        If a setting is invalid, or if `resume` finds blocks of another run.
    OutputExistsError, OutputError
        If the output already exists, or if it cannot be written. Finished blocks are kept.
    ClusterError
        If the cluster keeps losing workers.
    MissingDependencyError
        If the backend, or Dask, is not installed.

    Examples
    --------
    >>> import sctab
    >>> sctab.tl.annotate_files("atlas.h5ad", "my-model", output="labels.parquet", show_progress=True)  # doctest: +SKIP
    """
    require_batch_size(batch_size)
    if block_size < 1:
        raise SettingError(Parameter("block_size", block_size), " must be at least 1.")
    check_key_added(key_added)
    check_fdr(unseen_fdr)
    check_adapt(adapt)
    check_hierarchy(label_hierarchy, accepted_error)
    predictor = load_predictor(model)
    check_labels(predictor.spec)
    backoff = None if accepted_error is None else predictor.promise(accepted_error, label_hierarchy)
    expected = None if labels is None else Expected.of(predictor.spec.labels, labels)
    paths = find_data_files([inputs] if isinstance(inputs, str | PathLike) else inputs)
    others = [model] if isinstance(model, str | PathLike) and as_path(model).is_dir() else []
    outputs = [output] if isinstance(output, str | PathLike) else output
    places, targets = check_targets(outputs, paths, others, genes_table=genes_table, overwrite=overwrite or resume)
    with_all = vote is not None or any(target.number is not None for target in targets)
    engine = engine_for(predictor, precision=precision, backend=backend, client=client)
    with ExitStack() as stack:
        files = []
        for path in paths:
            obs_keys = [] if vote is None else [vote]
            files.append(predictor.open_file(path, obs_keys, modality=modality, protein_modality=protein_modality))
            stack.callback(files[-1].close)
        for target in targets:
            if target.number is not None:
                require_whole_links(files[target.number])
                if target.path.suffix == ".h5mu":
                    check_mudata(files[target.number], str(target.path))
        groups = None if vote is None else [_groups_of(file, vote) for file in files]
        cells = [_hash_of_names(file) for file in files]
        identity = {
            "files": [{**file.fingerprint(), "names": names} for file, names in zip(files, cells, strict=True)],
            "model": predictor.sha256 or uuid4().hex,  # without a hash nobody can say that it is the same
            "layer": layer,
            "batch_size": batch_size,
            "block_size": block_size,
            "precision": precision,
            **({} if backend == "torch" else {"backend": backend}),
            **({} if protein_modality is None else {"proteins": protein_modality}),
            "probabilities": with_all,
            **promised(predictor.spec, backoff),
            "labels_below": None if backoff is None else backoff.terms.below.tolist(),
            **({} if unseen_fdr is None else {"unseen": True}),
            **({} if adapt == "auto" else {"adapt": adapt}),
            **({} if expected is None else {"labels": expected.names(predictor.spec.labels)}),
            "version": importlib.metadata.version("sctab"),
        }
        settings = {name: value for name, value in {"unseen": unseen_fdr, "vote": vote}.items() if value is not None}
        run_id = run_hash({**identity, **settings}, key_added, min_gene_coverage)
        if resume and not overwrite and are_finished(targets, run_id, key_added):
            return AnnotatedFiles(tuple(places), {}, pd.DataFrame(columns=["n_cells", "confidence"]).rename_axis("label"))
        first = targets[0].path
        of_copies = [] if with_all else [_journal_of(first.with_suffix(suffix)) for suffix in COPY_SUFFIXES]
        with Journal(_journal_of(first), identity, resume=resume, restart=overwrite, others=of_copies) as journal:
            predictor, queries = open_queries(
                predictor,
                files,
                journal,
                engine,
                layer=layer,
                min_gene_coverage=coverage_to_require(adapt, min_gene_coverage),
                hidden="all" if protein_modality == NO_PROTEINS else "none",
                show_progress=show_progress,
            )
            predictor, adaptation = adapted(predictor, queries, adapt) if queries else (predictor, None)
            if adaptation is not None:
                engine = engine_for(predictor, precision=precision, backend=backend, client=client)
            if accepted_error is not None and (predictor.spec.proteins is not None or adaptation is not None):
                backoff = predictor.promise(accepted_error, label_hierarchy)
            annotations = annotate_cells(
                predictor,
                files,
                queries,
                journal,
                engine,
                batch_size=batch_size,
                block_size=block_size,
                backoff=backoff,
                unseen=unseen_fdr is not None,
                expected=None if expected is None else expected.allowed,
                with_all=journal.has_all,
                show_progress=show_progress,
            )
            found = labels_of(annotations, journal, predictor.spec, backoff, expected)
            reports = reports_of(annotations, journal, predictor, unseen_fdr, force=force)
            votes = votes_of(annotations, journal, predictor.spec, backoff, groups)
            runs = {}
            for annotation, of_file, reported in zip(annotations, found, reports, strict=True):
                query, checked = annotation.query, None if backoff is None else backoff.check(*of_file.compared)
                notes = notes_of(query, of_file.n_unmeasured, checked, reported, of_file.excluded)
                notes += precision_notes(predictor, query, precision)
                learned = LearnedCells.of(predictor, query)
                notes += [] if learned is None else [learned.note]
                notes += adaptation_notes(predictor, query, adaptation)
                of_run = (checked, reported, of_file.n_terms, of_file.excluded, learned, adaptation)
                runs[annotation.file.path] = {**describe_run(predictor, query, notes, precision, backend, *of_run), RUN: run_id}
            _require_unchanged(annotations, cells, journal)
            with ExitStack() as written:  # files take their places when all are whole
                for target in targets:
                    beside = written.enter_context(written_beside(target.path, overwrite=overwrite))
                    if target.of_genes:
                        write_genes(beside, target.path.suffix, predictor, annotations, run_id)
                    elif target.number is None:
                        write_table(
                            beside, target.path, predictor.spec, backoff, reports, votes, annotations, journal, key_added, run_id
                        )
                    else:
                        annotation = annotations[target.number]
                        run, codes = runs[annotation.file.path], found[target.number].codes
                        with _suggests_table(first, journal):
                            write_copy(
                                beside,
                                target.path,
                                annotation,
                                predictor.spec,
                                backoff,
                                reports[target.number],
                                votes[target.number],
                                journal,
                                run,
                                codes,
                                key_added,
                            )
                    if target.path.suffix == ".csv":  # which takes its place after this file, and cannot hold the hash itself
                        write_run_file(
                            written.enter_context(written_beside(run_file_of(target.path), overwrite=True)), beside, run_id
                        )
                _require_unchanged(annotations, cells, journal)
            journal.remove()
    for path, run in runs.items():
        for note in run["warnings"]:
            warn("" if len(runs) == 1 else f"`{path}`: ", note)
    return AnnotatedFiles(tuple(places), runs, _count_labels(predictor.spec, found))


def _groups_of(file: DataFile, key: str) -> pd.Categorical:
    """Groups of the cells of a file."""
    if key not in file.obs:
        raise KeyNotFoundError(
            f"`{file.path}`: ",
            missing_key("vote", key, file.obs_columns).message,
            " Cluster the cells first.",
        )
    return groups_of(file.obs[key], Parameter("vote", key))


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


@contextmanager
def _suggests_table(first: Path, journal: Journal) -> Iterator[None]:
    """Say what is left to do where no copy of an input can be made, which is so again when the run is resumed."""
    try:
        yield
    except DataFileError as error:
        table = first if first.suffix in TABLE_SUFFIXES else first.with_suffix(".csv")
        error.add_note(
            Message(
                f"All cells are annotated, and the results are kept in `{journal.directory}`. Write them as a table, ",
                Either(f"`output={str(table)!r}, resume=True`", f"`--output {shlex.quote(str(table))} --resume`"),
                ", and otherwise the same arguments.",
            )
        )
        raise


def _hash_of_names(file: DataFile) -> str:
    """A hash of the names of the cells, in order."""
    found = hashlib.sha256()
    for names in names_of(file):
        for name in names:
            found.update(f"{len(name)} {name}".encode())
    return found.hexdigest()


def _require_unchanged(annotations: Sequence[FileAnnotation], cells: Sequence[str], journal: Journal) -> None:
    """Refuse what was found of a file that is another one now, and forget it."""
    try:
        for annotation, before in zip(annotations, cells, strict=True):
            annotation.file.require_unchanged()
            if _hash_of_names(annotation.file) != before:
                raise DataFileError(
                    f"The names of the cells in `{annotation.file.path}` changed while it was read. Nothing was written."
                )
    except DataFileError:
        journal.remove()
        raise


def _count_labels(spec: ModelSpec, found: Sequence[Labelled]) -> pd.DataFrame:
    labels = pd.Categorical.from_codes(np.concatenate([each.codes for each in found]), categories=list(spec.labels.names))
    by_label = pd.Series(np.concatenate([each.confidence for each in found])).groupby(labels, observed=True, dropna=False)
    table = pd.DataFrame({"n_cells": by_label.size(), "confidence": by_label.median()})
    return table.sort_values("n_cells", ascending=False, kind="stable").rename_axis("label")
