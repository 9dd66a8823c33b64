"""Known and predicted labels as types of one ontology, numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sctab._errors import listing
from sctab.get._annotation import Annotation
from sctab.metrics import scores_per_type


@dataclass(frozen=True)
class Comparison:
    """Known and predicted labels as numbers of types. Labels with one term are one type; a label without one is a type of its own.

    Attributes
    ----------
    names
        What each type is called: as the model calls it, or the ontology, or whoever labelled.
    ids
        Id of each type in the ontology; `""` where it has none.
    child_matrix
        `[i, j]` is true where type `j` is type `i` or one of its subtypes.
    columns
        Type of each label of the model, `(n_labels,)`.
    truth, predicted
        Type of each cell, `(n_obs,)`; -1 where it is missing.
    notes
        Sentences on labels that were not found as they are.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]
    child_matrix: NDArray[np.bool_]
    columns: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether a type or one of its subtypes is a label of the model, `(n_types,)`."""
        return self.child_matrix[:, self.columns].any(axis=1)

    @property
    def is_finer(self) -> NDArray[np.bool_]:
        """Whether a type is a subtype of a label of the model, `(n_types,)`."""
        return self.child_matrix[self.columns].any(axis=0) & ~self.is_known

    def per_type(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> pd.DataFrame:
        """Scores of every type that is known or predicted of some cell."""
        codes = np.unique(np.concatenate([truth, predicted[predicted >= 0]]))
        scores = scores_per_type(truth, predicted, types=codes.astype(str).tolist()).reset_index(drop=True)
        scores["recall"] = scores["recall"].where(scores["cells"] > 0)
        scores.insert(0, "type", np.array(self.names, dtype=object)[codes])
        scores.insert(1, "id", np.array(self.ids, dtype=object)[codes])
        scores["predicted"] = np.bincount(predicted[predicted >= 0], minlength=len(self.names))[codes]
        return scores


def compare_labels(truth: pd.Series, predicted: pd.Series, annotation: Annotation) -> Comparison:
    """Number the types of known and predicted labels, `(n_obs,)`."""
    ontology, of_model = annotation.ontology, dict(zip(annotation.names, annotation.terms, strict=True))
    theirs = sorted({str(label) for label in truth.dropna().unique()})
    found = {label: ontology.resolve(label) for label in theirs if label not in of_model}
    term_of = {label: resolution.term or label for label, resolution in found.items()} | of_model
    terms = tuple(dict.fromkeys([*annotation.terms, *term_of.values()]))
    called = {term: name for name, term in reversed(of_model.items())}
    index = pd.Index(terms)

    def codes(labels: pd.Series) -> NDArray[np.int64]:
        return index.get_indexer(labels.astype(object).map(lambda label: term_of.get(str(label), str(label)), na_action="ignore"))

    notes = [resolution.note for resolution in found.values() if resolution.note]
    for whose, labels in (("known labels", theirs), ("labels of the model", annotation.names)):
        if without := [label for label in labels if ontology.name(term_of[label]) is None]:
            notes.append(
                f"{len(without)} of {len(labels)} {whose} are not in the Cell Ontology ({ontology.version}) and are compared by name: "
                f"{listing(without)}."
            )
    return Comparison(
        names=tuple(called.get(term) or ontology.name(term) or term for term in terms),
        ids=tuple(term if ontology.name(term) else "" for term in terms),
        child_matrix=ontology.child_matrix(terms),
        columns=index.get_indexer(annotation.terms),
        truth=codes(truth),
        predicted=codes(predicted),
        notes=tuple(notes),
    )
