"""Terms of other ontologies than the Cell Ontology: assays, tissues, diseases, sexes, ages and ancestries of cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any


@dataclass(frozen=True)
class MetadataTerm:
    """A term, in the release that CELLxGENE uses."""

    id: str
    name: str
    above: frozenset[str]
    """Ids of all terms that it is a kind of, itself included."""
    is_obsolete: bool = False
    replaced_by: str | None = None
    """Id of the term that replaces an obsolete one; `None` where there is none."""

    def is_kind_of(self, terms: Collection[str]) -> bool:
        """Return whether it is one of these terms, or a kind of one."""
        return not self.above.isdisjoint(terms)


def find_metadata_term(value: str, ontologies: Sequence[str]) -> MetadataTerm | None:
    """Term with this id or name; `None` where there is none.

    Parameters
    ----------
    value
        Id, or name as the ontology writes it.
    ontologies
        Prefixes of ids, such as `EFO`, in which a name is looked for.

    Examples
    --------
    >>> find_metadata_term("EFO:0009899", ["EFO"]).name, find_metadata_term("blood", ["UBERON"]).id
    ("10x 3' v2", 'UBERON:0000178')
    """
    found = _term(value)
    for ontology in ontologies if found is None and value.strip() else ():
        own = _parser().get_term_id_by_label(value, ontology)
        if own is not None and own.startswith((f"{ontology}:", f"{ontology}_")):  # an ontology also has terms of others
            return _term(own)
    return found


@lru_cache(maxsize=4096)
def _term(term: str) -> MetadataTerm | None:
    parser = _parser()
    if term in {"na", "unknown"}:  # which the parser takes for terms
        return None
    try:
        name = parser.get_term_label(term)
    except (KeyError, ValueError):  # not an id, or of an unknown ontology
        return None
    is_obsolete = bool(parser.is_term_deprecated(term))
    return MetadataTerm(
        id=term,
        name=str(name),
        above=frozenset(parser.get_term_ancestors(term, include_self=True)),
        is_obsolete=is_obsolete,
        replaced_by=parser.get_term_replacement(term) if is_obsolete else None,
    )


@cache
def _parser() -> Any:
    from cellxgene_ontology_guide.ontology_parser import OntologyParser  # its import takes a while

    return OntologyParser()
