"""The cell types of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sctab.ontology._ontology import CellOntology


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
    notes
        A sentence for each label that is no current name, synonym or id, but that the ontology once knew.
    """

    names: tuple[str, ...]
    ids: tuple[str | None, ...]
    ontology_version: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of cell types."""
        return len(self.names)

    @property
    def without_id(self) -> tuple[str, ...]:
        """Labels that the ontology does not know."""
        return tuple(name for name, term in zip(self.names, self.ids, strict=True) if term is None)

    @classmethod
    def from_names(cls, names: Sequence[str], ontology: CellOntology) -> LabelSpace:
        """Look every label up in an ontology, with :meth:`CellOntology.resolve`.

        Parameters
        ----------
        names
            Labels, which are kept as they are.
        ontology
            Where to look.

        Examples
        --------
        >>> labels = LabelSpace.from_names(["B cell", "native cell", "cluster 7"], CellOntology.embedded())
        >>> labels.ids
        ('CL:0000236', 'CL:0000000', None)
        >>> [note.split(" in release")[0] for note in labels.notes]
        ['`native cell` is obsolete']
        """
        found = [ontology.resolve(name) for name in names]
        return cls(
            names=tuple(names),
            ids=tuple(resolution.term for resolution in found),
            ontology_version=ontology.version,
            notes=tuple(resolution.note for resolution in found if resolution.note),
        )
