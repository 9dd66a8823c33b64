"""The cell types of a model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab.errors import LabelError, agreeing, listing
from sctab.ontology._ontology import CellOntology
from sctab.ontology._resolution import MAY_MEAN, Resolution
from sctab.ontology._spelling import contexts_of

_MOST_TISSUES = 3
"""Tissues of some cells of which each says what their labels mean."""

_MOST_EXPLAINED = 10
"""Labels without an id that are explained in a warning."""

_HOW = re.compile(r"(, (a common short name|an exact synonym|in another form))?\.$")
"""End of a note on how a label was read."""

_OBVIOUS = ", in another form."
"""End of a note on a plural, a marker or an order of words."""


@dataclass(frozen=True)
class LabelSpace:
    """The cell types of a model, in the order of its outputs.

    Attributes
    ----------
    names
        Labels as the reference gave them.
    ids
        Cell Ontology id of each label, such as `CL:0000236`; `None` where it is not certain.
    ontology_version
        Release of the ontology that gave the ids; `""` when none was asked.
    notes
        A sentence for each label that is neither a term's own name nor its id, or whose name means several types, and that was not
        confirmed: how it was read, or why it has no id.
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
        """Labels that have no id."""
        return tuple(name for name, term in zip(self.names, self.ids, strict=True) if term is None)

    @property
    def sharing_an_id(self) -> dict[str, tuple[str, ...]]:
        """Labels of each id that several have."""
        by_id: dict[str, list[str]] = {}
        for name, term in zip(self.names, self.ids, strict=True):
            if term is not None:
                by_id.setdefault(term, []).append(name)
        return {term: tuple(names) for term, names in by_id.items() if len(names) > 1}

    @property
    def ontology(self) -> CellOntology:
        """The release that the ids are from, or the newest where it is not embedded."""
        return CellOntology.embedded(self.ontology_version if self.ontology_version in CellOntology.embedded_versions() else None)

    def child_matrix(self, ontology: CellOntology) -> NDArray[np.bool_]:
        """Matrix of labels and their subtypes, see :meth:`CellOntology.child_matrix`; labels that share an id are not subtypes."""
        ids = np.array([term or "" for term in self.ids], dtype=object)
        are_twins = (ids[:, None] == ids[None, :]) & ~np.eye(len(ids), dtype=bool)
        return ontology.child_matrix(self.ids) & ~are_twins

    @classmethod
    def from_names(
        cls,
        names: Sequence[str],
        ontology: CellOntology,
        *,
        label_ids: Mapping[str, str | None] | None = None,
        tissues: Iterable[str] = (),
    ) -> LabelSpace:
        """Look every label up in an ontology, with :meth:`CellOntology.resolve`.

        Parameters
        ----------
        names
            Labels, which are kept as they are. Where two or more are of one tissue, such as blood, pancreas, retina, heart or brain, names
            that mean something there are understood: `delta` beside `alpha` and `acinar` is a pancreatic D cell.
        ontology
            Where to look.
        label_ids
            Ids that are confirmed, by label; `None` for a label that has none. They are taken without a note.
        tissues
            Where the cells are from; it has the same effect as labels of the tissue.

        Raises
        ------
        LabelError
            If a confirmed id is not in the ontology.

        Examples
        --------
        >>> labels = LabelSpace.from_names(["B cell", "DC2", "cluster 7"], CellOntology.embedded(), label_ids={"DC2": "CL:0002399"})
        >>> labels.ids
        ('CL:0000236', 'CL:0002399', None)
        >>> LabelSpace.from_names(["alpha", "delta", "acinar"], CellOntology.embedded()).ids
        ('CL:0000171', 'CL:0000173', 'CL:0002064')
        """
        confirmed = confirmed_ids(label_ids or {}, ontology)
        contexts = contexts_of(names, tissues)
        found = [Resolution(confirmed[name]) if name in confirmed else ontology.resolve(name, contexts=contexts) for name in names]
        return cls(
            names=tuple(names),
            ids=tuple(resolution.term for resolution in found),
            ontology_version=ontology.version,
            notes=tuple(resolution.note for resolution in found if resolution.note),
        )

    def remarks(self) -> tuple[str, ...]:
        """Notes on labels: labels without an id, how others were read, and labels that share an id."""
        remarks = []
        if self.without_id:
            remarks.append(
                f"{len(self.without_id)} of {len(self)} labels {agreeing(len(self.without_id), 'is', 'are')} not in the Cell Ontology "
                f"({self.ontology_version}) by a name that is certain and {agreeing(len(self.without_id), 'gets', 'get')} no id: "
                f"{listing(self.without_id)}. {self.why_without_id()}Provide ids with "
                "`label_ids` (`--label-map`)."
            )
        remarks += self.readings("labels")
        for term, names in self.sharing_an_id.items():
            remarks.append(
                f"{listing(names)} share the id `{term}`: they are learned as different types that the Cell Ontology cannot "
                "tell apart. Assign separate ids with `label_ids`, or merge them."
            )
        return tuple(remarks)

    def why_without_id(self) -> str:
        """Sentences for the first labels without an id: what they may mean, and near names; each ends with a blank."""
        without = set(self.without_id)
        why = [note for note in self.notes if note.split("`")[1] in without]
        rest = len(why) - _MOST_EXPLAINED
        return "".join(f"{note} " for note in why[:_MOST_EXPLAINED]) + (
            f"For names near the other {rest}, see `sctab.ontology.CellOntology.nearest`. " if rest > 0 else ""
        )

    def readings(self, whose: str, among: Collection[str] | None = None) -> list[str]:
        """Sentences on labels with names of several types, and on names other than the ontology's own, the least obvious first.

        Parameters
        ----------
        whose
            What the labels are called in the sentence.
        among
            Labels to speak of; by default all.
        """
        without, labels = set(self.without_id), set(self.names if among is None else among)
        notes = [note for note in self.notes if note.split("`")[1] in labels - without]
        several = [note for note in notes if MAY_MEAN in note]
        read = sorted((note for note in notes if note not in several), key=lambda note: note.endswith(_OBVIOUS))
        notes_by_kind = (
            (several, "is the name", "are names", "of one type in the Cell Ontology and of another elsewhere"),
            (read, "has", "have", "another name in the Cell Ontology"),
        )
        return [
            f"{len(of_kind)} of {len(self)} {whose} {agreeing(len(of_kind), one, several)} {what}. Check how "
            f"{agreeing(len(of_kind), 'it was', 'they were')} read, and set `label_ids` (`--label-map`) where that is "
            f"wrong: {'; '.join(_HOW.sub('', note).replace(' is read as ', ' as ', 1) for note in of_kind)}."
            for of_kind, one, several, what in notes_by_kind
            if of_kind
        ]


def confirmed_ids(label_ids: Mapping[str, str | None], ontology: CellOntology) -> dict[str, str | None]:
    """Ids by label as the ontology has them today; obsolete ones give way to their replacements.

    Raises
    ------
    LabelError
        If an id is not in the ontology, or obsolete without a replacement.
    """
    current: dict[str, str | None] = {}
    unknown = []
    for label, given in label_ids.items():
        term = str(given).strip().upper().replace("_", ":").removeprefix("HTTP://PURL.OBOLIBRARY.ORG/OBO/") if given else None
        current[str(label)] = term if term is None or ontology.name(term) else ontology.replacement(term)
        if term is not None and current[str(label)] is None:
            unknown.append(f"{label}: {given}")
    if unknown:
        raise LabelError(
            f"{listing(unknown)} in `label_ids` {'are' if len(unknown) > 1 else 'is'} not in the Cell Ontology "
            f"({ontology.version}). Provide ids of terms that are in use, such as `CL:0000236`."
        )
    return current


def tissues_of(obs: pd.DataFrame) -> list[str]:
    """Tissues of all cells, from the column `tissue`, which tell what short names mean; empty where there are many or none is known."""
    if "tissue" not in obs:
        return []
    tissues = obs["tissue"].dropna().unique()
    return [str(tissue) for tissue in tissues] if len(tissues) <= _MOST_TISSUES else []
