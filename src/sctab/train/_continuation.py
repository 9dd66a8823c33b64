"""Description of a model that is trained further with more types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sctab.inference import ModelSpec
from sctab.ontology import CellOntology, LabelSpace, label_values as values
from sctab.train._labels import label_ids_in


def spec_for_query(reference: ModelSpec, label_names: Iterable[str], setup: Mapping[str, Any]) -> ModelSpec:
    """The reference's description with the types that only the query has behind its own."""
    known = reference.labels.names
    names = (*known, *sorted(set(label_names) - {setup["unlabeled_category"]} - set(known)))
    ontology = CellOntology.embedded()
    confirmed = {**label_ids_in(setup), **ids_of(reference.labels, ontology)}
    labels = LabelSpace.from_names(names, ontology, label_ids=confirmed)
    return replace(reference, labels=labels, setup=dict(setup), description="", training={}, versions={})


def ids_of(labels: LabelSpace, ontology: CellOntology) -> dict[str, str | None]:
    """Ids that a model has, as far as the ontology knows them; they stay when it resumes."""
    pairs = zip(labels.names, labels.ids, strict=True)
    return {name: term for name, term in pairs if term and (ontology.name(term) or ontology.replacement(term))}


def alike_in(label: str | None, labels: Iterable[str]) -> bool:
    """Return whether a label is among others, in this spelling or another one."""
    return (label is not None and any(label in group for group in values.alike([*labels, label]))) or label in set(labels)
