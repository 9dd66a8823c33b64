"""Results of an annotation of files as they are written: tables of all cells, tables of genes, and copies of inputs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.data import gene_table
from sctab.errors import warn
from sctab.inference import BackOff, Decision, Expected, FileAnnotation, Journal, ModelSpec, Predictor, Terms, VoteSums
from sctab.io import DataFile, Results, check_copy, check_table, copy_data, n_marked, open_copy, open_table, require_readable
from sctab.keys import OBS_LABEL, UNS_VOTE, is_encodable
from sctab.tl._all_cells import codes_of_all, decisions_on_all, rows_in_all, voted_of_all
from sctab.tl._excluded import ExcludedCells
from sctab.tl._result import count_terms, latent_key, obs_columns, probabilities_key, probability_columns
from sctab.tl._unseen import Reported
from sctab.tl._voted import Voted

_ROWS_AT_A_TIME = 65_536
"""Cells whose results are written at a time, at most."""
_NUMBERS_AT_A_TIME = 8_000_000
"""Probabilities that are written at a time, at most, beyond those of a block."""


@dataclass(frozen=True)
class Labelled:
    """Labels of the cells of one file."""

    codes: NDArray[np.int32]
    """`(n_obs,)`; -1 for a cell without a label."""
    confidence: NDArray[np.float32]
    """`(n_obs,)`; NaN for a cell without a label."""
    compared: tuple[NDArray[np.int32], NDArray[np.float32]]
    """Most probable label of all labels of the model and its confidence, where only some can occur; codes and confidence otherwise."""
    n_unmeasured: int
    """Cells without a count in the model's genes."""
    excluded: ExcludedCells | None
    """Cells whose evidence lies in labels that cannot occur."""
    n_terms: Mapping[str, int]
    """Cells with a label, a broader term or none; empty where nothing was promised."""


def labels_of(
    annotations: Sequence[FileAnnotation], journal: Journal, spec: ModelSpec, backoff: BackOff | None, expected: Expected | None
) -> list[Labelled]:
    """Codes and confidence of all cells, 9 bytes a cell or 21 where only some labels can occur, and counts; file by file."""
    found = []
    for annotation in annotations:
        parts, n_terms = [], Counter[str]()
        for _, _, part in _decisions(annotation, journal, spec):
            n_terms.update(count_terms(part, backoff))
            parts.append(
                Decision(
                    part.codes,
                    part.column(part.confidence),
                    part.measured,
                    excluded=part.excluded,
                    likeliest=part.likeliest,
                    likeliest_confidence=part.likeliest_confidence,
                )
            )
        cells = Decision.join(parts)
        n_unmeasured = int((~cells.measured).sum())
        found.append(
            Labelled(cells.codes, cells.confidence, cells.compared, n_unmeasured, ExcludedCells.of(expected, cells), n_terms)
        )
    return found


def reports_of(
    annotations: Sequence[FileAnnotation], journal: Journal, predictor: Predictor, fdr: float | None, *, force: bool
) -> list[Reported | None]:
    """Cells of unseen types to report, file by file; `None` where they were not asked for. It takes 4 bytes a cell.

    Raises
    ------
    InputValueError
        If no label fits most of the cells of a file, unless it is forced.
    """
    if fdr is None:
        return [None] * len(annotations)
    found = []
    for annotation in annotations:
        parts = [part.column(part.unseen) for _, _, part in _decisions(annotation, journal, predictor.spec)]
        p_values = None if any(part is None for part in parts) else np.concatenate(parts)
        found.append(Reported.of(p_values, fdr, annotation.unseen_note))
        where = f"`{annotation.file.path}`: " if len(annotations) > 1 else ""
        found[-1].require_few(predictor, force=force, where=where)
    return [*found]


def votes_of(
    annotations: Sequence[FileAnnotation],
    journal: Journal,
    spec: ModelSpec,
    backoff: BackOff | None,
    groups: Sequence[pd.Categorical] | None,
) -> list[Voted | None]:
    """Votes of the groups of cells of each file, summed block by block; `None` where they were not asked for."""
    if groups is None:
        return [None] * len(annotations)
    terms, found = Terms.of(spec.labels) if backoff is None else backoff.terms, []
    for annotation, of_cells in zip(annotations, groups, strict=True):
        sums = VoteSums(len(of_cells.categories), len(spec.labels), 0 if backoff is None else len(terms))
        for start, stop, decision in _decisions(annotation, journal, spec):
            sums.add(of_cells.codes[start:stop], decision.column(decision.probabilities), decision.terms)
        found.append(Voted.of(sums, spec.labels, terms, of_cells, None if backoff is None else backoff.accepted_error))
    return [*found]


def _vote_columns(voted: Voted | None, start: int, stop: int, key_added: str) -> dict[str, Any]:
    return {} if voted is None else {f"{key_added}_{name}": values for name, values in voted.columns(slice(start, stop)).items()}


def _decisions(annotation: FileAnnotation, journal: Journal, spec: ModelSpec) -> Iterator[tuple[int, int, Decision]]:
    for start, stop, arrays in journal.read(annotation.number, annotation.file.n_obs, at_least=_at_a_time(spec)):
        yield start, stop, Decision(**arrays)


def _at_a_time(spec: ModelSpec) -> int:
    """Cells whose results are in memory at a time."""
    return max(1, min(_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME // len(spec.labels)))


def names_of(file: DataFile) -> Iterator[list[str]]:
    """Names of all cells, some at a time."""
    for start in range(0, file.n_obs, _ROWS_AT_A_TIME):
        yield file.names(start, min(start + _ROWS_AT_A_TIME, file.n_obs))


def write_table(
    path: Path,
    target: Path,
    spec: ModelSpec,
    backoff: BackOff | None,
    reports: Sequence[Reported | None],
    votes: Sequence[Voted | None],
    annotations: Sequence[FileAnnotation],
    journal: Journal,
    key_added: str,
    run: str,
) -> None:
    """Write a table of all cells, and compare it with what it was made from."""
    files = [_printable(annotation.file.path) for annotation in annotations]
    n_formulas = 0
    with open_table(path, path.suffix, run=run) as table:
        for annotation, reported, voted in zip(annotations, reports, votes, strict=True):
            for start, stop, decision in _decisions(annotation, journal, spec):
                found: dict[str, Any] = {
                    **obs_columns(spec, decision, key_added, backoff, reported),
                    **_vote_columns(voted, start, stop, key_added),
                }
                columns = {name: values for name, values in found.items() if values is not None}
                if len(annotations) > 1:
                    file = pd.Categorical.from_codes(np.full(stop - start, annotation.number), categories=files)
                    columns = {"file": file, **columns}
                names = annotation.file.names(start, stop)
                n_formulas += n_marked(names)
                table.add(pd.DataFrame(columns, index=pd.Index(names, dtype=object)))
    check_table(path, target, f"{key_added}_{OBS_LABEL}", _names_and_labels(spec, annotations, journal))
    if n_formulas and path.suffix == ".csv":
        warn(
            f"{n_formulas} cell names begin like a spreadsheet formula. In `{target}` they are prefixed with `'`, which is "
            "not part of the name; a `.parquet` stores them unchanged."
        )


def write_genes(path: Path, suffix: str, predictor: Predictor, annotations: Sequence[FileAnnotation], run: str) -> None:
    """Write a table of the genes of a model in every file, as :func:`sctab.get.genes` gives it for one."""
    files = [_printable(annotation.file.path) for annotation in annotations]
    with open_table(path, suffix, run=run, index_label="gene") as table:
        for annotation in annotations:
            query = annotation.query
            rows = gene_table(predictor.spec.features, query.match, query.source.var, predictor.gene_importance)
            if len(annotations) > 1:
                rows.insert(0, "file", pd.Categorical.from_codes(np.full(len(rows), annotation.number), categories=files))
            table.add(rows)


def _names_and_labels(
    spec: ModelSpec, annotations: Sequence[FileAnnotation], journal: Journal
) -> Iterator[tuple[list[str], list[str | None]]]:
    labels = np.array([*spec.labels.names, None], dtype=object)  # of -1: none
    for annotation in annotations:
        for start, stop, decision in _decisions(annotation, journal, spec):
            yield annotation.file.names(start, stop), labels[decision.codes].tolist()


def write_copy(
    path: Path,
    target: Path,
    annotation: FileAnnotation,
    spec: ModelSpec,
    backoff: BackOff | None,
    reported: Reported | None,
    voted: Voted | None,
    journal: Journal,
    run: Mapping[str, Any],
    codes: NDArray[np.int32],
    key_added: str,
) -> None:
    file, is_whole = annotation.file, path.suffix == ".h5mu"
    rows, n_obs, names = None, file.n_obs, file.names
    if is_whole and file.cells is not None:
        rows, n_obs, names = rows_in_all(file), file.cells.n_all, file.cells.names_of_all
        codes, voted = codes_of_all(codes, rows, n_obs), voted_of_all(voted, rows, n_obs)
    copy_data(file, path)
    require_readable(path, file.path)
    labels, probabilities, latent = probability_columns(spec), probabilities_key(key_added), latent_key(key_added)
    with open_copy(path) as root:
        is_annotated = "uns" in root and key_added in root["uns"]
        results = Results(root, n_obs)
        for start, stop, decision in decisions_on_all(_decisions(annotation, journal, spec), rows, n_obs, _at_a_time(spec)):
            columns: dict[str, Any] = {
                **obs_columns(spec, decision, key_added, backoff, reported),
                **_vote_columns(voted, start, stop, key_added),
            }
            if start == 0:
                for name, values in columns.items():
                    if values is not None:
                        if isinstance(values, pd.Categorical):
                            results.add_column(name, categories=list(values.categories))
                        else:
                            results.add_column(name, dtype=values.dtype)
                    elif is_annotated:
                        results.remove("obs", name)
                if decision.latent is not None:
                    results.add_matrix(latent, decision.latent.shape[1])
                elif is_annotated:
                    results.remove("obsm", latent)
                if labels is None:
                    results.add_matrix(probabilities, len(spec.labels))
                else:
                    results.add_frame(probabilities, labels)
            for name, values in columns.items():
                if values is not None:
                    results.write(name, start, values.codes if isinstance(values, pd.Categorical) else values)
            if decision.latent is not None:
                results.write(latent, start, decision.latent)
            if labels is None:
                results.write(probabilities, start, decision.column(decision.probabilities))
                continue
            results.write(f"{probabilities}/_index", start, np.array(names(start, stop), dtype=object))
            for column, values in zip(labels, decision.column(decision.probabilities).T, strict=True):
                results.write(f"{probabilities}/{column}", start, values)
        results.add_run(key_added, run)
        if voted is not None:
            results.add_table(f"{key_added}_{UNS_VOTE}", voted.table())
    blocks = (names(start, min(start + _ROWS_AT_A_TIME, n_obs)) for start in range(0, n_obs, _ROWS_AT_A_TIME))
    check_copy(path, target, f"{key_added}_{OBS_LABEL}", blocks, spec.labels.names, codes)


def _printable(path: str) -> str:
    """A path as text: bytes that are not UTF-8 are spelled."""
    return path if is_encodable(path) else os.fsencode(path).decode(errors="backslashreplace")
