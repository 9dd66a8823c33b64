"""Warnings on a query that was checked, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sctab.data import Query, shown_fraction
from sctab.errors import Either, Message, Parameter, agreeing, listing
from sctab.inference import FEW_GENES, MOST_UNSEEN, CellCounts, PromiseCheck, beyond_chance, few_genes_note
from sctab.pp._labelled import LabelledCells

_TRAINED_NOW = "Models that are trained with this version keep them"
NO_TYPES = (
    "Informative genes of each type and the difference from the reference: the model keeps nothing of its types. "
    f"{_TRAINED_NOW}, where they are calibrated."
)
NO_DEPTH = f"Depth beside that of the reference: the model does not keep the counts of its training cells. {_TRAINED_NOW}."
NO_FINGERPRINTS = Message(
    "Cells of the training data in the query: the model keeps no fingerprints of its cells, so scores on data that it was trained on would "
    "look like those of new data. Compare the data with the sources of the model. ",
    Either("`train`", "`sctab train`"),
    " keeps fingerprints, unless ",
    Either("`fingerprints=False`", "`--no-fingerprints`"),
    " is given.",
)
NO_PROMISE = (
    "Whether an error can be promised: the model was not calibrated on held-out cells. Train it again, or calibrate it with "
    "`model.calibrate`."
)
_LITTLE_COVERAGE = 0.5
"""Coverage of a type below which a warning names it."""
_SHALLOW, _DEEP = 1 / 3, 3.0
"""Ratio of depths outside of which a warning says so."""
_SHIFTED = 0.8
"""Shift from which a warning says so."""
_MANY_UNSEEN = 0.1


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings that warnings follow from; those that `QueryCheck` has as well are the same."""

    query: Query
    types: pd.DataFrame
    confused: Sequence[Sequence[str]]
    """Groups of labels that the genes of the query cannot tell apart."""
    confused_in_all: Sequence[Sequence[str]]
    """Groups of labels that all genes of the model cannot tell apart at this depth."""
    cells: pd.DataFrame
    counted: CellCounts
    shift: float | None
    fraction_unseen: float | None
    unseen_fdr: float
    leakage: Mapping[str, float]
    promise: PromiseCheck | None
    has_sketch: bool
    labelled: LabelledCells | None


def warnings_of(findings: Findings) -> Iterator[str]:
    """Warnings, those on how the data was read first.

    Parameters
    ----------
    findings
        Findings on the query.
    """
    yield from findings.query.notes
    yield from _on_cells(findings)
    yield from _on_types(findings)
    yield from _on_training(findings)
    yield from _on_reference(findings)


def verdict_on(findings: Findings, n_warnings: int) -> str:
    """A sentence on whether to annotate the query with the model.

    Parameters
    ----------
    findings
        Findings on the query.
    n_warnings
        Number of warnings that follow from them.
    """
    if _is_refused(findings):
        return f"Use another model: no label fits {findings.fraction_unseen:.0%} of the cells."
    reasons = []
    if findings.query.match.coverage < _LITTLE_COVERAGE:
        reasons.append(f"the data has genes with {shown_fraction(findings.query.match.coverage)} of total importance")
    if findings.fraction_unseen is not None and findings.fraction_unseen > _MANY_UNSEEN:
        reasons.append(f"no label fits {findings.fraction_unseen:.0%} of the cells")
    if findings.shift is not None and findings.shift > _SHIFTED:
        reasons.append("the cells are far from the types of the model")
    if findings.promise is not None and not findings.promise.holds:
        reasons.append(f"an error of {findings.promise.accepted_error:g} cannot be promised")
    if (n_learned := _n_learned(findings)) is not None:
        n_cells = len(findings.counted.n_counts)
        reasons.append(
            f"{f'all {n_cells:,}' if n_learned == n_cells else f'{n_learned:,} of {n_cells:,}'} cells were in its training data"
        )
    if reasons:
        return f"Annotate with caution: {'; '.join(reasons)}."
    return "Ready to annotate" + (f", with {n_warnings} warning{'s' * (n_warnings > 1)}." if n_warnings else ".")


def _on_cells(findings: Findings) -> Iterator[str]:
    counted = findings.counted
    n_empty, n_unmeasured = int(counted.is_empty.sum()), int((~counted.measured).sum())
    if n_empty:
        which = agreeing(
            n_empty, "cell has no count and gets no label. Remove it", "cells have no count and get no label. Remove them"
        )
        yield f"{n_empty:,} {which} with `scanpy.pp.filter_cells(adata, min_counts=1)`."
    if n_unmeasured > n_empty:
        which = agreeing(n_unmeasured - n_empty, "cell has no count", "cells have no count")
        gets = agreeing(n_unmeasured - n_empty, "gets", "get")
        yield f"{n_unmeasured - n_empty:,} further {which} in the genes of the model and {gets} no label."
    ratio = findings.cells.loc["genes", "ratio"]
    if np.isfinite(ratio) and not _SHALLOW <= ratio <= _DEEP:
        yield (
            f"The median cell shows {ratio:.2g} times as many genes as that of the reference: confidence is "
            f"{'lower in cells with little evidence' if ratio < 1 else 'not calibrated for such depth'}. "
            + ("Remove the cells with the fewest counts, or vote over clusters." if ratio < 1 else "Vote over clusters.")
        )


def _on_types(findings: Findings) -> Iterator[str]:
    few = [label for label, coverage in findings.types["coverage"].items() if coverage < _LITTLE_COVERAGE]
    if few:
        yield (
            f"Of {listing(few)}, the data has less than half of the genes that tell them from other labels, by weight. See the column "
            "`missing` of `types`, and annotate the data before it is cut to some genes."
        )
    known = {frozenset(group) for group in findings.confused_in_all}
    for group in findings.confused:
        everywhere = frozenset(group) in known
        yield Message(
            f"Single cells of {listing(group)} cannot be distinguished with "
            f"{'any genes of the model at this depth' if everywhere else 'the genes of this data'}. Let cells get a common term with ",
            Parameter("accepted_error", ...),
            ", or vote over clusters.",
        )


def _on_training(findings: Findings) -> Iterator[str]:
    coverage, labelled = findings.query.match.coverage, findings.labelled
    if labelled is not None and labelled.note:
        yield labelled.note
    elif coverage < FEW_GENES and not findings.has_sketch:
        yield few_genes_note()


def _on_reference(findings: Findings) -> Iterator[str]:
    if findings.shift is not None and findings.shift > _SHIFTED and not _is_refused(findings):
        yield (
            f"Cells are further from the types of the model than {findings.shift:.0%} of the reference: another tissue, state or protocol. "
            "Compare labels with marker genes, or use a model of the same tissue and protocol."
        )
    fraction = findings.fraction_unseen
    if fraction is not None and _is_refused(findings):
        yield Message(
            f"{fraction:.0%} of the cells fit no label, at a false discovery rate of {findings.unseen_fdr:g}: most labels would be wrong. ",
            Either("`sctab.tl.annotate`", "`sctab annotate`"),
            " with ",
            Parameter("unseen_fdr", findings.unseen_fdr),
            " refuses them, unless ",
            Either("`force=True`", "`--force`"),
            " is given. Use a model of the same tissue and protocol.",
        )
    elif fraction is not None and fraction > _MANY_UNSEEN:
        yield Message(
            f"{fraction:.0%} of the cells fit no label. Find them with ",
            Parameter("unseen_fdr", findings.unseen_fdr),
            " of ",
            Either("`sctab.tl.annotate`", "`sctab annotate`"),
            ".",
        )
    yield from _on_leakage(findings)
    yield from _on_promise(findings)


def _is_refused(findings: Findings) -> bool:
    return findings.fraction_unseen is not None and findings.fraction_unseen > MOST_UNSEEN


def _on_leakage(findings: Findings) -> Iterator[str]:
    if findings.counted.is_learned is None:
        return
    if (n_learned := _n_learned(findings)) is not None:
        yield Message(
            f"{n_learned:,} of {len(findings.counted.is_learned):,} cells were in the training data of the model: scores on them say "
            "nothing about new cells, confidence in them is too high, and the test of the promise does not notice it. To evaluate the "
            "model, ",
            Either("leave out the cells in `is_learned`", "leave them out: `is_learned` of `sctab.pp.check` has them"),
            ".",
        )
    if (recall := findings.leakage["expected_recall"]) < 1 - _LITTLE_COVERAGE:
        yield (
            f"Too few genes to recognise training cells: about {shown_fraction(recall)} of them would be found. Check the data before it "
            "is cut to some genes."
        )


def _n_learned(findings: Findings) -> int | None:
    """Cells that were recognised as training data; `None` where chance explains them."""
    is_learned = findings.counted.is_learned
    if is_learned is None:
        return None
    n_learned = int(is_learned.sum())
    return n_learned if beyond_chance(n_learned, len(is_learned), findings.leakage["false_positive_rate"]) else None


def _on_promise(findings: Findings) -> Iterator[str]:
    promise = findings.promise
    if promise is None:
        return
    if promise.note:
        yield promise.note
    if not promise.holds:
        yield (
            f"An error of {promise.accepted_error:g} cannot be promised: confidence in these cells is lower than in held-out "
            f"{promise.unit}s of the reference (distance {promise.distance:.2f}; at most {promise.limit:.2f} for new ones). The promise "
            "would be withdrawn. Calibrate the model on labelled cells of this kind with `model.calibrate`."
        )
