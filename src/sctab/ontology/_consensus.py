"""Labels of several sources for the same cells: what they mean, whether they agree, and the most specific term that all of them are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import listing
from sctab.ontology._labels import LabelSpace
from sctab.ontology._ontology import CellOntology
from sctab.ontology.label_values import is_missing, says_no_type

Kind = Literal["same", "nested", "siblings", "conflict", "single"]
KINDS: tuple[Kind, ...] = ("same", "nested", "siblings", "conflict", "single")
_ROOT = "CL:0000000"
"""`cell`, which says nothing."""
_FEWEST_OPEN = 2
_TAKEN = ("cells", "agreement", "term", "id", "n_labels_below")
"""Columns of a table of combinations besides those of the sources."""


class Agreement(NamedTuple):
    """Agreement of the labels of one cell."""

    kind: Kind | None
    """`None` where there is no label."""
    term: str | None
    """Id of the lowest common term; `None` where there is none that is narrow enough."""
    n_labels_below: int
    """Labels that the term leaves open, among the terms that occur; 0 without a term."""


@dataclass(frozen=True)
class MappedLabels:
    """Labels of one source, and the terms that they mean."""

    labels: tuple[str, ...]
    """Different labels, in alphabetical order."""
    terms: tuple[str | None, ...]
    """Id of each; `None` where it is not certain, or where the label says that there is none."""
    codes: NDArray[np.int64]
    """Position of the label of each cell, `(n_obs,)`; -1 for a missing one."""
    notes: Mapping[str, str]
    """Sentences by label: how it was read, or why it has no term, with the nearest names."""
    says_none: frozenset[str]
    """Labels that say that no type is known; their cells count as without a label."""

    @classmethod
    def of(
        cls,
        values: pd.Series,
        ontology: CellOntology,
        *,
        label_ids: Mapping[str, str | None] | None = None,
        tissues: Iterable[str] = (),
    ) -> Self:
        """Map the labels of a source.

        Parameters
        ----------
        values
            Label of each cell, `(n_obs,)`; missing values and strings such as `nan` are missing.
        ontology
            Where to look.
        label_ids
            Ids that are confirmed, by label; `None` for a label that has none.
        tissues
            Where the cells are from, see :meth:`LabelSpace.from_names`.

        Raises
        ------
        LabelError
            If a confirmed id is not in the ontology.
        """
        given = values.astype(object).where(values.notna(), "").astype(str)
        confirmed = {label: term for label, term in (label_ids or {}).items() if label in set(given)}
        names = sorted(label for label in given.unique() if label in confirmed or not is_missing(label))
        none = frozenset(label for label in names if label not in confirmed and says_no_type(label))
        space = LabelSpace.from_names([name for name in names if name not in none], ontology, label_ids=confirmed, tissues=tissues)
        terms = dict(zip(space.names, space.ids, strict=True))
        return cls(
            labels=tuple(names),
            terms=tuple(terms.get(name) for name in names),
            codes=pd.Index(names, dtype=object).get_indexer(given.astype(object)).astype(np.int64),
            notes={note.split("`")[1]: note for note in space.notes},
            says_none=none,
        )

    @property
    def unmapped(self) -> tuple[str, ...]:
        """Labels without a term, other than those that say that there is none."""
        return tuple(
            label for label, term in zip(self.labels, self.terms, strict=True) if term is None and label not in self.says_none
        )

    @property
    def has_terms(self) -> bool:
        """True if a label has a term."""
        return any(term is not None for term in self.terms)

    def counts(self) -> NDArray[np.int64]:
        """Cells of each label, `(n_labels,)`."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.labels))


@dataclass(frozen=True)
class CommonTerms:
    """Terms that labels of several sources have in common.

    Parameters
    ----------
    ontology
        The Cell Ontology.
    terms
        All terms that occur.
    max_labels_below
        Terms that an answer may leave open at most, itself included; by default half of those that occur, and at least two, for labels of
        which neither is a kind of the other, and any number for others.
    """

    ontology: CellOntology
    terms: frozenset[str]
    max_labels_below: int | None = None
    _below: dict[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, ontology: CellOntology, terms: Iterable[str], max_labels_below: int | None = None) -> Self:
        """Prepare for terms, of which some may be given several times."""
        return cls(ontology, frozenset(terms), max_labels_below)

    def n_below(self, term: str) -> int:
        """Return the number of occurring terms that are a term or kinds of it."""
        if term not in self._below:
            self._below[term] = sum(self.ontology.is_kind_of(other, term) for other in self.terms)
        return self._below[term]

    def agree(self, terms: Sequence[str | None]) -> Agreement:
        """Compare the labels of one cell.

        They are the `same`; or `nested`, each a kind of the next; or `siblings`, which have a common term that is narrow enough; or in
        `conflict`. Of a `single` label there is nothing to compare. The answer is the lowest common term, of several the one that leaves
        fewest labels open, then the deepest; never the root, `cell`.

        Parameters
        ----------
        terms
            Term of each source; `None` for a source without one.
        """
        known = [term for term in terms if term is not None]
        if not known:
            return Agreement(None, None, 0)
        lines = {term: self.ontology.ancestors(term) for term in known}
        by_height = sorted(lines, key=lambda term: (len(lines[term]), term))
        is_chain = all(upper in lines[lower] for i, upper in enumerate(by_height) for lower in by_height[i + 1 :])
        limit = self.max_labels_below
        if is_chain:
            kind: Kind = "single" if len(known) == 1 else "same" if len(lines) == 1 else "nested"
            return self._answer(kind, by_height[0], limit)
        limit = max(_FEWEST_OPEN, len(self.terms) // 2) if limit is None else limit
        common = self.ontology.lowest_common_ancestors(lines) - {_ROOT}
        best = min(common, key=lambda term: (self.n_below(term), -(self.ontology.depth(term) or 0), term), default=None)
        if best is None or self.n_below(best) > limit:
            return Agreement("conflict", None, 0)
        return self._answer("siblings", best, limit)

    def _answer(self, kind: Kind, term: str, limit: int | None) -> Agreement:
        n_below = self.n_below(term)
        if term == _ROOT or (limit is not None and n_below > limit):
            return Agreement(kind, None, 0)
        return Agreement(kind, term, n_below)


@dataclass(frozen=True)
class Consensus:
    """Labels of several sources for the same cells, and what they have in common."""

    sources: tuple[str, ...]
    mapped: tuple[MappedLabels, ...]
    ontology: CellOntology
    combinations: NDArray[np.int64]
    """Different combinations of labels, `(n_combinations, n_sources)`; -1 for a missing one."""
    agreements: tuple[Agreement, ...]
    """One per combination."""
    codes: NDArray[np.int64]
    """Combination of each cell, `(n_obs,)`."""

    @classmethod
    def of(cls, mapped: Mapping[str, MappedLabels], ontology: CellOntology, max_labels_below: int | None = None) -> Self:
        """Compare the labels of all cells.

        Parameters
        ----------
        mapped
            Labels by source, of the same cells.
        ontology, max_labels_below
            See :class:`CommonTerms`.
        """
        sources = tuple(mapped.values())
        occurring = {
            source.terms[code] for source in sources for code in np.unique(source.codes[source.codes >= 0])
        } - {None}  # fmt: skip
        common = CommonTerms.of(ontology, [str(term) for term in occurring], max_labels_below)
        combinations, codes = np.unique(np.stack([source.codes for source in sources], axis=1), axis=0, return_inverse=True)
        agreements = tuple(
            common.agree([source.terms[code] if code >= 0 else None for source, code in zip(sources, row, strict=True)])
            for row in combinations
        )
        return cls(tuple(mapped), sources, ontology, combinations, agreements, codes.ravel())

    def columns(self) -> dict[str, pd.Categorical | NDArray[np.float64]]:
        """Name and id of the common term, kind of agreement, and number of labels that the term leaves open, `(n_obs,)` each."""
        terms = sorted({agreement.term for agreement in self.agreements if agreement.term is not None})
        names = [self.ontology.name(term) or term for term in terms]
        of_term = np.array([terms.index(each.term) if each.term is not None else -1 for each in self.agreements])
        kinds = np.array([KINDS.index(each.kind) if each.kind is not None else -1 for each in self.agreements])
        n_below = np.array([each.n_labels_below or np.nan for each in self.agreements])
        return {
            "term": pd.Categorical.from_codes(of_term[self.codes], categories=names),
            "id": pd.Categorical.from_codes(of_term[self.codes], categories=terms),
            "agreement": pd.Categorical.from_codes(kinds[self.codes], categories=list(KINDS)),
            "n_labels_below": n_below[self.codes],
        }

    def combination_table(self) -> pd.DataFrame:
        """A row per combination of labels, the most frequent first; missing labels are empty."""
        counts = np.bincount(self.codes, minlength=len(self.combinations))
        table = pd.DataFrame(
            {
                (f"{source} (label)" if source in _TAKEN else source): np.append(np.array(mapped.labels, dtype=object), "")[
                    self.combinations[:, i]
                ]
                for i, (source, mapped) in enumerate(zip(self.sources, self.mapped, strict=True))
            }
        )
        table["cells"] = counts
        table["agreement"] = [each.kind or "" for each in self.agreements]
        table["term"] = [(self.ontology.name(each.term) or each.term) if each.term else "" for each in self.agreements]
        table["id"] = [each.term or "" for each in self.agreements]
        table["n_labels_below"] = [each.n_labels_below for each in self.agreements]
        return table.sort_values("cells", ascending=False, kind="stable").reset_index(drop=True)

    def label_table(self) -> pd.DataFrame:
        """A row per source and label: cells, the term that it was mapped to, its id, and how it was read or what is near."""
        rows = [
            {
                "source": source,
                "label": label,
                "cells": int(cells),
                "term": (self.ontology.name(term) or term) if term else "",
                "id": term or "",
                "note": mapped.notes.get(label, "It says that no type is known." if label in mapped.says_none else ""),
            }
            for source, mapped in zip(self.sources, self.mapped, strict=True)
            for label, term, cells in zip(mapped.labels, mapped.terms, mapped.counts(), strict=True)
        ]
        return pd.DataFrame(rows, columns=["source", "label", "cells", "term", "id", "note"])

    def agreement_table(self) -> pd.DataFrame:
        """Cells and their fraction for each kind of agreement, with those without a label."""
        counts = np.bincount(self.codes, minlength=len(self.combinations))
        rows = []
        for kind, shown in (*((kind, kind) for kind in KINDS), (None, "no label")):
            cells = int(counts[[each.kind == kind for each in self.agreements]].sum())
            rows.append({"agreement": shown, "cells": cells, "fraction": cells / max(len(self.codes), 1)})
        return pd.DataFrame(rows)

    def notes(self) -> list[str]:
        """Sentences on labels without a term, and on those that say that there is none."""
        notes = []
        for source, mapped in zip(self.sources, self.mapped, strict=True):
            counts = dict(zip(mapped.labels, mapped.counts(), strict=True))
            if unmapped := mapped.unmapped:
                near = " ".join(mapped.notes[label] for label in unmapped[:10] if label in mapped.notes)
                notes.append(
                    f"{len(unmapped)} of {len(mapped.labels)} labels of `{source}` ({sum(counts[label] for label in unmapped):,} cells) "
                    f"are not certain in the Cell Ontology ({self.ontology.version}) and do not count: {listing(unmapped)}."
                    f"{' ' * bool(near)}{near} Provide ids with `label_ids` (`--label-map`)."
                )
            if none := sorted(mapped.says_none):
                what = "says that no type is known, and counts" if len(none) == 1 else "say that no type is known, and count"
                notes.append(f"{listing(none)} in `{source}` ({sum(counts[label] for label in none):,} cells) {what} as missing.")
        return notes
