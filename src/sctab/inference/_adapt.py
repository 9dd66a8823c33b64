"""Adaptation of a model to a query: a refit on the genes that the query measures, and on its cells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from sctab.data import Query, normalise
from sctab.errors import Either, ModelFormatError, Parameter, SettingError
from sctab.inference._backends import TorchEvaluator
from sctab.inference._block_predictor import one_thread
from sctab.inference._calibration import Members
from sctab.inference._held_out import HeldOutCells, without_held_out
from sctab.inference._query_test import sample_of
from sctab.inference._refit import LinearFit, refit
from sctab.inference._sketch import DAMAGED, ReferenceSketch
from sctab.metrics import macro_f1_of_codes
from sctab.nn import LinearNetwork

if TYPE_CHECKING:
    from sctab.inference._predictor import Predictor

Adapt = Literal["auto", "genes", "query", False]
"""Target of a refit: the `"genes"` of the query, also its cells (`"query"`), the latter if it is expected to help (`"auto"`), or none."""
_N_FOLDS, _FEWEST_TYPES = 5, 2
_MOST_CELLS = 5_000
"""Cells of a query that are read."""
_ENOUGH_COVERAGE = 0.9
"""Fraction of the importance below which `"auto"` refits a model that has no held-out cells to compare with."""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """Record of a refit."""

    to: Literal["genes", "query"]
    n_cells: int
    """Cells of the sketch."""
    n_genes: int
    """Genes of the model that the query measures."""
    macro_f1: float
    """Macro F1 on the genes of the query: of the cells of the sketch, each predicted without having been learned."""
    expected_macro_f1: float | None
    """Expected macro F1 of the model itself on these genes; `None` without held-out cells."""
    seconds: float
    """Time that it took."""

    def to_uns(self) -> dict[str, Any]:
        """Plain values, for `uns`."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def note(self) -> str:
        """Sentence for the user."""
        and_cells = ", and to its cells" if self.to == "query" else ""
        before = "" if self.expected_macro_f1 is None else f"; {self.expected_macro_f1:.2f} was expected of the model as it was"
        return (
            f"The model was refitted to the {self.n_genes:,} of its genes that the data has{and_cells}, from its sketch of "
            f"{self.n_cells:,} reference cells (macro F1 {self.macro_f1:.2f} in cross-validation{before}). Probabilities and promises hold "
            "for cells like those of the sketch."
        )


def check_adapt(adapt: Any) -> None:
    """Refuse an unknown way to adapt.

    Raises
    ------
    SettingError
        If it is none of :data:`Adapt`.
    """
    if adapt is True or adapt not in get_args(Adapt):
        raise SettingError(
            Parameter("adapt", adapt), " is unknown. Choose `auto`, `genes` or `query`, or ", Either("`adapt=False`", "`none`"), "."
        )


def coverage_to_require(adapt: Adapt, min_gene_coverage: float) -> float:
    """Fraction of the gene importance of a model that a query must cover: none where the model is refitted to its genes.

    Parameters
    ----------
    adapt, min_gene_coverage
        As in :func:`sctab.tl.annotate`.
    """
    return min_gene_coverage if adapt in ("auto", False) else 0.0


def adapted(predictor: Predictor, queries: Sequence[Query], adapt: Adapt) -> tuple[Predictor, Adaptation | None]:
    """Refit a model to queries, from the sketch that it keeps of its reference.

    The refitted model is linear, see :func:`~sctab.inference._refit.refit`, over the genes and labels of the model. It is calibrated by
    cross-validation on the sketch.

    Parameters
    ----------
    predictor
        The model.
    queries
        The cells to annotate, of which some are read.
    adapt
        See :data:`Adapt`. With `"auto"`, cross-validation on the sketch over the genes of the query is compared with what the model as it
        is can be expected to reach on them: its macro F1 on held-out cells, less what it loses on the sketch by the missing genes.

    Returns
    -------
    The refitted model and a record; with `"auto"`, the model itself and `None` where it is expected to be better.

    Raises
    ------
    SettingError
        If the way is unknown. With `"genes"` or `"query"`, if the model keeps no sketch or one of a single type, if it also looks at
        proteins, or if queries do not measure the same genes.
    ModelFormatError
        If the sketch is damaged.
    """
    check_adapt(adapt)
    if adapt is False:
        return predictor, None
    spec, start = predictor.spec, time.perf_counter()
    sketch = ReferenceSketch.from_arrays(predictor.arrays, n_genes=len(spec.features), n_labels=len(spec.labels))
    if sketch is None or spec.proteins is not None:
        if adapt == "auto":
            return predictor, None
        if spec.proteins is not None:
            raise SettingError(Parameter("adapt", adapt), " is not available for models of surface proteins. Omit it.")
        raise SettingError(
            Parameter("adapt", adapt),
            " needs a model that keeps a sketch of its reference, and this one does not. ",
            Either("Train it again with `sketch=2000`.", "Train it again with `sctab train --sketch 2000`."),
        )
    types = np.unique(sketch.codes)
    learned = np.flatnonzero(spec.training.get("cells_per_label") or [])
    if adapt == "auto" and not np.isin(learned, types).all():  # a type that the sketch does not have would be found no more
        return predictor, None
    if len(types) < _FEWEST_TYPES:
        if adapt == "auto":
            return predictor, None
        raise SettingError(
            Parameter("adapt", adapt),
            " needs a sketch with cells of several types, and that of this model has one type. ",
            Either("Train it again with `sketch=2000`.", "Train it again with `sctab train --sketch 2000`."),
        )
    found = queries[0].match.found
    if not all((query.match.found == found).all() for query in queries):
        if adapt == "auto":
            return predictor, None
        raise SettingError(
            Parameter("adapt", adapt),
            " needs files that measure the same genes of the model. Annotate these files in separate runs.",
        )
    values = _input(sketch.counts, found, predictor)
    with one_thread():
        held_out = _cross_validated(values, sketch.codes, len(spec.labels))
    macro_f1 = macro_f1_of_codes(sketch.codes, held_out.members.log_mean.argmax(axis=1))
    expected = _expected_macro_f1(predictor, sketch, values)
    if adapt == "auto":
        is_worse = queries[0].match.coverage >= _ENOUGH_COVERAGE if expected is None else macro_f1 < expected
        if is_worse:
            return predictor, None
        adapt = "query"
    like = None
    if adapt == "query":
        samples = [sample_of(query, _MOST_CELLS // len(queries) + 1)[:, : len(found)] for query in queries]
        like = sparse.vstack([each for each in samples if each.shape[0]] or [values], format="csr")
    with one_thread():
        fit = refit(values, sketch.codes, len(spec.labels), like=like)
    adaptation = Adaptation(
        to=adapt,
        n_cells=len(sketch.codes),
        n_genes=int(found.sum()),
        macro_f1=macro_f1,
        expected_macro_f1=expected,
        seconds=time.perf_counter() - start,
    )
    return _predictor_of(fit, values, held_out, predictor), adaptation


def _input(counts: sparse.csr_matrix, found: NDArray[np.bool_], predictor: Predictor) -> sparse.csr_matrix:
    """Normalised expression of cells in which only some genes are measured, `(n_cells, n_genes)`."""
    measured = counts if found.all() else sparse.csr_matrix(counts @ sparse.diags(found.astype(np.float32)))
    measured.eliminate_zeros()
    with np.errstate(over="ignore", invalid="ignore"):  # counts near the smallest numbers there are
        values = normalise(measured, predictor.spec.normalization)
    if not np.isfinite(values.data).all():
        raise ModelFormatError(DAMAGED.format("its counts are too small to be normalised"))
    return values


def _cross_validated(values: sparse.csr_matrix, codes: NDArray[np.int64], n_labels: int) -> HeldOutCells:
    """Outputs for the cells of a sketch, each of a model that was fitted without it."""
    folds = np.empty(len(codes), dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    folds[order] = np.arange(len(codes)) % _N_FOLDS
    logits = np.full((len(codes), 1, n_labels), -np.inf, dtype=np.float32)
    for fold in np.unique(folds):
        rest, own = folds != fold, np.flatnonzero(folds == fold)
        if rest.any():
            known = np.unique(codes[rest])
            logits[np.ix_(own, [0], known)] = refit(values[rest], codes[rest], n_labels).logits_of(values[own])[:, None, known]
    is_known = np.isfinite(logits[np.arange(len(codes)), 0, codes])
    return HeldOutCells(members=Members.of(logits), truth=codes, is_known=is_known, unit="cell", units=np.arange(len(codes)))


def _expected_macro_f1(predictor: Predictor, sketch: ReferenceSketch, values: sparse.csr_matrix) -> float | None:
    """Macro F1 that a model can be expected to reach on cells in which only some genes are measured; `None` without held-out cells.

    That of its held-out cells, which have all genes, less what it loses on the sketch where genes are missing.

    Parameters
    ----------
    predictor, sketch
        The model, and its sketch.
    values
        Normalised expression of the cells of the sketch over the genes that are measured.
    """
    cells = HeldOutCells.from_arrays(predictor.arrays, predictor.spec)
    if cells is None or not cells.is_known.any():
        return None
    evaluate = TorchEvaluator(predictor.networks, "float32", None)
    nothing = sparse.csr_matrix((len(sketch.codes), predictor.spec.n_beside), dtype=np.float32)
    complete = normalise(sketch.counts, predictor.spec.normalization)
    scores = [
        macro_f1_of_codes(sketch.codes, _predicted(evaluate(sparse.hstack([each, nothing], format="csr", dtype=np.float32))[0]))
        for each in (complete, values)
    ]
    known = cells.is_known
    held_out = macro_f1_of_codes(cells.truth[known], cells.members.log_mean[known].argmax(axis=1))
    return held_out - (scores[0] - scores[1])


def _predicted(logits: NDArray[np.float32]) -> NDArray[np.integer]:
    return Members.of(logits).log_mean.argmax(axis=1)


def _predictor_of(fit: LinearFit, values: sparse.csr_matrix, held_out: HeldOutCells, predictor: Predictor) -> Predictor:
    """The fitted model over the inputs of the model that it replaces."""
    spec = predictor.spec
    network = LinearNetwork(spec.n_inputs, len(spec.labels))
    with torch.no_grad():
        network.classifier.weight[:, : len(fit.weights)] = torch.from_numpy(fit.weights.T.copy())
        network.classifier.bias.copy_(torch.from_numpy(fit.bias))
    importance = (
        np.abs(fit.weights - fit.weights.mean(axis=1, keepdims=True)).mean(axis=1) * np.asarray(values.mean(axis=0)).ravel()
    )
    return type(predictor)(
        replace(spec, calibration=held_out.calibrate(spec)),
        [network.eval()],
        (importance / max(float(importance.sum()), 1e-30)).astype(np.float32),
        name=predictor.name,
        sha256=predictor.sha256,
        arrays={**without_held_out(predictor.arrays), **held_out.to_arrays(np.random.default_rng(0))},
    )
