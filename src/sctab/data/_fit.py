"""Fit of each matrix of a dataset: the content of some of its rows, its agreement with other matrices, and its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sctab.data._content import Content, MatrixContent
from sctab.data._inspection import MatrixInspection, fraction_of_multiples
from sctab.data._normalise import Normalization, normalise

Coverage = Callable[[pd.DataFrame], NDArray[np.float64]]
"""Function from a `var` to the weight of each feature, `(n_vars,)`."""

_MOST_ROWS, _N_RANGES = 512, 8
"""Number of rows, and of ranges over the matrix, that are read to choose a matrix."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_COUNTS_NAMES = ("count", "raw", "umi", "matrix", "total")
"""Prefixes of words in names of layers with counts."""
_OTHER_NAMES = (
    *("unspliced", "intron", "nascent", "ambiguous", "spanning", "antisense", "velocity", "moment", "fit"),
    *("bin", "rank", "mask", "bool", "scale", "resid", "pearson", "varianc", "discret", "quantil"),
    *("imput", "magic", "smooth", "denois", "knn", "dca", "scvi", "alra", "noise"),
)
"""Prefixes of words in names of layers without counts."""
_MOMENTS = {"Ms", "Mu"}
_EXACT, _BY_SUMS, _ROUNDED, _IN_DOUBT, _UNLIKELY = 1.0, 0.95, 0.9, 0.8, 0.3
"""Weights of evidence: counts or multiples of counts; equal library sizes alone; the same of integers, which may be rounded; neither;
integers that are unlikely to be counts."""
_OTHER_THING = 0.6
"""Weight of a layer that is not the expression that `X` shows."""
_SAME_SHARE, _SAME_TOLERANCE = 0.95, 0.02
"""Fraction of values that must be proportional within a cell for two matrices to be the same counts, and relative tolerance."""
_RELATED, _RELATED_BY_NAME = 0.8, 0.3
"""Correlation with `X`, in the middle cell, below which a layer is not its expression; lower where its name says that it holds counts."""
_SURELY_SEEN = 10
"""Expected counts among the rows above which a gene without counts was removed from a matrix."""
_MULTIPLE_FRACTION = 0.9


def sampled_ranges(n_obs: int) -> list[tuple[int, int]]:
    """The rows that a choice among matrices looks at: all of few, else ranges spread evenly.

    Examples
    --------
    >>> sampled_ranges(100), len(sampled_ranges(10_000))
    ([(0, 100)], 8)
    """
    if n_obs <= _MOST_ROWS:
        return [(0, n_obs)]
    size = _MOST_ROWS // _N_RANGES
    return [(int(start), int(start) + size) for start in np.linspace(0, n_obs - size, _N_RANGES)]


@dataclass(eq=False)
class Candidate:
    """A matrix that may be used, and what some of its rows show.

    Parameters
    ----------
    name
        `X`, `raw.X` or `layers['…']`.
    var
        Its features, `(n_vars, …)`.
    columns
        Which of them are genes, `(n_vars,)`; `None` is all.
    rows
        The rows that were looked at, `(n_rows, n_vars)`.

    Raises
    ------
    InputValueError
        If these rows hold what cannot be used, see :func:`sctab.data.inspect_matrix`.
    """

    name: str
    var: pd.DataFrame = field(repr=False)
    columns: NDArray[np.bool_] | None = field(repr=False)
    rows: sparse.csr_matrix = field(repr=False)
    content: MatrixContent = field(init=False)
    is_inspected: bool = False
    """True if `content` is known from all rows."""

    def __post_init__(self) -> None:
        inspection = MatrixInspection(self.name, self.columns)
        inspection.add(self.rows)
        self.content = inspection.decide(self.rows.shape[1])
        rows = sparse.csr_matrix(self.rows, dtype=np.float64, copy=True)
        if self.columns is not None:
            rows = rows @ sparse.diags(self.columns.astype(np.float64), format="csr")
        rows.eliminate_zeros()
        rows.sort_indices()
        self.rows = rows

    @cached_property
    def linear(self) -> sparse.csr_matrix:
        """The rows, proportional to counts, `(n_rows, n_vars)`."""
        return self.content.to_linear(self.rows)

    @property
    def is_counts(self) -> bool:
        """Return whether it holds counts beyond doubt."""
        return self.content.content is Content.COUNTS and not self.content.note

    def learn(self, content: MatrixContent) -> None:
        """Take what all of its rows show."""
        self.content, self.is_inspected = content, True
        for name in ("linear", "evidence", "are_rounded"):
            self.__dict__.pop(name, None)

    @property
    def is_filled(self) -> NDArray[np.bool_]:
        """Mask of the rows that have a value, `(n_rows,)`."""
        return np.diff(self.rows.indptr) > 0

    @cached_property
    def evidence(self) -> float:
        """Evidence that values are proportional to counts, between 0 and 1."""
        if self.content.content is Content.COUNTS:
            if self.content.note:
                return _IN_DOUBT if (self.rows.data % 1).any() else _UNLIKELY
            return _ROUNDED if self.are_rounded else _EXACT
        if self.content.note:
            return _IN_DOUBT
        return _EXACT if fraction_of_multiples(self.linear) > _MULTIPLE_FRACTION else _BY_SUMS

    @cached_property
    def are_rounded(self) -> bool:
        """Return whether it holds integers that were rounded after they were normalised, or counts that were scaled to the same depth."""
        return self.is_counts and have_equal_sums(self.rows)

    @property
    def name_score(self) -> int:
        """Evidence of the name: 1 for counts, -1 for something else, 0 for neither."""
        if not self.name.startswith("layers["):
            return 0
        return name_score(self.name[len("layers['") : -len("']")])


def name_score(layer: str) -> int:
    """Evidence of the name of a layer: 1 for counts, -1 for something else, 0 for neither.

    Examples
    --------
    >>> [name_score(layer) for layer in ("raw_counts", "spliced", "unspliced", "X_binned", "combined")]
    [1, 0, -1, -1, 0]
    """
    words = [word.lower() for word in _WORDS.findall(layer)]
    if layer in _MOMENTS or (any(word.startswith(_OTHER_NAMES) for word in words) and "spliced" not in words):
        return -1
    return int("count" in layer.lower() or any(word.startswith(_COUNTS_NAMES) for word in words))


def have_equal_sums(rows: sparse.csr_matrix) -> bool:
    """Return whether the sums of many rows are the same, as those of normalised values are that were rounded to integers.

    Examples
    --------
    >>> have_equal_sums(sparse.csr_matrix([[1, 3, 2, 4, 2]] * 20)), have_equal_sums(sparse.csr_matrix(np.eye(5)))
    (True, False)
    """
    sums = np.asarray(rows.sum(axis=1)).ravel()
    sums = sums[sums > 0]
    if len(sums) < 20 or rows.nnz < 5 * len(sums):
        return False
    return bool(np.mean(np.abs(sums - np.median(sums)) <= 0.01 * np.median(sums)) > 0.99)


def ranked(candidates: list[Candidate], feature_weights: Coverage | None = None) -> list[Candidate]:
    """Candidates ranked by fit, best first, regardless of their order and storage.

    Parameters
    ----------
    candidates
        All matrices that may be used.
    feature_weights
        What each feature is worth; by default each gene the same.
    """
    fits = _fits(candidates, feature_weights)

    def key(candidate: Candidate) -> tuple[Any, ...]:
        place = {"X": 0, "raw.X": 1}.get(candidate.name, 2)
        depth = round(float(candidate.rows.sum())) if candidate.is_counts else 0
        return -round(fits[candidate], 2), place, -candidate.name_score, -depth, candidate.name

    order = sorted(candidates, key=key)
    if not order or order[0].is_counts:
        return order
    # Counts of the very same expression go before what was made of them: nothing was rounded yet.
    best = order[0]
    counts = [
        other
        for other in order[1:]
        if other.is_counts and round(fits[other], 2) >= round(fits[best], 2) and are_same_counts(other, best)
    ]
    return [*counts, *(candidate for candidate in order if candidate not in counts)]


def coverages(candidates: list[Candidate], feature_weights: Coverage | None = None) -> dict[Candidate, float]:
    """Fraction of what the best candidate has of the cells and of what is looked at, by candidate, between 0 and 1."""
    weights = {id(candidate.var): _feature_weights(candidate, feature_weights) for candidate in candidates}
    found = {
        candidate: float(weights[id(candidate.var)][_has_gene(candidate, candidates)].sum()) * float(candidate.is_filled.mean())
        for candidate in candidates
    }
    most = max(found.values(), default=0.0)
    return {candidate: value / most if most > 0 else float(candidate.rows.nnz > 0) for candidate, value in found.items()}


def _feature_weights(candidate: Candidate, feature_weights: Coverage | None) -> NDArray[np.float64]:
    is_gene = np.ones(len(candidate.var)) if candidate.columns is None else candidate.columns.astype(np.float64)
    return is_gene if feature_weights is None else feature_weights(candidate.var)


def _has_gene(candidate: Candidate, candidates: list[Candidate]) -> NDArray[np.bool_]:
    """Features of a candidate, `(n_vars,)`: all but those that it surely would show, were they not left out."""
    seen = np.asarray(candidate.rows.getnnz(axis=0)) > 0
    if not seen.any():
        return seen
    shares = [
        np.asarray(_divide_by_sums(other.linear).mean(axis=0)).ravel()
        for other in candidates
        if other.var is candidate.var and other.evidence >= _BY_SUMS and other.name_score >= 0 and other.rows.nnz
    ]
    if not shares:
        return np.ones(len(seen), dtype=bool)
    linear = candidate.linear
    filled = np.diff(linear.indptr) > 0
    units = np.minimum.reduceat(linear.data, linear.indptr[:-1][filled])
    depth = float((np.asarray(linear.sum(axis=1)).ravel()[filled] / units).sum())
    return seen | (np.max(shares, axis=0) * depth < _SURELY_SEEN)


def _fits(candidates: list[Candidate], feature_weights: Coverage | None) -> dict[Candidate, float]:
    """Fit of each candidate, between 0 and 1: its coverage times the evidence for its content."""
    face = next((candidate for candidate in candidates if candidate.name == "X"), None)
    if face is not None and (face.evidence < _IN_DOUBT or not face.rows.nnz):
        face = None
    found = {}
    for candidate, coverage in coverages(candidates, feature_weights).items():
        found[candidate] = coverage * candidate.evidence
        if candidate.name_score < 0 or (face is not None and _is_other_thing(candidate, face)):
            found[candidate] *= _OTHER_THING
    return found


def _is_other_thing(candidate: Candidate, face: Candidate) -> bool:
    """Return whether a layer is not the expression that `X` shows, as smoothed or shuffled values are not."""
    if candidate is face or candidate.var is not face.var or not candidate.rows.nnz:
        return False
    return _correlation(candidate.linear, face.linear) < (_RELATED_BY_NAME if candidate.name_score > 0 else _RELATED)


def are_same_counts(one: Candidate, other: Candidate) -> bool:
    """Return whether two matrices come from the same counts: over the genes of both, the values of a cell are proportional."""
    if one.var is other.var:
        first, second = one.linear, other.linear
    else:
        names = one.var.index.intersection(other.var.index).unique()
        if not len(names):
            return False
        first, second = (_columns_of(candidate, names) for candidate in (one, other))
    first, second = _divide_by_sums(first), _divide_by_sums(second)
    larger = first.maximum(second)
    if not larger.nnz:
        return False
    too_far = abs(first - second) - _SAME_TOLERANCE * larger
    return bool((too_far.data > 0).sum() <= (1 - _SAME_SHARE) * larger.nnz)


def _columns_of(candidate: Candidate, names: pd.Index) -> sparse.csr_matrix:
    first = ~candidate.var.index.duplicated()
    positions = np.flatnonzero(first)[candidate.var.index[first].get_indexer(names)]
    return sparse.csr_matrix(candidate.linear[:, positions])


def _divide_by_sums(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each row divided by its sum."""
    sums = np.asarray(rows.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags(np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)) @ rows)


def _correlation(one: sparse.csr_matrix, other: sparse.csr_matrix) -> float:
    """Correlation of log1p of 10,000 counts per cell, in the middle cell."""
    first, second = (normalise(rows, Normalization()).astype(np.float64) for rows in (one, other))
    n_genes = first.shape[1]

    def covariance(a: sparse.csr_matrix, b: sparse.csr_matrix) -> NDArray[np.float64]:
        means = [np.asarray(rows.sum(axis=1)).ravel() / n_genes for rows in (a, b)]
        products = np.asarray(a.multiply(b).sum(axis=1)).ravel() / n_genes
        return np.asarray(products - means[0] * means[1])

    variances = covariance(first, first) * covariance(second, second)
    known = variances > 0
    return float(np.median(covariance(first, second)[known] / np.sqrt(variances[known]))) if known.any() else 0.0
