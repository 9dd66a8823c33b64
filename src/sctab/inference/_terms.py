"""Terms that may be reported instead of a label: the labels themselves, and what they are kinds of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import Parameter, SettingError, did_you_mean, listing
from sctab.ontology import CellOntology, LabelSpace, as_hierarchy

_NO_TYPES = frozenset({"CL:0000000", "CL:0000003", "CL:0000255", "CL:0000548", "CL:0002242", "CL:0002371"})
"""`cell`, `native cell`, `eukaryotic cell`, `animal cell`, `nucleate cell` and `somatic cell`, which name no type and answer nothing."""

type Hierarchy = Mapping[str, str | Collection[str]] | pd.DataFrame | str | PathLike[str]
"""Parent of each label or other parent; or, where the values are collections, the labels of each term."""


@dataclass(frozen=True)
class Terms:
    """Labels of a model and the terms above them, one for each set of labels that a term has below it.

    The labels come first, in their order. A term above all labels says nothing, and is left out, as are `cell` and
    `eukaryotic cell`, even if a label is not below them; of terms with the same labels below, there
    is the most specific one.
    """

    names: tuple[str, ...]
    """Label, or name of the term."""
    ids: tuple[str | None, ...]
    """Cell Ontology ids; `None` where there is none."""
    below: NDArray[np.bool_]
    """True where the label of the column is the term of the row or a kind of it, `(n_terms, n_labels)`."""
    above: NDArray[np.bool_]
    """True where the term of the column is above that of the row, and has more labels below it, `(n_terms, n_terms)`."""

    def __len__(self) -> int:
        """Number of terms, labels included."""
        return len(self.names)

    @property
    def n_below(self) -> NDArray[np.int32]:
        """Labels below each term, `(n_terms,)`; 1 for a label without subtypes."""
        return self.below.sum(axis=1).astype(np.int32)

    @property
    def accepts(self) -> NDArray[np.bool_]:
        """Matrix of the terms (rows) that are right for a cell of a label (columns), `(n_terms, n_labels)`.

        The label is below the term, or is a broader label that the term is a kind of, as authors give who looked less closely.
        """
        return self.below | self.above[:, : self.below.shape[1]]

    @classmethod
    def of(cls, labels: LabelSpace, hierarchy: Hierarchy | None = None) -> Self:
        """Terms of the Cell Ontology, or of a hierarchy of the user's own.

        Parameters
        ----------
        labels
            Labels of the model.
        hierarchy
            Labels that it names follow it, the others the ontology.

        Raises
        ------
        SettingError
            If the hierarchy names no label, or has a term above itself.
        InputTypeError, DataFileError, LabelError
            As in :func:`sctab.ontology.as_hierarchy`.
        """
        ontology = labels.ontology
        shared = set(labels.sharing_an_id)
        lines: list[frozenset[str]] = [
            frozenset() if term is None else (ontology.ancestors(term) - _NO_TYPES) | ({term} & shared) for term in labels.ids
        ]
        names = {term: ontology.name(term) or term for line in lines for term in line}
        above = {term: ontology.ancestors(term) for term in names}
        members: dict[str, set[int]] = {}
        if hierarchy is not None:
            found = _lines(as_hierarchy(hierarchy), labels.names)
            parents = frozenset().union(*found.values())
            names |= {term: term for term in parents}
            above |= {term: found.get(term, frozenset()) for term in parents}
            lines = [found.get(label, line) for label, line in zip(labels.names, lines, strict=True)]
        for code, line in enumerate(lines):
            for term in line:
                members.setdefault(term, set()).add(code)
            if (own := labels.ids[code] if labels.ids[code] in names else labels.names[code]) in names:
                members.setdefault(own, set()).add(code)
        kinds = labels.child_matrix(ontology)
        if hierarchy is not None:
            for code, name in enumerate(labels.names):
                kinds[code, list(members.get(name, ()))] = True
        return cls._of_sets(
            labels, lines, kinds, names, above, {term: frozenset(codes) for term, codes in members.items()}, ontology
        )

    @classmethod
    def _of_sets(
        cls,
        labels: LabelSpace,
        lines: Sequence[frozenset[str]],
        kinds: NDArray[np.bool_],
        names: Mapping[str, str],
        above: Mapping[str, frozenset[str]],
        members: Mapping[str, frozenset[int]],
        ontology: CellOntology,
    ) -> Self:
        """Keep one term for each set of labels, and say which are above which."""
        n_labels = len(labels)
        node_of = {frozenset(np.flatnonzero(row).tolist()): code for code, row in enumerate(kinds)}
        terms: list[str] = []
        by_specificity = sorted(
            (term for term in members if len(members[term]) < n_labels), key=lambda term: (-len(above[term]), term)
        )
        for term in sorted(by_specificity, key=lambda term: len(members[term])):
            if members[term] not in node_of:
                node_of[members[term]] = n_labels + len(terms)
                terms.append(term)
        below = np.zeros((n_labels + len(terms), n_labels), dtype=bool)
        below[:n_labels] = kinds
        for position, term in enumerate(terms, start=n_labels):
            below[position, list(members[term])] = True
        is_above = np.zeros((len(below), len(below)), dtype=bool)
        for position, line in enumerate([*lines, *(above[term] for term in terms)]):
            nodes = {node_of[members[term]] for term in line if term in members and members[term] in node_of}
            is_above[position, [node for node in nodes if below[node].sum() > below[position].sum()]] = True
        return cls(
            names=(*labels.names, *(names[term] for term in terms)),
            ids=(*labels.ids, *(term if ontology.name(term) else None for term in terms)),
            below=below,
            above=is_above,
        )


def _lines(hierarchy: Mapping[str, str | Collection[str]], labels: Sequence[str]) -> dict[str, frozenset[str]]:
    """All terms above each label and each term of a hierarchy."""
    sets = {term: frozenset(found) for term, found in hierarchy.items() if not isinstance(found, str)}
    if sets and len(sets) < len(hierarchy):
        raise SettingError(Parameter("label_hierarchy"), " has both parents and collections of labels. Give one or the other.")
    mentioned = frozenset().union(*sets.values()) if sets else frozenset(hierarchy)
    if unknown := sorted(mentioned - set(labels)) if sets else []:
        raise SettingError(
            Parameter("label_hierarchy"),
            f" names {listing(unknown)}, which the model does not have.{did_you_mean(unknown[0], labels)}",
        )
    if not mentioned & set(labels):
        raise SettingError(Parameter("label_hierarchy"), f" names no label of the model. Its labels are {listing(labels)}.")
    if sets:
        lines = {label: frozenset(term for term, found in sets.items() if label in found) for label in mentioned}
        return lines | {term: frozenset(other for other in sets if sets[term] < sets[other]) for term in sets if term not in lines}
    parents = {child: str(parent) for child, parent in hierarchy.items()}
    return {name: frozenset(_walk(name, parents)) for name in dict.fromkeys([*parents, *parents.values()])}


def _walk(name: str, parents: Mapping[str, str]) -> Iterable[str]:
    """Parents of a name, one after another."""
    seen = [name]
    while (name := parents.get(name, "")) != "":
        if name in seen:
            raise SettingError(Parameter("label_hierarchy"), f" has `{name}` above itself. Remove one of {listing([*seen, name])}.")
        seen.append(name)
        yield name
