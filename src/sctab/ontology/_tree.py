"""A tree of some terms and of the terms that group them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sctab.ontology._ontology import CellOntology

_VAGUE = 1500
"""Kinds of a term above which it groups all terms or none: half of the ontology is a kind of eukaryotic cell."""


@dataclass(frozen=True)
class TreeNode:
    """A term in a tree."""

    term: str
    """Its id; of what the ontology does not know, the name."""
    name: str
    parent: str | None
    """Term of the node above; `None` at the top."""
    depth: int
    """Number of nodes above it."""
    is_given: bool
    """True if the tree was asked for with this term, false if it only groups others."""


def label_tree(ontology: CellOntology, terms: Iterable[str]) -> list[TreeNode]:
    """Arrange terms in a tree, with those ancestors that group two or more of them.

    The ontology is a graph in which a term has several parents. Among ancestors of the same terms the most specific one is kept, and among
    ancestors whose terms overlap without one holding the other, the one with fewer kinds in the whole ontology. Every term is in the tree
    once.

    Parameters
    ----------
    ontology
        The Cell Ontology.
    terms
        Ids. What the ontology does not know is a tree of its own, after the others.

    Returns
    -------
    Nodes from top to bottom, as the lines of an indented list; siblings by name.

    Examples
    --------
    >>> names = ["B cell", "CD14-positive monocyte", "dendritic cell", "odd cell"]
    >>> ontology = CellOntology.embedded()
    >>> for node in label_tree(ontology, [ontology.find(name) or name for name in names]):
    ...     print("  " * node.depth + node.name)
    mononuclear leukocyte
      B cell
      mononuclear phagocyte
        CD14-positive monocyte
        dendritic cell
    odd cell
    """
    given = dict.fromkeys(terms)
    known = [term for term in given if ontology.name(term) is not None]
    members: dict[str, frozenset[str]] = {
        term: frozenset(other for other in known if ontology.is_kind_of(other, term)) for term in known
    }
    members |= _grouping(ontology, known, members)
    below: dict[str | None, list[str]] = {}
    for term, own in members.items():
        around = [other for other, theirs in members.items() if own < theirs]
        below.setdefault(min(around, key=lambda other: (len(members[other]), other), default=None), []).append(term)
    unknown = [TreeNode(term, term, None, 0, is_given=True) for term in sorted(set(given) - set(known))]
    return [*_lines(ontology, below, given.keys(), None, 0), *unknown]


def _grouping(ontology: CellOntology, known: list[str], members: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Ancestors that group terms, with the terms below each: any two of them, and of the terms, are apart or one within the other."""
    by_set: dict[frozenset[str], str] = {}
    lines = {term: ontology.ancestors(term) for term in known}
    for ancestor in sorted(frozenset().union(*lines.values()) - set(known)):
        own = frozenset(term for term, line in lines.items() if ancestor in line)
        if len(own) > 1 and own not in members.values():
            best = by_set.get(own)
            if best is None or _specificity(ontology, ancestor) > _specificity(ontology, best):
                by_set[own] = ancestor
    kept: dict[str, frozenset[str]] = {}
    natural = sorted(by_set.items(), key=lambda item: (len(item[0]) < len(known), len(ontology.descendants(item[1])), item[1]))
    for own, ancestor in natural:
        is_vague = len(own) < len(known) and len(ontology.descendants(ancestor)) > _VAGUE
        others = [*members.items(), *kept.items()]
        if not is_vague and all(_go_together(ontology, (ancestor, own), other) for other in others):
            kept[ancestor] = own
    return kept


def _go_together(ontology: CellOntology, one: tuple[str, frozenset[str]], other: tuple[str, frozenset[str]]) -> bool:
    """Return whether two terms share none of the terms below them, or one of the two is a kind of the other."""
    if not one[1] & other[1]:
        return True
    lower, upper = sorted((one, other), key=lambda each: len(each[1]))
    return lower[1] <= upper[1] and ontology.is_kind_of(lower[0], upper[0])


def _specificity(ontology: CellOntology, term: str) -> tuple[int, int]:
    return len(ontology.ancestors(term)), -len(ontology.descendants(term))


def _lines(
    ontology: CellOntology, below: dict[str | None, list[str]], given: Iterable[str], parent: str | None, depth: int
) -> Iterator[TreeNode]:
    names = {term: ontology.name(term) or term for term in below.get(parent, [])}
    for term, name in sorted(names.items(), key=lambda item: (item[1].lower(), item[0])):
        yield TreeNode(term, name, parent, depth, is_given=term in given)
        yield from _lines(ontology, below, given, term, depth + 1)
