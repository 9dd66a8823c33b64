"""Cell Ontology: from cell type names to terms, and from terms to what they are kinds of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path

from sctab._errors import DataFileError


@dataclass(frozen=True)
class LabelSpace:
    """The cell types of a model, in the order of its outputs.

    Attributes
    ----------
    names
        Labels as the reference gave them.
    ids
        Cell Ontology id of each label, such as `CL:0000236`; `None` where the ontology does not know it.
    ontology_version
        Release of the ontology that gave the ids; `""` when none was asked.
    """

    names: tuple[str, ...]
    ids: tuple[str | None, ...]
    ontology_version: str = ""

    def __len__(self) -> int:
        """Number of cell types."""
        return len(self.names)

    @property
    def without_id(self) -> tuple[str, ...]:
        """Labels that the ontology does not know."""
        return tuple(name for name, term in zip(self.names, self.ids, strict=True) if term is None)

    @classmethod
    def from_names(cls, names: Sequence[str], ontology: CellOntology) -> LabelSpace:
        """Look every label up in an ontology."""
        return cls(names=tuple(names), ids=tuple(ontology.find(name) for name in names), ontology_version=ontology.version)


class CellOntology:
    """Terms of the Cell Ontology, their names and synonyms, and which is a kind of which.

    Build one with :meth:`embedded`, which needs no network, or with :meth:`from_file`.

    Parameters
    ----------
    names
        Preferred name of every term that is in use.
    synonyms
        Exact synonyms by term.
    ancestors
        All terms that a term is a kind of, without the term itself.
    version
        Release.

    Examples
    --------
    >>> ontology = CellOntology.embedded()
    >>> ontology.find("B lymphocyte"), ontology.name("CL:0000236")
    ('CL:0000236', 'B cell')
    >>> ontology.is_kind_of("CL:0001054", "CL:0000576")  # CD14-positive monocyte, monocyte
    True
    """

    def __init__(
        self,
        *,
        names: Mapping[str, str],
        synonyms: Mapping[str, Iterable[str]],
        ancestors: Mapping[str, Iterable[str]],
        version: str,
    ) -> None:
        self.version = version
        self._names = dict(names)
        self._ancestors = {term: frozenset(above) - {term} for term, above in ancestors.items()}
        by_synonym: dict[str, set[str]] = {}
        for term, words in synonyms.items():
            for word in words:
                by_synonym.setdefault(_key(word), set()).add(term)
        # A synonym of two terms decides nothing; a preferred name goes before any synonym.
        self._terms = {word: next(iter(terms)) for word, terms in by_synonym.items() if len(terms) == 1}
        self._terms |= {_key(name): term for term, name in self._names.items()}

    @classmethod
    def embedded(cls) -> CellOntology:
        """The release that comes with `cellxgene-ontology-guide`, read once per process."""
        return _embedded()

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> CellOntology:
        """Read an ontology from `.obo`, `.owl` or `.json` with pronto; terms other than `CL:` are left out.

        Raises
        ------
        DataFileError
            When the file is not there or is no ontology.
        """
        import pronto

        if not Path(path).is_file():
            raise DataFileError(f"`{path}` is not there. Give the path of an `.obo`, `.owl` or `.json` file.")
        try:
            source = pronto.Ontology(str(path))
        except Exception as error:  # pronto raises whatever its parsers do
            raise DataFileError(f"`{path}` is not an ontology that pronto can read: {error}") from error
        terms = [term for term in source.terms() if term.id.startswith("CL:") and not term.obsolete and term.name]
        return cls(
            names={term.id: str(term.name) for term in terms},
            synonyms={term.id: [s.description for s in term.synonyms if s.scope == "EXACT"] for term in terms},
            ancestors={term.id: [above.id for above in term.superclasses(with_self=False)] for term in terms},
            version=str(source.metadata.data_version or ""),
        )

    def find(self, name: str) -> str | None:
        """Id of the term with this id, name or exact synonym, without regard to case; `None` where there is none."""
        if (term := name.strip().upper()) in self._names:
            return term
        return self._terms.get(_key(name))

    def name(self, term: str) -> str | None:
        """Preferred name of a term; `None` where it is unknown."""
        return self._names.get(term)

    def ancestors(self, term: str) -> frozenset[str]:
        """All terms that a term is a kind of, without itself; empty where it is unknown."""
        return self._ancestors.get(term, frozenset())

    def is_kind_of(self, term: str, other: str) -> bool:
        """Whether `term` is `other` or one of its subtypes."""
        return term == other or other in self.ancestors(term)

    def coarsen(self, term: str, terms: Sequence[str]) -> str | None:
        """The most specific of `terms` that `term` is, or is a kind of; `None` where it is under none of them.

        Examples
        --------
        >>> CellOntology.embedded().coarsen("CL:0000897", ["CL:0000084", "CL:0000624"])  # T cell, CD4+ alpha-beta T cell
        'CL:0000624'
        """
        above = [other for other in terms if self.is_kind_of(term, other)]
        return max(above, key=lambda other: len(self.ancestors(other)), default=None)


@cache
def _embedded() -> CellOntology:
    from cellxgene_ontology_guide.ontology_parser import OntologyParser

    parser = OntologyParser()
    terms = {term: name for name, term in parser.get_term_label_to_id_map("CL").items() if term.startswith("CL:")}
    current = {term: name for term, name in terms.items() if not parser.is_term_deprecated(term)}
    return CellOntology(
        names=current,
        synonyms={term: parser.get_term_synonyms(term) for term in current},
        ancestors={term: parser.get_term_ancestors(term) for term in current},
        version=parser.cxg_schema.supported_ontologies["CL"]["version"],
    )


def _key(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())
