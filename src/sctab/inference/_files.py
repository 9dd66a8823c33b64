"""From data files to a journal of what was found of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sctab.data import Content, Hidden, MatrixContent, Query, Source, matrices
from sctab.errors import InputValueError, SctabError
from sctab.inference._backoff import BackOff
from sctab.inference._decide import decide
from sctab.inference._engine import Engine
from sctab.inference._journal import Journal
from sctab.inference._predictor import Predictor
from sctab.io import DataFile, ProgressReport


@dataclass(frozen=True)
class FileAnnotation:
    """Query of one file, and its number in the journal."""

    file: DataFile
    number: int
    query: Query
    unseen_note: str = ""
    """Note on how cells of unseen types were looked for."""


def open_queries(
    predictor: Predictor,
    files: Sequence[DataFile],
    journal: Journal,
    engine: Engine,
    *,
    layer: str | None = None,
    min_gene_coverage: float = 0.0,
    hidden: Hidden = "none",
    show_progress: bool = False,
) -> tuple[Predictor, list[Query]]:
    """The queries that files give, and the model with the calibration for their proteins.

    All files are looked at before the first cell is annotated, so that one that cannot be annotated is refused at once.

    Parameters
    ----------
    predictor
        The model.
    layer, min_gene_coverage
        As in :func:`sctab.tl.annotate_files`.
    files
        The files.
    journal
        Where it is kept which matrix is used.
    engine
        Where values are inspected.
    hidden
        Antibodies to hide, see :func:`sctab.data.open_query`.
    show_progress
        Show progress on stderr.

    Raises
    ------
    InputValueError, KeyNotFoundError, GeneOverlapError
        If a file cannot be annotated; the message names it.
    InputValueError
        If one file has antibodies of the model that another one does not have.
    DataFileError
        If a file cannot be read.
    """
    queries: list[Query] = []
    with ProgressReport(sum(file.n_obs for file in files), "Inspecting all values", shown=show_progress) as progress:
        for number, file in enumerate(files):
            opened = partial(predictor.open_query, file, min_gene_coverage=min_gene_coverage, hidden=hidden)
            try:
                queries.append(_open(opened, file, number, journal, engine, layer, progress))
            except SctabError as error:
                if len(files) > 1 and file.path not in str(error):
                    raise type(error)(f"`{file.path}`: ", error.message) from error
                raise
    _require_same_proteins(files, queries)
    return (predictor.suited_to(queries[0]) if queries else predictor), queries


def _require_same_proteins(files: Sequence[DataFile], queries: Sequence[Query]) -> None:
    """Refuse files that need different calibrations."""
    measured = [
        (file.path, query.proteins.measured) for file, query in zip(files, queries, strict=True) if query.proteins is not None
    ]
    for path, found in measured[1:]:
        first, of_first = measured[0]
        if found != of_first:
            raise InputValueError(
                f"`{first}` has {of_first} of the antibodies of the model, and `{path}` has {found}: confidence is calibrated for each of "
                "these separately. Annotate them in separate runs."
            )


def annotate_cells(
    predictor: Predictor,
    files: Sequence[DataFile],
    queries: Sequence[Query],
    journal: Journal,
    engine: Engine,
    *,
    batch_size: int,
    block_size: int,
    backoff: BackOff | None = None,
    unseen: bool = False,
    expected: NDArray[np.bool_] | None = None,
    with_all: bool = False,
    show_progress: bool = False,
) -> list[FileAnnotation]:
    """Annotate the cells of files that the journal does not have yet.

    Parameters
    ----------
    predictor, files, queries
        The model, the files, and what :func:`open_queries` gave.
    batch_size, block_size
        As in :func:`sctab.tl.annotate_files`.
    journal
        Where blocks of cells are kept as they are done.
    engine
        Where they are evaluated.
    backoff
        Rule that says which term can be promised of a cell.
    unseen
        Test cells for being of types that the model has learned.
    expected
        Labels that can occur, `(n_labels,)`; by default all.
    with_all
        Keep probabilities and latents, in addition to labels and confidence.
    show_progress
        Show progress on stderr.

    Raises
    ------
    DataFileError
        If a file cannot be read.
    OutputError
        If the journal cannot be written.
    """
    tests = [predictor.unseen_test(query) if unseen else (None, "") for query in queries]
    annotations = [
        FileAnnotation(file, number, query, note)
        for number, (file, query, (_, note)) in enumerate(zip(files, queries, tests, strict=True))
    ]
    n_obs = sum(file.n_obs for file in files)
    with ProgressReport(n_obs, "Annotating", done=journal.n_finished(), shown=show_progress) as progress:
        for annotation, (test, _) in zip(annotations, tests, strict=True):
            number, query = annotation.number, annotation.query
            todo = [at for at in query.ranges(block_size) if not journal.is_finished(number, *at)]
            for (start, stop), evaluation in engine.predict(annotation.file, query, todo, batch_size=batch_size, unseen=test):
                decision = decide(evaluation, predictor.spec.calibration, backoff, expected=expected)
                journal.write(number, start, stop, decision.to_arrays(brief=not with_all))
                progress.advance(stop - start)
    return annotations


def _open(
    opened: Any, file: DataFile, number: int, journal: Journal, engine: Engine, layer: str | None, progress: ProgressReport
) -> Query:
    """The query that a file gives. Which matrix to use is determined once: it takes a pass over the file."""
    known = journal.recall(number)
    if known is not None:
        name, matrix, var = next(entry for entry in matrices(file) if entry[0] == known["matrix"])
        content = MatrixContent(Content(known["content"]), known["log_base"], known["note"])
        progress.advance(file.n_obs)
        return opened(chosen=(Source(name, matrix, var, content), known["notes"]))
    seen = 0

    def on_progress(n_obs: int) -> None:
        nonlocal seen
        progress.advance(min(n_obs, file.n_obs - seen))  # of more than one matrix, only the first counts
        seen = min(seen + n_obs, file.n_obs)

    query: Query = opened(layer=layer, inspect=partial(engine.inspect, file, on_progress=on_progress))
    progress.advance(file.n_obs - seen)
    journal.remember(number, {"matrix": query.source.name, "notes": list(query.source_notes), **asdict(query.source.content)})
    return query
