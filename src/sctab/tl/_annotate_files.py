"""Name the cells of files that need not fit into memory."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab._atomic import check_free, written_beside
from sctab._constants import DEFAULT_KEY_ADDED, DEFAULT_MODEL
from sctab._errors import OutputError, SettingError, listing, warn
from sctab._matrix import BLOCK_SIZE
from sctab.inference import (
    DataFile,
    FileAnnotation,
    Journal,
    Part,
    base_name,
    engine_for,
    find_data_files,
    is_url,
    name_cells,
)
from sctab.model import AutoClassifier, CellTypeClassifier, DeepEnsemble
from sctab.model._evaluation import require_batch_size
from sctab.model._spec import ModelSpec
from sctab.nn._sparse import Precision
from sctab.tl._copies import Results, copy_data, open_copy
from sctab.tl._result import (
    describe_run,
    latent_key,
    notes_of,
    obs_columns,
    precision_notes,
    probabilities_key,
    probability_columns,
)
from sctab.tl._tables import TABLE_SUFFIXES, open_table
from sctab.zoo import load

_COPY_SUFFIXES = (".h5ad", ".zarr")
_ROWS_AT_A_TIME = 65_536
"""Cells whose results are written at a time."""

Inputs = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True)
class AnnotatedFiles:
    """What came of an annotation of files."""

    outputs: tuple[Path, ...]
    """What was written."""
    runs: Mapping[str, Mapping[str, Any]]
    """For each input what :func:`sctab.tl.annotate` writes into `uns`."""
    labels: pd.DataFrame
    """For each label that occurs, most frequent first, `n_cells` and the median `confidence`; `NaN` for cells without a label."""


def annotate_files(
    inputs: Inputs,
    model: str | PathLike[str] | CellTypeClassifier | DeepEnsemble | AutoClassifier = DEFAULT_MODEL,
    *,
    output: str | PathLike[str] | Sequence[str | PathLike[str]],
    layer: str | None = None,
    batch_size: int = 512,
    min_gene_coverage: float = 0.1,
    precision: Precision = "float32",
    key_added: str = DEFAULT_KEY_ADDED,
    block_size: int = BLOCK_SIZE,
    client: Any = None,
    resume: bool = False,
    overwrite: bool = False,
    show_progress: bool = False,
) -> AnnotatedFiles:
    """Name the cells of files, block by block: memory does not grow with the number of cells, and an interrupted run can go on.

    It gives what :func:`annotate` gives for the same cells. A file is read twice, once to find out what it holds and once to name its
    cells. While it runs, finished blocks are in a directory beside the output, which has its name and the ending `.parts`.

    Parameters
    ----------
    inputs
        `.h5ad` and `.zarr` files, directories of them, and patterns such as `runs/*.h5ad`; also behind any URL that `fsspec` knows, such as
        `s3://bucket/*.zarr` (extra `remote`).
    model
        As in :func:`annotate`.
    output
        What to write, or several of these:

        `labels.parquet`, `labels.csv`
            A table with a row for each cell: its name, the columns that :func:`annotate` adds to `obs`, and with several inputs the `file`.
        `annotated.h5ad`, `annotated.zarr`
            A copy of the input with all that :func:`annotate` writes. Matrices are copied as they are and never loaded.
        a directory
            A copy of each of several inputs.
    layer
        As in :func:`annotate`.
    batch_size
        Cells evaluated at a time; 1,024 are a few percent faster and take some 70 MB more.
    min_gene_coverage, precision, key_added
        As in :func:`annotate`.
    block_size
        Cells read at a time, and kept when they are done. On two cores four blocks are in memory at a time, of 16 MB each where 2,000
        genes of a cell are detected; with more cores there are more of them.
    client
        A `distributed.Client`, to name the cells on the workers of its cluster (extra `dask`), which have to see the inputs under the same
        paths or URLs.
    resume
        Go on with the blocks that an interrupted run with the same inputs, model and settings has finished; there may be none.
    overwrite
        Replace outputs that are there, and forget the blocks of an interrupted run unless `resume` is given too.
    show_progress
        Show on stderr how many cells are done, how fast it goes and how long it will take.

    Returns
    -------
    What was written, how each input was read, and how many cells got which label.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        When the model is not there or cannot be trusted.
    DataFileError
        When an input is not there, of another type, or damaged.
    KeyNotFoundError, InputValueError, GeneOverlapError
        When an input cannot be annotated, as in :func:`annotate`. All inputs are looked at before the first cell is named.
    SettingError
        When a setting makes no sense, or when `resume` finds blocks of another run.
    OutputExistsError, OutputError
        When something is there already, or when it cannot be written. Finished blocks are kept.
    ClusterError
        When workers are lost again and again.

    Examples
    --------
    >>> import sctab
    >>> sctab.tl.annotate_files("atlas.h5ad", "my-model", output="labels.parquet", show_progress=True)  # doctest: +SKIP
    """
    require_batch_size(batch_size)
    if block_size < 1:
        raise SettingError(f"`block_size={block_size}` must be at least 1.")
    classifier = load(model)
    covariates = [covariate.key for covariate in classifier.spec.covariates]
    paths = find_data_files([inputs] if isinstance(inputs, str | PathLike) else inputs)
    targets = _check_outputs([output] if isinstance(output, str | PathLike) else output, paths, overwrite=overwrite)
    with_all = any(target.suffix not in TABLE_SUFFIXES for target in targets)
    engine = engine_for(classifier, precision=precision, client=client)
    with ExitStack() as stack:
        files = []
        for path in paths:
            files.append(DataFile(path, covariates))
            stack.callback(files[-1].close)
        identity = {
            "files": [file.fingerprint() for file in files],
            "model": classifier.sha256 or uuid4().hex,  # without a hash nobody can say that it is the same
            "layer": layer,
            "batch_size": batch_size,
            "block_size": block_size,
            "precision": precision,
            "probabilities": with_all,
            "version": importlib.metadata.version("sctab"),
        }
        directory = targets[0].with_name(f"{targets[0].name}.parts")
        with Journal(directory, identity, resume=resume, restart=overwrite) as journal:
            annotations = name_cells(
                classifier,
                files,
                journal,
                engine,
                layer=layer,
                batch_size=batch_size,
                block_size=block_size,
                min_gene_coverage=min_gene_coverage,
                with_all=with_all,
                show_progress=show_progress,
            )
            codes, confidence = _labels_of(annotations, journal)
            runs = {}
            for annotation, of_file in zip(annotations, codes, strict=True):
                notes = notes_of(annotation.query, int((of_file < 0).sum()))
                notes += precision_notes(classifier, annotation.query, precision)
                runs[annotation.file.path] = describe_run(classifier, annotation.query, notes, precision)
            for target in targets:
                write = _write_table if target.suffix in TABLE_SUFFIXES else _write_copies
                with written_beside(target, overwrite=overwrite) as beside:
                    write(beside, classifier.spec, annotations, journal, runs, key_added)
            journal.remove()
    for path, run in runs.items():
        for note in run["warnings"]:
            warn(note if len(runs) == 1 else f"`{path}`: {note}")
    return AnnotatedFiles(tuple(targets), runs, _count_labels(classifier.spec, np.concatenate(codes), np.concatenate(confidence)))


def _check_outputs(outputs: Sequence[str | PathLike[str]], paths: Sequence[str], *, overwrite: bool) -> list[Path]:
    """Refuse what cannot be written before anything is read."""
    if not outputs:
        raise SettingError("Nothing would be written. Give an `output`, such as `labels.parquet`.")
    targets = []
    for output in outputs:
        if is_url(fspath(output)):
            raise OutputError(f"`{output}` is a URL. Write to a local path, and copy it there when it is done.")
        target = Path(output)
        targets.append(target)
        is_directory = target.suffix == "" or target.is_dir()
        if target.suffix not in (*TABLE_SUFFIXES, *_COPY_SUFFIXES) and not is_directory:
            raise OutputError(
                f"`{target}` is none of {listing((*TABLE_SUFFIXES, *_COPY_SUFFIXES))}. Give a name with one of these endings, or a "
                "directory for a copy of each input."
            )
        if target.suffix in _COPY_SUFFIXES and len(paths) > 1:
            raise OutputError(
                f"`{target}` is one file, and there are {len(paths)} inputs. Give a directory for a copy of each, or a table such as "
                "`labels.parquet`."
            )
        if target.suffix == "" and len({base_name(path) for path in paths}) < len(paths):
            raise OutputError("Inputs of different directories have the same name. Annotate them apart, or write a table.")
        check_free(target, overwrite=overwrite)
    return targets


def _labels_of(
    annotations: Sequence[FileAnnotation], journal: Journal
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.float32]]]:
    """Codes and confidence of all cells, file by file: 6 bytes a cell."""
    codes, confidence = [], []
    for annotation in annotations:
        parts = [(part["codes"], part["confidence"]) for _, _, part in _parts(annotation, journal)]
        codes.append(np.concatenate([part[0] for part in parts]))
        confidence.append(np.concatenate([part[1] for part in parts]))
    return codes, confidence


def _parts(annotation: FileAnnotation, journal: Journal) -> Iterator[tuple[int, int, Part]]:
    return journal.read(annotation.number, annotation.file.n_obs, at_least=_ROWS_AT_A_TIME)


def _write_table(
    path: Path,
    spec: ModelSpec,
    annotations: Sequence[FileAnnotation],
    journal: Journal,
    runs: Mapping[str, Mapping[str, Any]],
    key_added: str,
) -> None:
    with open_table(path, path.suffix) as table:
        for annotation in annotations:
            for start, stop, part in _parts(annotation, journal):
                columns = {name: values for name, values in obs_columns(spec, part, key_added).items() if values is not None}
                if len(annotations) > 1:
                    file = pd.Categorical.from_codes(np.full(stop - start, annotation.number), categories=list(runs))
                    columns = {"file": file, **columns}
                table.add(pd.DataFrame(columns, index=pd.Index(annotation.file.names(start, stop), dtype=object)))


def _write_copies(
    path: Path,
    spec: ModelSpec,
    annotations: Sequence[FileAnnotation],
    journal: Journal,
    runs: Mapping[str, Mapping[str, Any]],
    key_added: str,
) -> None:
    write: Callable[..., None] = partial(_write_copy, spec=spec, journal=journal, key_added=key_added)
    if path.suffix in _COPY_SUFFIXES:
        (annotation,) = annotations
        write(path, annotation, run=runs[annotation.file.path])
        return
    path.mkdir()
    for annotation in annotations:
        write(path / base_name(annotation.file.path), annotation, run=runs[annotation.file.path])


def _write_copy(
    path: Path, annotation: FileAnnotation, *, spec: ModelSpec, journal: Journal, run: Mapping[str, Any], key_added: str
) -> None:
    file = annotation.file
    copy_data(file, path)
    labels, probabilities, latent = probability_columns(spec), probabilities_key(key_added), latent_key(key_added)
    with open_copy(path) as root:
        is_annotated = "uns" in root and key_added in root["uns"]
        results = Results(root, file.n_obs)
        for start, stop, part in _parts(annotation, journal):
            columns = obs_columns(spec, part, key_added)
            if start == 0:
                for name, values in columns.items():
                    if values is not None:
                        results.add_column(name, categories=list(values.categories) if isinstance(values, pd.Categorical) else None)
                    elif is_annotated:
                        results.remove("obs", name)
                if "latent" in part:
                    results.add_matrix(latent, part["latent"].shape[1])
                elif is_annotated:
                    results.remove("obsm", latent)
                results.add_frame(probabilities, labels)
            for name, values in columns.items():
                if values is not None:
                    results.put(name, start, values.codes if isinstance(values, pd.Categorical) else values)
            if "latent" in part:
                results.put(latent, start, part["latent"])
            results.put(f"{probabilities}/_index", start, np.array(file.names(start, stop), dtype=object))
            for column, values in zip(labels, part["probabilities"].T, strict=True):
                results.put(f"{probabilities}/{column}", start, values)
        results.add_run(key_added, run)


def _count_labels(spec: ModelSpec, codes: NDArray[np.int32], confidence: NDArray[np.float32]) -> pd.DataFrame:
    labels = pd.Categorical.from_codes(codes, categories=list(spec.labels.names))
    by_label = pd.Series(confidence).groupby(labels, observed=True, dropna=False)
    table = pd.DataFrame({"n_cells": by_label.size(), "confidence": by_label.median()})
    return table.sort_values("n_cells", ascending=False, kind="stable").rename_axis("label")
