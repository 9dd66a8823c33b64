"""Check of a query before anything is written."""

from __future__ import annotations

from math import ceil
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from sctab.data import (
    NO_PROTEINS,
    CellData,
    Hidden,
    Query,
    QueryProteins,
    antibodies_beside,
    find_antibodies,
    gene_table,
    proteins_of,
    require_cells,
)
from sctab.errors import DataFileError, Parameter, SettingError
from sctab.inference import (
    MOST_UNSEEN,
    CellCounts,
    Depth,
    Fingerprints,
    HasPredictor,
    Panel,
    Predictor,
    PromiseCheck,
    SampledCells,
    count_cells,
    holds_counts,
    is_sketched,
    sample_cells,
    types_of_arrays,
)
from sctab.io import find_data_files
from sctab.keys import DEFAULT_MODEL
from sctab.pp._check_notes import NO_DEPTH, NO_FINGERPRINTS, NO_PROMISE, NO_TYPES, Findings, verdict_on, warnings_of
from sctab.pp._check_result import QueryCheck
from sctab.pp._labelled import LabelledCells
from sctab.zoo import load_predictor

_DEFAULT_ERROR = 0.1
_TYPICAL_COUNTS = 1_000.0
"""Counts of a cell in model genes by which types are compared where neither the query nor the model says how many there are."""


def check(
    adata: AnnData,
    model: str | PathLike[str] | HasPredictor = DEFAULT_MODEL,
    *,
    layer: str | None = None,
    min_gene_coverage: float = 0.1,
    accepted_error: float | None = None,
    unseen_fdr: float = 0.1,
    labels_key: str | None = None,
    show_progress: bool = False,
) -> QueryCheck:
    """Check a query against a model, before anything is annotated: what it is, what it lacks, and what can be promised.

    All cells are counted, and compared with those that the model has learned from. At most 10,000, from 50 places in the data, are
    predicted. :doc:`/check` describes each finding.

    Parameters
    ----------
    adata
        Cells, `(n_obs, n_query_vars)`; in memory, backed or on Dask. Nothing is written into it. Memory does not grow
        with backed data.
    model
        As in :func:`sctab.tl.annotate`.
    layer, min_gene_coverage
        As in :func:`sctab.tl.annotate`.
    accepted_error
        Fraction of wrong answers that you would accept: it is checked whether that can be promised. By default 0.1, or the smallest that
        can be promised if that is more.
    unseen_fdr
        Accepted false discovery rate for cells that no label fits.
    labels_key
        Column of `adata.obs` with the labels of some cells, if you know them: it is said whether to train on them, see :doc:`/pretraining`.
    show_progress
        Show progress on stderr.

    Returns
    -------
    The findings, see :class:`QueryCheck`. Printed, they are one page.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If the model is not found or cannot be trusted.
    InputTypeError, KeyNotFoundError, InputValueError, GeneOverlapError
        If the query cannot be annotated, as in :func:`sctab.tl.annotate`.
    SettingError
        If `accepted_error` or `unseen_fdr` is not between 0 and 1.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> found = sctab.pp.check(sc.datasets.pbmc68k_reduced(), "pbmc")
    >>> print(found)  # doctest: +ELLIPSIS
    Check of 700 cells with the model `pbmc`
    ...
    <BLANKLINE>
    matrix      raw.X holds log1p of normalised counts; 765 features
    species     human
    genes       ... of ... model genes found by symbols (index), which carry ...% of total importance
    ...
    >>> found.n_empty, found.is_refused
    (0, False)
    """
    require_cells(adata)
    _require_fractions(accepted_error, unseen_fdr)
    predictor = load_predictor(model)
    return _check(
        predictor,
        predictor.cells_of(adata),
        layer,
        min_gene_coverage,
        accepted_error,
        unseen_fdr,
        labels_key=labels_key,
        show_progress=show_progress,
    )


def check_file(
    path: str | PathLike[str],
    model: str | PathLike[str] | HasPredictor = DEFAULT_MODEL,
    *,
    layer: str | None = None,
    modality: str | None = None,
    protein_modality: str | None = None,
    min_gene_coverage: float = 0.1,
    accepted_error: float | None = None,
    unseen_fdr: float = 0.1,
    labels_key: str | None = None,
    show_progress: bool = False,
) -> QueryCheck:
    """Check the cells of a file against a model, block by block; `sctab check` prints what it returns.

    Parameters
    ----------
    path
        A data file in any format that :func:`sctab.tl.annotate_files` reads, or the folder of a run; also behind a URL that `fsspec` knows.
    model, layer, min_gene_coverage, accepted_error, unseen_fdr, labels_key, show_progress
        As in :func:`check`.
    modality, protein_modality
        As in :func:`sctab.tl.annotate_files`.

    Returns
    -------
    As :func:`check`.

    Raises
    ------
    DataFileError
        If the file is missing, has an unsupported format, or is damaged, or if it changes while it is read.
    ModelNotFoundError, ModelFormatError, KeyNotFoundError, InputValueError, GeneOverlapError, SettingError
        As in :func:`check`.

    """
    _require_fractions(accepted_error, unseen_fdr)
    predictor = load_predictor(model)
    paths = find_data_files([path])
    if len(paths) > 1:
        raise DataFileError(f"`{path}` holds {len(paths)} data files, and one is checked at a time. Provide one of them.")
    keys = () if labels_key is None else (labels_key,)
    file = predictor.open_file(paths[0], keys, modality=modality, protein_modality=protein_modality)
    try:
        hidden: Hidden = "all" if protein_modality == NO_PROTEINS else "none"
        found = _check(
            predictor,
            file,
            layer,
            min_gene_coverage,
            accepted_error,
            unseen_fdr,
            labels_key=labels_key,
            hidden=hidden,
            show_progress=show_progress,
        )
        file.require_unchanged()
    finally:
        file.close()
    return found


def _require_fractions(accepted_error: float | None, unseen_fdr: float) -> None:
    for name, value in (
        ("accepted_error", _DEFAULT_ERROR if accepted_error is None else accepted_error),
        ("unseen_fdr", unseen_fdr),
    ):
        if not (isinstance(value, Real) and 0 < value < 1):
            raise SettingError(Parameter(name, value), " must be between 0 and 1, such as 0.1.")


def _check(
    predictor: Predictor,
    cells: CellData,
    layer: str | None,
    min_gene_coverage: float,
    accepted_error: float | None,
    unseen_fdr: float,
    *,
    labels_key: str | None,
    hidden: Hidden = "none",
    show_progress: bool,
) -> QueryCheck:
    query = predictor.open_query(cells, layer=layer, min_gene_coverage=min_gene_coverage, hidden=hidden)
    predictor = predictor.suited_to(query)
    spec = predictor.spec
    has_sketch = is_sketched(predictor.arrays) and spec.proteins is None
    labelled = (
        None
        if labels_key is None
        else LabelledCells.of(cells.obs, labels_key, spec, coverage=query.match.coverage, has_sketch=has_sketch)
    )
    found, n_genes = query.match.found, len(spec.features)
    seen = types_of_arrays(predictor.arrays, n_genes=n_genes, n_labels=len(spec.labels))
    depth = Depth.from_arrays(predictor.arrays, n_genes=n_genes)
    fingerprints = Fingerprints.from_arrays(predictor.arrays, n_genes=n_genes)
    counted = count_cells(query, fingerprints, show_progress=show_progress)
    test, unseen_note = predictor.unseen_test(query)
    sampled = sample_cells(predictor, query, test, unseen_note)
    promise = _promise(predictor, accepted_error, sampled) if sampled.n_cells else None
    compared = _depth_table(counted, depth, found, has_counts=holds_counts(query))
    panel = None if seen is None else Panel(seen, found)
    n_counts = _counts_in_all_genes(compared, depth, panel)
    fraction_unseen = sampled.n_unseen(unseen_fdr) / sampled.n_cells if sampled.n_cells and test is not None else None
    is_refused = fraction_unseen is not None and fraction_unseen > MOST_UNSEEN
    is_learned = counted.is_learned
    leakage: dict[str, float] = {}
    if fingerprints is not None:
        detection = np.zeros(n_genes) if depth is None else depth.mean_detected
        leakage = {
            "expected_recall": fingerprints.expected_recall(found, detection),
            "false_positive_rate": fingerprints.false_positive_rate(),
        }
    types = _types_table(predictor, sampled, panel, n_counts)
    species = {"query": query.match.query_species, "model": query.match.model_species}
    findings = Findings(
        query=query,
        types=types,
        confused=[] if panel is None else [[spec.labels.names[label] for label in group] for group in panel.confused(n_counts)],
        confused_in_all=[]
        if seen is None
        else [[spec.labels.names[label] for label in group] for group in Panel(seen, np.ones_like(found)).confused(n_counts)],
        cells=compared,
        counted=counted,
        shift=sampled.shift if not unseen_note else None,
        fraction_unseen=fraction_unseen,
        unseen_fdr=unseen_fdr,
        leakage=leakage,
        promise=promise,
        has_sketch=has_sketch,
        labelled=labelled,
    )
    missing = {
        NO_TYPES: panel is None,
        unseen_note: bool(unseen_note) and panel is not None,
        NO_DEPTH: depth is None,
        NO_FINGERPRINTS: fingerprints is None,
        NO_PROMISE: promise is None and sampled.n_cells > 0,
    }
    warnings = tuple(warnings_of(findings))
    n_antibodies, n_beside = _count_antibodies(cells, query)
    return QueryCheck(
        model=predictor.name or spec.model_class,
        n_obs=query.n_obs,
        n_vars=len(query.source.var),
        matrix={"name": query.source.name, "content": str(query.source.content.content)},
        species={name: "" if each is None else each.name for name, each in species.items()},
        names={"id_type": query.match.id_type, "sources": list(query.match.sources)},
        coverage=query.match.coverage,
        n_antibodies=n_antibodies,
        n_ignored=query.match.n_ignored + n_beside,
        genes=gene_table(spec.features, query.match, query.source.var, predictor.gene_importance),
        types=types,
        cells=compared,
        n_empty=int(counted.is_empty.sum()),
        n_unmeasured=int((~counted.measured).sum()),
        n_sampled=sampled.n_cells,
        shift=findings.shift,
        unseen_fdr=unseen_fdr,
        fraction_unseen=fraction_unseen,
        is_refused=is_refused,
        is_learned=is_learned,
        n_learned=None if is_learned is None else int(is_learned.sum()),
        leakage=leakage,
        promise=None if promise is None else promise.to_json() | {"holds": promise.holds and not is_refused},
        proteins=None if query.proteins is None else _panel_of(query.proteins),
        has_sketch=has_sketch,
        labelled=None if labelled is None else labelled.to_json(),
        verdict=verdict_on(findings, len(warnings)),
        warnings=warnings,
        not_checked=tuple(note for note, is_missing in missing.items() if is_missing),
    )


def _count_antibodies(cells: CellData, query: Query) -> tuple[int, int]:
    """Antibodies among the features of the matrix and beside it, and those of them beside it."""
    n_features, found = int(find_antibodies(query.source.var).sum()), proteins_of(cells)
    n_beside = antibodies_beside(cells) if found is None or found.name == "X" else len(found.names)
    return n_features + n_beside, n_beside


def _panel_of(proteins: QueryProteins) -> dict[str, Any]:
    table = proteins.table()
    missing = table.loc[table["feature"] == "", "antibody"].tolist()
    return {"n_matched": len(table) - len(missing), "n_model": len(table), "missing": missing}


def _promise(predictor: Predictor, accepted_error: float | None, sampled: SampledCells) -> PromiseCheck | None:
    """Result of the test of the promise; `None` for a model that was not calibrated on held-out cells."""
    try:
        backoff = predictor.promise(_DEFAULT_ERROR if accepted_error is None else accepted_error)
        if accepted_error is None and backoff.note:
            backoff = predictor.promise(ceil(100 / (backoff.n_units + 1)) / 100)
    except SettingError:
        return None
    return PromiseCheck.of(backoff, sampled)


def _depth_table(counted: CellCounts, depth: Depth | None, found: NDArray[np.bool_], *, has_counts: bool) -> pd.DataFrame:
    """Depth of the query beside that of the reference."""
    medians = [
        float(np.median(values[counted.measured])) if counted.measured.any() else 0.0
        for values in (counted.n_counts, counted.n_detected)
    ]
    expected = [np.nan, np.nan] if depth is None else [depth.expected_counts(found), depth.expected_detected(found)]
    table = pd.DataFrame({"median": medians, "reference": expected}, index=pd.Index(["counts", "genes"], name="of"), dtype=float)
    if not has_counts:
        table.loc["counts", "median"] = np.nan
    return table.assign(ratio=table["median"] / table["reference"].where(table["reference"] > 0))


def _counts_in_all_genes(compared: pd.DataFrame, depth: Depth | None, panel: Panel | None) -> float:
    """Counts of the median cell of the query in the genes of the model, were all of them measured."""
    median = compared.loc["counts", "median"]
    if panel is not None and np.isfinite(median):
        of_genes = panel.seen.mean_expression
        share = float(of_genes[panel.found].sum() / of_genes.sum()) if of_genes.any() else 0.0
        if share > 0:
            return float(median / share)
    return float(depth.counts[len(depth.counts) // 2]) if depth is not None and len(depth.counts) else _TYPICAL_COUNTS


def _types_table(predictor: Predictor, sampled: SampledCells, panel: Panel | None, n_counts: float) -> pd.DataFrame:
    """The table of :attr:`QueryCheck.types`."""
    labels, features = predictor.spec.labels.names, predictor.spec.features
    n_labels = len(labels)
    table = pd.DataFrame(
        {
            "n_cells": np.bincount(sampled.codes[sampled.codes >= 0], minlength=n_labels),
            "coverage": np.full(n_labels, np.nan),
            "n_informative": 0,
            "n_found": 0,
            "missing": "",
            "confused_with": "",
        },
        index=pd.Index(list(labels), name="label"),
    )
    if panel is None:
        return table
    table["coverage"] = panel.coverage()
    for number, label in enumerate(labels):
        genes = panel.seen.genes[panel.informative(number)]
        names = [features.names[gene] for gene in genes if not panel.found[gene]]
        table.loc[label, ["n_informative", "n_found", "missing"]] = [len(genes), len(genes) - len(names), ", ".join(names)]
    for group in panel.confused(n_counts):
        for label in group:
            table.loc[labels[label], "confused_with"] = ", ".join(labels[other] for other in group if other != label)
    return table
