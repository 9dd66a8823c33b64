"""Result of the check of a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.pp._check_page import page_as_html, page_as_text


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryCheck:
    """Findings of :func:`sctab.pp.check` on a query and a model. Printed, it is one page; nothing is written anywhere.

    What could not be checked, since the model does not keep what it takes, is `None` or NaN, and a sentence in :attr:`not_checked`.
    """

    model: str
    """Name of the model."""
    n_obs: int
    """Cells of the query."""
    n_vars: int
    """Its features."""
    matrix: Mapping[str, str]
    """The matrix that is used, `name`, and what it holds, `content`."""
    species: Mapping[str, str]
    """Likely species of the `query` and of the `model`, from names of genes; empty where names do not tell."""
    names: Mapping[str, Any]
    """Kind of the names of genes, `id_type`, and where they are, `sources`."""
    coverage: float
    """Fraction of total gene importance that the genes of the query carry."""
    n_antibodies: int
    """Features that are antibodies, also of another modality. Models of gene expression leave them out."""
    n_ignored: int
    """Features that are not gene expression, antibodies included."""
    genes: pd.DataFrame = field(repr=False)
    """The genes of the model, the most important first; see :func:`sctab.get.genes`."""
    types: pd.DataFrame = field(repr=False)
    """A row per label: `n_cells`, predicted among :attr:`n_sampled` cells; `coverage`, the fraction of what tells it from other labels that
    the genes of the query carry; `n_informative` and `n_found`, its most informative genes and how many of them the query has; `missing`,
    the others; and `confused_with`, the labels that it cannot be distinguished from, separated by commas."""
    cells: pd.DataFrame = field(repr=False)
    """Rows `counts` and `genes`: the `median` over the cells of the query of counts and of detected genes, in the genes of the model that
    the query has; that of the `reference`; and their `ratio`."""
    n_empty: int
    """Cells without a count."""
    n_unmeasured: int
    """Cells without a count in the genes of the model, which get no label."""
    n_sampled: int
    """Cells that were predicted for :attr:`shift`, :attr:`fraction_unseen` and :attr:`promise`: 10,000 at most, spread over the query."""
    shift: float | None
    """Probability that a cell of the query is further from all types than a cell of the reference: 0.5 for cells like those of the
    reference, 1 for cells that are all further away."""
    unseen_fdr: float
    """Accepted false discovery rate of :attr:`fraction_unseen`."""
    fraction_unseen: float | None
    """Fraction of the sampled cells that no label fits."""
    is_refused: bool
    """True if no label fits most of the cells: :func:`sctab.tl.annotate` refuses the query with `unseen_fdr` unless it is forced."""
    is_learned: NDArray[np.bool_] | None = field(repr=False)
    """Mask of the cells that the model has learned from, `(n_obs,)`."""
    n_learned: int | None
    """Number of these cells."""
    leakage: Mapping[str, float]
    """Rates of errors of :attr:`is_learned`: `expected_recall`, given the genes of the query, and `false_positive_rate`."""
    promise: Mapping[str, Any] | None
    """The `accepted_error`; whether it can be promised, `holds`, not if :attr:`is_refused`; the `distance` between confidence in these
    and in held-out cells, and the largest one at which it holds, `limit`; the `unit` that was held out, and `n_units` of them."""
    proteins: Mapping[str, Any] | None = None
    """Of a model that learned from proteins: its antibodies that the query has, `n_matched` of `n_model`, and the names of the others,
    `missing`."""
    has_sketch: bool = False
    """True if the model keeps a sketch of its reference, from which :func:`sctab.tl.annotate` can refit it to the genes of the query."""
    labelled: Mapping[str, Any] | None = None
    """With `labels_key`: how many cells are labelled, `n_cells`, with how many labels, `n_types`, and cells per label by the median,
    `n_per_type`; labels that the model does not have, `unknown`; and the `choice` that is expected to annotate the query best:
    `"as it is"`, `"refit"`, `"fine-tune"` or `"from scratch"`."""
    verdict: str
    """A sentence: whether to annotate these cells with this model, and what speaks against it."""
    warnings: tuple[str, ...] = ()
    """Findings to act on, each with what to do."""
    not_checked: tuple[str, ...] = ()
    """Checks that were not possible, with the reason."""

    def __str__(self) -> str:
        """Write the page as plain text."""
        return page_as_text(self)

    def _repr_html_(self) -> str:
        """Write the page for a notebook."""
        return page_as_html(self)

    def to_text(self, write: Callable[[str], str] = str) -> str:
        """Write the page as plain text.

        Parameters
        ----------
        write
            Function that writes a message: commands speak of their options.
        """
        return page_as_text(self, write)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, with tables as lists of rows; without :attr:`is_learned`, which has a value per cell."""
        values = {name: value for name, value in vars(self).items() if name != "is_learned"}
        tables = {name: _rows(value) for name, value in values.items() if isinstance(value, pd.DataFrame)}
        return {name: tables.get(name, _plain(value)) for name, value in values.items()}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in table.reset_index().to_dict("records")]


def _plain(value: Any) -> Any:
    """The same in types that JSON has; a number that is NaN is null."""
    match value:
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case tuple() | list():
            return [_plain(each) for each in value]
        case np.generic():
            return _plain(value.item())
        case float():
            return value if np.isfinite(value) else None
        case str():
            return str(value)
    return value
