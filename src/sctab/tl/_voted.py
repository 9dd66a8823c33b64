"""Results of votes as columns and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import InputValueError, Parameter
from sctab.inference import Terms, Votes, VoteSums, elect
from sctab.keys import OBS_VOTE, OBS_VOTE_ID, OBS_VOTE_SHARE, OBS_VOTE_TERM, OBS_VOTE_TERM_ID
from sctab.ontology import LabelSpace

_IS_MIXED = 0.1
"""Fraction of cells with another label from which a group is called mixed."""


@dataclass(frozen=True)
class Voted:
    """Votes of the groups of a dataset."""

    votes: Votes
    labels: LabelSpace
    terms: Terms
    groups: pd.Categorical
    """Group of each cell, `(n_obs,)`."""
    tolerance: float | None
    """Fraction of a group's cells that its term need not cover; `None` where cells have no promised terms."""

    @classmethod
    def of(cls, sums: VoteSums, labels: LabelSpace, terms: Terms, groups: pd.Categorical, tolerance: float | None) -> Self:
        """Elect the label and the term of each group."""
        return cls(elect(sums, terms, smallest_share=1 - (tolerance or 0)), labels, terms, groups, tolerance)

    def columns(self, rows: slice = slice(None)) -> dict[str, pd.Categorical | NDArray[np.float64] | None]:
        """Columns of `obs` by suffix, for some cells; `None` for those of terms where cells have none."""
        groups, has_terms = self.groups.codes[rows], self.tolerance is not None
        of_group, term_of_group = np.append(self.votes.labels, -1)[groups], np.append(self.votes.terms, -1)[groups]
        return {
            OBS_VOTE: _categories(self.labels.names, of_group),
            OBS_VOTE_ID: _categories(self.labels.ids, of_group),
            OBS_VOTE_SHARE: np.append(self.votes.shares, np.nan)[groups],
            OBS_VOTE_TERM: _categories(self.terms.names, term_of_group) if has_terms else None,
            OBS_VOTE_TERM_ID: _categories(self.terms.ids, term_of_group) if has_terms else None,
        }

    @property
    def _n_cells(self) -> NDArray[np.int64]:
        """Cells of each group, `(n_groups,)`."""
        codes = self.groups.codes
        return np.bincount(codes[codes >= 0], minlength=len(self.groups.categories))

    def table(self) -> pd.DataFrame:
        """A row per group, see :func:`sctab.get.vote`."""
        votes, n_groups = self.votes, len(self.groups.categories)
        names = np.array([*self.labels.names, ""], dtype=object)
        ids = np.array([*(term or "" for term in self.labels.ids), ""], dtype=object)
        table = pd.DataFrame(
            {
                "group": [str(category) for category in self.groups.categories],
                "n_cells": self._n_cells,
                "n_voting": votes.n_voting,
                "label": names[votes.labels],
                "id": ids[votes.labels],
                "share": votes.shares,
                "second": names[votes.seconds],
                "second_share": votes.second_shares,
                "reason": [self._reason(group) for group in range(n_groups)],
            }
        )
        if self.tolerance is None:
            return table
        return table.assign(
            term=np.array([*self.terms.names, ""], dtype=object)[votes.terms],
            term_id=np.array([*(term or "" for term in self.terms.ids), ""], dtype=object)[votes.terms],
            term_share=votes.term_shares,
            n_labels_below=np.append(self.terms.n_below, len(self.labels))[votes.terms],
        )

    def _reason(self, group: int) -> str:
        """Reason why a group has no clear label or no term."""
        votes, names = self.votes, self.terms.names
        if not votes.n_voting[group]:
            return "No cell has a label."
        sentences = []
        if votes.n_voting[group] < self._n_cells[group] / 2:
            sentences.append(f"Only {votes.n_voting[group]} of {self._n_cells[group]} cells have a label.")
        if votes.second_shares[group] >= _IS_MIXED:
            common = names[votes.commons[group]] if votes.commons[group] >= 0 else ""
            sentences.append(
                f"Mixed: {votes.shares[group]:.0%} {names[votes.labels[group]]}, {votes.second_shares[group]:.0%} "
                f"{names[votes.seconds[group]]}; {f'common term: {common}' if common else 'they have no term in common'}."
            )
        if self.tolerance is not None and votes.terms[group] < 0:
            sentences.append(f"No term covers {1 - self.tolerance:.0%} of its cells.")
        return " ".join(sentences)


def groups_of(values: pd.Series, named: Parameter) -> pd.Categorical:
    """Groups in a column of `obs`, with strings as categories.

    Parameters
    ----------
    values
        The column.
    named
        The parameter that names it.

    Raises
    ------
    InputValueError
        If it holds fractions.
    """
    if pd.api.types.is_float_dtype(values.dtype):
        if not (values.dropna() % 1 == 0).all():
            raise InputValueError(
                named, " holds fractions, which are not groups. Name a column of categories, strings or integers."
            )
        values = values.astype("Int64")  # integers beside missing values
    groups = pd.Categorical(values).remove_unused_categories()
    return groups.rename_categories(pd.Index(_distinct(groups.categories)))


def _distinct(categories: pd.Index) -> list[Any]:
    """Categories as strings, or as they are where two would be the same string."""
    names = [str(category) for category in categories]
    return names if len(set(names)) == len(names) else list(categories)


def _categories(names: tuple[str | None, ...], codes: NDArray[np.integer]) -> pd.Categorical:
    """Values by position, of which several may have the same name and some have none."""
    categories = pd.Index([name for name in dict.fromkeys(names) if name is not None], dtype=object)
    positions = np.append(categories.get_indexer(pd.Index(["" if name is None else name for name in names], dtype=object)), -1)
    return pd.Categorical.from_codes(positions[codes], categories=categories)
